//! Beta features a request needs: those its client names, and those its content gives away.
//!
//! Anthropic takes some members, tools and blocks only from callers who name the feature, in the header
//! `anthropic-beta` or, on the clouds, in a member `anthropic_beta`. Clients of other dialects cannot know;
//! clients of this one may have said it in the form of another platform.
//! Source: Anthropic API, "Beta headers" and the page of each feature.

use serde_json::Value;

use crate::chat::{ChatRequest, Family, Media, Message, Part, Role, Tool};
use crate::dialect::{Features, Flavor, Losses, Target};
use crate::envelope::{Envelope, Mark};
use crate::json;

use super::beta_table::{INTERLEAVED, taken};
use super::thinking::plan;

#[cfg(test)]
mod tests;

/// The member, in the body of a cloud, that names betas.
pub(in crate::dialect) const MEMBER: &str = "anthropic_beta";

/// A platform that takes only some betas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) enum Cloud {
    /// Bedrock InvokeModel.
    Invoke,
    /// Bedrock Converse.
    Converse,
    /// Vertex AI.
    Vertex,
}

impl Cloud {
    /// Where a body of this dialect goes; `None` is Anthropic's own API, which takes every beta.
    pub(super) fn of(flavor: Flavor<'_>) -> Option<Self> {
        match flavor {
            Flavor::BedrockInvoke => Some(Self::Invoke),
            Flavor::Vertex { .. } => Some(Self::Vertex),
            _ => None,
        }
    }
}

/// Tools that need a beta, by the beginning of their type. Types of a later date are generally available.
const TOOLS: &[(&str, &str)] = &[
    ("advisor_20260301", "advisor-tool-2026-03-01"),
    ("bash_20241022", "computer-use-2024-10-22"),
    ("code_execution_20250522", "code-execution-2025-05-22"),
    ("code_execution_20250825", "code-execution-2025-08-25"),
    ("computer_20241022", "computer-use-2024-10-22"),
    ("computer_20250124", "computer-use-2025-01-24"),
    ("computer_20251124", "computer-use-2025-11-24"),
    ("mcp_toolset", "mcp-client-2025-11-20"),
    ("memory_20250818", CONTEXT_MANAGEMENT),
    ("text_editor_20241022", "computer-use-2024-10-22"),
    ("tool_search_tool_", ADVANCED_TOOLS),
    ("web_fetch_20250910", "web-fetch-2025-09-10"),
];
/// Members of a function that need [`ADVANCED_TOOLS`].
const ADVANCED: &[&str] = &["allowed_callers", "defer_loading", "input_examples"];
const ADVANCED_TOOLS: &str = "advanced-tool-use-2025-11-20";
const CONTEXT_MANAGEMENT: &str = "context-management-2025-06-27";
const COMPACT: &str = "compact-2026-01-12";
/// What Claude 3.7 Sonnet writes without `output-128k`, tokens.
const USUAL_OUTPUT: u64 = 64_000;

/// The betas to switch on: what the client `asked` for, here and in its body, and what the request needs.
/// What a cloud does not take is left out; a loss, if the client asked for it.
pub(in crate::dialect) fn settle(
    features: Features<'_>,
    asked: &[&str],
    cloud: Option<Cloud>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Vec<String> {
    let mut wanted = Wanted { names: Vec::new(), cloud };
    asked.iter().flat_map(|list| list.split(',')).for_each(|name| wanted.ask(name));
    match features {
        Features::Request(request) => {
            own_words(request).for_each(|name| wanted.ask(name));
            let asked = wanted.names.len();
            of_request(request, target, &mut wanted);
            wanted.finish(asked, target, losses)
        }
        Features::Bytes(envelope) => {
            let own: Option<Vec<String>> = envelope.get(MEMBER);
            own.iter().flatten().for_each(|name| wanted.ask(name));
            let asked = wanted.names.len();
            of_bytes(envelope, target, &mut wanted);
            wanted.finish(asked, target, losses)
        }
    }
}

/// Names so far: first the client's, then ours.
struct Wanted {
    names: Vec<String>,
    cloud: Option<Cloud>,
}

impl Wanted {
    fn ask(&mut self, name: &str) {
        let name = name.trim();
        if !name.is_empty() && !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    /// Adds a beta, unless some version of the same feature is there.
    fn need(&mut self, name: &'static str) {
        if !self.names.iter().any(|known| feature(known) == feature(name)) {
            self.names.push(name.to_owned());
        }
    }

    fn finish(self, asked: usize, target: &Target<'_>, losses: &mut Losses) -> Vec<String> {
        let Some(cloud) = self.cloud else {
            return self.names;
        };
        let mut kept: Vec<String> = Vec::with_capacity(self.names.len());
        for (index, name) in self.names.iter().enumerate() {
            match taken(name, cloud, target.model, target.abilities.adaptive_thinking) {
                Some(name) if kept.iter().any(|known| known == name) => {}
                Some(name) => kept.push(name.to_owned()),
                None if index < asked => losses.note(format!("beta.{name}")),
                None => {}
            }
        }
        kept
    }
}

/// A beta's name without its date.
fn feature(name: &str) -> &str {
    const DATE: usize = "-2025-01-01".len();
    name.len().checked_sub(DATE).and_then(|end| name.get(..end)).unwrap_or(name)
}

/// Betas that a body of one of the clouds names.
fn own_words(request: &ChatRequest) -> impl Iterator<Item = &str> {
    let invoke = request.extra.get(Family::Anthropic, MEMBER);
    let converse = request.extra.get(Family::Bedrock, "additionalModelRequestFields");
    [invoke, converse.and_then(|fields| fields.get(MEMBER))]
        .into_iter()
        .flatten()
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(Value::as_str)
}

fn of_request(request: &ChatRequest, target: &Target<'_>, wanted: &mut Wanted) {
    for tool in &request.tools {
        match tool {
            // Converse leaves these tools out.
            Tool::Foreign { family: Family::Anthropic, value } if wanted.cloud != Some(Cloud::Converse) => {
                of_tool(value, wanted);
            }
            Tool::Function { extra, .. } => {
                extra.of(Family::Anthropic).into_iter().flatten().for_each(|(key, _)| flag(key, wanted));
            }
            Tool::WebSearch { .. } => web_search(wanted),
            Tool::Foreign { .. } => {}
        }
    }
    for (key, value) in request.extra.of(Family::Anthropic).into_iter().flatten() {
        of_member(key, value, wanted);
    }
    let plan = plan(request, target, &mut Losses::default());
    if plan.effort.is_some() && !target.abilities.adaptive_thinking {
        wanted.need("effort-2025-11-24");
    }
    if plan.max_tokens > USUAL_OUTPUT && target.model.contains("3-7-sonnet") {
        wanted.need("output-128k-2025-02-19");
    }
    if plan.thinking.is_some_and(|thinking| thinking["type"] == "enabled") && interleaves(&request.messages) {
        wanted.need(INTERLEAVED);
    }
    if request.messages.iter().flat_map(|message| &message.parts).any(uploaded) {
        wanted.need("files-api-2025-04-14");
    }
}

fn of_bytes(envelope: &Envelope, target: &Target<'_>, wanted: &mut Wanted) {
    if envelope.mentions(Mark::BetaTool) {
        let tools: Option<Vec<Value>> = envelope.get("tools");
        tools.iter().flatten().for_each(|tool| of_tool(tool, wanted));
    }
    for (key, raw) in envelope.members() {
        let Some(name) = MEMBERS.iter().find(|name| name.as_bytes() == key) else { continue };
        let Ok(value) = json::read::<Value>(raw) else { continue };
        match *name {
            "output_config" if value["effort"].is_string() && !target.abilities.adaptive_thinking => {
                wanted.need("effort-2025-11-24");
            }
            name => of_member(name, &value, wanted),
        }
    }
    if envelope.mentions(Mark::FileId) {
        wanted.need("files-api-2025-04-14");
    }
}

/// Members of a body that may need a beta.
const MEMBERS: &[&str] = &[
    "compaction",
    "container",
    "context_management",
    "mcp_servers",
    "output_config",
    "output_format",
    "safeguards",
    "speed",
    "thinking",
];

fn of_member(name: &str, value: &Value, wanted: &mut Wanted) {
    let is_list = |value: &Value| value.as_array().is_some_and(|items| !items.is_empty());
    match name {
        "compaction" if !value.is_null() => wanted.need("compact-2026-09-04"),
        "container" if is_list(&value["skills"]) => wanted.need("skills-2025-10-02"),
        "context_management" => {
            for edit in value["edits"].as_array().into_iter().flatten() {
                let compacts = edit["type"] == "compact_20260112";
                wanted.need(if compacts { COMPACT } else { CONTEXT_MANAGEMENT });
            }
        }
        // Servers without a toolset are the form of the first version.
        "mcp_servers" if is_list(value) => wanted.need("mcp-client-2025-04-04"),
        "output_format" if !value.is_null() => wanted.need("structured-outputs-2025-11-13"),
        "safeguards" if !value.is_null() => wanted.need("dangerous-tool-use-2026-09-03"),
        "speed" if value == "fast" => wanted.need("fast-mode-2026-02-01"),
        "thinking" => {
            if value["display"] == "updates" {
                wanted.need("thinking-display-updates-2026-08-18");
            }
            if value.get("block_binding").is_some() {
                wanted.need("thinking-binding-controls-2026-08-01");
            }
        }
        _ => {}
    }
}

fn of_tool(tool: &Value, wanted: &mut Wanted) {
    let kind = tool["type"].as_str().unwrap_or_default();
    if kind.starts_with("web_search_") {
        web_search(wanted);
    }
    if let Some((_, beta)) = TOOLS.iter().find(|(start, _)| kind.starts_with(start)) {
        wanted.need(beta);
    }
    tool.as_object().into_iter().flatten().for_each(|(key, _)| flag(key, wanted));
}

fn flag(member: &str, wanted: &mut Wanted) {
    if ADVANCED.contains(&member) {
        wanted.need(ADVANCED_TOOLS);
    }
    // Elsewhere the member alone switches it on.
    if member == "eager_input_streaming" && matches!(wanted.cloud, Some(Cloud::Invoke | Cloud::Converse)) {
        wanted.need("fine-grained-tool-streaming-2025-05-14");
    }
}

fn web_search(wanted: &mut Wanted) {
    // Generally available but for Vertex.
    if wanted.cloud == Some(Cloud::Vertex) {
        wanted.need("web-search-2025-03-05");
    }
}

/// True if the turn that is going on holds thoughts that came after a tool's result.
fn interleaves(messages: &[Message]) -> bool {
    let begin = messages.iter().rposition(|message| message.role == Role::User).map_or(0, |at| at + 1);
    let mut turn = messages[begin..].iter().skip_while(|message| message.role != Role::Tool);
    turn.any(|message| message.parts.iter().any(|part| matches!(part, Part::Reasoning { .. })))
}

/// True for content that is in Anthropic's files API.
fn uploaded(part: &Part) -> bool {
    match part {
        Part::Image { media, .. } | Part::File { media, .. } => {
            matches!(media, Media::FileId { family: Family::Anthropic, .. })
        }
        Part::ToolResult { content, .. } => content.iter().any(uploaded),
        Part::Foreign { family: Family::Anthropic, value } => {
            value["type"] == "container_upload" || value["source"]["type"] == "file"
        }
        _ => false,
    }
}
