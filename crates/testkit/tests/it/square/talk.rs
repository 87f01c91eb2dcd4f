//! One conversation in words of no dialect, and how each client dialect writes it.

use serde_json::{Map, Value, json};

/// A PNG of one white pixel, 70 bytes.
pub const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg==";

/// The client dialects, in the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    Chat,
    Responses,
    Anthropic,
    Gemini,
    Bedrock,
}

/// One turn.
#[derive(Debug, Clone)]
pub enum Turn {
    User(&'static str),
    /// Text and [`PIXEL`].
    Picture(&'static str),
    Said(&'static str),
    /// Calls of `weather`: id and city.
    Calls(&'static [(&'static str, &'static str)]),
    /// Results: id and text.
    Results(&'static [(&'static str, &'static str)]),
    /// One result of text and [`PIXEL`].
    Photo(&'static str),
    /// What the client got before, in its own dialect.
    Echo(Vec<Value>),
}

/// What a client asks.
#[derive(Debug, Clone, Default)]
pub struct Talk {
    pub turns: Vec<Turn>,
    pub tools: bool,
    pub schema: bool,
    pub reasoning: bool,
    pub stop: bool,
}

pub fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": false})
}

/// What every conversation's system prompt says.
pub const SYSTEM: &str = "Be brief, conductor.";

const ABOUT: &str = "Weather of a city";

impl Client {
    pub const ALL: [Self; 5] = [Self::Chat, Self::Responses, Self::Anthropic, Self::Gemini, Self::Bedrock];

    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "OpenAI chat",
            Self::Responses => "OpenAI responses",
            Self::Anthropic => "Anthropic messages",
            Self::Gemini => "Gemini",
            Self::Bedrock => "Bedrock Converse",
        }
    }

    pub fn path(self, model: &str, stream: bool) -> String {
        match (self, stream) {
            (Self::Chat, _) => "/v1/chat/completions".to_owned(),
            (Self::Responses, _) => "/v1/responses".to_owned(),
            (Self::Anthropic, _) => "/v1/messages".to_owned(),
            (Self::Gemini, false) => format!("/v1beta/models/{model}:generateContent"),
            (Self::Gemini, true) => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
            (Self::Bedrock, false) => format!("/model/{model}/converse"),
            (Self::Bedrock, true) => format!("/model/{model}/converse-stream"),
        }
    }

    /// The request body.
    pub fn write(self, talk: &Talk, model: &str, stream: bool) -> Value {
        let turns: Vec<Value> = talk.turns.iter().flat_map(|turn| self.turn(turn)).collect();
        let mut body = match self {
            Self::Chat => chat(talk, turns, stream),
            Self::Responses => responses(talk, turns),
            Self::Anthropic => anthropic(talk, turns),
            Self::Gemini => return gemini(talk, turns),
            Self::Bedrock => return bedrock(talk, turns),
        };
        body["model"] = model.into();
        body["stream"] = stream.into();
        body
    }

    fn turn(self, turn: &Turn) -> Vec<Value> {
        match self {
            Self::Chat => chat_turn(turn),
            Self::Responses => responses_turn(turn),
            Self::Anthropic => vec![anthropic_turn(turn)],
            Self::Gemini => vec![gemini_turn(turn)],
            Self::Bedrock => vec![bedrock_turn(turn)],
        }
    }
}

fn data_url() -> String {
    format!("data:image/png;base64,{PIXEL}")
}

fn chat(talk: &Talk, mut turns: Vec<Value>, stream: bool) -> Value {
    turns.insert(0, json!({"role": "system", "content": SYSTEM}));
    let mut body = json!({"messages": turns, "max_tokens": 4000});
    if stream {
        body["stream_options"] = json!({"include_usage": true});
    }
    if talk.tools {
        body["tools"] = json!([{"type": "function", "function": {"name": "weather", "description": ABOUT, "parameters": schema()}}]);
    }
    if talk.schema {
        body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "place", "schema": schema(), "strict": true}});
    }
    if talk.reasoning {
        body["reasoning_effort"] = "low".into();
    }
    if talk.stop {
        body["stop"] = json!(["HALT"]);
    }
    body
}

fn chat_turn(turn: &Turn) -> Vec<Value> {
    let result = |id: &str, content: Value| json!({"role": "tool", "tool_call_id": id, "content": content});
    let text = |text: &str| json!({"type": "text", "text": text});
    let picture = json!({"type": "image_url", "image_url": {"url": data_url()}});
    match turn {
        Turn::User(words) => vec![json!({"role": "user", "content": words})],
        Turn::Picture(words) => vec![json!({"role": "user", "content": [text(words), picture]})],
        Turn::Said(words) => vec![json!({"role": "assistant", "content": words})],
        Turn::Calls(calls) => {
            let call = |(id, city): &(&str, &str)| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": json!({"city": city}).to_string()}});
            vec![
                json!({"role": "assistant", "content": null, "tool_calls": calls.iter().map(call).collect::<Vec<_>>()}),
            ]
        }
        Turn::Results(results) => results.iter().map(|(id, words)| result(id, json!(words))).collect(),
        Turn::Photo(id) => vec![result(id, json!([text("a photo"), picture]))],
        Turn::Echo(items) => items.clone(),
    }
}

fn responses(talk: &Talk, turns: Vec<Value>) -> Value {
    let mut body = json!({"instructions": SYSTEM, "input": turns, "max_output_tokens": 4000, "store": false});
    if talk.tools {
        body["tools"] = json!([{"type": "function", "name": "weather", "description": ABOUT, "parameters": schema(), "strict": true}]);
    }
    if talk.schema {
        body["text"] =
            json!({"format": {"type": "json_schema", "name": "place", "schema": schema(), "strict": true}});
    }
    if talk.reasoning {
        body["reasoning"] = json!({"effort": "low", "summary": "auto"});
        body["include"] = json!(["reasoning.encrypted_content"]);
    }
    body
}

fn responses_turn(turn: &Turn) -> Vec<Value> {
    let text = |text: &str| json!({"type": "input_text", "text": text});
    let picture = json!({"type": "input_image", "image_url": data_url(), "detail": "auto"});
    let result =
        |id: &str, output: Value| json!({"type": "function_call_output", "call_id": id, "output": output});
    match turn {
        Turn::User(words) => vec![json!({"role": "user", "content": words})],
        Turn::Picture(words) => vec![json!({"role": "user", "content": [text(words), picture]})],
        Turn::Said(words) => vec![json!({"role": "assistant", "content": words})],
        Turn::Calls(calls) => {
            let call = |(id, city): &(&str, &str)| json!({"type": "function_call", "call_id": id, "name": "weather", "arguments": json!({"city": city}).to_string()});
            calls.iter().map(call).collect()
        }
        Turn::Results(results) => results.iter().map(|(id, words)| result(id, json!(words))).collect(),
        Turn::Photo(id) => vec![result(id, json!([text("a photo"), picture]))],
        Turn::Echo(items) => items.clone(),
    }
}

fn anthropic(talk: &Talk, turns: Vec<Value>) -> Value {
    let mut body = json!({"system": SYSTEM, "messages": turns, "max_tokens": 4000});
    if talk.tools {
        body["tools"] = json!([{"name": "weather", "description": ABOUT, "input_schema": schema()}]);
    }
    if talk.schema {
        body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema()}});
    }
    if talk.reasoning {
        body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    }
    if talk.stop {
        body["stop_sequences"] = json!(["HALT"]);
    }
    body
}

fn anthropic_turn(turn: &Turn) -> Value {
    let text = |text: &str| json!({"type": "text", "text": text});
    let picture =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}});
    let result =
        |id: &str, content: Value| json!({"type": "tool_result", "tool_use_id": id, "content": content});
    let (role, content) = match turn {
        Turn::User(words) => ("user", vec![text(words)]),
        Turn::Picture(words) => ("user", vec![text(words), picture]),
        Turn::Said(words) => ("assistant", vec![text(words)]),
        Turn::Calls(calls) => {
            let call = |(id, city): &(&str, &str)| json!({"type": "tool_use", "id": id, "name": "weather", "input": {"city": city}});
            ("assistant", calls.iter().map(call).collect())
        }
        Turn::Results(results) => {
            ("user", results.iter().map(|(id, words)| result(id, json!(words))).collect())
        }
        Turn::Photo(id) => ("user", vec![result(id, json!([text("a photo"), picture]))]),
        Turn::Echo(items) => ("assistant", items.clone()),
    };
    json!({"role": role, "content": content})
}

fn gemini(talk: &Talk, turns: Vec<Value>) -> Value {
    let mut config = Map::from_iter([("maxOutputTokens".to_owned(), json!(4000))]);
    if talk.schema {
        config.insert("responseMimeType".to_owned(), json!("application/json"));
        config.insert("responseJsonSchema".to_owned(), schema());
    }
    if talk.reasoning {
        config.insert("thinkingConfig".to_owned(), json!({"includeThoughts": true, "thinkingBudget": 1024}));
    }
    if talk.stop {
        config.insert("stopSequences".to_owned(), json!(["HALT"]));
    }
    let mut body = json!({"systemInstruction": {"parts": [{"text": SYSTEM}]}, "contents": turns, "generationConfig": config});
    if talk.tools {
        body["tools"] = json!([{"functionDeclarations": [{"name": "weather", "description": ABOUT, "parametersJsonSchema": schema()}]}]);
    }
    body
}

fn gemini_turn(turn: &Turn) -> Value {
    let text = |text: &str| json!({"text": text});
    let picture = json!({"inlineData": {"mimeType": "image/png", "data": PIXEL}});
    let (role, parts) = match turn {
        Turn::User(words) => ("user", vec![text(words)]),
        Turn::Picture(words) => ("user", vec![text(words), picture]),
        Turn::Said(words) => ("model", vec![text(words)]),
        Turn::Calls(calls) => {
            let call = |(id, city): &(&str, &str)| json!({"functionCall": {"id": id, "name": "weather", "args": {"city": city}}});
            ("model", calls.iter().map(call).collect())
        }
        Turn::Results(results) => {
            let result = |(id, words): &(&str, &str)| json!({"functionResponse": {"id": id, "name": "weather", "response": {"result": words}}});
            ("user", results.iter().map(result).collect())
        }
        Turn::Photo(id) => {
            let response =
                json!({"id": id, "name": "weather", "response": {"result": "a photo"}, "parts": [picture]});
            ("user", vec![json!({"functionResponse": response})])
        }
        Turn::Echo(items) => ("model", items.clone()),
    };
    json!({"role": role, "parts": parts})
}

fn bedrock(talk: &Talk, turns: Vec<Value>) -> Value {
    let mut body =
        json!({"system": [{"text": SYSTEM}], "messages": turns, "inferenceConfig": {"maxTokens": 4000}});
    if talk.tools {
        body["toolConfig"] = json!({"tools": [{"toolSpec": {"name": "weather", "description": ABOUT, "inputSchema": {"json": schema()}}}]});
    }
    if talk.schema {
        let structure = json!({"jsonSchema": {"name": "place", "schema": schema().to_string()}});
        body["outputConfig"] = json!({"textFormat": {"type": "json_schema", "structure": structure}});
    }
    if talk.reasoning {
        body["additionalModelRequestFields"] =
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    }
    if talk.stop {
        body["inferenceConfig"]["stopSequences"] = json!(["HALT"]);
    }
    body
}

fn bedrock_turn(turn: &Turn) -> Value {
    let text = |text: &str| json!({"text": text});
    let picture = json!({"image": {"format": "png", "source": {"bytes": PIXEL}}});
    let result = |id: &str, content: Value| json!({"toolResult": {"toolUseId": id, "content": content}});
    let (role, content) = match turn {
        Turn::User(words) => ("user", vec![text(words)]),
        Turn::Picture(words) => ("user", vec![text(words), picture]),
        Turn::Said(words) => ("assistant", vec![text(words)]),
        Turn::Calls(calls) => {
            let call = |(id, city): &(&str, &str)| json!({"toolUse": {"toolUseId": id, "name": "weather", "input": {"city": city}}});
            ("assistant", calls.iter().map(call).collect())
        }
        Turn::Results(results) => {
            ("user", results.iter().map(|(id, words)| result(id, json!([text(words)]))).collect())
        }
        Turn::Photo(id) => ("user", vec![result(id, json!([text("a photo"), picture]))]),
        Turn::Echo(items) => ("assistant", items.clone()),
    };
    json!({"role": role, "content": content})
}
