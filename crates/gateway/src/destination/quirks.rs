//! From the catalogue's named quirks to what the codecs obey.

use faregate_catalog::{Provider, Quirk};
use faregate_wire::dialect::Quirks;

/// The codec's quirks for `model` at `provider`, and whether they make a rewrite of a body necessary that
/// is in the provider's dialect already.
pub(super) fn of(provider: &Provider, model: &str) -> (Quirks, bool) {
    let knows_new_limit = provider.rename.iter().all(|(ours, _)| *ours != "max_completion_tokens")
        && !provider.unsupported_params.contains(&"max_completion_tokens");
    let mut quirks = Quirks {
        rename: provider
            .rename
            .iter()
            .map(|(ours, theirs)| ((*ours).to_owned(), (*theirs).to_owned()))
            .collect(),
        knows_max_completion_tokens: knows_new_limit,
        ..Quirks::default()
    };
    let mut rewrites = false;
    for quirk in &provider.quirks {
        rewrites |= apply(*quirk, model, &mut quirks);
    }
    // OpenAI's own API is the only one that is known to take the developer role everywhere.
    quirks.developer_as_system = !matches!(provider.name, "openai" | "azure");
    (quirks, rewrites)
}

/// Applies one quirk; true if it concerns what is inside of messages or tools.
fn apply(quirk: Quirk, model: &str, quirks: &mut Quirks) -> bool {
    match quirk {
        Quirk::FlattenContentLists => quirks.flatten_content = true,
        Quirk::FlattenToolContent => quirks.flatten_content = true,
        Quirk::DropMessageName => quirks.drop_message_name = true,
        Quirk::NameOnToolMessagesOnly => {
            quirks.drop_message_name = true;
            quirks.keep_tool_name = true;
        }
        Quirk::DropNullAssistantFields => quirks.drop_null_members = true,
        Quirk::FillReasoningContent => {
            quirks.fill_reasoning = true;
            quirks.send_reasoning = true;
        }
        Quirk::KeepCacheControl => {
            quirks.keep_cache_control = true;
            return false;
        }
        Quirk::DropToolStrict => quirks.drop_tool_strict = true,
        Quirk::DropAdditionalProperties => quirks.drop_additional_properties = true,
        Quirk::DropSchemaRefs => quirks.inline_schema_refs = true,
        Quirk::ToolChoiceRequiredToAny => quirks.required_word = Some("any".to_owned()),
        Quirk::SeedToRandomSeed => {
            quirks.rename.push(("seed".to_owned(), "random_seed".to_owned()));
            return false;
        }
        Quirk::TemperatureMax(max) => quirks.temperature_max = Some(max.to_owned()),
        Quirk::TemperatureMinWithN(min) => quirks.temperature_min_with_n = Some(min.to_owned()),
        Quirk::EffortToThinking | Quirk::EffortToThinkingType => quirks.thinking_switch = true,
        Quirk::JsonSchemaByTool => quirks.schema_by_tool = true,
        Quirk::DropStreamOptions => {
            quirks.no_stream_options = true;
            return false;
        }
        Quirk::UsageInclude => {
            quirks.always_send.push(("usage".to_owned(), r#"{"include":true}"#.to_owned()));
            return false;
        }
        Quirk::ForceStoreFalse => {
            quirks.force_store_false = true;
            return false;
        }
        Quirk::DropForModels(drop) => {
            let hit = drop.models.iter().any(|start| model.starts_with(start));
            if hit {
                // Sent under a name no provider knows would be an error; the rule set removes it instead.
                quirks.rename.retain(|(ours, _)| ours != drop.param);
            }
            return false;
        }
        Quirk::DropReasoningInput | Quirk::DropThinkingBlocks | Quirk::StripInternalMessageFields => {}
        _ => return false,
    }
    true
}
