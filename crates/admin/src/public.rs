//! What anybody may know: prices, providers. Source: compat, endpoints §2.20, and LiteLLM, `public_endpoints.py`.

use bytes::Bytes;
use faregate_catalog::{Auth, Operation, Provider, providers};
use serde_json::{Value, json};

use crate::Outcome;
use crate::routes::{Answer, Call, Route, route};

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
];

/// The entries as they are listed, without reading them: the list is large.
async fn prices(call: Call) -> Outcome {
    let catalog = std::sync::Arc::clone(&call.admin.catalog);
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
