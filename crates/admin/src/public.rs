//! What anybody may know: prices, providers. Source: compat, endpoints §2.20, and LiteLLM, `public_endpoints.py`.

use bytes::Bytes;
use faregate_catalog::{Auth, Operation, Provider, providers};
use serde_json::{Value, json};

use crate::Outcome;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, all, route};

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "GET",
        &["/public/litellm_model_cost_map"],
        Public,
        &[],
        &[],
        "Every model that has a price, with prices, limits and capabilities",
        prices
    ),
    route!("GET", &["/public/providers"], Public, &[], &[], "Names of providers", names),
    route!(
        "GET",
        &["/public/providers/fields"],
        Public,
        &[],
        &[],
        "What each provider needs to be told",
        fields
    ),
    route!(
        "GET",
        &["/model/settings"],
        Admin,
        &[],
        &[],
        "Fields of the form for a new model, by provider",
        forms
    ),
    route!("GET", &["/utils/model_info"], Key, &[], NAMED, "What the price list says of a model", entry),
    route!("GET", &["/routes"], Public, &[], &[], "Every route, with its methods", paths),
];

const NAMED: &[Field] = &[
    required("model", Holds::Text, "a name of the price list"),
    field("custom_llm_provider", Holds::Text, "whose model it is"),
];

/// Source: LiteLLM's `ProviderInfo`, of `ProviderSpecificModelField`s.
async fn forms(_: Call) -> Outcome {
    let form = |provider: &'static Provider| {
        let fields = wanted(provider).into_iter().map(|(name, label, _, _)| {
            json!({
                "field_name": name, "field_type": "string", "field_description": label,
                "field_value": placeholder(provider, name).unwrap_or_default(),
            })
        });
        json!({ "name": provider.name, "fields": fields.collect::<Vec<_>>() })
    };
    Ok(Answer::json(&served().map(form).collect::<Vec<_>>()))
}

/// The entry as it is listed, and its name in the list.
async fn entry(call: Call) -> Outcome {
    let (model, provider) = (call.asked("model").unwrap_or_default(), call.asked("custom_llm_provider"));
    let bare = model.split_once('/').map_or(model, |(_, bare)| bare);
    let prefixed = provider.map(|provider| format!("{provider}/{model}"));
    let catalog = call.admin.prices.catalog();
    let is_theirs = |key: &&str| {
        catalog.contains(key)
            && provider.is_none_or(|wanted| catalog.provider_of(key).is_some_and(|of| of == wanted))
    };
    let key = prefixed.as_deref().into_iter().chain([model, bare]).find(is_theirs);
    let found = key.and_then(|key| Some((key, serde_json::from_str::<Value>(&catalog.text(key)?).ok()?)));
    let Some((key, mut info)) = found else {
        let provider = provider.unwrap_or("None");
        return Err(AdminError::not_found(format!(
            "model={model}, custom_llm_provider={provider} is not in the model cost map"
        )));
    };
    info["key"] = json!(key);
    Ok(Answer::json(&json!({
        "model": model, "custom_llm_provider": catalog.provider_of(key), "model_info": info,
    })))
}

async fn paths(call: Call) -> Outcome {
    let own = all().map(|route| (route.paths, route.method, route.doc));
    let others = call.admin.others().iter().map(|other| (other.paths, other.method, other.doc));
    let rows = own.chain(others).flat_map(|(paths, method, doc)| {
        paths.iter().map(move |path| json!({"path": path, "methods": [method], "name": doc}))
    });
    Ok(Answer::json(&json!({ "routes": rows.collect::<Vec<_>>() })))
}

/// The entries as they are listed, without reading them: the list is large.
async fn prices(call: Call) -> Outcome {
    let catalog = call.admin.prices.catalog();
    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::from("{");
        for key in catalog.keys() {
            let Some(entry) = catalog.text(key) else { continue };
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&Value::from(key).to_string());
            text.push(':');
            text.push_str(&entry);
        }
        text.push('}');
        text
    });
    let body = Bytes::from(text.await.unwrap_or_else(|_| "{}".to_owned()));
    Ok(Answer { body, ..Answer::json(&json!({})) })
}

/// Providers that serve something here.
fn served() -> impl Iterator<Item = &'static Provider> {
    providers().iter().filter(|provider| provider.operations.iter().any(|(what, _)| provider.serves(*what)))
}

async fn names(_: Call) -> Outcome {
    Ok(Answer::json(&served().map(|provider| provider.name).collect::<Vec<_>>()))
}

async fn fields(_: Call) -> Outcome {
    Ok(Answer::json(&served().map(form).collect::<Vec<_>>()))
}

fn form(provider: &Provider) -> Value {
    let mut fields = Vec::new();
    let chat = provider.serves(Operation::Chat);
    for (name, label, secret, required) in wanted(provider) {
        fields.push(json!({
            "key": name, "label": label, "placeholder": placeholder(provider, name), "tooltip": null,
            "required": required, "field_type": if secret { "password" } else { "text" }, "options": null,
            "default_value": null,
        }));
    }
    json!({
        "provider": provider.name.to_uppercase(),
        "provider_display_name": provider.name,
        "litellm_provider": provider.name,
        "credential_fields": fields,
        "default_model_placeholder": chat.then(|| format!("{}/model", provider.name)),
    })
}

fn placeholder(provider: &Provider, field: &str) -> Option<&'static str> {
    if field == "api_base" { provider.base_url } else { None }
}

/// Parameters of a deployment that say how a provider is reached: name, label, whether it is a secret, whether it
/// is needed.
fn wanted(provider: &Provider) -> Vec<(&'static str, &'static str, bool, bool)> {
    let base = ("api_base", "API Base", false, provider.base_url.is_none());
    match provider.auth {
        Auth::None => vec![base],
        Auth::AwsSigv4 | Auth::AwsSigv4OrBearer => vec![
            ("aws_access_key_id", "AWS Access Key ID", true, false),
            ("aws_secret_access_key", "AWS Secret Access Key", true, false),
            ("aws_session_token", "AWS Session Token", true, false),
            ("aws_region_name", "AWS Region Name", false, false),
        ],
        Auth::GoogleOauth => vec![
            ("vertex_project", "Vertex Project", false, true),
            ("vertex_location", "Vertex Location", false, true),
            ("vertex_credentials", "Vertex Credentials", true, false),
        ],
        Auth::Azure | Auth::AzureFoundry => vec![
            ("api_key", "API Key", true, false),
            ("api_base", "API Base", false, true),
            ("api_version", "API Version", false, false),
            ("azure_ad_token", "Azure AD Token", true, false),
        ],
        Auth::BearerIfKey => vec![("api_key", "API Key", true, false), base],
        _ => vec![("api_key", "API Key", true, true), base],
    }
}
