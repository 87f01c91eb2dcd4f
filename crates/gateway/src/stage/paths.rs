//! `additional_drop_params` that reach into the body: `tools[*].input_examples`, `a.b.c`, `list[0].x`.
//!
//! Such a body is read into a tree, changed and written again, which is why nobody pays for it but the
//! deployments that ask for it. Source: compat, providers §2.

use serde_json::Value;

/// One step of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step<'a> {
    Member(&'a str),
    Item(usize),
    Every,
}

/// True for a name that is a path and not a top-level parameter.
pub fn is_path(name: &str) -> bool {
    name.contains(['[', '.'])
}

/// Takes what `paths` name out of `body`; true if anything was there.
pub fn remove(body: &mut Value, paths: &[&str]) -> bool {
    let mut any = false;
    for path in paths {
        any |= steps(path).is_some_and(|steps| cut(body, &steps));
    }
    any
}

/// The steps of a path; `None` if it is none, e.g. for an unclosed bracket.
fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    for segment in path.split('.') {
        let (name, mut rest) = segment.split_at(segment.find('[').unwrap_or(segment.len()));
        if !name.is_empty() {
            steps.push(Step::Member(name));
        }
        while !rest.is_empty() {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            steps.push(if index == "*" { Step::Every } else { Step::Item(index.parse().ok()?) });
            rest = after;
        }
    }
    (!steps.is_empty()).then_some(steps)
}

fn cut(value: &mut Value, steps: &[Step<'_>]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return false };
    match (step, value) {
        (Step::Member(name), Value::Object(members)) if rest.is_empty() => {
            members.shift_remove(*name).is_some()
        }
        (Step::Member(name), Value::Object(members)) => {
            members.get_mut(*name).is_some_and(|inner| cut(inner, rest))
        }
        (Step::Item(index), Value::Array(items)) if rest.is_empty() => {
            let is_there = *index < items.len();
            if is_there {
                items.remove(*index);
            }
            is_there
        }
        (Step::Item(index), Value::Array(items)) => items.get_mut(*index).is_some_and(|item| cut(item, rest)),
        (Step::Every, Value::Array(items)) if rest.is_empty() => {
            let any = !items.is_empty();
            items.clear();
            any
        }
        // All of them, not the first that has it.
        (Step::Every, Value::Array(items)) => items.iter_mut().fold(false, |any, item| cut(item, rest) | any),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_take_out_what_they_name_and_nothing_else() {
        let body = || json!({"tools": [{"name": "a", "x": 1}, {"name": "b"}, {"x": 2}], "o": {"p": {"q": 1, "r": 2}}});
        for (path, expected) in [
            (
                "tools[*].x",
                json!({"tools": [{"name": "a"}, {"name": "b"}, {}], "o": {"p": {"q": 1, "r": 2}}}),
            ),
            ("tools[1]", json!({"tools": [{"name": "a", "x": 1}, {"x": 2}], "o": {"p": {"q": 1, "r": 2}}})),
            (
                "tools[0].name",
                json!({"tools": [{"x": 1}, {"name": "b"}, {"x": 2}], "o": {"p": {"q": 1, "r": 2}}}),
            ),
            (
                "o.p.q",
                json!({"tools": [{"name": "a", "x": 1}, {"name": "b"}, {"x": 2}], "o": {"p": {"r": 2}}}),
            ),
        ] {
            let mut changed = body();
            assert!(remove(&mut changed, &[path]), "{path}");
            assert_eq!(changed, expected, "{path}");
        }
        for nothing in ["tools[9].x", "tools.x", "o[0]", "o.p.z", "tools[", "tools[x]", ".", ""] {
            let mut same = body();
            assert!(!remove(&mut same, &[nothing]), "{nothing}");
            assert_eq!(same, body(), "{nothing}");
        }
    }
}
