//! Reads and checks a Messages request.

use serde_json::Value;

use super::{FAMILY, betas};
use crate::failure::Failure;
use crate::read::{Object, base64_len, present, stranger, strings};
use crate::reply::{Ask, Choice, Tool};
use crate::seal::genuine;

const KNOWN: &[&str] = &[
    "max_tokens",
    "messages",
    "model",
    "cache_control",
    "container",
    "diagnostics",
    "inference_geo",
    "metadata",
    "output_config",
    "service_tier",
    "speed",
    "stop_sequences",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
    "stream",
];

const IMAGES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Where the body came from, which decides two of its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Envelope<'a> {
    /// Anthropic's own API; `model` is in the body. Holds the value of `anthropic-beta`.
    Direct(&'a str),
    /// Bedrock or Vertex AI: `anthropic_version` of this value, and no `model` or `stream` for Bedrock.
    Cloud(&'static str),
}

/// Reads and checks a body; `model` stays empty for [`Envelope::Cloud`].
pub(crate) fn read(body: &Object, envelope: Envelope<'_>) -> Result<Ask, Failure> {
    members(body, envelope)?;
    let mut ask = Ask { choices: 1, stops: strings(body.get("stop_sequences")), ..Ask::default() };
    if !matches!(envelope, Envelope::Cloud(_)) {
        ask.model = required(body, "model")?.as_str().unwrap_or_default().to_owned();
    }
    ask.stream = match present(body, "stream") {
        None => false,
        Some(Value::Bool(stream)) => *stream,
        Some(_) => return Err(Failure::invalid("stream: Input should be a valid boolean")),
    };
    let max = required(body, "max_tokens")?;
    let max = max.as_u64().ok_or_else(|| Failure::invalid("max_tokens: Input should be a valid integer"))?;
    if max == 0 {
        return Err(Failure::invalid("max_tokens: Input should be greater than or equal to 1"));
    }
    ask.max_tokens = Some(max);
    let thinks = thinking(body, max)?;
    sampling(body, thinks)?;
    tools(body, &mut ask, thinks)?;
    ask.schema = schema(body)?;
    system(body, &mut ask)?;
    let mut reader = Messages { ask, pending: Vec::new(), breakpoints: 0 };
    reader.all(required(body, "messages")?, thinks)?;
    if reader.breakpoints > 4 {
        let found = reader.breakpoints;
        return Err(Failure::invalid(format!(
            "A maximum of 4 blocks with cache_control may be provided. Found {found}."
        )));
    }
    Ok(reader.ask)
}

fn members(body: &Object, envelope: Envelope<'_>) -> Result<(), Failure> {
    let known = |name: &str| match envelope {
        Envelope::Direct(_) => KNOWN.contains(&name) || betas::is_gated(name),
        Envelope::Cloud(_) if name == "model" => false,
        Envelope::Cloud(_) => {
            KNOWN.contains(&name)
                || betas::is_gated(name)
                || matches!(name, "anthropic_version" | "anthropic_beta")
        }
    };
    if let Some(name) = body.keys().find(|name| !known(name)) {
        return Err(Failure::unknown_param(name));
    }
    let named = match envelope {
        Envelope::Direct(header) => header.split(',').map(str::trim).collect(),
        Envelope::Cloud(_) => betas::of_cloud(body)?,
    };
    betas::check(body, &named)?;
    if let Envelope::Cloud(version) = envelope {
        let given = required(body, "anthropic_version")?.as_str().unwrap_or_default();
        if given != version {
            let text = format!("anthropic_version: Input should be '{version}'");
            return Err(Failure::invalid(text));
        }
    }
    Ok(())
}

fn required<'a>(body: &'a Object, name: &str) -> Result<&'a Value, Failure> {
    body.get(name).ok_or_else(|| Failure::invalid(format!("{name}: Field required")))
}

/// Whether thinking is on.
fn thinking(body: &Object, max: u64) -> Result<bool, Failure> {
    let Some(thinking) = present(body, "thinking") else { return Ok(false) };
    match thinking["type"].as_str() {
        Some("disabled") => Ok(false),
        Some("adaptive") => Ok(true),
        Some("enabled") => match thinking["budget_tokens"].as_u64() {
            None => Err(Failure::invalid("thinking.enabled.budget_tokens: Field required")),
            Some(budget) if budget < 1024 => Err(Failure::invalid(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
            )),
            Some(budget) if budget >= max => Err(Failure::invalid(
                "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size",
            )),
            Some(_) => Ok(true),
        },
        _ => Err(Failure::invalid(
            "thinking: Input tag does not match any of the expected tags: 'adaptive', 'disabled', 'enabled'",
        )),
    }
}

fn sampling(body: &Object, thinks: bool) -> Result<(), Failure> {
    if let Some(value) = present(body, "temperature") {
        let number =
            value.as_f64().ok_or_else(|| Failure::invalid("temperature: Input should be a valid number"))?;
        if !(0.0..=1.0).contains(&number) {
            return Err(Failure::invalid("temperature: range: 0..1"));
        }
        if thinks && number != 1.0 {
            return Err(Failure::invalid(
                "`temperature` may only be set to 1 when thinking is enabled. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#important-considerations-when-using-extended-thinking'",
            ));
        }
    }
    if thinks && body.contains_key("top_k") {
        return Err(Failure::invalid("`top_k` must be unset when thinking is enabled."));
    }
    let metadata = body.get("metadata").and_then(Value::as_object);
    if let Some(name) = metadata.and_then(|metadata| stranger(metadata, &["user_id"])) {
        return Err(Failure::unknown_param(format!("metadata.{name}")));
    }
    Ok(())
}

fn tools(body: &Object, ask: &mut Ask, thinks: bool) -> Result<(), Failure> {
    let tools = body.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (index, tool) in tools.iter().enumerate() {
        // Server tools have a versioned type and bring their own schema.
        if !matches!(tool["type"].as_str(), None | Some("custom")) {
            continue;
        }
        let at = format!("tools.{index}.custom");
        let name =
            tool["name"].as_str().ok_or_else(|| Failure::invalid(format!("{at}.name: Field required")))?;
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 128 || !name.chars().all(fine) {
            let text = format!("{at}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'");
            return Err(Failure::invalid(text));
        }
        let known = &[
            "type",
            "name",
            "description",
            "input_schema",
            "cache_control",
            "strict",
            "defer_loading",
            "allowed_callers",
            "input_examples",
            "eager_input_streaming",
        ];
        if let Some(name) = tool.as_object().and_then(|tool| stranger(tool, known)) {
            return Err(Failure::unknown_param(format!("{at}.{name}")));
        }
        if !tool["input_schema"].is_object() {
            return Err(Failure::invalid(format!("{at}.input_schema: Field required")));
        }
        if tool["input_schema"]["type"] != "object" {
            return Err(Failure::invalid(format!("{at}.input_schema.type: Field required")));
        }
        if ask.tools.iter().any(|known| known.name == name) {
            return Err(Failure::invalid("tools: Tool names must be unique."));
        }
        ask.tools.push(Tool { name: name.to_owned(), schema: tool["input_schema"].clone() });
    }
    ask.choice = choice(body, ask, tools.is_empty())?;
    if thinks && matches!(ask.choice, Choice::Any | Choice::Named(_)) {
        return Err(Failure::invalid("Thinking may not be enabled when tool_choice forces tool use."));
    }
    ask.serial_tools =
        body.get("tool_choice").is_some_and(|choice| choice["disable_parallel_tool_use"] == true);
    Ok(())
}

fn choice(body: &Object, ask: &Ask, no_tools: bool) -> Result<Choice, Failure> {
    let Some(choice) = present(body, "tool_choice") else { return Ok(Choice::Auto) };
    if no_tools && choice["type"] != "none" {
        return Err(Failure::invalid("tool_choice may only be specified while providing tools."));
    }
    match choice["type"].as_str() {
        Some("auto") => Ok(Choice::Auto),
        Some("any") => Ok(Choice::Any),
        Some("none") => Ok(Choice::None),
        Some("tool") => {
            let name = choice["name"].as_str();
            let name = name.ok_or_else(|| Failure::invalid("tool_choice.tool.name: Field required"))?;
            if !ask.tools.iter().any(|tool| tool.name == name) {
                return Err(Failure::invalid(format!("Tool '{name}' not found in provided tools")));
            }
            Ok(Choice::Named(name.to_owned()))
        }
        _ => Err(Failure::invalid(
            "tool_choice: Input tag does not match any of the expected tags: 'auto', 'any', 'tool', 'none'",
        )),
    }
}

fn schema(body: &Object) -> Result<Option<Value>, Failure> {
    let format =
        body.get("output_config").map(|config| &config["format"]).or_else(|| body.get("output_format"));
    let Some(format) = format.filter(|format| !format.is_null()) else { return Ok(None) };
    if format["type"] != "json_schema" {
        return Err(Failure::invalid("output_config.format.type: Input should be 'json_schema'"));
    }
    match &format["schema"] {
        Value::Object(_) => Ok(Some(format["schema"].clone())),
        _ => Err(Failure::invalid("output_config.format.schema: Field required")),
    }
}

fn system(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    match body.get("system") {
        None => {}
        Some(Value::String(text)) => ask.prompt_chars += text.len(),
        Some(Value::Array(blocks)) => {
            for (index, block) in blocks.iter().enumerate() {
                if block["type"] != "text" {
                    return Err(Failure::invalid(format!("system.{index}.type: Input should be 'text'")));
                }
                let text = block["text"].as_str();
                let text =
                    text.ok_or_else(|| Failure::invalid(format!("system.{index}.text: Field required")))?;
                if text.is_empty() {
                    return Err(Failure::invalid("system: text content blocks must be non-empty"));
                }
                ask.prompt_chars += text.len();
            }
        }
        Some(_) => return Err(Failure::invalid("system: Input should be a valid list")),
    }
    Ok(())
}

/// Walks the conversation.
struct Messages {
    ask: Ask,
    /// Tool calls that wait for their results.
    pending: Vec<String>,
    breakpoints: usize,
}

impl Messages {
    fn all(&mut self, messages: &Value, thinks: bool) -> Result<(), Failure> {
        let list =
            messages.as_array().ok_or_else(|| Failure::invalid("messages: Input should be a valid list"))?;
        if list.is_empty() {
            return Err(Failure::invalid("messages: at least one message is required"));
        }
        for (index, message) in list.iter().enumerate() {
            self.message(index, message)?;
        }
        if !self.pending.is_empty() {
            return Err(self.unanswered(list.len() - 1));
        }
        if thinks {
            check_loop_starts_with_thinking(list)?;
        }
        Ok(())
    }

    fn message(&mut self, index: usize, message: &Value) -> Result<(), Failure> {
        let at = format!("messages.{index}");
        let role =
            message["role"].as_str().ok_or_else(|| Failure::invalid(format!("{at}.role: Field required")))?;
        if let Some(name) = message.as_object().and_then(|m| stranger(m, &["role", "content"])) {
            return Err(Failure::unknown_param(format!("{at}.{name}")));
        }
        match role {
            "user" => self.ask.last_user.clear(),
            "assistant" => {}
            "system" => {
                return Err(Failure::invalid(
                    "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` parameter, not \"system\" as an input message role.",
                ));
            }
            other => {
                let text = format!(
                    "messages: Unexpected role \"{other}\". Allowed roles are \"user\" or \"assistant\""
                );
                return Err(Failure::invalid(text));
            }
        }
        if role == "assistant" && !self.pending.is_empty() {
            return Err(self.unanswered(index - 1));
        }
        self.ask.ends_with_results = false;
        match &message["content"] {
            Value::String(text) => self.text(&at, role, text),
            Value::Array(blocks) if blocks.is_empty() => Err(Failure::invalid(format!(
                "{at}: all messages must have non-empty content except for the optional final assistant message"
            ))),
            Value::Array(blocks) => blocks
                .iter()
                .enumerate()
                .try_for_each(|(n, block)| self.block(&format!("{at}.content.{n}"), role, block, index)),
            Value::Null => Err(Failure::invalid(format!("{at}.content: Field required"))),
            _ => Err(Failure::invalid(format!("{at}.content: Input should be a valid list"))),
        }
    }

    fn unanswered(&self, index: usize) -> Failure {
        Failure::invalid(format!(
            "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
            self.pending.join(", ")
        ))
    }

    fn text(&mut self, at: &str, role: &str, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Err(Failure::invalid(format!("{at}: text content blocks must be non-empty")));
        }
        self.ask.prompt_chars += text.len();
        if role == "user" {
            self.ask.last_user.push_str(text);
        }
        Ok(())
    }

    fn block(&mut self, at: &str, role: &str, block: &Value, index: usize) -> Result<(), Failure> {
        let Some(object) = block.as_object() else {
            return Err(Failure::invalid(format!("{at}: Input should be a valid dictionary or object")));
        };
        if object.contains_key("cache_control") {
            if block["cache_control"]["type"] != "ephemeral" {
                return Err(Failure::invalid(format!(
                    "{at}.cache_control.type: Input should be 'ephemeral'"
                )));
            }
            self.breakpoints += 1;
        }
        let kind =
            block["type"].as_str().ok_or_else(|| Failure::invalid(format!("{at}.type: Field required")))?;
        if kind != "tool_result" && role == "user" && !self.pending.is_empty() {
            return Err(self.unanswered(index.saturating_sub(1)));
        }
        let at = format!("{at}.{kind}");
        if let Some(name) = members_of(kind).and_then(|known| stranger(object, known)) {
            return Err(Failure::unknown_param(format!("{at}.{name}")));
        }
        match (kind, role) {
            ("text", _) => {
                let text = block["text"].as_str();
                let text = text.ok_or_else(|| Failure::invalid(format!("{at}.text: Field required")))?;
                self.text("messages", role, text)
            }
            ("image", "user") => self.image(&at, block),
            ("tool_use", "assistant") => self.call(&at, block),
            ("tool_result", "user") => self.result(&at, block),
            ("thinking", "assistant") => check_seal(&at, block),
            ("redacted_thinking", "assistant")
            | ("document" | "search_result" | "container_upload", "user") => Ok(()),
            ("server_tool_use", "assistant") => Ok(()),
            (other, "assistant") if other.ends_with("_tool_result") => Ok(()),
            ("tool_use" | "thinking" | "tool_result", _) => Err(Failure::invalid(format!(
                "messages.{index}: `{kind}` blocks can not be in `{role}` messages"
            ))),
            _ => Err(Failure::invalid(format!(
                "{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags: 'document', 'image', 'redacted_thinking', 'search_result', 'server_tool_use', 'text', 'thinking', 'tool_result', 'tool_use'"
            ))),
        }
    }

    fn image(&mut self, at: &str, block: &Value) -> Result<(), Failure> {
        let source = &block["source"];
        match source["type"].as_str() {
            Some("base64") => {
                let media = source["media_type"].as_str().unwrap_or_default();
                if !IMAGES.contains(&media) {
                    let text = format!(
                        "{at}.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
                    );
                    return Err(Failure::invalid(text));
                }
                let length = source["data"].as_str().and_then(base64_len);
                let length = length
                    .ok_or_else(|| Failure::invalid(format!("{at}.source.base64: invalid base64 data")))?;
                self.ask.images.push((media.to_owned(), length));
                Ok(())
            }
            Some("url" | "file") => {
                self.ask.images.push(("url".to_owned(), 0));
                Ok(())
            }
            _ => Err(Failure::invalid(format!("{at}.source: Field required"))),
        }
    }

    fn call(&mut self, at: &str, block: &Value) -> Result<(), Failure> {
        let id = block["id"].as_str().ok_or_else(|| Failure::invalid(format!("{at}.id: Field required")))?;
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if id.is_empty() || !id.chars().all(fine) {
            return Err(Failure::invalid(format!("{at}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")));
        }
        block["name"].as_str().ok_or_else(|| Failure::invalid(format!("{at}.name: Field required")))?;
        if !block["input"].is_object() {
            return Err(Failure::invalid(format!("{at}.input: Input should be a valid dictionary")));
        }
        if self.pending.iter().any(|open| open == id) {
            return Err(Failure::invalid("messages: `tool_use` ids must be unique"));
        }
        self.pending.push(id.to_owned());
        Ok(())
    }

    fn result(&mut self, at: &str, block: &Value) -> Result<(), Failure> {
        let id = block["tool_use_id"].as_str();
        let id = id.ok_or_else(|| Failure::invalid(format!("{at}.tool_use_id: Field required")))?;
        let Some(position) = self.pending.iter().position(|open| open == id) else {
            let at = at.trim_end_matches(".tool_result");
            return Err(Failure::invalid(format!(
                "{at}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )));
        };
        self.pending.remove(position);
        let text = match &block["content"] {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                for part in parts.iter().filter(|part| part["type"] == "image") {
                    self.image(at, part)?;
                }
                parts.iter().filter_map(|part| part["text"].as_str()).collect()
            }
            Value::Null => String::new(),
            _ => return Err(Failure::invalid(format!("{at}.content: Input should be a valid list"))),
        };
        self.ask.prompt_chars += text.len();
        self.ask.tool_results.push(text);
        self.ask.ends_with_results = true;
        Ok(())
    }
}

/// Members of the blocks that we check strictly.
fn members_of(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "text" => &["type", "text", "cache_control", "citations"],
        "image" => &["type", "source", "cache_control"],
        "tool_use" => &["type", "id", "name", "input", "cache_control", "caller"],
        "tool_result" => &["type", "tool_use_id", "content", "is_error", "cache_control"],
        "thinking" => &["type", "thinking", "signature"],
        "redacted_thinking" => &["type", "data"],
        _ => return None,
    })
}

fn check_seal(at: &str, block: &Value) -> Result<(), Failure> {
    let thinking = block["thinking"].as_str();
    let thinking = thinking.ok_or_else(|| Failure::invalid(format!("{at}.thinking: Field required")))?;
    let signature = block["signature"].as_str();
    let signature = signature.ok_or_else(|| Failure::invalid(format!("{at}.signature: Field required")))?;
    if genuine(FAMILY, thinking, signature) {
        return Ok(());
    }
    let at = at.trim_end_matches(".thinking");
    Err(Failure::invalid(format!("{at}: Invalid `signature` in `thinking` block")))
}

/// With thinking on, the assistant turn of an unfinished tool loop must open with its thinking.
fn check_loop_starts_with_thinking(list: &[Value]) -> Result<(), Failure> {
    let has = |message: &Value, kind: &str| {
        message["content"].as_array().is_some_and(|blocks| blocks.iter().any(|block| block["type"] == kind))
    };
    if !list.last().is_some_and(|last| has(last, "tool_result")) {
        return Ok(());
    }
    let Some(index) = list.iter().rposition(|message| message["role"] == "assistant") else { return Ok(()) };
    // Only the first assistant turn after the user's own words must think.
    let first =
        list[..index].iter().rposition(|message| message["role"] == "user" && !has(message, "tool_result"));
    let first = first.map_or(index, |user| user + 1);
    let kind = list[first]["content"][0]["type"].as_str().unwrap_or("text");
    if matches!(kind, "thinking" | "redacted_thinking") || !has(&list[first], "tool_use") {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "messages.{first}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kind}`. When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from previous turns. To avoid this requirement, disable `thinking`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
    )))
}
