//! Tools, both ways.
//!
//! Custom tools take free text and `local_shell` takes a command; to providers of other dialects both are
//! functions. What they were stays in the function's private members, so that calls come back in the form
//! the client knows.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Extra, Family, Tool, ToolChoice};
use crate::dialect::BadRequest;
use crate::dialect::members::{Members, wrong};

/// The name of the built-in shell tool.
pub(super) const SHELL: &str = "local_shell";

/// What a function was in this dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// A function.
    Function,
    /// A tool that takes free text.
    Custom,
    /// The built-in shell.
    Shell,
}

/// What the tool a model calls was when the client offered it.
pub(super) fn nature(request: &ChatRequest, called: &str) -> Nature {
    let offered = request.tools.iter().find_map(|tool| match tool {
        Tool::Function { name, extra, .. } if name == called => extra.get(Family::Responses, "type"),
        _ => None,
    });
    match offered.and_then(Value::as_str) {
        Some("custom") => Nature::Custom,
        Some(SHELL) => Nature::Shell,
        _ => Nature::Function,
    }
}

/// Reads one of `tools`.
pub(super) fn read(tool: Value, at: &str) -> Result<Tool, BadRequest> {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "function" => {
            let mut members = Members::of(tool, at)?;
            members.take("type");
            Ok(Tool::Function {
                name: members.need_text("name")?,
                description: members.text("description")?,
                parameters: members.take("parameters"),
                strict: members.flag("strict")?,
                cache: None,
                extra: Extra::from_map(Family::Responses, members.rest()),
            })
        }
        "custom" => {
            let mut members = Members::of(tool, at)?;
            let name = members.need_text("name")?;
            let description = members.peek("description").and_then(Value::as_str).unwrap_or_default();
            let description = with_grammar(description, members.peek("format"));
            let parameters = json!({"type": "object", "properties": {"input": {"type": "string"}},
                "required": ["input"], "additionalProperties": false});
            Ok(Tool::Function {
                name,
                description: Some(description),
                parameters: Some(parameters),
                strict: None,
                cache: None,
                extra: Extra::from_map(Family::Responses, members.rest()),
            })
        }
        SHELL => Ok(Tool::Function {
            name: SHELL.to_owned(),
            description: Some("Runs a command in the user's shell and returns its output.".to_owned()),
            parameters: Some(json!({"type": "object", "required": ["command"], "properties": {
                "command": {"type": "array", "items": {"type": "string"}},
                "working_directory": {"type": "string"},
                "timeout_ms": {"type": "integer"},
                "env": {"type": "object", "additionalProperties": {"type": "string"}},
            }})),
            strict: None,
            cache: None,
            extra: Extra::from_map(Family::Responses, only_type(SHELL)),
        }),
        kind if kind.starts_with("web_search") => web_search(tool, at),
        _ => Ok(Tool::Foreign { family: Family::Responses, value: tool }),
    }
}

fn only_type(kind: &str) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("type".to_owned(), json!(kind));
    members
}

/// A grammar that nobody enforces still tells the model what to write.
fn with_grammar(description: &str, format: Option<&Value>) -> String {
    let word = |name: &str| format.and_then(|format| format.get(name)).and_then(Value::as_str);
    match (word("syntax"), word("definition")) {
        (Some(syntax), Some(definition)) => {
            format!("{description}\n\n`input` must match this {syntax} grammar:\n{definition}")
        }
        _ => description.to_owned(),
    }
}

fn web_search(tool: Value, at: &str) -> Result<Tool, BadRequest> {
    let mut members = Members::of(tool, at)?;
    let mut allowed = Vec::new();
    let mut blocked = Vec::new();
    if let Some(mut filters) = members.object("filters")? {
        allowed = filters.texts("allowed_domains")?;
        blocked = filters.texts("blocked_domains")?;
    }
    let location = members.take("user_location").map(|mut location| {
        if let Value::Object(map) = &mut location {
            map.shift_remove("type");
        }
        location
    });
    Ok(Tool::WebSearch {
        context_size: members.text("search_context_size")?,
        max_uses: None,
        allowed_domains: allowed,
        blocked_domains: blocked,
        location,
        extra: Extra::from_map(Family::Responses, members.rest()),
    })
}

/// Renders a tool; `None` for one that only another family knows.
pub(super) fn render(tool: &Tool) -> Option<Value> {
    let mut out = Map::new();
    match tool {
        Tool::Function { name, description, parameters, strict, extra, .. } => {
            let own = extra.of(Family::Responses);
            match own.and_then(|own| own.get("type")).and_then(Value::as_str) {
                Some(SHELL) => return Some(json!({ "type": SHELL })),
                Some("custom") => {
                    out.insert("type".to_owned(), json!("custom"));
                    out.insert("name".to_owned(), json!(name));
                }
                _ => {
                    out.insert("type".to_owned(), json!("function"));
                    out.insert("name".to_owned(), json!(name));
                    out.insert("description".to_owned(), json!(description));
                    let empty = || json!({"type": "object", "properties": {}});
                    let parameters = parameters.clone().unwrap_or_else(empty);
                    out.insert("parameters".to_owned(), parameters);
                    // The API's own default is strict, which most schemas do not fit.
                    out.insert("strict".to_owned(), json!(strict.unwrap_or(false)));
                }
            }
            add(&mut out, own);
        }
        Tool::WebSearch { context_size, allowed_domains, blocked_domains, location, extra, .. } => {
            let own = extra.of(Family::Responses);
            out.insert("type".to_owned(), json!("web_search"));
            if let Some(kind) = own.and_then(|own| own.get("type")) {
                out.insert("type".to_owned(), kind.clone());
            }
            let mut filters = Map::new();
            for (name, domains) in
                [("allowed_domains", allowed_domains), ("blocked_domains", blocked_domains)]
            {
                if !domains.is_empty() {
                    filters.insert(name.to_owned(), json!(domains));
                }
            }
            if !filters.is_empty() {
                out.insert("filters".to_owned(), Value::Object(filters));
            }
            if let Some(size) = context_size {
                out.insert("search_context_size".to_owned(), json!(size));
            }
            if let Some(Value::Object(place)) = location {
                let mut place = place.clone();
                place.insert("type".to_owned(), json!("approximate"));
                out.insert("user_location".to_owned(), Value::Object(place));
            }
            add(&mut out, own);
        }
        Tool::Foreign { family: Family::Responses, value } => return Some(value.clone()),
        Tool::Foreign { .. } => return None,
    }
    Some(Value::Object(out))
}

fn add(out: &mut Map<String, Value>, own: Option<&Map<String, Value>>) {
    for (key, value) in own.into_iter().flatten() {
        out.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

/// Reads `tool_choice`; `None` for a choice of a hosted tool, which stays as it is.
pub(super) fn read_choice(choice: &Value) -> Result<Option<ToolChoice>, BadRequest> {
    if let Some(word) = choice.as_str() {
        return match word {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            "required" => Ok(Some(ToolChoice::Required)),
            _ => Err(BadRequest::new(
                "tool_choice",
                "tool_choice: must be `auto`, `none`, `required` or an object that names a tool",
            )),
        };
    }
    if !choice.is_object() {
        return Err(wrong("tool_choice", "a string or an object", choice));
    }
    let mut members = Members::of(choice.clone(), "tool_choice")?;
    let kind = members.need_text("type")?;
    Ok(match kind.as_str() {
        "function" | "custom" => Some(ToolChoice::Named(members.need_text("name")?)),
        SHELL => Some(ToolChoice::Named(SHELL.to_owned())),
        "allowed_tools" => {
            let required = members.text("mode")?.as_deref() == Some("required");
            let tools = members.list("tools")?;
            let names = tools.iter().filter_map(|tool| tool.get("name")?.as_str().map(str::to_owned));
            Some(ToolChoice::AnyOf { names: names.collect(), required })
        }
        _ => None,
    })
}

/// Renders `tool_choice`.
pub(super) fn render_choice(choice: &ToolChoice, request: &ChatRequest) -> Value {
    let named = |name: &str| match nature(request, name) {
        Nature::Function => json!({"type": "function", "name": name}),
        Nature::Custom => json!({"type": "custom", "name": name}),
        Nature::Shell => json!({ "type": SHELL }),
    };
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Named(name) => named(name),
        ToolChoice::AnyOf { names, required } => {
            let tools: Vec<Value> = names.iter().map(|name| named(name)).collect();
            json!({"type": "allowed_tools", "mode": if *required { "required" } else { "auto" },
                "tools": tools})
        }
    }
}
