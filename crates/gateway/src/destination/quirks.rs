//! From the catalogue's named quirks to what the codecs obey.
//!
//! Every quirk is named here, so that a new one does not compile until somebody says who carries it out.

use faregate_catalog::{ModelInfo, Provider, Quirk};
use faregate_wire::dialect::Quirks;

use super::mend;

/// The codec's quirks for `model` at `provider`, and whether they make a rewrite of a body necessary that
/// is in the provider's dialect already.
pub(super) fn of(provider: &Provider, model: &str, info: Option<&ModelInfo>) -> (Quirks, bool) {
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
        rewrites |= apply(*quirk, model, info, &mut quirks);
    }
    if provider.has(Quirk::CacheControlIntoContent) && !mend::caches_in_content(model) {
        quirks.keep_cache_control = false;
    }
    // OpenAI's own API is the only one that is known to take the developer role everywhere.
    quirks.developer_as_system = !matches!(provider.name, "openai" | "azure");
    (quirks, rewrites)
}

/// Applies one quirk; true if a body of the provider's own dialect must be rendered anew for it.
fn apply(quirk: Quirk, model: &str, info: Option<&ModelInfo>, quirks: &mut Quirks) -> bool {
    match quirk {
        Quirk::FlattenContentLists | Quirk::FlattenToolContent => quirks.flatten_content = true,
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
        // Of `thinking` the codec writes the type only.
        Quirk::EffortToThinking | Quirk::EffortToThinkingType | Quirk::ThinkingKeepsTypeOnly => {
            quirks.thinking_switch = true;
        }
        Quirk::JsonSchemaByTool => {
            quirks.schema_by_tool = !info.is_some_and(|info| info.supports("supports_response_schema"));
        }
        Quirk::UnknownServiceTierToAuto => quirks.unknown_tier_as_auto = true,
        // Answers must be read for it, so they are translated.
        Quirk::CostInBody => quirks.cost_in_body = true,
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
        _ => return is_rendered(quirk),
    }
    true
}

/// True for quirks that rendering a body or an answer anew carries out, be it by what the codec does for
/// every provider or by a mend of the rendered body.
fn is_rendered(quirk: Quirk) -> bool {
    match quirk {
        // What the codec does for all: it sends neither thoughts nor members of our own, and spells custom
        // tools, videos, budgets and usage options in the form the quirk asks for.
        Quirk::DropReasoningInput
        | Quirk::DropThinkingBlocks
        | Quirk::StripInternalMessageFields
        | Quirk::CustomToolsToFunctions
        | Quirk::VideoFilesToVideoUrl
        | Quirk::ThinkingBudgetToEffort
        | Quirk::AlwaysIncludeUsage
        | Quirk::WrapJsonSchema => true,
        // What it reads from every answer.
        Quirk::ReasoningFieldNormalise
        | Quirk::SplitContentLists
        | Quirk::EmptyContentToNull
        | Quirk::ErrorInStream
        | Quirk::EmptyFinishToToolCalls
        | Quirk::FoldReasoningTokens
        | Quirk::CitationsToAnnotations
        | Quirk::CitationUsage => true,
        // Mends.
        Quirk::DropEmptyAssistant
        | Quirk::CacheControlIntoContent
        | Quirk::RefuseFileParts
        | Quirk::DropNonFunctionTools
        | Quirk::ToolChoiceAutoOrNone
        | Quirk::ToolChoiceRequiredToPrompt
        | Quirk::TemperatureDroppedWhenReasoning
        | Quirk::TemperatureNeverZero(_)
        | Quirk::EffortMaxToXhigh
        | Quirk::EffortToReasoningObject
        | Quirk::ThinkingToExtraBody
        | Quirk::MagistralReasoningPrompt
        | Quirk::ResponseFormatSimulatesStream
        | Quirk::ResponseFormatJsonSchemaOnly
        | Quirk::GuidedToResponseFormat
        | Quirk::ServiceTierToCompletionWindow => true,
        // Members are taken out of a rendered body.
        Quirk::RetryWithoutRejectedParams => true,
        // Parameter rules, checked before a body is rendered.
        Quirk::DropSilently(_)
        | Quirk::ToolsByCatalog
        | Quirk::OpenaiReasoningFamilies
        | Quirk::ThinkingExcludesEffort => false,
        // Address, model name, headers and credential: decided when the destination is built.
        Quirk::AzureFamilyPrefix
        | Quirk::StaticHeader(_)
        | Quirk::OrganizationHeader(_)
        | Quirk::AppendPath(_)
        | Quirk::EnsureBaseSuffix(_)
        | Quirk::ReplaceBaseSuffix(_)
        | Quirk::ModelPrefix(_)
        | Quirk::MessagesBase(_)
        | Quirk::AccountInBase(_)
        | Quirk::RegionInBase
        | Quirk::StripRegionFromModel
        | Quirk::BasetenDedicatedUrl
        | Quirk::ClarifaiModelUrl
        | Quirk::GradientPath
        | Quirk::AzureFoundryPath
        | Quirk::AnthropicForClaude
        | Quirk::NoEnvKeyWithCustomBase => false,
        // Completion endpoints are refused when the destination is built.
        Quirk::FlattenChatToPrompt => false,
        // Done by `apply`.
        Quirk::FlattenContentLists
        | Quirk::FlattenToolContent
        | Quirk::DropMessageName
        | Quirk::NameOnToolMessagesOnly
        | Quirk::DropNullAssistantFields
        | Quirk::FillReasoningContent
        | Quirk::KeepCacheControl
        | Quirk::DropToolStrict
        | Quirk::DropAdditionalProperties
        | Quirk::DropSchemaRefs
        | Quirk::ToolChoiceRequiredToAny
        | Quirk::SeedToRandomSeed
        | Quirk::TemperatureMax(_)
        | Quirk::TemperatureMinWithN(_)
        | Quirk::EffortToThinking
        | Quirk::EffortToThinkingType
        | Quirk::ThinkingKeepsTypeOnly
        | Quirk::JsonSchemaByTool
        | Quirk::UnknownServiceTierToAuto
        | Quirk::CostInBody
        | Quirk::DropStreamOptions
        | Quirk::UsageInclude
        | Quirk::ForceStoreFalse
        | Quirk::DropForModels(_) => true,
    }
}
