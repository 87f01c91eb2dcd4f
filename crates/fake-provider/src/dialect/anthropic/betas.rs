//! What the Messages API takes only from callers who name the beta.

use serde_json::Value;

use crate::failure::Failure;
use crate::read::Object;

/// Members of the body, and how the names of their betas begin.
const MEMBERS: &[(&str, &[&str])] = &[
    ("compaction", &["compact-"]),
    ("context_management", &["context-management-", "compact-"]),
    ("fallbacks", &["fallback"]),
    ("mcp_servers", &["mcp-client-"]),
    ("output_format", &["structured-outputs-"]),
];
/// Tools by the beginning of their type.
const TOOLS: &[(&str, &str)] = &[
    ("code_execution_20250", "code-execution-"),
    ("computer_", "computer-use-"),
    ("mcp_toolset", "mcp-client-"),
    ("tool_search_tool_", "advanced-tool-use-"),
    ("tool_search_tool_", "tool-search-tool-"),
];
/// What Bedrock and Vertex AI know; other names are refused there.
const CLOUD: &[&str] = &[
    "compact-",
    "computer-use-",
    "context-1m-",
    "context-management-",
    "dangerous-tool-use-",
    "dev-full-thinking-",
    "effort-",
    "fine-grained-tool-streaming-",
    "inline-tools-",
    "interleaved-thinking-",
    "mid-conversation-output-config-",
    "mid-conversation-tool-changes-",
    "output-128k-",
    "structured-outputs-",
    "thinking-binding-controls-",
    "thinking-display-updates-",
    "tool-examples-",
    "tool-search-tool-",
    "web-search-",
];

/// True if this member needs some beta.
pub(super) fn is_gated(name: &str) -> bool {
    MEMBERS.iter().any(|(known, _)| *known == name)
}

/// The betas of a cloud's body, which must all be known there.
pub(super) fn of_cloud(body: &Object) -> Result<Vec<&str>, Failure> {
    let list = body.get("anthropic_beta").and_then(Value::as_array);
    let names: Vec<&str> = list.into_iter().flatten().filter_map(Value::as_str).collect();
    if names.iter().all(|name| CLOUD.iter().any(|known| name.starts_with(known))) {
        return Ok(names);
    }
    Err(Failure::invalid("invalid beta flag"))
}

/// Refuses what `betas` do not switch on.
pub(super) fn check(body: &Object, betas: &[&str]) -> Result<(), Failure> {
    let has = |start: &str| betas.iter().any(|beta| beta.starts_with(start));
    for (name, starts) in MEMBERS {
        if body.contains_key(*name) && !starts.iter().any(|start| has(start)) {
            return Err(Failure::unknown_param(*name));
        }
    }
    let tools = body.get("tools").and_then(Value::as_array);
    for (index, tool) in tools.into_iter().flatten().enumerate() {
        let kind = tool["type"].as_str().unwrap_or_default();
        let mut needs = TOOLS.iter().filter(|(start, _)| kind.starts_with(start)).peekable();
        if needs.peek().is_some() && !needs.any(|(_, beta)| has(beta)) {
            return Err(Failure::invalid(format!(
                "tools.{index}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
            )));
        }
    }
    Ok(())
}
