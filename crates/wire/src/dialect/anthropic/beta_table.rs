//! Which of Anthropic's beta features the clouds take, and what they call them.
//!
//! Anthropic's own API ignores a beta that a model does not know; Bedrock and Vertex refuse the request.
//! Sources: Amazon Bedrock user guide, "Anthropic Claude Messages API: request and response"; Anthropic,
//! "Tool search tool", "Extended thinking" (third-party platforms); LiteLLM's table of beta headers, 1.106.

use super::betas::Cloud::{self, Converse, Invoke, Vertex};

/// A beta's name and the clouds that take it.
const TAKEN: &[(&str, &[Cloud])] = &[
    ("compact-2026-01-12", &[Invoke, Vertex]),
    ("compact-2026-09-04", &[Vertex]),
    ("computer-use-2024-10-22", &[Invoke, Converse]),
    ("computer-use-2025-01-24", &[Invoke, Converse, Vertex]),
    ("computer-use-2025-11-24", &[Invoke, Converse, Vertex]),
    ("context-1m-2025-08-07", &[Invoke, Converse, Vertex]),
    ("context-management-2025-06-27", &[Invoke, Vertex]),
    ("dangerous-tool-use-2026-09-03", &[Invoke, Vertex]),
    ("dev-full-thinking-2025-05-14", &[Invoke, Converse]),
    ("effort-2025-11-24", &[Invoke, Converse]),
    ("fine-grained-tool-streaming-2025-05-14", &[Invoke, Converse]),
    ("inline-tools-2026-09-15", &[Vertex]),
    (INTERLEAVED, &[Invoke, Converse, Vertex]),
    ("mid-conversation-output-config-2026-07-01", &[Invoke]),
    ("mid-conversation-tool-changes-2026-07-01", &[Invoke, Vertex]),
    ("output-128k-2025-02-19", &[Invoke, Converse]),
    ("structured-outputs-2025-11-13", &[Converse]),
    ("thinking-binding-controls-2026-08-01", &[Invoke, Converse, Vertex]),
    ("thinking-display-updates-2026-08-18", &[Invoke, Converse, Vertex]),
    ("tool-examples-2025-10-29", &[Invoke]),
    ("tool-search-tool-2025-10-19", &[Invoke, Vertex]),
    ("web-search-2025-03-05", &[Vertex]),
];

/// Betas that the clouds have under another name.
const RENAMED: &[(&str, &str)] = &[("advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19")];

/// Lets a model with a thinking budget think between its tool calls.
pub(super) const INTERLEAVED: &str = "interleaved-thinking-2025-05-14";

/// Betas of one generation of models, by a part of the models' names. Others refuse them on a cloud.
const ONLY_FOR: &[(&str, &str)] = &[("output-128k-2025-02-19", "3-7-sonnet")];

/// The name under which `cloud` takes `beta` for `model`, if it does. `adaptive` models think between
/// their calls anyway, and Bedrock refuses to be told.
pub(super) fn taken(beta: &str, cloud: Cloud, model: &str, adaptive: bool) -> Option<&'static str> {
    let name = RENAMED.iter().find(|(ours, _)| *ours == beta).map_or(beta, |(_, theirs)| *theirs);
    let (name, clouds) = TAKEN.iter().find(|(known, _)| *known == name)?;
    let fits = ONLY_FOR.iter().all(|(only, part)| only != name || model.contains(part));
    let is_idle = *name == INTERLEAVED && adaptive && cloud != Vertex;
    (clouds.contains(&cloud) && fits && !is_idle).then_some(*name)
}
