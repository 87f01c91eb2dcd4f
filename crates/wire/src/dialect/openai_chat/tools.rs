//! Tools and the choice among them, as clients send them.

use serde_json::{Value, json};

use crate::chat::{ChatRequest, Extra, Family, Tool, ToolChoice};
use crate::dialect::BadRequest;
use crate::dialect::members::{Members, wrong};

use super::types::cache_hint;

/// Marks functions that were offered in the old `functions` form; never sent on.
pub(super) const LEGACY: &str = "legacy";

/// Reads `tools`, `tool_choice`, `parallel_tool_calls`, `web_search_options` and the old `functions` and
/// `function_call`.
pub(super) fn read(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    for (index, tool) in body.list("tools")?.into_iter().enumerate() {
        request.tools.push(read_tool(tool, &format!("tools[{index}]"))?);
    }
    for (index, function) in body.list("functions")?.into_iter().enumerate() {
        let function = Members::of(function, format!("functions[{index}]"))?;
        let mut extra = Extra::default();
        extra.put(Family::OpenAi, LEGACY, Value::from(true));
        request.tools.push(read_function(function, None, extra)?);
    }
    request.tool_choice = match (body.take("tool_choice"), body.take("function_call")) {
        (Some(choice), _) => Some(read_choice(choice)?),
        (None, Some(Value::Object(choice))) => {
            let mut choice = Members::of(Value::Object(choice), "function_call")?;
            Some(ToolChoice::Named(choice.need_text("name")?))
        }
        (None, Some(choice)) => Some(read_choice(choice)?),
        (None, None) => None,
    };
    request.parallel_tools = body.flag("parallel_tool_calls")?;
    if let Some(mut options) = body.object("web_search_options")? {
        let location = options.take("user_location").map(|mut location| {
            // The inner object is what dialects share.
            location.get_mut("approximate").map(Value::take).unwrap_or(location)
        });
        request.tools.push(Tool::WebSearch {
            context_size: options.text("search_context_size")?,
            max_uses: None,
            allowed_domains: Vec::new(),
            blocked_domains: Vec::new(),
            location,
            extra: Extra::from_map(Family::OpenAi, options.rest()),
        });
    }
    Ok(())
}

fn read_tool(tool: Value, at: &str) -> Result<Tool, BadRequest> {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "function" => {
            let mut members = Members::of(tool, at)?;
            members.take("type");
            let cache = cache_hint(members.take("cache_control"));
            let function = members.need_object("function")?;
            let extra = Extra::from_map(Family::OpenAi, members.rest());
            read_function(function, cache, extra)
        }
        "custom" if tool.get("custom").is_some() => {
            let mut members = Members::of(tool, at)?;
            let mut custom = members.need_object("custom")?;
            let mut extra = Extra::default();
            let name = custom.need_text("name")?;
            let description = custom.text("description")?;
            let format = custom.take("format");
            extra.put(Family::OpenAi, "custom", json!({ "format": format }));
            Ok(Tool::Function {
                name,
                description,
                parameters: Some(free_text()),
                strict: None,
                cache: None,
                extra,
            })
        }
        _ => Ok(Tool::Foreign { family: owner(&tool, &kind), value: tool }),
    }
}

/// The schema of a tool that takes free text, for those who know functions only.
fn free_text() -> Value {
    json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]})
}

fn read_function(
    mut function: Members,
    cache: Option<crate::chat::CacheHint>,
    mut extra: Extra,
) -> Result<Tool, BadRequest> {
    let cache = cache_hint(function.take("cache_control")).or(cache);
    let tool_name = function.need_text("name")?;
    let description = function.text("description")?;
    let parameters = function.take("parameters");
    let strict = function.flag("strict")?;
    for (key, value) in function.rest() {
        if !value.is_null() {
            extra.put(Family::OpenAi, key, value);
        }
    }
    Ok(Tool::Function { name: tool_name, description, parameters, strict, cache, extra })
}

/// LiteLLM takes other dialects' own tools in this list; their form tells whose they are.
fn owner(tool: &Value, kind: &str) -> Family {
    const ANTHROPIC: [&str; 8] = [
        "computer_",
        "bash_",
        "text_editor_",
        "web_search_2",
        "web_fetch_2",
        "code_execution_",
        "memory_",
        "tool_search_tool_",
    ];
    const GEMINI: [&str; 9] = [
        "googleSearch",
        "google_search",
        "googleSearchRetrieval",
        "googleMaps",
        "urlContext",
        "url_context",
        "codeExecution",
        "code_execution",
        "enterpriseWebSearch",
    ];
    if ANTHROPIC.iter().any(|prefix| kind.starts_with(prefix)) {
        Family::Anthropic
    } else if kind.is_empty() && GEMINI.iter().any(|name| tool.get(name).is_some()) {
        Family::Gemini
    } else {
        Family::OpenAi
    }
}

fn read_choice(choice: Value) -> Result<ToolChoice, BadRequest> {
    let mut choice = match choice {
        Value::String(word) => {
            return match word.as_str() {
                "auto" => Ok(ToolChoice::Auto),
                "none" => Ok(ToolChoice::None),
                "required" | "any" => Ok(ToolChoice::Required),
                _ => Err(BadRequest::new(
                    "tool_choice",
                    "tool_choice: must be `auto`, `none`, `required` or an object that names a tool",
                )),
            };
        }
        Value::Object(_) => Members::of(choice, "tool_choice")?,
        other => return Err(wrong("tool_choice", "a string or an object", &other)),
    };
    let kind = choice.text("type")?.unwrap_or_else(|| "function".to_owned());
    Ok(match kind.as_str() {
        "function" | "custom" => {
            let name = match choice.text("name")? {
                Some(name) => name,
                None => choice.need_object(&kind)?.need_text("name")?,
            };
            ToolChoice::Named(name)
        }
        "tool" => ToolChoice::Named(choice.need_text("name")?),
        "any" => ToolChoice::Required,
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "allowed_tools" => {
            let mut allowed = choice.need_object("allowed_tools")?;
            let required = allowed.text("mode")?.as_deref() == Some("required");
            let tools = allowed.list("tools")?;
            let name = |tool: &Value| {
                tool.pointer("/function/name").or_else(|| tool.get("name"))?.as_str().map(str::to_owned)
            };
            ToolChoice::AnyOf { names: tools.iter().filter_map(name).collect(), required }
        }
        _ => {
            let at = choice.at("type");
            let text = format!("{at}: must be `function`, `custom` or `allowed_tools`");
            return Err(BadRequest::new(at, text));
        }
    })
}
