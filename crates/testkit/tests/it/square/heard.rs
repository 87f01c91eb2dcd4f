//! What a provider received, read from its own dialect.

use serde_json::Value;

/// A request in words of no dialect.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    pub system: String,
    /// Texts of user and assistant turns.
    pub said: String,
    /// Each tool that has a schema with `city` in it.
    pub tools: Vec<String>,
    /// Ids (names, where the dialect has no ids) of calls made earlier.
    pub calls: Vec<String>,
    /// Id (or name) and text of each result.
    pub results: Vec<(String, String)>,
    /// Pictures outside of results.
    pub pictures: usize,
    /// Pictures inside of results.
    pub result_pictures: usize,
    /// Signatures of reasoning sent back.
    pub signatures: usize,
    /// A schema that the answer must fit is named.
    pub schema: bool,
    /// Reasoning is asked for.
    pub reasoning: bool,
    /// The stop sequence is there.
    pub stop: bool,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The texts of a string or of a list of blocks with `text`.
fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().map(|block| text(&block["text"])).collect::<Vec<_>>().join(" "),
        other => text(&other["text"]).to_owned(),
    }
}

fn has_city(schema: &Value) -> bool {
    schema["properties"]["city"].is_object()
}

fn count(blocks: &Value, is_picture: impl Fn(&Value) -> bool) -> usize {
    list(blocks).iter().filter(|block| is_picture(block)).count()
}

/// Reads the body that `provider` (a column of the page) received at `path`.
pub fn read(provider: &str, path: &str, body: &Value) -> Heard {
    match provider {
        // OpenAI serves both of its formats; a client of the newer one reaches it natively.
        _ if path.ends_with("/responses") => responses(body),
        "anthropic" | "vertex-anthropic" => anthropic(body),
        "gemini" => gemini(body),
        "bedrock" => bedrock(body),
        "ollama" => ollama(body),
        // Cohere's v2 messages have the shape of OpenAI's.
        _ => chat(body),
    }
}

fn chat(body: &Value) -> Heard {
    let mut heard = Heard {
        schema: has_city(&body["response_format"]["json_schema"]["schema"])
            || has_city(&body["response_format"]["json_schema"])
            || has_city(&body["response_format"]["schema"])
            || forced_tool(
                &body["tool_choice"],
                list(&body["tools"]).iter().map(|tool| &tool["function"]["parameters"]),
            ),
        reasoning: body["reasoning_effort"].is_string() || body["thinking"].is_object(),
        stop: body["stop"] == "HALT" || body["stop"][0] == "HALT" || body["stop_sequences"][0] == "HALT",
        ..Heard::default()
    };
    for tool in list(&body["tools"]).iter().filter(|tool| has_city(&tool["function"]["parameters"])) {
        heard.tools.push(text(&tool["function"]["name"]).to_owned());
    }
    let picture = |block: &Value| text(&block["image_url"]["url"]).starts_with("data:image/png;base64,");
    for message in list(&body["messages"]) {
        let content = &message["content"];
        match text(&message["role"]) {
            "system" | "developer" => heard.system += &texts(content),
            "tool" => {
                let words = match content {
                    Value::Array(blocks) if blocks.iter().any(|block| block["document"].is_object()) => {
                        blocks.iter().map(|block| block["document"]["data"].to_string()).collect()
                    }
                    other => texts(other),
                };
                heard.results.push((text(&message["tool_call_id"]).to_owned(), words));
                heard.result_pictures += count(content, picture);
            }
            _ => {
                heard.said += &format!("{} ", texts(content));
                heard.pictures += count(content, picture);
                heard
                    .calls
                    .extend(list(&message["tool_calls"]).iter().map(|call| text(&call["id"]).to_owned()));
            }
        }
    }
    heard
}

/// A tool that must be called stands in for a schema where a dialect has none.
fn forced_tool<'a>(choice: &Value, mut schemas: impl Iterator<Item = &'a Value>) -> bool {
    !choice.is_null() && choice != "auto" && schemas.any(has_city)
}

fn responses(body: &Value) -> Heard {
    let mut heard = Heard {
        system: text(&body["instructions"]).to_owned(),
        schema: has_city(&body["text"]["format"]["schema"]),
        reasoning: body["reasoning"].is_object(),
        ..Heard::default()
    };
    for tool in list(&body["tools"]).iter().filter(|tool| has_city(&tool["parameters"])) {
        heard.tools.push(text(&tool["name"]).to_owned());
    }
    let picture = |block: &Value| block["type"] == "input_image";
    for item in list(&body["input"]) {
        match text(&item["type"]) {
            "function_call" => heard.calls.push(text(&item["call_id"]).to_owned()),
            "function_call_output" => {
                heard.results.push((text(&item["call_id"]).to_owned(), texts(&item["output"])));
                heard.result_pictures += count(&item["output"], picture);
            }
            "reasoning" => heard.signatures += usize::from(!text(&item["encrypted_content"]).is_empty()),
            _ if matches!(text(&item["role"]), "system" | "developer") => {
                heard.system += &texts(&item["content"])
            }
            _ => {
                heard.said += &format!("{} ", texts(&item["content"]));
                heard.pictures += count(&item["content"], picture);
            }
        }
    }
    heard
}

fn anthropic(body: &Value) -> Heard {
    let mut heard = Heard {
        system: texts(&body["system"]),
        schema: has_city(&body["output_config"]["format"]["schema"])
            || has_city(&body["output_format"]["schema"])
            || forced_tool(
                &body["tool_choice"],
                list(&body["tools"]).iter().map(|tool| &tool["input_schema"]),
            ),
        reasoning: body["thinking"].is_object(),
        stop: body["stop_sequences"][0] == "HALT",
        ..Heard::default()
    };
    for tool in list(&body["tools"]).iter().filter(|tool| has_city(&tool["input_schema"])) {
        heard.tools.push(text(&tool["name"]).to_owned());
    }
    let picture = |block: &Value| block["type"] == "image";
    for message in list(&body["messages"]) {
        let content = &message["content"];
        heard.said += &format!("{} ", texts(content));
        heard.pictures += count(content, picture);
        for block in list(content) {
            match text(&block["type"]) {
                "tool_use" => heard.calls.push(text(&block["id"]).to_owned()),
                "tool_result" => {
                    heard.results.push((text(&block["tool_use_id"]).to_owned(), texts(&block["content"])));
                    heard.result_pictures += count(&block["content"], picture);
                }
                "thinking" => heard.signatures += usize::from(!text(&block["signature"]).is_empty()),
                _ => {}
            }
        }
    }
    heard
}

fn gemini(body: &Value) -> Heard {
    let config = &body["generationConfig"];
    let mut heard = Heard {
        system: texts(&body["systemInstruction"]["parts"]),
        schema: has_city(&config["responseJsonSchema"]) || has_city(&config["responseSchema"]),
        reasoning: config["thinkingConfig"].is_object(),
        stop: config["stopSequences"][0] == "HALT",
        ..Heard::default()
    };
    for tool in list(&body["tools"]).iter().flat_map(|tools| list(&tools["functionDeclarations"])) {
        if has_city(&tool["parametersJsonSchema"]) || has_city(&tool["parameters"]) {
            heard.tools.push(text(&tool["name"]).to_owned());
        }
    }
    let picture = |part: &Value| part["inlineData"].is_object();
    let name = |call: &Value| text(call.get("id").unwrap_or(&call["name"])).to_owned();
    for part in list(&body["contents"]).iter().flat_map(|content| list(&content["parts"])) {
        heard.said += &format!("{} ", text(&part["text"]));
        heard.pictures += usize::from(picture(part));
        heard.signatures += usize::from(!text(&part["thoughtSignature"]).is_empty());
        if let Some(call) = part.get("functionCall") {
            heard.calls.push(name(call));
        }
        if let Some(result) = part.get("functionResponse") {
            heard.results.push((name(result), result["response"].to_string()));
            heard.result_pictures += count(&result["parts"], picture);
        }
    }
    heard
}

fn bedrock(body: &Value) -> Heard {
    let specs = || list(&body["toolConfig"]["tools"]).iter().map(|tool| &tool["toolSpec"]);
    let format = &body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"];
    let mut heard = Heard {
        system: texts(&body["system"]),
        schema: text(format).contains("\"city\"")
            || forced_tool(
                &body["toolConfig"]["toolChoice"],
                specs().map(|spec| &spec["inputSchema"]["json"]),
            ),
        reasoning: body["additionalModelRequestFields"]["thinking"].is_object(),
        stop: body["inferenceConfig"]["stopSequences"][0] == "HALT",
        ..Heard::default()
    };
    for spec in specs().filter(|spec| has_city(&spec["inputSchema"]["json"])) {
        heard.tools.push(text(&spec["name"]).to_owned());
    }
    let picture = |block: &Value| block["image"]["format"] == "png";
    for message in list(&body["messages"]) {
        heard.said += &format!("{} ", texts(&message["content"]));
        heard.pictures += count(&message["content"], picture);
        for block in list(&message["content"]) {
            let signature = &block["reasoningContent"]["reasoningText"]["signature"];
            heard.signatures += usize::from(!text(signature).is_empty());
            if let Some(call) = block.get("toolUse") {
                heard.calls.push(text(&call["toolUseId"]).to_owned());
            }
            if let Some(result) = block.get("toolResult") {
                heard.results.push((text(&result["toolUseId"]).to_owned(), texts(&result["content"])));
                heard.result_pictures += count(&result["content"], picture);
            }
        }
    }
    heard
}

fn ollama(body: &Value) -> Heard {
    let mut heard = Heard {
        schema: has_city(&body["format"]),
        reasoning: !body["think"].is_null(),
        stop: body["options"]["stop"][0] == "HALT",
        ..Heard::default()
    };
    for tool in list(&body["tools"]).iter().filter(|tool| has_city(&tool["function"]["parameters"])) {
        heard.tools.push(text(&tool["function"]["name"]).to_owned());
    }
    for message in list(&body["messages"]) {
        let content = texts(&message["content"]);
        let pictures = list(&message["images"]).len();
        match text(&message["role"]) {
            "system" => heard.system += &content,
            "tool" => {
                let id = message.get("tool_call_id").unwrap_or(&message["tool_name"]);
                heard.results.push((text(id).to_owned(), content));
                heard.result_pictures += pictures;
            }
            _ => {
                heard.said += &format!("{content} ");
                heard.pictures += pictures;
                heard.calls.extend(
                    list(&message["tool_calls"])
                        .iter()
                        .map(|call| text(call.get("id").unwrap_or(&call["function"]["name"])).to_owned()),
                );
            }
        }
    }
    heard
}
