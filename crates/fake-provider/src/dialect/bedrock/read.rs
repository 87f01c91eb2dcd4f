//! Reads and checks a Converse request.

use serde_json::Value;

use super::super::Head;
use super::FAMILY;
use crate::failure::Failure;
use crate::read::{Object, base64_len, present, stranger, strings};
use crate::reply::{Ask, Choice, Tool};
use crate::seal::genuine;

const KNOWN: &[&str] = &[
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "guardrailConfig",
    "additionalModelRequestFields",
    "promptVariables",
    "additionalModelResponseFieldPaths",
    "requestMetadata",
    "performanceConfig",
    "serviceTier",
    "outputConfig",
];

const BLOCKS: &[&str] = &[
    "text",
    "image",
    "document",
    "video",
    "audio",
    "toolUse",
    "toolResult",
    "guardContent",
    "cachePoint",
    "reasoningContent",
    "citationsContent",
    "searchResult",
];

pub(super) fn read(head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
    // The real service ignores unknown top-level members; refusing them finds misspelt ones.
    if let Some(name) = stranger(body, KNOWN) {
        return Err(Failure::unknown_param(name));
    }
    let mut ask = Ask {
        model: head.model.unwrap_or_default().to_owned(),
        stream: head.stream.unwrap_or(false),
        choices: 1,
        ..Ask::default()
    };
    config(body, &mut ask)?;
    tools(body, &mut ask)?;
    for (index, block) in array(body.get("system")).iter().enumerate() {
        match block["text"].as_str() {
            Some("") => return Err(blank(&format!("system.{index}"))),
            Some(text) => ask.prompt_chars += text.len(),
            None if block["cachePoint"]["type"] == "default" || block["guardContent"].is_object() => {}
            None => return Err(no_member(&format!("system.{index}"))),
        }
    }
    let messages = array(body.get("messages"));
    if messages.is_empty() {
        return Err(Failure::invalid(
            "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
        ));
    }
    let with_tools = body.get("toolConfig").is_some();
    Messages { ask, pending: Vec::new(), with_tools }.all(messages)
}

fn array(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn blank(at: &str) -> Failure {
    Failure::invalid(format!(
        "The text field in the ContentBlock object at {at} is blank. Add text to the text field, and try again."
    ))
}

fn no_member(at: &str) -> Failure {
    Failure::invalid(format!(
        "The content field in the Message object at {at} is empty. Add a ContentBlock object to the content field and try again."
    ))
}

fn config(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    if let Some(config) = body.get("inferenceConfig").and_then(Value::as_object) {
        if let Some(name) = stranger(config, &["maxTokens", "temperature", "topP", "stopSequences"]) {
            return Err(Failure::unknown_param(format!("inferenceConfig.{name}")));
        }
        ask.max_tokens = config.get("maxTokens").and_then(Value::as_u64);
        ask.stops = strings(config.get("stopSequences"));
        if ask.max_tokens == Some(0) {
            return Err(Failure::invalid(
                "1 validation error detected: Value at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must have value greater than or equal to 1",
            ));
        }
        if config.get("temperature").and_then(Value::as_f64).is_some_and(|t| !(0.0..=1.0).contains(&t)) {
            return Err(Failure::invalid(
                "1 validation error detected: Value at 'inferenceConfig.temperature' failed to satisfy constraint: Member must have value less than or equal to 1",
            ));
        }
    }
    let format =
        body.get("outputConfig").map(|config| &config["textFormat"]).filter(|format| !format.is_null());
    if let Some(format) = format {
        let schema = format["structure"]["jsonSchema"]["schema"].as_str();
        let schema = schema.and_then(|text| serde_json::from_str(text).ok());
        let text = "outputConfig.textFormat.structure.jsonSchema.schema: must be a JSON schema as a string";
        ask.schema = Some(schema.ok_or_else(|| Failure::invalid(text))?);
    }
    Ok(())
}

fn tools(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    let Some(config) = present(body, "toolConfig") else { return Ok(()) };
    let tools = array(config.get("tools"));
    if tools.is_empty() {
        return Err(Failure::invalid(
            "1 validation error detected: Value at 'toolConfig.tools' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ));
    }
    for (index, tool) in tools.iter().enumerate() {
        let Some(spec) = tool.get("toolSpec") else { continue };
        let at = format!("toolConfig.tools.{}.member.toolSpec", index + 1);
        let name = spec["name"].as_str().unwrap_or_default();
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
            return Err(Failure::invalid(format!(
                "1 validation error detected: Value '{name}' at '{at}.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+"
            )));
        }
        if spec["description"] == "" {
            return Err(Failure::invalid(format!(
                "1 validation error detected: Value at '{at}.description' failed to satisfy constraint: Member must have length greater than or equal to 1"
            )));
        }
        if !spec["inputSchema"]["json"].is_object() {
            return Err(Failure::invalid(format!(
                "The value at {at}.inputSchema.json must be a JSON schema object."
            )));
        }
        ask.tools.push(Tool { name: name.to_owned(), schema: spec["inputSchema"]["json"].clone() });
    }
    let choice = &config["toolChoice"];
    ask.choice = match choice.as_object().and_then(|choice| choice.keys().next()).map(String::as_str) {
        None | Some("auto") => Choice::Auto,
        Some("any") => Choice::Any,
        Some("tool") => {
            let name = choice["tool"]["name"].as_str().unwrap_or_default();
            if !ask.tools.iter().any(|tool| tool.name == name) {
                return Err(Failure::invalid(format!(
                    "The tool {name} in toolChoice is not defined in toolConfig."
                )));
            }
            Choice::Named(name.to_owned())
        }
        Some(other) => return Err(Failure::unknown_param(format!("toolConfig.toolChoice.{other}"))),
    };
    Ok(())
}

/// Walks the conversation.
struct Messages {
    ask: Ask,
    pending: Vec<String>,
    with_tools: bool,
}

impl Messages {
    fn all(mut self, messages: &[Value]) -> Result<Ask, Failure> {
        let mut before = "";
        for (index, message) in messages.iter().enumerate() {
            let role = message["role"].as_str().unwrap_or_default();
            match role {
                "user" => {}
                "assistant" if index == 0 => {
                    return Err(Failure::invalid(
                        "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
                    ));
                }
                "assistant" => {}
                other => {
                    return Err(Failure::invalid(format!(
                        "1 validation error detected: Value '{other}' at 'messages.{}.member.role' failed to satisfy constraint: Member must satisfy enum value set: [user, assistant]",
                        index + 1
                    )));
                }
            }
            if role == before {
                return Err(Failure::invalid(
                    "A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant roles and try again.",
                ));
            }
            before = role;
            self.message(index, role, message)?;
        }
        if before == "assistant" && self.pending.is_empty() {
            return Err(Failure::invalid(
                "This model does not support assistant message prefill. The conversation must end with a user message.",
            ));
        }
        if !self.pending.is_empty() {
            return Err(self.unanswered(messages.len()));
        }
        Ok(self.ask)
    }

    fn unanswered(&self, index: usize) -> Failure {
        Failure::invalid(format!(
            "Expected toolResult blocks at messages.{index}.content for the following Ids: {}",
            self.pending.join(", ")
        ))
    }

    fn message(&mut self, index: usize, role: &str, message: &Value) -> Result<(), Failure> {
        let at = format!("messages.{index}");
        let blocks = array(message.get("content"));
        if blocks.is_empty() {
            return Err(no_member(&at));
        }
        if role == "user" {
            self.ask.last_user.clear();
            self.ask.ends_with_results = false;
        }
        for (n, block) in blocks.iter().enumerate() {
            self.block(index, &format!("{at}.content.{n}"), role, block)?;
        }
        if role == "user" && !self.pending.is_empty() {
            return Err(self.unanswered(index));
        }
        Ok(())
    }

    fn block(&mut self, index: usize, at: &str, role: &str, block: &Value) -> Result<(), Failure> {
        let kind =
            block.as_object().and_then(|block| block.keys().next()).map(String::as_str).unwrap_or_default();
        if block.as_object().is_none_or(|block| block.len() != 1) || !BLOCKS.contains(&kind) {
            return Err(Failure::invalid(format!("Unknown or ambiguous union member at {at}: {kind}")));
        }
        let inner = &block[kind];
        match (kind, role) {
            ("text", _) => match inner.as_str() {
                None | Some("") => Err(blank(at)),
                Some(text) => {
                    self.ask.prompt_chars += text.len();
                    if role == "user" {
                        self.ask.last_user.push_str(text);
                    }
                    Ok(())
                }
            },
            ("image", "user") => self.image(at, inner),
            ("toolUse", "assistant") => {
                if !self.with_tools {
                    return Err(Failure::invalid(
                        "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
                    ));
                }
                let id = inner["toolUseId"].as_str().unwrap_or_default();
                let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
                if id.is_empty() || id.len() > 64 || !id.chars().all(fine) {
                    return Err(Failure::invalid(format!(
                        "1 validation error detected: Value '{id}' at '{at}.member.toolUse.toolUseId' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.:-]+"
                    )));
                }
                if inner["name"].as_str().is_none_or(str::is_empty) || !inner["input"].is_object() {
                    return Err(Failure::invalid(format!(
                        "The format of the value at {at}.toolUse.input is invalid. Provide a json object for the field and try again."
                    )));
                }
                self.pending.push(id.to_owned());
                Ok(())
            }
            ("toolResult", "user") => self.result(index, at, inner),
            ("reasoningContent", "assistant") => {
                let Some(text) = inner["reasoningText"]["text"].as_str() else { return Ok(()) };
                let signature = inner["reasoningText"]["signature"].as_str().unwrap_or_default();
                if genuine(FAMILY, text, signature) {
                    return Ok(());
                }
                Err(Failure::invalid(format!(
                    "The model returned the following errors: {at}: Invalid `signature` in `thinking` block"
                )))
            }
            ("cachePoint", _) if inner["type"] != "default" => Err(Failure::invalid(format!(
                "1 validation error detected: Value at '{at}.member.cachePoint.type' failed to satisfy constraint: Member must satisfy enum value set: [default]"
            ))),
            ("image" | "toolUse" | "toolResult" | "reasoningContent", _) => {
                Err(Failure::invalid(format!("The {kind} field is not allowed in {role} messages ({at}).")))
            }
            _ => Ok(()),
        }
    }

    fn image(&mut self, at: &str, image: &Value) -> Result<(), Failure> {
        let format = image["format"].as_str().unwrap_or_default();
        if !["png", "jpeg", "gif", "webp"].contains(&format) {
            return Err(Failure::invalid(format!(
                "1 validation error detected: Value '{format}' at '{at}.member.image.format' failed to satisfy constraint: Member must satisfy enum value set: [gif, jpeg, png, webp]"
            )));
        }
        let length = image["source"]["bytes"].as_str().and_then(base64_len);
        if length.is_none() && !image["source"]["s3Location"].is_object() {
            return Err(Failure::invalid(format!("The image source at {at} is not valid base64.")));
        }
        self.ask.images.push((format!("image/{format}"), length.unwrap_or(0)));
        Ok(())
    }

    fn result(&mut self, index: usize, at: &str, result: &Value) -> Result<(), Failure> {
        let id = result["toolUseId"].as_str().unwrap_or_default();
        let Some(position) = self.pending.iter().position(|open| open == id) else {
            return Err(Failure::invalid(format!(
                "The number of toolResult blocks at messages.{index}.content exceeds the number of toolUse blocks of previous turn."
            )));
        };
        self.pending.remove(position);
        let parts = result["content"].as_array();
        let parts = parts
            .ok_or_else(|| Failure::invalid(format!("The content field at {at}.toolResult is missing.")))?;
        let mut text = String::new();
        for part in parts {
            match (part["text"].as_str(), part.get("json"), part.get("image")) {
                (Some(words), ..) => text.push_str(words),
                (_, Some(json), _) if json.is_object() => text.push_str(&json.to_string()),
                (.., Some(image)) => self.image(at, image)?,
                _ if part["document"].is_object()
                    || part["video"].is_object()
                    || part["searchResult"].is_object() => {}
                _ => {
                    return Err(Failure::invalid(format!(
                        "The format of the value at {at}.toolResult.content.0.json is invalid. Provide a json object for the field and try again."
                    )));
                }
            }
        }
        self.ask.prompt_chars += text.len();
        self.ask.tool_results.push(text);
        self.ask.ends_with_results = true;
        Ok(())
    }
}
