//! Deployments and groups with what the catalogue knows of them. Source: compat, endpoints §3.7.

use std::sync::Arc;

use http::Response;
use serde_json::{Map, Value, json};

use faregate_catalog::ModelInfo;
use faregate_wire::dialect::{BadRequest, Dialect};

use crate::body::Body;
use crate::call::Arrival;
use crate::checkup::Verdict;
use crate::destination::Destination;
use crate::gate::{Deployment, Gate, Table};
use crate::refusal::Refusal;
use crate::stage::access;
use crate::stage::deliver::answer_json;
use crate::stage::identify::Principal;

/// The largest page of `/v2/model/info`.
const LARGEST_PAGE: usize = 1000;

/// `/v1/model/info`: every deployment that the caller may use, secrets removed.
///
/// # Errors
/// 400 if `litellm_model_id` names none, as LiteLLM's clients expect.
pub fn deployments(
    gate: &Gate,
    table: &Table,
    principal: &Principal,
    arrival: &Arrival,
) -> Result<Response<Body>, Refusal> {
    let wanted = query(arrival, "litellm_model_id");
    let hides = wanted.is_none() && healthy_only(table, arrival);
    let data: Vec<Value> = visible(table, principal)
        .filter(|deployment| wanted.as_deref().is_none_or(|id| deployment.config.id.as_str() == id))
        .filter(|it| !hides || !gate.services.checkups.is_down(table, it.config.group.as_str()))
        .map(|deployment| row(table, deployment))
        .collect();
    match (data.is_empty(), wanted) {
        (true, Some(id)) => {
            let text = format!("Model id = {id} not found on litellm proxy");
            Err(BadRequest::new("litellm_model_id", text).into())
        }
        _ => Ok(answer_json(&json!({ "data": data }))),
    }
}

/// True if models of which no deployment is well are left out: by `healthy_only=true`, or for everybody.
pub fn healthy_only(table: &Table, arrival: &Arrival) -> bool {
    table.checks.lists_healthy || query(arrival, "healthy_only").is_some_and(|text| text == "true")
}

fn visible<'a>(table: &'a Table, principal: &'a Principal) -> impl Iterator<Item = &'a Deployment> {
    let sees = |deployment: &&Deployment| access::sees(table, principal, deployment.config.group.as_str());
    table.deployments.iter().filter(sees)
}

/// `/v2/model/info`: the same by pages. `search` is part of a public or provider's name, `model` a public name,
/// `modelId` an id; sorted by `model_name` or by `created_at` and the like of `model_info`.
///
/// # Errors
/// 400 for a page or size that is no number above zero.
pub fn page(table: &Table, principal: &Principal, arrival: &Arrival) -> Result<Response<Body>, Refusal> {
    let number = |name: &'static str, usual: usize| match query(arrival, name) {
        None => Ok(usual),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| BadRequest::new(name, format!("{name} must be a whole number above zero"))),
    };
    let (page, size) = (number("page", 1)?, number("size", 50)?.min(LARGEST_PAGE));
    let text = |name: &str| query(arrival, name).filter(|text| !text.is_empty());
    let (search, group, id) =
        (text("search").map(|text| text.to_lowercase()), text("model"), text("modelId"));
    let found = |deployment: &&Deployment| {
        let config = &deployment.config;
        let names = [config.group.as_str(), config.params.model.as_str()];
        search.as_ref().is_none_or(|part| names.iter().any(|name| name.to_lowercase().contains(part)))
            && group.as_deref().is_none_or(|group| config.group.as_str() == group)
            && id.as_deref().is_none_or(|id| config.id.as_str() == id)
    };
    let mut rows: Vec<Value> =
        visible(table, principal).filter(found).map(|deployment| row(table, deployment)).collect();
    if let Some(by) = text("sortBy") {
        let key = |row: &Value| {
            let value = row.get(&by).or_else(|| row["model_info"].get(&by));
            value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_lowercase))
        };
        rows.sort_by_key(key);
        if text("sortOrder").as_deref() == Some("desc") {
            rows.reverse();
        }
    }
    let total = rows.len();
    let data: Vec<Value> = rows.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
    Ok(answer_json(&json!({
        "data": data, "total_count": total, "current_page": page, "total_pages": total.div_ceil(size), "size": size,
    })))
}

fn row(table: &Table, deployment: &Deployment) -> Value {
    let config = &deployment.config;
    let destination = fixed(table, deployment);
    let mut info = facts(table, deployment);
    info.insert("id".to_owned(), json!(config.id.as_str()));
    let stored = config.info.all.get("db_model").and_then(Value::as_bool).unwrap_or_default();
    info.insert("db_model".to_owned(), json!(stored));
    if let Some(destination) = &destination {
        info.insert("litellm_provider".to_owned(), json!(destination.provider.name));
        info.insert("supported_openai_params".to_owned(), json!(supported(destination)));
    }
    let mut row = json!({
        "model_name": config.group.as_str(),
        "litellm_params": visible_params(deployment),
        "model_info": info,
    });
    if let (false, Some(members)) = (config.metadata.is_empty(), row.as_object_mut()) {
        members.insert("metadata".to_owned(), Value::Object(config.metadata.0.clone()));
    }
    row
}

/// The deployment's settings without anything that could be a credential.
fn visible_params(deployment: &Deployment) -> Map<String, Value> {
    let params = &deployment.config.params;
    let mut out = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(key.to_owned(), value);
        }
    };
    put("model", Some(json!(params.model)));
    for switch in ["use_in_pass_through", "use_litellm_proxy", "merge_reasoning_content_in_choices"] {
        put(switch, Some(Value::Bool(false)));
    }
    put("custom_llm_provider", params.provider.as_ref().map(|p| json!(p)));
    put("api_base", params.api_base.as_ref().map(|base| json!(base.split('?').next())));
    put("api_version", params.api_version.as_ref().map(|version| json!(version)));
    put("organization", params.organization.as_ref().map(|organization| json!(organization)));
    put("timeout", params.timeout.map(|timeout| json!(timeout.as_secs_f64())));
    put("stream_timeout", params.stream_timeout.map(|timeout| json!(timeout.as_secs_f64())));
    put("weight", params.weight.map(|weight| json!(weight)));
    put("rpm", params.rpm.map(|rpm| json!(rpm)));
    put("tpm", params.tpm.map(|tpm| json!(tpm)));
    put("max_budget", params.budget.max_budget.map(|most| json!(most.to_f64())));
    put("budget_duration", params.budget.duration.as_ref().map(|duration| json!(duration)));
    put("tags", (!params.tags.is_empty()).then(|| json!(params.tags)));
    put("vertex_project", params.vertex.project.as_ref().map(|project| json!(project)));
    put("vertex_location", params.vertex.location.as_ref().map(|location| json!(location)));
    put("aws_region_name", params.aws.region_name.as_ref().map(|region| json!(region)));
    for (key, value) in params.defaults.iter().chain(params.prices.iter()) {
        out.insert(key.clone(), number(value));
    }
    out
}

/// Prices are kept as exact decimal text; JSON shows them as numbers.
fn number(value: &Value) -> Value {
    value.as_str().and_then(|text| text.parse::<f64>().ok()).map_or_else(|| value.clone(), |n| json!(n))
}

/// `/model_group/info`: one row per public name that the caller may use; none for a name that is not there.
pub fn groups(gate: &Gate, table: &Table, principal: &Principal, arrival: &Arrival) -> Response<Body> {
    let wanted = query(arrival, "model_group");
    let data: Vec<Value> = table
        .router
        .names()
        .iter()
        .filter(|name| wanted.as_deref().is_none_or(|group| name.as_str() == group))
        .filter(|name| access::sees(table, principal, name.as_str()))
        .map(|name| group(gate, table, name.as_str()))
        .collect();
    answer_json(&json!({ "data": data }))
}

/// `/public/model_hub`: the groups that an operator made public. Nothing of how they are reached is in it.
pub fn hub(gate: &Gate, table: &Table) -> Response<Body> {
    let served = |name: &&String| !table.router.members(name).is_empty();
    let public = table.settings.public_groups.iter().filter(served);
    answer_json(&public.map(|name| group(gate, table, name)).collect::<Value>())
}

/// `/public/model_hub/info`. Source: LiteLLM's `PublicModelHubInfo`.
pub fn hub_info(table: &Table) -> Response<Body> {
    answer_json(&json!({
        "docs_title": "Faregate",
        "custom_docs_description": null,
        "litellm_version": env!("CARGO_PKG_VERSION"),
        "useful_links": table.settings.public_links,
    }))
}

/// Numbers are maxima over the group; a capability is there if any deployment has it.
fn group(gate: &Gate, table: &Table, name: &str) -> Value {
    let members: Vec<&Deployment> =
        table.router.members(name).iter().map(|&index| &table.deployments[index]).collect();
    let destinations: Vec<Arc<Destination>> =
        members.iter().filter_map(|deployment| fixed(table, deployment)).collect();
    let facts: Vec<Map<String, Value>> = members.iter().map(|deployment| facts(table, deployment)).collect();
    let largest = |key: &str| {
        facts
            .iter()
            .filter_map(|facts| facts.get(key)?.as_f64())
            .fold(None, |best: Option<f64>, next| Some(best.map_or(next, |best| best.max(next))))
            .map_or(
                Value::Null,
                |n| if n.fract() == 0.0 && n.abs() < 1e15 { json!(n as i64) } else { json!(n) },
            )
    };
    let any = |key: &str| facts.iter().any(|facts| facts.get(key) == Some(&Value::Bool(true)));
    let sum =
        |pick: fn(&Deployment) -> Option<u64>| members.iter().filter_map(|deployment| pick(deployment)).max();
    let mut providers: Vec<&str> = destinations.iter().map(|d| d.provider.name).collect();
    providers.sort_unstable();
    providers.dedup();
    let mode = facts.iter().find_map(|facts| facts.get("mode").cloned());
    // A group is as well as its best deployment.
    let found = members.iter().filter_map(|it| gate.services.checkups.of(&it.config.id));
    let checked = found.max_by_key(|it| (it.verdict == Verdict::Healthy, it.at));
    let params = destinations.first().map(|destination| supported(destination));
    json!({
        "model_group": name,
        "providers": providers,
        "max_input_tokens": largest("max_input_tokens"),
        "max_output_tokens": largest("max_output_tokens"),
        "input_cost_per_token": largest("input_cost_per_token"),
        "output_cost_per_token": largest("output_cost_per_token"),
        "input_cost_per_pixel": largest("input_cost_per_pixel"),
        "mode": mode.unwrap_or(Value::Null),
        "tpm": sum(|d| d.config.params.tpm),
        "rpm": sum(|d| d.config.params.rpm),
        "itpm": null,
        "otpm": null,
        "supports_parallel_function_calling": any("supports_parallel_function_calling"),
        "supports_vision": any("supports_vision"),
        "supports_web_search": any("supports_web_search"),
        "supports_url_context": any("supports_url_context"),
        "supports_reasoning": any("supports_reasoning"),
        "supports_function_calling": any("supports_function_calling"),
        "supported_openai_params": params.unwrap_or_default(),
        "supported_reasoning_efforts": efforts(&facts),
        "supports_fast_mode": any("supports_fast_mode"),
        "health_status": checked.as_ref().map(|it| it.verdict.word()),
        "health_response_time": checked.as_ref().map(|it| it.took_ms),
        "health_checked_at": checked.as_ref().and_then(|it| jiff::Timestamp::from_millisecond(it.at).ok())
            .map(|at| at.to_string()),
        "configurable_clientside_auth_params": null,
        "is_public_model_group": table.settings.public_groups.iter().any(|public| public == name),
    })
}

/// The efforts that some model of a group is known to take.
fn efforts(facts: &[Map<String, Value>]) -> Vec<&'static str> {
    let knows = |word: &str| {
        let flag = format!("supports_{word}_reasoning_effort");
        facts.iter().any(|facts| facts.get(&flag) == Some(&Value::Bool(true)))
    };
    ["none", "minimal", "low", "medium", "high", "xhigh", "max"]
        .into_iter()
        .filter(|word| knows(word))
        .collect()
}

/// OpenAI parameters a destination takes.
pub fn supported(destination: &Destination) -> Vec<&'static str> {
    let reasons = destination.abilities.reasoning != Some(false)
        && (destination.abilities.reasoning.is_some() || destination.dialect != Dialect::OpenAiChat);
    let mut params: Vec<&'static str> = faregate_catalog::param_baseline()
        .iter()
        .copied()
        .filter(|param| !destination.params.unsupported.contains(param))
        .filter(|param| !not_in(destination.dialect).contains(param))
        .filter(|param| *param != "reasoning_effort" || reasons)
        .collect();
    params.push("user");
    params.extend(destination.provider.also_accepts.iter().copied());
    params
}

/// Parameters of chat completions that another format has no word for.
fn not_in(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Anthropic | Dialect::Bedrock => &[
            "audio",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "modalities",
            "n",
            "prediction",
            "presence_penalty",
            "prompt_cache_key",
            "prompt_cache_retention",
            "safety_identifier",
            "seed",
            "store",
            "top_logprobs",
        ],
        Dialect::Gemini => &[
            "logit_bias",
            "prediction",
            "prompt_cache_key",
            "prompt_cache_retention",
            "safety_identifier",
            "store",
        ],
        Dialect::Cohere | Dialect::Ollama | Dialect::Replicate => &[
            "audio",
            "logit_bias",
            "modalities",
            "parallel_tool_calls",
            "prediction",
            "prompt_cache_key",
            "prompt_cache_retention",
            "safety_identifier",
            "service_tier",
            "store",
            "top_logprobs",
            "web_search_options",
        ],
        _ => &[],
    }
}

/// The destination of a deployment without wildcard.
fn fixed(table: &Table, deployment: &Deployment) -> Option<Arc<Destination>> {
    let model = &deployment.upstream_model;
    (!model.contains('*')).then(|| deployment.main_destination(model, table).ok()).flatten()
}

/// What is known of a deployment's model: the catalogue's entry and above it the configuration's
/// `model_info`. What clients ask for and nobody knows is `null`.
pub fn facts(table: &Table, deployment: &Deployment) -> Map<String, Value> {
    let destination = fixed(table, deployment);
    let info = destination.as_ref().and_then(|destination| destination.info.as_ref());
    let mut facts = info.map_or_else(Map::new, |info| listed(info));
    if facts.is_empty() {
        facts.insert("key".to_owned(), json!(deployment.config.params.model));
    }
    facts.extend(deployment.config.info.all.0.clone());
    for key in ALWAYS_THERE {
        facts.entry(*key).or_insert(Value::Null);
    }
    facts
}

/// A catalogue entry as it is listed.
pub fn listed(info: &ModelInfo) -> Map<String, Value> {
    let mut members: Map<String, Value> = serde_json::from_str(info.raw()).unwrap_or_default();
    members.insert("key".to_owned(), json!(&*info.key));
    members
}

/// Members that scripts read without asking whether they are there.
const ALWAYS_THERE: &[&str] = &[
    "cache_creation_input_token_cost",
    "cache_read_input_token_cost",
    "input_cost_per_audio_token",
    "input_cost_per_character",
    "input_cost_per_image",
    "input_cost_per_query",
    "input_cost_per_second",
    "input_cost_per_token",
    "input_cost_per_token_batches",
    "litellm_provider",
    "max_input_tokens",
    "max_output_tokens",
    "max_tokens",
    "mode",
    "output_cost_per_audio_token",
    "output_cost_per_character",
    "output_cost_per_image",
    "output_cost_per_reasoning_token",
    "output_cost_per_second",
    "output_cost_per_token",
    "output_cost_per_token_batches",
    "output_vector_size",
    "rpm",
    "search_context_cost_per_query",
    "supports_assistant_prefill",
    "supports_audio_input",
    "supports_audio_output",
    "supports_computer_use",
    "supports_embedding_image_input",
    "supports_function_calling",
    "supports_native_streaming",
    "supports_pdf_input",
    "supports_prompt_caching",
    "supports_reasoning",
    "supports_response_schema",
    "supports_system_messages",
    "supports_tool_choice",
    "supports_url_context",
    "supports_vision",
    "supports_web_search",
    "tpm",
];

/// A query parameter, percent-decoded.
pub fn query(arrival: &Arrival, name: &str) -> Option<String> {
    let query = arrival.query.as_deref()?;
    let raw = query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    })?;
    let spaced = raw.replace('+', " ");
    Some(percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}
