//! Under which keys of the list a provider's model may be found, best first.

/// One key to try.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Candidate<'a> {
    pub key: String,
    /// Set for keys without the provider in them: then the entry must belong to this provider, so that
    /// a self-hosted model is not priced as a namesake sold elsewhere.
    owner: Option<&'a str>,
}

impl Candidate<'_> {
    /// Whether an entry of this provider row is the model that was asked for.
    pub(crate) fn accepts(&self, listed: Option<&str>) -> bool {
        let (Some(owner), Some(listed)) = (self.owner, listed) else {
            return true;
        };
        owner == listed || kin(owner).contains(&listed)
    }
}

/// Providers that sell another one's models under the same name and list price.
fn kin(provider: &str) -> &'static [&'static str] {
    match provider {
        "azure" | "azure_text" | "custom_openai" | "aiohttp_openai" => {
            &["openai", "azure", "text-completion-openai"]
        }
        "azure_ai" => &["azure", "openai", "anthropic", "cohere", "cohere_chat"],
        "openai" => &["text-completion-openai"],
        "text-completion-openai" => &["openai"],
        "cohere" => &["cohere_chat"],
        "cohere_chat" => &["cohere"],
        "anthropic_text" => &["anthropic"],
        "bedrock_mantle" => &["bedrock"],
        "vertex_ai_beta" => &["vertex_ai"],
        "vertex_ai" => &["gemini"],
        "gemini" => &["vertex_ai"],
        "ollama_chat" => &["ollama"],
        "ai21_chat" => &["ai21"],
        "litellm_proxy" => &[
            "openai",
            "anthropic",
            "vertex_ai",
            "bedrock",
            "gemini",
            "cohere",
            "cohere_chat",
            "deepseek",
            "mistral",
        ],
        _ => &[],
    }
}

/// Keys for `model` at `provider`: with the prefix, bare, then reduced by the provider's naming rules.
pub(crate) fn candidates<'a>(provider: &'a str, model: &str) -> Vec<Candidate<'a>> {
    let mut out = Vec::with_capacity(6);
    both(&mut out, provider, model);
    match provider {
        "bedrock" | "bedrock_mantle" => bedrock(&mut out, provider, model),
        "vertex_ai" | "vertex_ai_beta" | "gemini" => vertex(&mut out, provider, model),
        "fireworks_ai" => fireworks(&mut out, provider, model),
        "together_ai" => size_class(&mut out, provider, together_class(model)),
        "ollama_chat" | "ollama" => both(&mut out, "ollama", model),
        "cohere_chat" => both(&mut out, "cohere", model),
        "ai21_chat" => both(&mut out, "ai21", model),
        "azure_text" => both(&mut out, "azure", model),
        "openrouter" | "vercel_ai_gateway" => out.retain(|candidate| candidate.owner.is_none()),
        "huggingface" => {
            if let Some((name, _)) = model.rsplit_once(':') {
                both(&mut out, provider, name);
            }
        }
        _ => {}
    }
    if let Some(base) = fine_tuned(model) {
        both(&mut out, provider, &base);
    }
    out
}

fn both<'a>(out: &mut Vec<Candidate<'a>>, provider: &'a str, model: &str) {
    push(out, format!("{provider}/{model}"), None);
    push(out, model.to_owned(), Some(provider));
}

fn push<'a>(out: &mut Vec<Candidate<'a>>, key: String, owner: Option<&'a str>) {
    if !key.is_empty() && !out.iter().any(|known| known.key == key) {
        out.push(Candidate { key, owner });
    }
}

/// `ft:<base>:<organization>:<name>:<id>` → `ft:<base>`.
fn fine_tuned(model: &str) -> Option<String> {
    let base = model.strip_prefix("ft:")?.split(':').next()?;
    Some(format!("ft:{base}"))
}

const BEDROCK_ROUTES: &[&str] = &[
    "converse/",
    "invoke/",
    "converse_like/",
    "agent/",
    "agentcore/",
    "async_invoke/",
    "openai/",
    "mantle/",
    "claude_platform/",
    "chat_completions/",
    "nova/",
    "nova-2/",
];

/// Geographies of cross-region inference profiles.
/// Source: Amazon Bedrock User Guide, "Supported Regions and models for inference profiles".
const GEOGRAPHIES: &[&str] = &["us", "eu", "apac", "jp", "au", "ca", "global", "us-gov", "in", "sa", "me"];

/// Route prefix off, ARN to its model id, region segment off, geography off, version off.
fn bedrock<'a>(out: &mut Vec<Candidate<'a>>, provider: &'a str, model: &str) {
    let mut name = BEDROCK_ROUTES.iter().find_map(|route| model.strip_prefix(route)).unwrap_or(model);
    if name.starts_with("arn:") {
        name = name.rsplit_once('/').map_or(name, |(_, id)| id);
    }
    both(out, provider, name);
    both(out, "bedrock", name);
    if let Some((region, rest)) = name.split_once('/')
        && region.matches('-').count() >= 2
    {
        name = rest;
        both(out, "bedrock", name);
    }
    for name in [name, without_version(name)] {
        both(out, "bedrock", name);
        if let Some((geography, rest)) = name.split_once('.')
            && GEOGRAPHIES.contains(&geography)
        {
            both(out, "bedrock", rest);
        }
    }
}

/// `-v1:0` or `:0` at the end.
fn without_version(name: &str) -> &str {
    let Some((head, minor)) = name.rsplit_once(':') else {
        return name;
    };
    if !minor.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return name;
    }
    match head.rsplit_once("-v") {
        Some((base, major)) if !major.is_empty() && major.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => head,
    }
}

/// `name@version` → `name`; a path keeps its last segment (`publishers/google/models/x`).
fn vertex<'a>(out: &mut Vec<Candidate<'a>>, provider: &'a str, model: &str) {
    let provider = if provider == "vertex_ai_beta" { "vertex_ai" } else { provider };
    both(out, provider, model);
    if model.starts_with("publishers/")
        && let Some((_, name)) = model.rsplit_once('/')
    {
        both(out, provider, name);
    }
    if let Some((name, _)) = model.split_once('@') {
        both(out, provider, name);
    }
}

const FIREWORKS_MODELS: &str = "accounts/fireworks/models/";

fn fireworks<'a>(out: &mut Vec<Candidate<'a>>, provider: &'a str, model: &str) {
    match model.strip_prefix(FIREWORKS_MODELS) {
        Some(name) => both(out, provider, name),
        None if !model.contains('/') => both(out, provider, &format!("{FIREWORKS_MODELS}{model}")),
        None => {}
    }
    size_class(out, provider, fireworks_class(model));
}

fn size_class<'a>(out: &mut Vec<Candidate<'a>>, provider: &'a str, class: Option<&str>) {
    if let Some(class) = class {
        push(out, class.to_owned(), Some(provider));
    }
}

/// The row that prices an unlisted model by its parameter count, e.g. `...-8x7b-...`, `...-13b`.
/// Source: fireworks.ai/pricing, serverless text models by parameter count.
fn fireworks_class(model: &str) -> Option<&'static str> {
    let (experts, tenths) = parameters(model)?;
    if experts > 1 {
        let total = tenths * experts;
        return match total {
            0..=560 => Some("fireworks-ai-moe-up-to-56b"),
            561..=1760 => Some("fireworks-ai-56b-to-176b"),
            _ => None,
        };
    }
    Some(match tenths {
        0..=40 => "fireworks-ai-up-to-4b",
        41..=160 => "fireworks-ai-4.1b-to-16b",
        _ => "fireworks-ai-above-16b",
    })
}

/// As [`fireworks_class`]; mixtures and models above 110b have no row.
/// Source: together.ai/pricing, serverless chat models by parameter count.
fn together_class(model: &str) -> Option<&'static str> {
    match parameters(model)? {
        (1, 0..=40) => Some("together-ai-up-to-4b"),
        (1, 41..=80) => Some("together-ai-4.1b-8b"),
        (1, 81..=210) => Some("together-ai-8.1b-21b"),
        (1, 211..=410) => Some("together-ai-21.1b-41b"),
        (1, 411..=800) => Some("together-ai-41.1b-80b"),
        (1, 801..=1100) => Some("together-ai-81.1b-110b"),
        _ => None,
    }
}

/// Experts and parameters per expert in tenths of a billion, from a segment such as `8x7b` or `1.5b`.
fn parameters(model: &str) -> Option<(u32, u32)> {
    model.to_ascii_lowercase().split(['-', '_', '/', ':']).find_map(|segment| {
        let size = segment.strip_suffix('b')?;
        let (experts, each) = match size.split_once('x') {
            Some((experts, each)) => (experts.parse().ok()?, each),
            None => (1, size),
        };
        let (whole, tenth) = each.split_once(['.', 'p']).unwrap_or((each, "0"));
        let tenth: u32 = tenth.get(..1)?.parse().ok()?;
        let whole: u32 = whole.parse().ok()?;
        Some((experts, whole.checked_mul(10)?.checked_add(tenth)?))
    })
}

#[cfg(test)]
mod tests;
