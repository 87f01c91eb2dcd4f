//! The report of every key.

use faregate_config::{Strictness, render};

use crate::{full_env, read_text};

#[test]
fn the_report_says_for_every_key_what_becomes_of_it() {
    let (reading, _) = read_text(
        "model_list:
- model_name: a
  litellm_params: {model: openai/a, order: 2, top_k: 5, temperature: 0.5, input_cost_per_token: 1.0e-06}
  owner: me
litellm_settings:
  callbacks: [prometheus, langfuse]
  suppress_debug_info: true
  cache: true
  cache_params: {type: s3, ttl: 5}
router_settings: {routing_strategy: lar1, optional_pre_call_checks: [router_budget_limiting, enforce_model_rate_limits]}
general_settings: {authentication: {enable: true}, zzz: 1}
",
        &full_env(),
        Strictness::Lenient,
    );
    let text = render(&reading.keys);
    let lines: Vec<&str> = text.lines().map(|line| &line[line.find("config.yaml").unwrap()..]).collect();
    assert_eq!(
        lines,
        [
            "config.yaml:1:1  model_list  honoured",
            "config.yaml:2:3  model_list[0].model_name  honoured",
            "config.yaml:3:3  model_list[0].litellm_params  honoured",
            "config.yaml:3:20  model_list[0].litellm_params.model  honoured",
            "config.yaml:3:37  model_list[0].litellm_params.order  honoured",
            "config.yaml:3:47  model_list[0].litellm_params.top_k  sent to the provider",
            "config.yaml:3:57  model_list[0].litellm_params.temperature  honoured",
            "config.yaml:3:75  model_list[0].litellm_params.input_cost_per_token  honoured",
            "config.yaml:4:3  model_list[0].owner  kept",
            "config.yaml:5:1  litellm_settings  honoured",
            "config.yaml:6:3  litellm_settings.callbacks  honoured",
            "config.yaml:6:27  litellm_settings.callbacks[1]  not honoured yet: callback `langfuse`",
            "config.yaml:7:3  litellm_settings.suppress_debug_info  accepted without effect: there is no debug banner",
            "config.yaml:8:3  litellm_settings.cache  honoured",
            "config.yaml:9:3  litellm_settings.cache_params  honoured",
            "config.yaml:9:18  litellm_settings.cache_params.type  honoured",
            "config.yaml:9:28  litellm_settings.cache_params.ttl  honoured",
            "config.yaml:10:1  router_settings  honoured",
            "config.yaml:10:19  router_settings.routing_strategy  not honoured yet: `lar1` falls back to \
             `simple-shuffle`",
            "config.yaml:10:43  router_settings.optional_pre_call_checks  honoured",
            "config.yaml:10:70  router_settings.optional_pre_call_checks[0]  not honoured yet: check `router_budget_limiting`",
            "config.yaml:11:1  general_settings  honoured",
            "config.yaml:11:20  general_settings.authentication  honoured",
            "config.yaml:11:37  general_settings.authentication.enable  honoured",
            "config.yaml:11:52  general_settings.zzz  unknown",
        ]
    );
}
