//! Each kind of mistake, with the words an operator reads.

use faregate_config::Strictness;

use crate::{findings, full_env, read_text};

#[test]
fn all_mistakes_of_a_file_are_shown_at_once_with_their_places() {
    let found = findings(
        "model_list:
  - model_name: a
    litellm_params:
      model: openai/a
      rpm: many
      timeout: [1]
      drop_params: perhaps
      extra_headers: {X: [1]}
  - litellm_params: {api_key: sk-secret-value}
  - model_name: b
  - text
  -
router_settings:
  routing_strategy: least-bussy
  health_check_interval: 5
  fallbacks: [a]
  num_retries: -1
litellm_settings:
  budget_reset_time: 16:30
  prometheus_latency_buckets: [1, 0.5]
general_settings: nothing
environment_variables: [A]
credential_list:
  - credential_values: {}
",
    );
    assert_eq!(
        found,
        [
            "config.yaml:5:12  model_list[0].litellm_params.rpm: expected a whole number from 0, found text",
            "config.yaml:6:16  model_list[0].litellm_params.timeout: expected a number of seconds, found a list",
            "config.yaml:7:20  model_list[0].litellm_params.drop_params: expected true or false, found text",
            "config.yaml:8:26  model_list[0].litellm_params.extra_headers.X: expected text, found a list",
            "config.yaml:9:5  model_list[1].model_name: is missing; add `model_name:`, the name clients ask for",
            "config.yaml:9:21  model_list[1].litellm_params.model: is missing; add `model: provider/model`, for \
             example `openai/gpt-4o`",
            "config.yaml:10:5  model_list[2].litellm_params: is missing; add `litellm_params:` with `model: \
             provider/model`",
            "config.yaml:11:5  model_list[3]: expected a mapping, found text",
            "config.yaml:12:4  model_list[4]: this list item is empty",
            "config.yaml:14:21  router_settings.routing_strategy: unknown value `least-bussy`; did you mean \
             `least-busy`?",
            "config.yaml:15:3  router_settings.health_check_interval: is not a router setting; move it to \
             `general_settings.health_check_interval`",
            "config.yaml:16:15  router_settings.fallbacks[0]: expected a mapping of a model to its fallbacks, found \
             text; write for example `- gpt-4o: [claude-sonnet]`",
            "config.yaml:17:16  router_settings.num_retries: expected a whole number from 0, found a number",
            "config.yaml:19:22  litellm_settings.budget_reset_time: expected a time of day as quoted text; write for \
             example \"06:30\"",
            "config.yaml:20:31  litellm_settings.prometheus_latency_buckets: expected a list of ascending numbers of \
             seconds",
            "config.yaml:21:19  general_settings: expected a mapping, found text",
            "config.yaml:22:24  environment_variables: expected a mapping, found a list",
            "config.yaml:24:5  credential_list[0].credential_name: is missing",
        ]
    );
}

#[test]
fn a_text_that_is_not_yaml_is_refused_where_it_breaks() {
    assert_eq!(
        findings("model_list:\n  - model_name: [a\n    b: c\n"),
        [
            "config.yaml:3:6  not valid YAML: illegal placement of ':' indicator; check indentation, quotes and \
          brackets up to here"
        ]
    );
    assert_eq!(
        findings("a: 1\n---\nb: 2\n"),
        [
            "config.yaml:2:1  a second YAML document starts here; keep one document per file and name the others under \
          `include`"
        ]
    );
    assert_eq!(
        findings("a: !!python/object:os.system x\n"),
        ["config.yaml:1:30  the YAML tag `!!python/object:os.system` is not supported here; remove the tag"]
    );
    assert_eq!(
        findings("a:\n  <<: 5\n"),
        [
            "config.yaml:2:7  the merge key `<<` takes a mapping or a list of mappings, not a number; write `<<: \
          *name`, where `&name` stands at a mapping"
        ]
    );
    assert_eq!(
        findings("? [a]\n: 1\n"),
        ["config.yaml:1:3  a list cannot be a key; use a plain text as key"]
    );
}

#[test]
fn a_text_is_read_like_a_file_but_includes_nothing() {
    let read = faregate_config::read_text(
        "include: [a.yaml]\nmodel_list: 5\n",
        std::path::Path::new("database"),
        &full_env(),
        Strictness::Lenient,
    );
    let lines: Vec<String> = read.findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "database:1:11  include: a.yaml cannot be included here: this is not a file",
            "database:2:13  model_list: expected a list of models, found a number; start each model with \
             `- model_name:`",
        ]
    );
}

#[test]
fn a_file_cannot_exhaust_stack_or_memory() {
    for deep in ["[".repeat(10_000), "{a: ".repeat(10_000), format!("{}x", "- ".repeat(10_000))] {
        let found = findings(&deep);
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("nested deeper than 100 levels; flatten the structure"), "{found:?}");
    }
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..20 {
        let one = format!("*a{}, ", n - 1).repeat(10);
        laughs.push_str(&format!("a{n}: &a{n} [{one}]\n"));
    }
    let found = findings(&laughs);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].ends_with("more than 500000 values once aliases are expanded; use fewer aliases of aliases"),
        "{found:?}"
    );
    let found = findings("a: &a [1, *a]\n");
    assert_eq!(
        found,
        ["config.yaml:1:11  this alias stands inside the value it repeats; write the value out"]
    );
}

#[test]
fn a_variable_that_is_not_set_is_a_warning_and_reads_as_nothing() {
    let text = "model_list:\n- model_name: a\n  litellm_params:\n    model: azure/a\n    api_key: os.environ/AZURE_KEY\n";
    let (reading, lines) = read_text(text, &full_env(), Strictness::Lenient);
    assert_eq!(
        lines,
        ["config.yaml:5:14  model_list[0].litellm_params.api_key: environment variable AZURE_KEY is not set"]
    );
    assert_eq!(reading.snapshot.unwrap().deployments[0].params.api_key, None);
}

#[test]
fn what_a_variable_holds_is_never_shown() {
    let text = "model_list:
- model_name: a
  litellm_params: {model: openai/a, rpm: os.environ/OPENAI_API_KEY, weight: os.environ/OPENAI_API_KEY}
router_settings: {routing_strategy: os.environ/OPENAI_API_KEY}
";
    let (_, lines) = read_text(text, &full_env(), Strictness::Lenient);
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.contains("environment variable OPENAI_API_KEY holds")), "{lines:?}");
    assert!(!lines.join("").contains("sk-value"), "{lines:?}");
}

#[test]
fn unknown_keys_warn_and_are_errors_when_strict() {
    let text = "model_lst: []\nlitellm_settings:\n  drop_parms: true\n  zzz: 1\nmodel_list:\n- model_name: a\n  \
                litellm_params: {model: openai/a, api_kye: sk-x, top_k: 5}\n";
    let (reading, lines) = read_text(text, &full_env(), Strictness::Lenient);
    let expected = [
        "config.yaml:1:1  model_lst: unknown key; did you mean `model_list`?",
        "config.yaml:3:3  litellm_settings.drop_parms: unknown key; did you mean `drop_params`?",
        "config.yaml:4:3  litellm_settings.zzz: unknown key; remove it, or check its place",
        "config.yaml:7:37  model_list[0].litellm_params.api_kye: unknown key, sent to the provider; did you mean \
         `api_key`?",
    ];
    assert_eq!(lines, expected);
    let params = &reading.snapshot.unwrap().deployments[0].params;
    assert_eq!(params.extra["top_k"], 5);
    let (reading, lines) = read_text(text, &full_env(), Strictness::Strict);
    assert_eq!(lines, expected);
    assert!(reading.snapshot.is_none());
}

#[test]
fn names_that_lead_nowhere_are_warnings() {
    let found = findings(
        "model_list:
- model_name: gpt-4o
  litellm_params: {model: openai/gpt-4o, litellm_credential_name: shard}
credential_list:
- {credential_name: shared, credential_values: {api_key: sk-x}}
router_settings:
  fallbacks: {gpt-4o: [gtp-4o]}
  default_fallbacks: [nothing]
  model_group_alias: {fast: other}
",
    );
    assert_eq!(
        found,
        [
            "config.yaml:3:67  model_list[0].litellm_params.litellm_credential_name: no credential `shard` in \
             credential_list; did you mean `shared`?",
            "config.yaml:7:3  router_settings.fallbacks: no model `gtp-4o` in model_list; did you mean `gpt-4o`?",
            "config.yaml:8:3  router_settings.default_fallbacks: no model `nothing` in model_list; add it there, or \
             remove it here",
            "config.yaml:9:3  router_settings.model_group_alias.fast: no model `other` in model_list; add it there, \
             or remove it here",
        ]
    );
}

#[test]
fn settings_of_groups_that_are_none_are_warnings() {
    let found = findings(
        "model_list:
- model_name: gpt-4o
  litellm_params: {model: openai/gpt-4o, silent_model: gpt-5o}
  model_info: {id: one}
router_settings:
  routing_groups: [{group_name: all, models: [gpt-4o, gpt-6], routing_strategy: least-busy}]
  hedging: {gtp-4o: {after: 1}, all: {after: 1}}
  weights: {gpt-4o: {one: 1, two: 1}, other: {one: 1}}
  mid_stream_fallback_groups: [all, none]
",
    );
    assert_eq!(
        found,
        [
            "config.yaml:2:3  model_list[0].litellm_params.silent_model: no model `gpt-5o` in model_list; did you mean \
             `gpt-4o`?",
            "config.yaml:6:3  router_settings.routing_groups: no model `gpt-6` in model_list; add it there, or remove \
             it here",
            "config.yaml:7:13  router_settings.hedging.gtp-4o: no model `gtp-4o` in model_list: this has no effect; did \
             you mean `gpt-4o`?",
            "config.yaml:8:30  router_settings.weights.gpt-4o.two: no deployment of `gpt-4o` has the id `two`; give it \
             that `model_info.id`, or remove it here",
            "config.yaml:8:39  router_settings.weights.other: no model `other` in model_list: this has no effect; add \
             it there, or remove it here",
            "config.yaml:9:3  router_settings.mid_stream_fallback_groups: no model `none` in model_list; add it there, \
             or remove it here",
        ]
    );
}

#[test]
fn routing_groups_that_contradict_themselves_are_errors() {
    let found = findings(
        "model_list:
- {model_name: a, litellm_params: {model: openai/a}}
router_settings:
  routing_groups:
  - {group_name: default, models: [a]}
  - {group_name: x, models: [a], routing_strategy: least-bussy}
  - {group_name: x, models: [a]}
  - {group_name: y, models: [a], model_priorities: {a: 1}}
  - {group_name: z, models: [a], routing_strategy: priority, model_priorities: {b: 1}}
  - {group_name: empty}
",
    );
    let paths: Vec<&str> =
        found.iter().filter_map(|line| line.split("router_settings.routing_groups").nth(1)).collect();
    let starts = |path: &str| paths.iter().filter(|found| found.starts_with(path)).count();
    for path in [
        "[0].group_name",
        "[1].routing_strategy",
        "[2].group_name",
        "[3].models",
        "[3].model_priorities",
        "[4].model_priorities",
        "[5].models",
    ] {
        assert_eq!(starts(path), 1, "{path} in {found:#?}");
    }
}

#[test]
fn a_key_given_twice_is_a_warning_and_the_last_one_counts() {
    let (reading, lines) = read_text(
        "general_settings:\n  master_key: sk-1\n  master_key: sk-2\n",
        &full_env(),
        Strictness::Lenient,
    );
    assert_eq!(
        lines,
        [
            "config.yaml:3:3  key `master_key` is given twice in one mapping; the last one counts, as in LiteLLM"
        ]
    );
    assert_eq!(reading.snapshot.unwrap().general.master_key, Some("sk-2".into()));
}
