//! From what was asked and the scenario to the answer, in words every dialect shares.

use serde_json::{Map, Value};

use crate::failure::{Class, Failure};
use crate::sample::{sample, schema_of_tool};
use crate::scenario::{Kind, Scenario, Usage};
use crate::seal::fingerprint;
use crate::steps::Step;

/// A tool as declared.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub name: String,
    pub schema: Value,
}

/// What `tool_choice` or its like asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Choice {
    #[default]
    Auto,
    None,
    Any,
    Named(String),
}

/// What a dialect read from a request.
#[derive(Debug, Default)]
pub(crate) struct Ask {
    /// The id of the answer, where the dialect sets it on reading.
    pub id: String,
    /// Seconds since 1970, where the dialect needs the same time in all events.
    pub created: u64,
    pub model: String,
    pub stream: bool,
    pub last_user: String,
    /// Texts of all tool results of the conversation, oldest first.
    pub tool_results: Vec<String>,
    /// The conversation ends with tool results.
    pub ends_with_results: bool,
    pub tools: Vec<Tool>,
    pub choice: Choice,
    pub serial_tools: bool,
    /// Media type and length in bytes of each image, decoded.
    pub images: Vec<(String, usize)>,
    /// The schema the answer must fit; an empty object for "any JSON".
    pub schema: Option<Value>,
    pub max_tokens: Option<u64>,
    pub stops: Vec<String>,
    /// Characters of the prompt, for the estimate of its tokens.
    pub prompt_chars: usize,
    pub choices: usize,
    pub include_usage: bool,
    /// What only the dialect itself understands, e.g. Azure's flavour or the echoed request.
    pub flavour: Flavour,
    pub echo: Map<String, Value>,
}

/// Variants of a dialect that differ on the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Flavour {
    #[default]
    Plain,
    Azure,
    /// Gemini on Vertex AI.
    Vertex,
    /// Gemini's stream as a JSON array.
    JsonArray,
    /// Ollama's `/api/generate`.
    Generate,
}

/// One part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Reasoning { deltas: Vec<String>, seal: String },
    Text { deltas: Vec<String> },
    Cited { deltas: Vec<String>, source: &'static str },
    Call { id: String, name: String, arguments: Value },
    Refusal(String),
}

/// Why the answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
    Calls,
    Filter,
    Sequence(String),
    Refused,
    /// The prompt was blocked, and the dialect says so in an answer.
    Blocked,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub parts: Vec<Part>,
    pub finish: Finish,
    pub usage: Usage,
}

/// The quoted source of the citations scenario.
pub(crate) const CITED_URL: &str = "https://example.com/fares";

impl Reply {
    /// An answer of nothing.
    pub(crate) fn empty() -> Self {
        Self { parts: Vec::new(), finish: Finish::Stop, usage: Usage::default() }
    }

    /// What is left of an answer whose prompt was blocked.
    pub(crate) fn blocked(ask: &Ask) -> Self {
        Self { finish: Finish::Blocked, usage: estimate(ask, &[]), ..Self::empty() }
    }

    /// The text of all text parts.
    pub(crate) fn text(&self) -> String {
        let deltas = self.parts.iter().flat_map(|part| match part {
            Part::Text { deltas } | Part::Cited { deltas, .. } => deltas.as_slice(),
            _ => &[],
        });
        deltas.map(String::as_str).collect()
    }

    /// The reasoning text, if there is any.
    pub(crate) fn reasoning(&self) -> Option<String> {
        self.parts.iter().find_map(|part| match part {
            Part::Reasoning { deltas, .. } => Some(deltas.concat()),
            _ => None,
        })
    }

    /// Id, name and arguments of each tool call.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Call { id, name, arguments } => Some((id.as_str(), name.as_str(), arguments)),
            _ => None,
        })
    }
}

/// How a dialect writes ids and seals; both are deterministic.
pub(crate) struct Style {
    /// Prefix of tool call ids, e.g. `call_`.
    pub call_prefix: &'static str,
    /// Whose reasoning seals these are.
    pub family: &'static str,
}

/// Composes the answer.
///
/// # Errors
///
/// The scripted failure.
pub(crate) fn compose(ask: &Ask, scenario: &Scenario, style: &Style) -> Result<Reply, Failure> {
    if let Some(failure) = &scenario.failure {
        return Err(failure.clone());
    }
    if scenario.faults.error_after.is_some() && !ask.stream {
        return Err(Failure::new(Class::Internal));
    }
    if let Some(step) = scenario.steps.as_ref().and_then(|steps| steps.next(ask)) {
        return Ok(stepped(ask, step, style));
    }
    let mut parts = Vec::new();
    let turn = agent_turn(ask);
    if scenario.reasoning || (scenario.kind == Kind::Agent && turn == 0) {
        parts.push(reasoning(ask, style));
    }
    let calls = calls_wanted(ask, scenario, turn);
    let mut finish = Finish::Stop;
    if calls.is_empty() {
        let (part, why) = text_part(ask, scenario);
        parts.push(part);
        finish = why;
    } else {
        if scenario.kind == Kind::Agent && turn == 0 {
            parts.push(Part::Text { deltas: words("I will look that up.") });
        }
        for (index, tool) in calls.iter().enumerate() {
            let id = call_id(style.call_prefix, ask, index);
            let arguments = sample(&schema_of_tool(tool), index + ask.tool_results.len());
            parts.push(Part::Call { id, name: tool.name.clone(), arguments });
            finish = Finish::Calls;
        }
    }
    let usage = scenario.usage.unwrap_or_else(|| estimate(ask, &parts));
    Ok(Reply { parts, finish, usage })
}

/// The answer that is one step of a task.
fn stepped(ask: &Ask, step: &Step, style: &Style) -> Reply {
    let mut parts = Vec::new();
    if step.reasoning {
        parts.push(reasoning(ask, style));
    }
    if let Some(text) = &step.text {
        parts.push(Part::Text { deltas: words(text) });
    }
    for (index, (name, arguments)) in step.calls.iter().enumerate() {
        let id = call_id(style.call_prefix, ask, index);
        parts.push(Part::Call { id, name: name.clone(), arguments: arguments.clone() });
    }
    let finish = if step.calls.is_empty() { Finish::Stop } else { Finish::Calls };
    Reply { usage: estimate(ask, &parts), parts, finish }
}

fn reasoning(ask: &Ask, style: &Style) -> Part {
    let text = format!("The user asked: {}. I think step by step.", shortened(&ask.last_user));
    let seal = crate::seal::seal(style.family, &text);
    Part::Reasoning { deltas: words(&text), seal }
}

/// Turn of the agent scenario: 0 asks twice, 1 once more, 2 sums up.
fn agent_turn(ask: &Ask) -> usize {
    match ask.tool_results.len() {
        0 => 0,
        1 | 2 => 1,
        _ => 2,
    }
}

fn calls_wanted<'a>(ask: &'a Ask, scenario: &Scenario, turn: usize) -> Vec<&'a Tool> {
    if ask.tools.is_empty() || ask.choice == Choice::None || scenario.text.is_some() {
        return Vec::new();
    }
    if let Choice::Named(name) = &ask.choice {
        return ask.tools.iter().filter(|tool| tool.name == *name).take(1).collect();
    }
    let asked = match scenario.kind {
        Kind::Agent => [2, 1, 0][turn],
        Kind::Tools | Kind::ParallelTools if ask.ends_with_results => 0,
        Kind::Tools => scenario.calls.unwrap_or(1),
        Kind::ParallelTools => scenario.calls.unwrap_or(2),
        _ if ask.choice == Choice::Any && !ask.ends_with_results => 1,
        _ => 0,
    };
    let count = if ask.serial_tools { asked.min(1) } else { asked };
    let first = if scenario.kind == Kind::Agent { ask.tool_results.len() } else { 0 };
    ask.tools.iter().cycle().skip(first).take(count).collect()
}

fn text_part(ask: &Ask, scenario: &Scenario) -> (Part, Finish) {
    if let Some(schema) = ask.schema.as_ref().filter(|_| scenario.text.is_none()) {
        return (Part::Text { deltas: words(&sample(schema, 0).to_string()) }, Finish::Stop);
    }
    let mut deltas = match scenario.events {
        Some(count) => (0..count).map(|index| format!("tok{index} ")).collect(),
        None => words(&text_of(ask, scenario)),
    };
    let finish = match scenario.kind {
        Kind::Refusal => return (Part::Refusal("I can't help with that.".into()), Finish::Refused),
        Kind::Citations => return (Part::Cited { deltas, source: CITED_URL }, Finish::Stop),
        Kind::Length => Finish::Length,
        Kind::ContentFilter => Finish::Filter,
        Kind::StopSequence => Finish::Sequence(ask.stops.first().cloned().unwrap_or_else(|| "STOP".into())),
        _ => trimmed(ask, &mut deltas),
    };
    (Part::Text { deltas }, finish)
}

/// Applies the token limit; one delta counts as one token.
fn trimmed(ask: &Ask, deltas: &mut Vec<String>) -> Finish {
    match ask.max_tokens.and_then(|max| usize::try_from(max).ok()) {
        Some(max) if max < deltas.len() => {
            deltas.truncate(max);
            Finish::Length
        }
        _ => Finish::Stop,
    }
}

fn text_of(ask: &Ask, scenario: &Scenario) -> String {
    if let Some(text) = &scenario.text {
        return text.clone();
    }
    let question = shortened(&ask.last_user);
    match scenario.kind {
        Kind::Demo => format!(
            "Hello! This is the built-in demo model: it runs inside the gateway, needs no key and repeats \
             what it hears. You asked: \"{question}\". Add a provider to the configuration to talk to a real model."
        ),
        Kind::Image if ask.images.is_empty() => "I see no image.".into(),
        Kind::Image => {
            let seen = ask.images.iter().map(|(media, bytes)| format!("{media}, {bytes} bytes"));
            format!("I see {}.", seen.collect::<Vec<_>>().join("; "))
        }
        Kind::Json => r#"{"ok":true}"#.into(),
        Kind::Citations => "The fare is 42 dollars.".into(),
        _ if !ask.tool_results.is_empty() && (ask.ends_with_results || scenario.kind == Kind::Agent) => {
            format!("The tools answered: {}.", ask.tool_results.join("; "))
        }
        Kind::Tools | Kind::ParallelTools | Kind::Agent => "I have no tools to call.".into(),
        _ => format!("You said: {question}"),
    }
}

/// The question, so short that a prompt of megabytes does not come back whole.
fn shortened(text: &str) -> &str {
    let end = text.char_indices().nth(400).map_or(text.len(), |(at, _)| at);
    text[..end].trim()
}

/// Cuts after each blank, so that the deltas joined are the text.
fn words(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

fn call_id(prefix: &str, ask: &Ask, index: usize) -> String {
    let seed = format!("{}|{}|{}|{index}", ask.model, ask.last_user, ask.tool_results.len());
    format!("{prefix}{}", fingerprint(&seed))
}

fn estimate(ask: &Ask, parts: &[Part]) -> Usage {
    let mut usage = Usage { input: ask.prompt_chars as u64 / 4 + 1, ..Usage::default() };
    for part in parts {
        let count = match part {
            Part::Reasoning { deltas, .. } => {
                usage.reasoning += deltas.len() as u64;
                deltas.len() as u64
            }
            Part::Text { deltas } | Part::Cited { deltas, .. } => deltas.len() as u64,
            Part::Call { name, arguments, .. } => (name.len() + arguments.to_string().len()) as u64 / 4 + 1,
            Part::Refusal(text) => text.len() as u64 / 4 + 1,
        };
        usage.output += count;
    }
    usage
}
