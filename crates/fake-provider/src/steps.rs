//! What an agent is to do, written into its task: `[[steps: [{"calls": [["read", {"path": "a"}]]}, {"text": "Done."}]]]`.
//!
//! A coding agent owns the conversation: it wraps the task into reminders and sends tool results in messages
//! of their own. So the steps are looked for in the whole body, and which one is next follows from how many
//! tool results the conversation holds. A request that does not offer the tools of its step, such as the
//! title an agent asks for on the side, is not a turn of the task and gets a plain answer.

use serde_json::Value;

use crate::reply::{Ask, Choice};

/// What the steps follow.
const MARK: &str = "[[steps:";

/// Tool calls of a task, turn by turn, and the texts around them.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Step {
    /// Reasoning with a signature in front.
    pub reasoning: bool,
    pub text: Option<String>,
    /// Names and arguments of the tool calls, all at once.
    pub calls: Vec<(String, Value)>,
}

impl Steps {
    /// The steps that some string in `body` asks for; `None` where none are asked for, or they do not parse.
    pub(crate) fn of_body(raw: &[u8], body: &Value) -> Option<Self> {
        // Most bodies hold none, and this look costs them nothing worth counting.
        if !std::str::from_utf8(raw).ok()?.contains(MARK) {
            return None;
        }
        search(body)
    }

    /// The next step of this conversation, if the request can take it.
    pub(crate) fn next(&self, ask: &Ask) -> Option<&Step> {
        let mut results = ask.tool_results.len();
        for step in &self.0 {
            if results == 0 || step.calls.is_empty() {
                return step.fits(ask).then_some(step);
            }
            results = results.saturating_sub(step.calls.len());
        }
        None
    }
}

impl Step {
    /// An agent's own turn offers tools; what it asks on the side does not.
    fn fits(&self, ask: &Ask) -> bool {
        let offered = |name: &String| ask.tools.iter().any(|tool| tool.name == *name);
        !ask.tools.is_empty()
            && ask.choice != Choice::None
            && self.calls.iter().all(|(name, _)| offered(name))
    }

    fn read(step: &Value) -> Option<Self> {
        let calls = match step.get("calls") {
            None => Vec::new(),
            Some(calls) => calls.as_array()?.iter().map(call).collect::<Option<_>>()?,
        };
        let text = step.get("text").and_then(Value::as_str).map(str::to_owned);
        Some(Self { reasoning: step["reasoning"] == true, text, calls })
    }
}

fn call(call: &Value) -> Option<(String, Value)> {
    let (name, arguments) = (call.get(0)?.as_str()?, call.get(1)?);
    Some((name.to_owned(), arguments.clone()))
}

fn search(value: &Value) -> Option<Steps> {
    match value {
        Value::String(text) => parse(text),
        Value::Array(values) => values.iter().find_map(search),
        Value::Object(members) => members.values().find_map(search),
        _ => None,
    }
}

/// Reads the JSON behind the mark; what follows it is the task's.
fn parse(text: &str) -> Option<Steps> {
    let from = text.find(MARK)? + MARK.len();
    let steps = serde_json::Deserializer::from_str(text.get(from..)?).into_iter::<Value>().next()?.ok()?;
    steps.as_array()?.iter().map(Step::read).collect::<Option<Vec<_>>>().map(Steps)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Steps;
    use crate::reply::{Ask, Tool};

    const TASK: &str = r#"Do it. [[steps: [{"calls": [["read", {"a": [[1]]}], ["read", {}]]}, {"calls": [["write", {}]]}, {"text": "Done."}]]]"#;

    fn steps() -> Steps {
        let body = json!({"messages": [{"content": [{"text": "reminder"}, {"text": TASK}]}]});
        Steps::of_body(body.to_string().as_bytes(), &body).unwrap()
    }

    fn asked(results: usize, tools: &[&str]) -> Ask {
        let tool = |name: &&str| Tool { name: (*name).to_owned(), schema: Value::Null };
        let tools = tools.iter().map(tool).collect();
        Ask { tools, tool_results: vec![String::new(); results], ..Ask::default() }
    }

    #[test]
    fn the_tool_results_so_far_choose_the_step() {
        let steps = steps();
        let names = |results| {
            let step = steps.next(&asked(results, &["read", "write"])).unwrap();
            step.calls.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            [names(0), names(2), names(3), names(4)],
            [vec!["read", "read"], vec!["write"], vec![], vec![]]
        );
    }

    #[test]
    fn a_request_without_the_tools_of_its_step_is_no_turn() {
        assert_eq!(steps().next(&asked(0, &["write"])), None);
        assert_eq!(steps().next(&asked(3, &[])), None);
    }

    #[test]
    fn steps_that_do_not_parse_are_text() {
        let body = json!({"messages": "[[steps: [{\"calls\": [[\"cut"});
        assert_eq!(Steps::of_body(body.to_string().as_bytes(), &body), None);
    }
}
