//! Parameter rules of OpenAI's reasoning families. Source: compat, providers §2.1.

/// What a model family takes beyond or below the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FamilyRules {
    /// Refused parameters.
    pub(super) unsupported: &'static [&'static str],
    /// `temperature` must be 1.
    pub(super) temperature_fixed: bool,
    /// `max_tokens` becomes `max_completion_tokens`.
    pub(super) max_completion_tokens: bool,
}

const O_SERIES: FamilyRules = FamilyRules {
    unsupported: &["logprobs", "top_logprobs", "top_p", "presence_penalty", "frequency_penalty"],
    temperature_fixed: true,
    max_completion_tokens: true,
};

const GPT_5: FamilyRules = FamilyRules {
    unsupported: &[
        "presence_penalty",
        "frequency_penalty",
        "stop",
        "logit_bias",
        "modalities",
        "prediction",
        "audio",
        "web_search_options",
        "logprobs",
        "top_logprobs",
        "top_p",
    ],
    temperature_fixed: true,
    max_completion_tokens: true,
};

/// GPT-5 models that can switch reasoning off also take the sampling parameters that go with that.
const GPT_5_NONE_EFFORT: FamilyRules = FamilyRules {
    unsupported: &[
        "presence_penalty",
        "frequency_penalty",
        "stop",
        "logit_bias",
        "modalities",
        "prediction",
        "audio",
        "web_search_options",
    ],
    temperature_fixed: false,
    max_completion_tokens: true,
};

/// The rules for a model name, if it belongs to a reasoning family. `none_effort` is the catalogue's
/// `supports_none_reasoning_effort`.
pub(super) fn rules(model: &str, none_effort: bool) -> Option<FamilyRules> {
    let name = model.rsplit('/').next().unwrap_or(model);
    let digit_after = |prefix: &str| {
        name.strip_prefix(prefix).and_then(|rest| rest.chars().next()).is_some_and(|c| c.is_ascii_digit())
    };
    let is_o = digit_after("o") || model.starts_with("o_series/");
    let is_gpt5 = model.starts_with("gpt5_series/")
        || name
            .strip_prefix("gpt-")
            .and_then(|rest| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u32>().ok()
            })
            .is_some_and(|major| major >= 5)
            && !name.contains("chat");
    match (is_o, is_gpt5) {
        (true, _) => Some(O_SERIES),
        (_, true) if none_effort => Some(GPT_5_NONE_EFFORT),
        (_, true) => Some(GPT_5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_by_name() {
        assert_eq!(rules("o3-mini", false), Some(O_SERIES));
        assert_eq!(rules("gpt-5-nano", false), Some(GPT_5));
        assert_eq!(rules("gpt-5.4", true), Some(GPT_5_NONE_EFFORT));
        assert_eq!(rules("gpt5_series/mine", false), Some(GPT_5));
        for other in ["gpt-4o", "gpt-5-chat-latest", "omni-moderation", "gpt-oss-120b", "open-mistral"] {
            assert_eq!(rules(other, false), None, "{other}");
        }
    }
}
