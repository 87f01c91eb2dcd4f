//! Replaces `os.environ/NAME` by the variable's value, by LiteLLM's rules.
//!
//! Source: compat/config.md section 0, `os.environ/NAME`: only a whole value, in mappings at any depth and in
//! mappings that are list items, never in texts that are list items themselves.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Findings};
use crate::env::Env;
use crate::node::{Node, Value};
use crate::schema::pass_through;

const PREFIX: &str = "os.environ/";
/// Names LiteLLM never exports from a file: they steer the process itself.
const NEVER_EXPORTED: &[&str] = &[
    "PATH",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "HOME",
    "USER",
    "SHELL",
    "LOGNAME",
    "NO_PROXY",
    "no_proxy",
];
/// Read from the process environment only, so that a file cannot let the gateway start programs.
const STDIO_SWITCH: &str = "LITELLM_ENABLE_MCP_STDIO";

/// Takes `environment_variables` out of the file as an environment on top of `env`.
///
/// A value that refers to an unset variable is not exported.
pub(crate) fn exported(root: &Node, env: &Env, findings: &mut Findings) -> Vec<(String, String)> {
    let path = "environment_variables";
    let Some(section) = root.get(path) else { return Vec::new() };
    let Some(entries) = section.entries() else {
        findings.error(&section.at, path, format!("expected a mapping, found {}", section.shape()));
        return Vec::new();
    };
    let mut exported = Vec::new();
    for entry in entries {
        let at = format!("{path}.{}", entry.key);
        if NEVER_EXPORTED.contains(&entry.key.as_str())
            || entry.key.starts_with("DYLD_")
            || entry.key.eq_ignore_ascii_case(STDIO_SWITCH)
        {
            let message = "ignored: this variable cannot be set from a configuration file";
            findings.push(
                Diagnostic::warning(Some(&entry.key_at), at, message)
                    .remedy("set it in the process environment"),
            );
            continue;
        }
        let value = match &entry.node.value {
            Value::Text(text) if text.starts_with(PREFIX) => env.get(&variable_of(text)).map(str::to_owned),
            Value::Null => None,
            _ => match entry.node.scalar_text() {
                Some(text) => Some(text),
                None => {
                    findings.error(
                        &entry.node.at,
                        &at,
                        format!("expected text, found {}", entry.node.shape()),
                    );
                    None
                }
            },
        };
        exported.extend(value.map(|value| (entry.key.clone(), value)));
    }
    exported
}

fn variable_of(reference: &str) -> String {
    reference.replace(PREFIX, "")
}

/// Replaces every reference under `node`. An unset variable reads as null and makes a warning.
pub(crate) fn substitute(node: &mut Node, path: &str, env: &Env, findings: &mut Findings) {
    match &mut node.value {
        Value::Map(entries) => {
            for entry in entries {
                let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                if matches!(entry.node.value, Value::Text(_)) {
                    if is_header_of_a_route(&path) {
                        resolve_end(&mut entry.node, &path, env, findings);
                    } else if !is_pointer(&entry.key) {
                        resolve(&mut entry.node, &path, env, findings);
                    }
                } else {
                    substitute(&mut entry.node, &path, env, findings);
                }
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                if matches!(item.value, Value::Map(_)) {
                    substitute(item, &format!("{path}[{index}]"), env, findings);
                }
            }
        }
        _ => {}
    }
}

/// Workload-identity settings that hold the name of a secret, which is read when it is used.
fn is_pointer(key: &str) -> bool {
    key.ends_with("_ref") && (key.starts_with("anthropic_") || key.starts_with("openai_"))
}

fn is_header_of_a_route(path: &str) -> bool {
    let item = path.strip_prefix(pass_through::PATH).and_then(|rest| rest.strip_prefix('['));
    item.and_then(|rest| rest.split_once(']')).is_some_and(|(_, rest)| rest.starts_with(".headers."))
}

/// There, and only there, a reference may have text in front of it: `Bearer os.environ/NAME`.
fn resolve_end(node: &mut Node, path: &str, env: &Env, findings: &mut Findings) {
    let Value::Text(text) = &node.value else { return };
    let Some(start) = text.find(PREFIX).filter(|start| *start > 0) else {
        return resolve(node, path, env, findings);
    };
    let (front, name) = (&text[..start], variable_of(&text[start..]));
    node.value = match env.get(&name) {
        Some(value) => Value::Text(format!("{front}{value}")),
        None => {
            findings.warn(&node.at, path, format!("environment variable {name} is not set"));
            Value::Null
        }
    };
    node.variable = Some(Arc::from(name));
}

fn resolve(node: &mut Node, path: &str, env: &Env, findings: &mut Findings) {
    let Value::Text(text) = &node.value else { return };
    if !text.starts_with(PREFIX) {
        return;
    }
    let name = variable_of(text);
    node.value = match env.get(&name) {
        // LiteLLM turns these two words, and only these, into booleans.
        Some(value) if value.trim().eq_ignore_ascii_case("true") => Value::Bool(true),
        Some(value) if value.trim().eq_ignore_ascii_case("false") => Value::Bool(false),
        Some(value) => Value::Text(value.to_owned()),
        None => {
            findings.warn(&node.at, path, format!("environment variable {name} is not set"));
            Value::Null
        }
    };
    node.variable = Some(Arc::from(name));
}
