//! What a file means.

use std::time::Duration;

use faregate_config::{
    CacheKind, CacheSettings, DeploymentConfig, Env, HedgeAfter, IndexKind, Isolation, QdrantSettings,
    Quantization, SemanticScope, SemanticSettings, Snapshot, SslVerify, Strictness,
};
use faregate_terms::{ModelGroup, Secret};
use serde_json::json;

use crate::{findings, full_env, loaded, read_text};

const ONE: &str = "model_list:\n- model_name: a\n  litellm_params:\n    model: openai/a\n";

fn params_of(params: &str) -> faregate_config::LitellmParams {
    let text = format!("{ONE}{}", params.lines().map(|line| format!("    {line}\n")).collect::<String>());
    loaded(&text, &full_env()).snapshot.deployments.remove(0).params
}

#[test]
fn references_are_replaced_where_litellm_replaces_them() {
    let env: Env = [("KEY", "sk-key"), ("FLAG", "True"), ("RPM", "7")].into_iter().collect();
    let text = format!(
        "{ONE}    api_key: os.environ/KEY\n    drop_params: os.environ/FLAG\n    rpm: os.environ/RPM\n    \
         api_base: https://os.environ/KEY\n    extra_body: {{a: [{{b: os.environ/KEY}}, os.environ/KEY]}}\n    \
         anthropic_client_secret_ref: os.environ/KEY\n"
    );
    let params = loaded(&text, &env).snapshot.deployments.remove(0).params;
    assert_eq!(params.api_key, Some(Secret::from("sk-key")));
    assert_eq!((params.drop_params, params.rpm), (Some(true), Some(7)));
    assert_eq!(params.api_base.as_deref(), Some("https://os.environ/KEY"));
    assert_eq!(params.extra_body["a"], json!([{"b": "sk-key"}, "os.environ/KEY"]));
    assert_eq!(params.extra["anthropic_client_secret_ref"], "os.environ/KEY");
}

#[test]
fn variables_of_the_file_are_seen_by_references_and_by_what_is_read_later() {
    let env: Env = [("BOTH", "process"), ("HERE", "process")].into_iter().collect();
    let text = format!(
        "environment_variables: {{BOTH: file, ONLY: 5, COPY: os.environ/HERE, GONE: os.environ/NONE, PATH: /x, \
         DYLD_X: y, litellm_enable_mcp_stdio: 'true'}}\n{ONE}    api_key: os.environ/ONLY\n    \
         api_base: os.environ/BOTH\n"
    );
    let (reading, lines) = read_text(&text, &env, Strictness::Lenient);
    let snapshot = reading.snapshot.unwrap();
    assert_eq!(snapshot.deployments[0].params.api_key, Some(Secret::from("5")));
    assert_eq!(snapshot.deployments[0].params.api_base.as_deref(), Some("process"));
    let later: Vec<(&str, &str)> = snapshot.env.iter().collect();
    assert_eq!(later, [("BOTH", "file"), ("COPY", "process"), ("HERE", "process"), ("ONLY", "5")]);
    assert_eq!(
        lines.iter().filter(|line| line.contains("cannot be set from a configuration file")).count(),
        3
    );
    assert_eq!(lines.iter().filter(|line| line.contains("NONE is not set")).count(), 1, "{lines:?}");
}

#[test]
fn parameters_go_where_they_belong() {
    let params = params_of(
        "temperature: 0.2\nmax_tokens: 100\ntop_k: 5\nmock_response: hello\ninput_cost_per_token: 0.00000015\n\
         output_cost_per_token: 1e-7\nsearch_context_cost_per_query: {low: 0.01}\ntimeout: '1.5'\nweight: 2\n\
         additional_drop_params: [seed]\nbase_url: https://b\nheaders: {X-A: 1}\nvertex_credentials: {type: x}\n\
         aws_session_tags: [{Key: k, Value: v}]\norganization: org\n",
    );
    assert_eq!(
        serde_json::to_value(&params.defaults.0).unwrap(),
        json!({"temperature": 0.2, "max_tokens": 100})
    );
    assert_eq!(serde_json::to_value(&params.extra.0).unwrap(), json!({"top_k": 5}));
    assert_eq!(serde_json::to_value(&params.settings.0).unwrap(), json!({"mock_response": "hello"}));
    assert_eq!(
        serde_json::to_value(&params.prices.0).unwrap(),
        json!({
            "input_cost_per_token": "0.00000015",
            "output_cost_per_token": "1e-7",
            "search_context_cost_per_query": {"low": "0.01"}
        })
    );
    assert_eq!((params.timeout, params.weight), (Some(Duration::from_millis(1500)), Some(2.0)));
    assert_eq!(params.additional_drop_params, ["seed"]);
    assert_eq!(params.api_base.as_deref(), Some("https://b"));
    assert_eq!(params.extra_headers.to_vec(), [("X-A".to_owned(), "1".to_owned())]);
    assert_eq!(params.vertex.credentials, Some(Secret::from("{\"type\":\"x\"}")));
    assert_eq!(params.aws.session_tags, [("k".to_owned(), "v".to_owned())]);
    assert_eq!(params.organization.as_deref(), Some("org"));
}

#[test]
fn a_list_of_organizations_is_one_deployment_each() {
    let text = format!("{ONE}    organization: [org-1, org-2]\n");
    let deployments = loaded(&text, &full_env()).snapshot.deployments;
    let found: Vec<_> = deployments.iter().map(|one| one.params.organization.as_deref()).collect();
    assert_eq!(found, [Some("org-1"), Some("org-2")]);
    assert_eq!(format!("{}-2", deployments[0].id), deployments[1].id.as_str());
}

#[test]
fn a_credential_fills_only_what_is_missing() {
    let text = format!(
        "{ONE}    api_base: https://own\n    litellm_credential_name: shared\ncredential_list:\n\
         - credential_name: shared\n  credential_values: {{api_key: os.environ/OPENAI_API_KEY, api_base: https://shared}}\n"
    );
    let params = loaded(&text, &full_env()).snapshot.deployments.remove(0).params;
    assert_eq!(params.api_key, Some(Secret::from("sk-value-of-OPENAI_API_KEY")));
    assert_eq!(params.api_base.as_deref(), Some("https://own"));
}

#[test]
fn fallbacks_are_a_list_of_maps_or_a_map_and_the_router_wins() {
    let text = "
litellm_settings:
  fallbacks: [{a: [x]}]
  context_window_fallbacks: [{a: [long]}]
  default_fallbacks: [d2]
  num_retries: 4
  request_timeout: 9
router_settings:
  fallbacks:
    a: [b, {model: c, temperature: 0}]
    '*': [d1]
  model_group_alias: {fast: a, slow: {model: b, hidden: true}}
";
    let snapshot = loaded(text, &full_env()).snapshot;
    let targets = &snapshot.fallbacks.general[&ModelGroup::from("a")];
    let names = |targets: &[faregate_config::FallbackTarget]| -> Vec<String> {
        targets.iter().map(|target| target.group.to_string()).collect()
    };
    assert_eq!(names(targets), ["b", "c"]);
    assert_eq!(targets[1].overrides["temperature"], 0);
    assert_eq!(names(&snapshot.fallbacks.default), ["d1", "d2"]);
    assert_eq!(names(&snapshot.fallbacks.context_window[&ModelGroup::from("a")]), ["long"]);
    assert_eq!(snapshot.router.num_retries, Some(4));
    assert_eq!(snapshot.router.timeout, Some(Duration::from_secs(9)));
    let slow = &snapshot.aliases[&ModelGroup::from("slow")];
    assert!(slow.hidden && slow.group.as_str() == "b");
}

#[test]
fn model_info_is_typed_and_kept_whole() {
    let text = format!(
        "{ONE}  model_info: {{id: 7, mode: chat, max_tokens: 10, supports_vision: true, note: x, \
         input_cost_per_token: 1.0e-06, output_cost_per_token: 2.0e-06}}\n"
    )
    .replace("model: openai/a", "model: openai/a\n    input_cost_per_token: 3.0e-06");
    let deployment = loaded(&text, &full_env()).snapshot.deployments.remove(0);
    assert_eq!(deployment.id.as_str(), "7");
    assert_eq!(deployment.info.mode.as_deref(), Some("chat"));
    assert_eq!(deployment.info.supports, [("supports_vision".to_owned(), true)]);
    assert_eq!((&deployment.info.all["note"], &deployment.info.all["id"]), (&json!("x"), &json!("7")));
    assert_eq!(
        serde_json::to_value(deployment.prices().0).unwrap(),
        json!({"input_cost_per_token": "3.0e-06", "output_cost_per_token": "2.0e-06"})
    );
}

#[test]
fn equal_ids_are_numbered_with_a_warning() {
    let (reading, lines) = read_text(
        "model_list:\n- model_name: a\n  litellm_params: {model: openai/a}\n\
         - model_name: a\n  litellm_params: {model: openai/a}\n",
        &full_env(),
        Strictness::Lenient,
    );
    let ids: Vec<String> =
        reading.snapshot.unwrap().deployments.iter().map(|one| one.id.to_string()).collect();
    assert_eq!(ids[1], format!("{}-2", ids[0]));
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].starts_with("config.yaml:4:3  model_list[1]: has the same deployment id as model_list[0]")
    );
}

#[test]
fn empty_sections_and_an_empty_file_are_empty_settings() {
    for text in ["", "# nothing\n", "model_list:\nlitellm_settings:\ngeneral_settings:\nrouter_settings: ~\n"]
    {
        let loaded = loaded(text, &Env::empty());
        assert!(loaded.snapshot.deployments.is_empty() && loaded.warnings.is_empty());
        assert!(loaded.snapshot.general.authentication.enable);
    }
}

#[test]
fn settings_of_the_modules_arrive() {
    let text = "
litellm_settings:
  callbacks: prometheus
  success_callback: [langfuse, prometheus]
  ssl_verify: /etc/roots.pem
  prometheus_latency_buckets: [0.1, 1, .inf]
  model_alias_map: {old: new}
  anthropic_sse_ping_interval_seconds: 5
general_settings: {litellm_key_header_name: X-Key, max_request_size_mb: 0.5}
";
    let snapshot = loaded(text, &Env::empty()).snapshot;
    assert!(snapshot.litellm.has_callback("prometheus"));
    assert_eq!(snapshot.litellm.callbacks, ["prometheus", "langfuse"]);
    assert_eq!(snapshot.litellm.ssl_verify, Some(SslVerify::Roots("/etc/roots.pem".into())));
    assert_eq!(snapshot.litellm.prometheus_latency_buckets, Some(vec![0.1, 1.0]));
    assert_eq!(snapshot.litellm.model_alias_map["old"], "new");
    assert_eq!(snapshot.general.litellm_key_header_name.as_deref(), Some("X-Key"));
    assert_eq!(snapshot.general.max_request_size_mb, Some(0.5));
}

#[test]
fn without_a_file_each_provider_with_a_key_gets_a_wildcard() {
    let env: Env = [
        ("OPENAI_API_KEY", "sk-x"),
        ("HF_TOKEN", "hf"),
        ("GROQ_API_KEY", ""),
        ("LITELLM_MASTER_KEY", "sk-m"),
    ]
    .into_iter()
    .collect();
    let rows = [
        ("openai", vec!["OPENAI_API_KEY"]),
        ("groq", vec!["GROQ_API_KEY"]),
        ("huggingface", vec!["HUGGINGFACE_API_KEY", "HF_TOKEN"]),
    ];
    let snapshot = Snapshot::from_environment(&env, rows);
    let found: Vec<_> =
        snapshot.deployments.iter().map(|one| (one.group.as_str(), one.params.model.as_str())).collect();
    assert_eq!(found, [("openai/*", "openai/*"), ("huggingface/*", "huggingface/*")]);
    assert_eq!(snapshot.master_key(), Some(Secret::from("sk-m")));
    assert_eq!(DeploymentConfig::new("demo", "demo/demo").group.as_str(), "demo");
}

#[test]
fn no_secret_is_shown_by_debug() {
    let text = format!(
        "{ONE}    api_key: sk-secret-0\n    extra_headers: {{Authorization: sk-secret-1}}\n    \
         extra_body: {{k: sk-secret-2}}\n    azure_password: sk-secret-3\n    other: sk-secret-4\n    \
         litellm_credential_name: c\ncredential_list: [{{credential_name: c, credential_values: {{x: sk-secret-5}}}}]\n\
         environment_variables: {{A: sk-secret-6}}\ngeneral_settings: {{master_key: sk-secret-7}}\n"
    );
    let shown = format!("{:?}", loaded(&text, &full_env()));
    assert!(!shown.contains("sk-secret") && !shown.contains("sk-value"), "{shown}");
}

#[test]
fn the_cache_is_read_with_its_defaults_and_only_true_turns_it_on() {
    let read = |litellm: &str| loaded(&format!("{ONE}litellm_settings: {litellm}\n"), &Env::empty());
    let cache = read(
        "{cache: true, cache_params: {type: disk, mode: default_off, ttl: 1.5, namespace: ns, max_bytes: 9, \
         disk_cache_dir: /c, isolation: team, coalesce: false, supported_call_types: [acompletion]}}",
    );
    assert_eq!(
        cache.snapshot.litellm.cache,
        CacheSettings {
            on: true,
            kind: Some(CacheKind::Disk),
            opt_in: true,
            call_types: Some(vec!["acompletion".into()]),
            ttl: Some(Duration::from_millis(1500)),
            namespace: Some("ns".into()),
            max_bytes: Some(9),
            folder: Some("/c".into()),
            isolation: Isolation::Team,
            coalesce: Some(false),
            ..CacheSettings::default()
        }
    );
    for (litellm, on, kind, warnings) in [
        ("{}", false, Some(CacheKind::Redis), 0),
        ("{cache: true}", true, Some(CacheKind::Redis), 0),
        ("{cache: false, cache_params: {type: s3}}", false, Some(CacheKind::S3), 0),
        ("{cache: true, cache_params: {type: gcs}}", true, Some(CacheKind::Gcs), 0),
        ("{cache: false, cache_params: {type: qdrant-semantic}}", false, Some(CacheKind::Memory), 0),
        ("{cache: 'true', cache_params: {type: local}}", false, Some(CacheKind::Memory), 1),
    ] {
        let loaded = read(litellm);
        let cache = &loaded.snapshot.litellm.cache;
        assert_eq!((cache.on, cache.kind, loaded.warnings.len()), (on, kind, warnings), "{litellm}");
    }
}

#[test]
fn a_semantic_cache_is_read_with_litellms_names_and_defaults() {
    let read = |params: &str| {
        let text = format!("{ONE}litellm_settings: {{cache: true, cache_params: {{{params}}}}}\n");
        loaded(&text, &Env::empty()).snapshot.litellm.cache
    };
    let least = read("type: redis-semantic, host: r, similarity_threshold: 0.8");
    assert_eq!((least.kind, least.redis.host.as_deref()), (Some(CacheKind::Redis), Some("r")));
    let expected = SemanticSettings {
        index: IndexKind::Redis,
        similarity_threshold: 0.8,
        embedding_model: "text-embedding-ada-002".into(),
        index_name: None,
        embedding_timeout: Duration::from_secs(5),
        embedding_max_input_tokens: None,
        scope: SemanticScope::Key,
        max_messages: Some(4),
        qdrant: QdrantSettings::default(),
    };
    assert_eq!(least.semantic, Some(expected.clone()));
    let most = read(
        "type: qdrant-semantic, similarity_threshold: '1', qdrant_api_base: 'http://q', qdrant_api_key: sk-secret, \
         qdrant_collection_name: c, qdrant_quantization_config: product, qdrant_semantic_cache_vector_size: 8, \
         qdrant_semantic_cache_embedding_model: e, semantic_cache_embedding_timeout: 0.5, max_messages: null, \
         semantic_cache_embedding_max_input_tokens: 100, semantic_cache_scope: end_user",
    );
    let qdrant = QdrantSettings {
        url: Some("http://q".into()),
        key: Some("sk-secret".into()),
        collection: "c".into(),
        quantization: Quantization::Product,
        vector_size: Some(8),
    };
    let all = SemanticSettings {
        index: IndexKind::Qdrant,
        similarity_threshold: 1.0,
        embedding_model: "e".into(),
        embedding_timeout: Duration::from_millis(500),
        embedding_max_input_tokens: Some(100),
        scope: SemanticScope::EndUser,
        max_messages: None,
        qdrant,
        ..expected
    };
    assert_eq!(most.semantic, Some(all));
    assert!(!format!("{most:?}").contains("sk-secret"));
    for (params, index, name, model) in [
        (
            "valkey-semantic, valkey_semantic_cache_index_name: n",
            IndexKind::Redis,
            Some("n"),
            "text-embedding-ada-002",
        ),
        ("local-semantic, semantic_cache_embedding_model: m", IndexKind::Memory, None, "m"),
        (
            "pgvector-semantic, semantic_cache_index_name: n",
            IndexKind::Postgres,
            Some("n"),
            "text-embedding-ada-002",
        ),
    ] {
        let semantic = read(&format!("similarity_threshold: 0.5, type: {params}")).semantic.unwrap();
        let found = (semantic.index, semantic.index_name.as_deref(), semantic.embedding_model.as_str());
        assert_eq!(found, (index, name, model), "{params}");
    }
}

#[test]
fn what_a_cache_cannot_do_without_is_named_with_its_line_and_what_to_write() {
    for (params, expected) in [
        ("type: redis-semantic", "similarity_threshold: `type: redis-semantic` needs it; set how alike"),
        (
            "type: local-semantic, similarity_threshold: 1.5",
            "similarity_threshold: expected a number from 0 to 1; 1 is",
        ),
        (
            "type: qdrant-semantic, similarity_threshold: 1",
            "qdrant_collection_name: `type: qdrant-semantic` needs it; name a collection",
        ),
        ("type: s3", "s3_bucket_name: `type: s3` needs it; name the bucket"),
        (
            "type: azure-blob, azure_blob_container: c",
            "azure_account_url: `type: azure-blob` needs it; write it as",
        ),
        ("type: s4", "type: unknown value `s4`; did you mean `s3`?"),
    ] {
        let found =
            findings(&format!("{ONE}litellm_settings:\n  cache: true\n  cache_params: {{{params}}}\n"));
        let expected = format!("litellm_settings.cache_params.{expected}");
        assert!(found.iter().any(|line| line.contains(&expected) && line.contains("yaml:")), "{found:#?}");
    }
}

#[test]
fn calls_beyond_one_have_their_bounds() {
    let text = "router_settings:
  retry_budget: {ratio: 0.1, min_per_second: 2}
  hedging:
    fast: {after: p99, max_extra_spend: 0.2}
    fixed: {after: 1.5}
    plain: {}
";
    let router = loaded(text, &Env::empty()).snapshot.router;
    assert_eq!((router.retry_budget.ratio, router.retry_budget.least_per_second), (Some(0.1), Some(2.0)));
    assert_eq!(router.retry_budget.enabled, None);
    let hedging: Vec<_> = router.hedging.values().map(|given| (given.after, given.max_extra_spend)).collect();
    let time = HedgeAfter::Time(Duration::from_millis(1500));
    let expected =
        [(HedgeAfter::Percentile(99.0), Some(0.2)), (time, None), (HedgeAfter::Percentile(95.0), None)];
    assert_eq!(hedging, expected, "in the order of their names");
    for wrong in ["p0", "p100", "soon", "-1"] {
        let found = findings(&format!("router_settings:\n  hedging:\n    a: {{after: {wrong}}}\n"));
        let expected =
            "router_settings.hedging.a.after: expected a percentile such as `p95`, or a number of seconds";
        assert!(found.iter().any(|line| line.contains(expected)), "{wrong}: {found:?}");
    }
}

#[test]
fn who_signs_in_where_and_who_hears_of_what_are_read_in_the_forms_of_the_documentation() {
    let text = "general_settings:\n  ui_access_mode: sso\n  sso_providers:\n  - {provider: google, client_id: app, \
                client_secret: s, allowed_domains: [a.example, b.example]}\n  log_retention_days: 90\n  \
                alerting: [slack, email]\n  alert_types: [team_deleted]\n";
    let env = [("GOOGLE_CLIENT_ID", "of the environment")].into_iter().collect();
    let reading = faregate_config::read_text(text, std::path::Path::new("x"), &env, Strictness::Lenient);
    let snapshot = reading.snapshot.unwrap();
    let general = &snapshot.general;
    assert!(general.people.sign_in_elsewhere);
    assert_eq!(snapshot.env.get("GOOGLE_CLIENT_ID"), Some("of the environment"));
    assert_eq!(snapshot.env.get("GOOGLE_CLIENT_SECRET"), Some("s"));
    assert_eq!(snapshot.env.get("ALLOWED_EMAIL_DOMAINS"), Some("a.example,b.example"));
    assert_eq!(general.database.keep_logs_for.as_deref(), Some("90d"));
    assert!(general.alerts.wants("team_deleted") && !general.alerts.wants("budget_alerts"));
    let email = reading.keys.iter().find(|key| key.path == "general_settings.alerting[1]").unwrap();
    assert_eq!(email.status, faregate_config::KeyStatus::NotYet);
}
