//! The id LiteLLM gives a deployment that has none, so that shared Redis keys, rows and metrics still match.
//!
//! Source: compat/config.md section 1.2, `model_info.id`: SHA-256 hex of the model name followed by key and
//! value of every `litellm_params` entry in file order; a text as it is, a mapping as Python's `json.dumps`
//! writes it, anything else as Python's `str()` does.

use std::fmt::Write as _;

use faregate_terms::DeploymentId;
use sha2::{Digest, Sha256};

use crate::node::{Node, Value};

/// The derived id; `params` is the entry's `litellm_params` after `os.environ/` substitution.
pub(crate) fn derive(model_name: &str, params: &Node) -> DeploymentId {
    let mut text = model_name.to_owned();
    for entry in params.entries().unwrap_or_default() {
        text.push_str(&entry.key);
        match &entry.node.value {
            Value::Text(value) => text.push_str(value),
            Value::Map(_) => json_dumps(&entry.node, &mut text),
            _ => repr(&entry.node, &mut text),
        }
    }
    let digest = Sha256::digest(text.as_bytes());
    DeploymentId::new(digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

/// Python's `json.dumps` with its defaults: `, ` and `: `, everything but ASCII escaped.
fn json_dumps(node: &Node, out: &mut String) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => push(out, number),
        Value::Float(text) => out.push_str(&match text.as_str() {
            ".inf" => "Infinity".to_owned(),
            "-.inf" => "-Infinity".to_owned(),
            ".nan" => "NaN".to_owned(),
            text => float_repr(text),
        }),
        Value::Text(text) => json_string(text, out),
        Value::List(items) => joined(out, ('[', ']'), items, json_dumps),
        Value::Map(entries) => joined(out, ('{', '}'), entries, |entry, out| {
            json_string(&entry.key, out);
            out.push_str(": ");
            json_dumps(&entry.node, out);
        }),
    }
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}

fn joined<T>(out: &mut String, (open, close): (char, char), items: &[T], each: impl Fn(&T, &mut String)) {
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        each(item, out);
    }
    out.push(close);
}

fn json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// Python's `repr()`, which is also `str()` of everything but a text.
fn repr(node: &Node, out: &mut String) {
    match &node.value {
        Value::Null => out.push_str("None"),
        Value::Bool(flag) => out.push_str(if *flag { "True" } else { "False" }),
        Value::Int(number) => push(out, number),
        Value::Float(text) => out.push_str(&match text.as_str() {
            ".inf" => "inf".to_owned(),
            "-.inf" => "-inf".to_owned(),
            ".nan" => "nan".to_owned(),
            text => float_repr(text),
        }),
        Value::Text(text) => string_repr(text, out),
        Value::List(items) => joined(out, ('[', ']'), items, repr),
        Value::Map(entries) => joined(out, ('{', '}'), entries, |entry, out| {
            string_repr(&entry.key, out);
            out.push_str(": ");
            repr(&entry.node, out);
        }),
    }
}

fn string_repr(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if c == quote => {
                out.push('\\');
                out.push(c);
            }
            _ if u32::from(c) < 0x20 || (0x7f..0xa0).contains(&u32::from(c)) || u32::from(c) == 0xad => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push(quote);
}

/// Python's `repr` of a float: the shortest digits, as an exponent below 1e-4 and from 1e16.
fn float_repr(text: &str) -> String {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if number == 0.0 {
        return if number.is_sign_negative() { "-0.0" } else { "0.0" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let power: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&power) {
        let plain = number.to_string();
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}
