//! What a model's name tells about it when the list does not: family, capabilities, never a price.

use crate::model::{Mode, ModelInfo};

/// A Claude model's family and version, read from `claude-<family>-<major>[-.minor]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claude<'a> {
    pub family: &'a str,
    pub major: u8,
    pub minor: u8,
    /// Where the shape starts and ends in the name.
    span: (usize, usize),
}

impl<'a> Claude<'a> {
    /// Finds the shape anywhere in `name`. Majors have one digit and minors at most two, so that dates
    /// are not read as versions.
    pub(crate) fn in_name(name: &'a str) -> Option<Self> {
        name.match_indices("claude-").find_map(|(at, _)| Self::at(name, at))
    }

    fn at(name: &'a str, start: usize) -> Option<Self> {
        let rest = name.get(start + "claude-".len()..)?;
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let (family, tail) = rest.split_at_checked(letters)?;
        let tail = tail.strip_prefix('-')?;
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        if family.is_empty() || digits(tail) != 1 {
            return None;
        }
        let major = tail.get(..1)?.parse().ok()?;
        let mut length = "claude-".len() + letters + 2;
        let mut minor = 0;
        let after = tail.get(1..)?;
        if let Some(version) = after.strip_prefix(['-', '.']) {
            let count = digits(version);
            if count == 1 || count == 2 {
                minor = version.get(..count)?.parse().ok()?;
                length += 1 + count;
            }
        }
        Some(Self { family, major, minor, span: (start, start + length) })
    }

    fn at_least(&self, major: u8, minor: u8) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    /// True when the whole name is the shape, with at most an eight-digit date after it.
    fn is_whole(&self, name: &str) -> bool {
        let tail = name.get(self.span.1..).unwrap_or_default();
        let dated = tail.len() == 9 && tail.starts_with('-') && tail[1..].bytes().all(|b| b.is_ascii_digit());
        self.span.0 == 0 && (tail.is_empty() || dated)
    }
}

/// The provider of a Claude name that is not in the list: Bedrock-style ids and bare ids.
pub(crate) fn provider_by_family(name: &str) -> Option<&'static str> {
    let without_geography = name.split_once('.').map_or("", |(_, rest)| rest);
    if name.starts_with("anthropic.claude-") || without_geography.starts_with("anthropic.claude-") {
        return Some("bedrock");
    }
    Claude::in_name(name).filter(|claude| claude.is_whole(name)).map(|_| "anthropic")
}

const CLAUDE_BASELINE: &[&str] = &[
    "supports_function_calling",
    "supports_parallel_function_calling",
    "supports_vision",
    "supports_tool_choice",
    "supports_assistant_prefill",
    "supports_prompt_caching",
    "supports_response_schema",
    "supports_reasoning",
    "supports_pdf_input",
    "supports_system_messages",
];

const GEMINI_BASELINE: &[&str] = &[
    "supports_reasoning",
    "supports_function_calling",
    "supports_tool_choice",
    "supports_system_messages",
    "supports_vision",
    "supports_response_schema",
    "supports_pdf_input",
    "supports_prompt_caching",
    "supports_web_search",
];

/// An entry for a model the list does not have, when its name follows a known pattern. No price.
pub(crate) fn guess(provider: &str, model: &str) -> Option<ModelInfo> {
    let mut info = ModelInfo::bare(model);
    info.listed_provider = Some(provider.into());
    if let Some(claude) = Claude::in_name(model) {
        info.mode = Some(Mode::Chat);
        info.max_input_tokens = Some(200_000);
        info.max_output_tokens = Some(64_000);
        info.max_tokens = Some(64_000);
        fill_all(&mut info, CLAUDE_BASELINE);
        fill_claude(claude, &mut info);
        if matches!(claude.family, "fable" | "mythos") {
            info.fill("thinking_always_on", true);
        }
    } else if is_gemini_chat(model) {
        info.mode = Some(Mode::Chat);
        fill_all(&mut info, GEMINI_BASELINE);
    } else if provider == "wandb" || (sells_openai(provider) && is_openai_reasoning(model)) {
        info.fill("supports_reasoning", true);
    } else {
        return None;
    }
    Some(info)
}

/// Adds the capabilities that follow from the name to a listed entry that does not state them.
pub(crate) fn fill(provider: &str, info: &mut ModelInfo) {
    let key = info.key.clone();
    if sells_openai(provider) && is_openai_reasoning(&key) && speaks_chat(info) {
        info.fill("supports_reasoning", true);
    }
    if matches!(provider, "anthropic" | "azure_ai" | "bedrock" | "vertex_ai")
        && let Some(claude) = Claude::in_name(&key)
    {
        fill_claude(claude, info);
    }
}

fn fill_claude(claude: Claude<'_>, info: &mut ModelInfo) {
    for (name, holds) in [
        ("supports_adaptive_thinking", claude.at_least(4, 6)),
        ("supports_legacy_thinking", (claude.major, claude.minor) == (4, 6)),
        ("supports_mid_conversation_system", claude.at_least(4, 8)),
        ("supports_tool_search", claude.at_least(4, 5)),
    ] {
        if holds {
            info.fill(name, true);
        }
    }
}

fn fill_all(info: &mut ModelInfo, names: &[&str]) {
    for name in names {
        info.fill(name, true);
    }
}

fn sells_openai(provider: &str) -> bool {
    matches!(provider, "openai" | "azure" | "azure_ai")
}

fn speaks_chat(info: &ModelInfo) -> bool {
    matches!(info.mode, None | Some(Mode::Chat | Mode::Responses))
}

/// o1 and up, gpt-5 and up, codex, deep-research and chat-latest names; not search-api ones.
fn is_openai_reasoning(key: &str) -> bool {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    if name.contains("search-api") {
        return false;
    }
    let leading = |text: &str| text.bytes().next().filter(u8::is_ascii_digit).map(|digit| digit - b'0');
    name.strip_prefix('o').and_then(leading).is_some_and(|digit| digit >= 1)
        || name.strip_prefix("gpt-").is_some_and(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u32>().is_ok_and(|version| version >= 5)
        })
        || name.contains("codex")
        || name.contains("deep-research")
        || name.contains("chat-latest")
}

const NOT_GEMINI_CHAT: &[&str] =
    &["tts", "image", "live", "audio", "embedding", "computer-use", "robotics", "transcribe", "translate"];

/// Gemini 2.5 and up, pro or flash (also lite), without the variants that do not chat.
fn is_gemini_chat(model: &str) -> bool {
    let name = model.rsplit_once('/').map_or(model, |(_, name)| name);
    let Some(rest) = name.strip_prefix("gemini-") else {
        return false;
    };
    let (version, tail) = rest.split_once('-').unwrap_or((rest, ""));
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let (Ok(major), Ok(minor)) = (major.parse::<u8>(), minor.parse::<u8>()) else {
        return false;
    };
    (major, minor) >= (2, 5)
        && (tail.starts_with("pro") || tail.starts_with("flash"))
        && !NOT_GEMINI_CHAT.iter().any(|word| tail.contains(word))
}

#[cfg(test)]
mod tests;
