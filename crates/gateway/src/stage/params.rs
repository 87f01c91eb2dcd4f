//! The one place that decides about parameters a model does not take: refuse, drop, or pass.
//!
//! Names are OpenAI's. Clients of the OpenAI dialects are refused with the names unless dropping is
//! allowed; to clients of other dialects, whose requests never name such a parameter, the wish is a hint
//! that is dropped and noted. Source: compat, providers §2.

use std::collections::HashSet;

use bytes::Bytes;
use faregate_catalog::param_baseline;
use faregate_wire::chat::{ChatRequest, OutputFormat, Reasoning};
use faregate_wire::dialect::{Dialect, Losses};
use faregate_wire::envelope::Envelope;

use serde_json::Value;

use crate::call::{Call, Options};
use crate::refusal::Refusal;
use crate::stage::paths;

/// What a destination does not take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParamRules {
    /// Names of the baseline that the model refuses.
    pub unsupported: HashSet<&'static str>,
    /// True if `temperature` other than 1 is refused.
    pub temperature_fixed: bool,
    /// Drop instead of refusing.
    pub drop: bool,
    /// Dropped whenever present.
    pub additional_drop: Vec<String>,
    /// Sent although refused by the row.
    pub allowed: Vec<String>,
}

/// Never checked.
const EXEMPT: &[&str] =
    &["user", "stream", "stream_options", "max_retries", "extra_headers", "model", "messages"];

/// Decides which parameters of `call` must be left out for this destination.
///
/// # Errors
/// 400 naming the parameters, if they may not be dropped.
pub fn to_drop(call: &Call, rules: &ParamRules, provider: &str, model: &str) -> Result<Vec<String>, Refusal> {
    let options = &call.options;
    let mut dropped: Vec<String> = rules
        .additional_drop
        .iter()
        .chain(&options.additional_drop_params)
        .filter(|name| !paths::is_path(name))
        .cloned()
        .collect();
    if rules.unsupported.is_empty() && !rules.temperature_fixed {
        return Ok(dropped);
    }
    let present = match call.dialect {
        Dialect::OpenAiChat => of_envelope(call),
        _ => of_request(call.request()?.as_ref()),
    };
    let refused: Vec<&'static str> = present
        .into_iter()
        .filter(|name| is_refused(name, rules, options, call))
        .filter(|name| !dropped.iter().any(|gone| gone == name))
        .collect();
    if refused.is_empty() {
        return Ok(dropped);
    }
    let names_them =
        matches!(call.dialect, Dialect::OpenAiChat | Dialect::OpenAiText | Dialect::OpenAiResponses);
    let may_drop = options.drop_params.unwrap_or(rules.drop) || !names_them;
    let refused: Vec<String> = refused.into_iter().map(str::to_owned).collect();
    if may_drop {
        dropped.extend(refused);
        return Ok(dropped);
    }
    Err(Refusal::UnsupportedParams {
        provider: provider.to_owned(),
        model: model.to_owned(),
        params: refused,
    })
}

/// The call without what paths of `additional_drop_params` name in its body; `None` if they name nothing.
///
/// # Errors
/// If the body cannot be indexed again, which bodies indexed before can.
pub fn without_paths(call: &Call, rules: &ParamRules) -> Result<Option<Call>, Refusal> {
    let names = rules.additional_drop.iter().chain(&call.options.additional_drop_params);
    let named: Vec<&str> = names.map(String::as_str).filter(|name| paths::is_path(name)).collect();
    if named.is_empty() {
        return Ok(None);
    }
    let mut body: Value = serde_json::from_slice(call.envelope.body()).unwrap_or_default();
    if !paths::remove(&mut body, &named) {
        return Ok(None);
    }
    let envelope = Envelope::index(Bytes::from(faregate_wire::json::write(&body)))?;
    Ok(Some(call.with_envelope(envelope)))
}

fn is_refused(name: &str, rules: &ParamRules, options: &Options, call: &Call) -> bool {
    let allowed = rules.allowed.iter().chain(&options.allowed_openai_params).any(|allowed| allowed == name);
    if allowed || EXEMPT.contains(&name) {
        return false;
    }
    if name == "temperature" && rules.temperature_fixed {
        return call.envelope.get::<f64>("temperature") != Some(1.0);
    }
    if name == "n" && call.envelope.get::<u64>("n") == Some(1) {
        return false;
    }
    rules.unsupported.contains(name)
}

fn of_envelope(call: &Call) -> Vec<&'static str> {
    let is_set = |name: &str| call.envelope.raw(name).is_some_and(|raw| raw != b"null");
    param_baseline().iter().copied().filter(|name| is_set(name)).collect()
}

fn of_request(request: &ChatRequest) -> Vec<&'static str> {
    let sampling = &request.sampling;
    let present = [
        ("max_tokens", sampling.max_output_tokens.is_some()),
        ("temperature", sampling.temperature.is_some()),
        ("top_p", sampling.top_p.is_some()),
        ("stop", !sampling.stop.is_empty()),
        ("n", sampling.n.is_some_and(|n| n > 1)),
        ("seed", sampling.seed.is_some()),
        ("presence_penalty", sampling.presence_penalty.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some()),
        ("logprobs", sampling.logprobs.is_some()),
        ("top_logprobs", sampling.top_logprobs.is_some()),
        ("logit_bias", sampling.logit_bias.is_some()),
        ("tools", !request.tools.is_empty()),
        ("tool_choice", request.tool_choice.is_some()),
        ("parallel_tool_calls", request.parallel_tools.is_some()),
        ("response_format", request.output != OutputFormat::Text),
        ("reasoning_effort", request.reasoning.as_ref().is_some_and(|r| r != &Reasoning::default())),
        ("service_tier", request.service_tier.is_some()),
        ("modalities", !request.modalities.is_empty()),
        ("audio", request.audio.is_some()),
    ];
    present.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
}

/// Takes parameters out of a request and notes the loss.
pub fn remove(request: &mut ChatRequest, names: &[String], losses: &mut Losses) {
    for name in names {
        if remove_one(request, name) {
            losses.note(format!("param.{name}"));
        }
    }
}

fn remove_one(request: &mut ChatRequest, name: &str) -> bool {
    let sampling = &mut request.sampling;
    match name {
        "max_tokens" | "max_completion_tokens" => sampling.max_output_tokens.take().is_some(),
        "temperature" => sampling.temperature.take().is_some(),
        "top_p" => sampling.top_p.take().is_some(),
        "top_k" => sampling.top_k.take().is_some(),
        "stop" => !std::mem::take(&mut sampling.stop).is_empty(),
        "n" => sampling.n.take().is_some(),
        "seed" => sampling.seed.take().is_some(),
        "presence_penalty" => sampling.presence_penalty.take().is_some(),
        "frequency_penalty" => sampling.frequency_penalty.take().is_some(),
        "logprobs" => sampling.logprobs.take().is_some(),
        "top_logprobs" => sampling.top_logprobs.take().is_some(),
        "logit_bias" => sampling.logit_bias.take().is_some(),
        "tools" | "functions" => !std::mem::take(&mut request.tools).is_empty(),
        "tool_choice" | "function_call" => request.tool_choice.take().is_some(),
        "parallel_tool_calls" => request.parallel_tools.take().is_some(),
        "response_format" => std::mem::take(&mut request.output) != OutputFormat::Text,
        "reasoning_effort" | "thinking" => request.reasoning.take().is_some(),
        "service_tier" => request.service_tier.take().is_some(),
        "modalities" => !std::mem::take(&mut request.modalities).is_empty(),
        "audio" => request.audio.take().is_some(),
        "user" => request.user.take().is_some(),
        "metadata" => !std::mem::take(&mut request.metadata).is_empty(),
        other => {
            let families: Vec<_> =
                request.extra.families().filter(|(_, map)| map.contains_key(other)).map(|(f, _)| f).collect();
            for family in &families {
                request.extra.of_mut(*family).remove(other);
            }
            !families.is_empty()
        }
    }
}

/// Gives `request` the deployment's default parameters where the client gave none.
pub fn fill(request: &mut ChatRequest, defaults: &ChatRequest) {
    macro_rules! fill_options {
        ($($($path:ident).+),+ $(,)?) => {
            $(if request.$($path).+.is_none() {
                request.$($path).+.clone_from(&defaults.$($path).+);
            })+
        };
    }
    fill_options!(
        tool_choice,
        parallel_tools,
        reasoning,
        service_tier,
        user,
        audio,
        sampling.max_output_tokens,
        sampling.temperature,
        sampling.top_p,
        sampling.top_k,
        sampling.n,
        sampling.seed,
        sampling.presence_penalty,
        sampling.frequency_penalty,
        sampling.logprobs,
        sampling.top_logprobs,
        sampling.logit_bias,
    );
    if request.sampling.stop.is_empty() {
        request.sampling.stop.clone_from(&defaults.sampling.stop);
    }
    if request.tools.is_empty() {
        request.tools.clone_from(&defaults.tools);
    }
    if request.modalities.is_empty() {
        request.modalities.clone_from(&defaults.modalities);
    }
    if request.output == OutputFormat::Text {
        request.output.clone_from(&defaults.output);
    }
    for (family, members) in defaults.extra.families() {
        for (key, value) in members {
            if request.extra.get(family, key).is_none() {
                request.extra.put(family, key.clone(), value.clone());
            }
        }
    }
}
