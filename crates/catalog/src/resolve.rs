//! From a model string to a provider and the provider's own model name.

use crate::catalog::Catalog;
use crate::dialect::{Dialect, Operation};
use crate::pattern;
use crate::provider::{Provider, provider, providers};

/// Where a model string leads.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The provider.
    pub provider: &'static Provider,
    /// The model name as the provider knows it (quirks such as `ModelPrefix` not yet applied).
    pub model: String,
}

/// No rule leads from the model string to a provider. The message lists the remedies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownProvider {
    /// The model string.
    pub model: String,
    /// The provider that was asked for by name, when that is what is unknown.
    pub asked: Option<String>,
    /// The provider name most like the one given.
    pub nearest: Option<&'static str>,
}

impl std::error::Error for UnknownProvider {}

impl std::fmt::Display for UnknownProvider {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.asked {
            Some(asked) => write!(out, "unknown provider `{asked}` for model `{}`", self.model)?,
            None => write!(out, "no provider is known for model `{}`", self.model)?,
        }
        if let Some(nearest) = self.nearest {
            write!(out, "; did you mean `{nearest}`?")?;
        }
        write!(
            out,
            "; write the model as `<provider>/<model>` (e.g. `openai/{}`), set custom_llm_provider, or use \
             `openai/` with api_base for an OpenAI-compatible server; docs/providers.md lists all providers",
            self.model
        )
    }
}

/// Finds the provider of `model`.
///
/// `custom_provider` is the caller's explicit choice, `api_base` the address it configured. A caller that
/// sends everything to another LiteLLM-compatible proxy passes `litellm_proxy` as `custom_provider`.
pub fn resolve(
    model: &str,
    custom_provider: Option<&str>,
    api_base: Option<&str>,
    catalog: &Catalog,
) -> Result<Resolved, UnknownProvider> {
    if let Some(asked) = custom_provider.filter(|name| !name.is_empty()) {
        let row = provider(asked).ok_or_else(|| UnknownProvider {
            model: model.to_owned(),
            asked: Some(asked.to_owned()),
            nearest: nearest_provider(asked),
        })?;
        // The prefix is cut when it repeats the choice; any other first segment is part of the name.
        let rest =
            model.split_once('/').filter(|(first, _)| provider(first).is_some_and(|r| r.name == row.name));
        return Ok(prefixed(row, rest.map_or(model, |(_, rest)| rest), catalog));
    }
    if let Some((first, rest)) = model.split_once('/')
        && !rest.is_empty()
        && let Some(row) = provider(first)
    {
        return Ok(prefixed(row, rest, catalog));
    }
    let row = api_base.and_then(by_host).or_else(|| by_bare_name(model, catalog));
    row.map(|row| Resolved { provider: row, model: model.to_owned() }).ok_or_else(|| unknown(model))
}

/// Applies the rules of single providers to a name whose prefix is known.
fn prefixed(row: &'static Provider, model: &str, catalog: &Catalog) -> Resolved {
    let to = |name: &str, model: String| Resolved { provider: provider(name).unwrap_or(row), model };
    match row.name {
        // Cohere and Mistral models on Azure AI Studio speak plain OpenAI, under their full name.
        "azure" if is_guest_on_azure(model, catalog) => to("openai", format!("azure/{model}")),
        "cohere" if listed_under(model, "cohere_chat", catalog) => to("cohere_chat", model.to_owned()),
        "anthropic" if is_text_claude(model) => to("anthropic_text", model.to_owned()),
        "ai21" if model.starts_with("jamba") => to("ai21_chat", model.to_owned()),
        // OpenRouter's own models (`openrouter/auto`) keep the prefix; all others are `<vendor>/<model>`.
        "openrouter" if !model.contains('/') && model != "*" => {
            to("openrouter", format!("openrouter/{model}"))
        }
        _ => Resolved { provider: row, model: model.to_owned() },
    }
}

fn is_guest_on_azure(model: &str, catalog: &Catalog) -> bool {
    listed_under(model, "cohere_chat", catalog) || catalog.contains(&format!("mistral/{model}"))
}

fn listed_under(model: &str, row: &str, catalog: &Catalog) -> bool {
    catalog.provider_of(model).is_some_and(|found| found == row)
}

/// The models of Anthropic's retired text completion API.
fn is_text_claude(model: &str) -> bool {
    model == "claude-2" || model.starts_with("claude-2.") || model.starts_with("claude-instant")
}

/// The provider whose own host `api_base` points at.
fn by_host(api_base: &str) -> Option<&'static Provider> {
    let host = host(api_base)?;
    providers()
        .iter()
        .filter(|row| row.dialect(Operation::Chat) == Some(Dialect::OpenaiChat))
        .filter(|row| {
            row.base_url.and_then(self::host).is_some_and(|known| known == host && !is_local(known))
        })
        // Rows that share a host (a provider and its variants): the one that matters most.
        .min_by_key(|row| (row.tier, row.name))
}

fn host(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next()?;
    (!host.is_empty() && !host.contains('{')).then_some(host)
}

fn is_local(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "0.0.0.0")
}

/// A name without prefix: the catalogue's own lists, then families recognised by their shape.
fn by_bare_name(model: &str, catalog: &Catalog) -> Option<&'static Provider> {
    if let Some(row) = catalog.provider_of(model).as_deref().and_then(provider) {
        return Some(row);
    }
    let name = if model == "*" || is_openai_shape(model) {
        Some("openai")
    } else if is_replicate_version(model) {
        Some("replicate")
    } else {
        pattern::provider_by_family(model)
    };
    name.and_then(provider)
}

fn is_openai_shape(model: &str) -> bool {
    ["ft:gpt-", "ft:o", "ft:davinci", "ft:babbage", "gpt-image"].iter().any(|start| model.starts_with(start))
}

/// `owner/name:` followed by a 64-digit hexadecimal version.
fn is_replicate_version(model: &str) -> bool {
    model
        .split_once(':')
        .is_some_and(|(_, version)| version.len() == 64 && version.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn unknown(model: &str) -> UnknownProvider {
    let first = model.split_once('/').map(|(first, _)| first);
    UnknownProvider { model: model.to_owned(), asked: None, nearest: first.and_then(nearest_provider) }
}

fn nearest_provider(name: &str) -> Option<&'static str> {
    providers()
        .iter()
        .map(|row| {
            (
                strsim::damerau_levenshtein(&row.name.to_ascii_lowercase(), &name.to_ascii_lowercase()),
                row.name,
            )
        })
        .min()
        .filter(|(distance, _)| *distance <= 2 + name.len() / 5)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
