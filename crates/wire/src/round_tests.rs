//! A request survives the way to a provider's format and back: what does not come back has been told as a loss.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chat::{
    ChatRequest, Effort, Extra, Media, Message, OutputFormat, Part, Reasoning, Role, Sampling, Tool,
    ToolChoice,
};
use crate::dialect::{Abilities, ClientCall, Dialect, Flavor, Losses, Quirks, Target};

/// Dialects with both sides.
const BOTH_SIDES: [Dialect; 5] =
    [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock];

/// One thing a request says, and the loss that stands for it.
type Facet = (&'static str, String);

fn word() -> impl Strategy<Value = String> {
    "[A-Za-zéü🌦\"\\\\]{1,8}( [a-z]{1,6}){0,2}"
}

fn picture() -> Part {
    Part::image(Media::Base64 { mime: "image/png".into(), data: "QUJD".into() })
}

/// A user's turn, and perhaps the model's answer to it with calls and their results.
fn exchange(number: usize) -> impl Strategy<Value = Vec<Message>> {
    let said = (word(), any::<bool>()).prop_map(|(text, sees)| {
        let mut parts = vec![Part::text(text)];
        if sees {
            parts.push(picture());
        }
        Message::new(Role::User, parts)
    });
    let calls = prop::collection::vec((0..3_usize, word(), word(), any::<bool>()), 0..3);
    (said, prop::option::of((word(), calls))).prop_map(move |(said, answer)| {
        let mut turns = vec![said];
        let Some((text, calls)) = answer else { return turns };
        let mut parts = vec![Part::text(text)];
        let mut results = Vec::new();
        for (index, (tool, argument, outcome, is_error)) in calls.into_iter().enumerate() {
            let id = format!("call_{number}_{index}");
            let arguments = json!({ "q": argument, "n": index }).to_string();
            parts.push(Part::tool_call(&id, format!("f{tool}"), arguments));
            let mut result = Part::tool_result(&id, vec![Part::text(outcome)]);
            if let Part::ToolResult { is_error: failed, .. } = &mut result {
                *failed = is_error;
            }
            results.push(result);
        }
        turns.push(Message::new(Role::Assistant, parts));
        if !results.is_empty() {
            turns.push(Message::new(Role::Tool, results));
        }
        turns
    })
}

fn tools() -> impl Strategy<Value = Vec<Tool>> {
    prop::collection::vec((prop::option::of(word()), prop::option::of(any::<bool>())), 3).prop_map(|tools| {
        let function =
            |(index, (description, strict)): (usize, (Option<String>, Option<bool>))| Tool::Function {
                name: format!("f{index}"),
                description,
                parameters: Some(json!({"type": "object", "properties": {"q": {"type": "string"}}})),
                strict,
                cache: None,
                extra: Extra::default(),
            };
        tools.into_iter().enumerate().map(function).collect()
    })
}

fn choice() -> impl Strategy<Value = Option<ToolChoice>> {
    prop::option::of(prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::Required),
        Just(ToolChoice::Named("f1".to_owned())),
    ])
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let number =
        |from: f64| prop::option::of(Just(serde_json::Number::from_f64(from)).prop_map(Option::unwrap));
    (
        // Anthropic insists on a bound and is given one.
        (5000..9000_u64).prop_map(Some),
        number(0.5),
        number(0.97),
        prop::option::of(1..50_u64),
        prop::collection::vec("[a-z]{1,4}", 0..2),
        prop::option::of(any::<i32>().prop_map(i64::from)),
        number(0.25),
        number(-0.25),
    )
        .prop_map(|(max, temperature, top_p, top_k, stop, seed, presence, frequency)| Sampling {
            max_output_tokens: max,
            temperature,
            top_p,
            top_k,
            stop,
            seed,
            presence_penalty: presence,
            frequency_penalty: frequency,
            ..Sampling::default()
        })
}

fn output() -> impl Strategy<Value = OutputFormat> {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    let named = OutputFormat::JsonSchema { name: Some("x".into()), description: None, schema, strict: None };
    prop_oneof![Just(OutputFormat::Text), Just(named)]
}

fn reasoning() -> impl Strategy<Value = Option<Reasoning>> {
    let effort = prop_oneof![Just(Effort::Low), Just(Effort::Medium), Just(Effort::High)];
    prop::option::of(effort)
        .prop_map(|effort| effort.map(|effort| Reasoning { effort: Some(effort), ..Reasoning::default() }))
}

fn request() -> impl Strategy<Value = ChatRequest> {
    let turns = (prop::option::of(word()), exchange(0), exchange(1), word());
    let wishes = (sampling(), output(), reasoning(), prop::option::of(any::<bool>()));
    (turns, tools(), choice(), wishes, prop::option::of("[a-z]{3,9}")).prop_map(
        |((system, first, second, last), tools, tool_choice, wishes, user)| {
            let (sampling, output, reasoning, parallel_tools) = wishes;
            let mut messages: Vec<Message> =
                system.into_iter().map(|text| Message::text(Role::System, text)).collect();
            messages.extend(first);
            messages.extend(second);
            messages.push(Message::text(Role::User, last));
            ChatRequest {
                model: "m".to_owned(),
                messages,
                tools,
                tool_choice,
                parallel_tools,
                sampling,
                output,
                reasoning,
                user,
                ..ChatRequest::default()
            }
        },
    )
}

/// The conversation, however it is cut into messages: text that follows text of the same speaker is one.
fn conversation(request: &ChatRequest) -> Vec<Value> {
    let mut said: Vec<Value> = Vec::new();
    for message in &request.messages {
        let speaker = match message.role {
            Role::Developer => Role::System,
            other => other,
        };
        for part in &message.parts {
            let item = match part {
                Part::Text { text, .. } => {
                    if let Some(Value::String(before)) = said
                        .last_mut()
                        .filter(|last| last["by"] == json!(speaker))
                        .map(|last| &mut last["text"])
                    {
                        before.push_str(text);
                        continue;
                    }
                    json!({"by": speaker, "text": text})
                }
                Part::Image { media, .. } => json!({"by": speaker, "picture": media}),
                Part::ToolCall { id, name, arguments, .. } => {
                    json!({"call": id, "name": name, "with": crate::json::arguments(arguments)})
                }
                Part::ToolResult { id, content, .. } => {
                    let text: String = content.iter().filter_map(Part::as_text).collect();
                    json!({"answers": id, "text": text})
                }
                other => json!({"other": other}),
            };
            said.push(item);
        }
    }
    said
}

fn facets(request: &ChatRequest) -> Vec<Facet> {
    let sampling = &request.sampling;
    let failed: Vec<bool> = request
        .messages
        .iter()
        .flat_map(|message| &message.parts)
        .filter_map(|part| match part {
            Part::ToolResult { is_error, .. } => Some(*is_error),
            _ => None,
        })
        .collect();
    let (mut offers, mut strict) = (Vec::new(), Vec::new());
    for tool in &request.tools {
        if let Tool::Function { name, description, parameters, strict: is_strict, .. } = tool {
            offers.push((name, description, parameters));
            strict.push(is_strict.unwrap_or(false));
        }
    }
    let schema = match &request.output {
        OutputFormat::JsonSchema { schema, .. } => Some(schema),
        _ => None,
    };
    let effort = request.reasoning.as_ref().and_then(|wish| wish.effort.as_ref());
    // The choice a model makes without being told.
    let choice = request.tool_choice.as_ref().filter(|choice| **choice != ToolChoice::Auto);
    vec![
        ("", format!("{:?}", conversation(request))),
        ("", format!("{offers:?}")),
        ("", format!("{schema:?}")),
        ("", format!("{choice:?}")),
        ("tool_result.is_error", format!("{failed:?}")),
        ("tool.strict", format!("{strict:?}")),
        ("parallel_tools", format!("{:?}", request.parallel_tools == Some(false))),
        ("reasoning", format!("{effort:?}")),
        ("sampling.max_output_tokens", format!("{:?}", sampling.max_output_tokens)),
        ("sampling.temperature", format!("{:?}", sampling.temperature)),
        ("sampling.top_p", format!("{:?}", sampling.top_p)),
        ("sampling.top_k", format!("{:?}", sampling.top_k)),
        ("sampling.stop", format!("{:?}", sampling.stop)),
        ("sampling.seed", format!("{:?}", sampling.seed)),
        ("sampling.presence_penalty", format!("{:?}", sampling.presence_penalty)),
        ("sampling.frequency_penalty", format!("{:?}", sampling.frequency_penalty)),
        ("user", format!("{:?}", request.user)),
    ]
}

/// A model that can do everything.
fn able() -> Abilities {
    Abilities {
        json_schema: Some(true),
        reasoning: Some(true),
        adaptive_thinking: true,
        effort_config: true,
        vision: Some(true),
        system_messages: Some(true),
        tools: Some(true),
        ..Abilities::default()
    }
}

/// There and back; the losses of the way.
fn around(dialect: Dialect, request: &ChatRequest) -> (ChatRequest, Vec<String>) {
    let quirks =
        Quirks { max_completion_tokens: true, knows_max_completion_tokens: true, ..Quirks::default() };
    let model = if dialect == Dialect::Gemini { "gemini-3.5-flash" } else { "anthropic.claude-opus-4-7" };
    let (flavor, abilities) = (Flavor::Plain, able());
    let target =
        Target { provider: "x", model, flavor, abilities, quirks: &quirks, may_modify: false, betas: vec![] };
    let mut losses = Losses::default();
    let body = dialect.provider().unwrap().body(request, &target, &mut losses).unwrap();
    let call = ClientCall { path_model: Some("m"), ..ClientCall::default() };
    let back = dialect.client().unwrap().decode(&body, &call);
    let back = back.unwrap_or_else(|bad| panic!("{dialect:?}: {bad}: {}", String::from_utf8_lossy(&body)));
    (back, losses.into_names())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_does_not_come_back_has_been_told(request in request()) {
        for dialect in BOTH_SIDES {
            let (back, losses) = around(dialect, &request);
            for ((loss, before), (_, after)) in facets(&request).into_iter().zip(facets(&back)) {
                let told = losses.iter().any(|name| !loss.is_empty() && name.starts_with(loss));
                prop_assert!(told || before == after,
                    "{dialect:?}, `{loss}`: {before} became {after}; losses {losses:?}");
            }
        }
    }

    #[test]
    fn a_second_way_changes_nothing_more(request in request()) {
        for dialect in BOTH_SIDES {
            let (once, _) = around(dialect, &request);
            let (twice, _) = around(dialect, &once);
            prop_assert_eq!(facets(&twice), facets(&once), "{:?}", dialect);
        }
    }
}
