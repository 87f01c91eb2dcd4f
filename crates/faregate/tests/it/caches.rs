//! Caches: from a configuration to what keeps answers, and settings that are stored.

use std::fs;
use std::path::Path;

use faregate::{answers, assemble};
use faregate_config::{Env, ServeEnv, Strictness, read_text};
use faregate_testkit::postgres::Database;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::process::{Running, faregate};

const MASTER: &str = "sk-caches-master-key-0123456789";

/// Whether a cache and an index are built, and what is wrong.
fn built(params: &str, env: &[(&str, &str)]) -> (bool, bool, Option<String>) {
    let env: Env = env.iter().copied().collect();
    let text = format!("litellm_settings: {{cache: true, cache_params: {{{params}}}}}\n");
    let reading = read_text(&text, Path::new("config.yaml"), &env, Strictness::Lenient);
    let snapshot = reading.snapshot.unwrap();
    let (environment, _) = ServeEnv::read(&snapshot.env);
    let upstream = assemble::upstream(&environment, &snapshot, 0).unwrap();
    let (cache, finding) = answers::cache(&snapshot, &upstream, None);
    let has_index = cache.as_ref().is_some_and(|cache| cache.nearest.is_some());
    (cache.is_some(), has_index, finding.map(|finding| finding.to_string()))
}

#[tokio::test]
async fn every_type_is_built_and_what_it_misses_is_named() {
    let redis = "host: 127.0.0.1, similarity_threshold: 0.8";
    let qdrant = "type: qdrant-semantic, similarity_threshold: 0.8, qdrant_collection_name: c";
    let url: &[(&str, &str)] = &[("QDRANT_URL", "http://127.0.0.1:6333"), ("QDRANT_API_KEY", "k")];
    for (params, env, has_index) in [
        ("type: local", &[][..], false),
        ("type: s3, s3_bucket_name: b, s3_verify: false", &[], false),
        ("type: gcs", &[("GCS_BUCKET_NAME", "b")], false),
        ("type: azure-blob, azure_account_url: 'https://a', azure_blob_container: c", &[], false),
        ("type: local-semantic, similarity_threshold: 0.8", &[], true),
        (&format!("type: redis-semantic, {redis}"), &[], true),
        (&format!("type: valkey-semantic, {redis}"), &[], true),
        (qdrant, url, true),
        // The database comes later.
        ("type: pgvector-semantic, similarity_threshold: 0.8", &[], false),
    ] {
        assert_eq!(built(params, env), (true, has_index, None), "{params}");
    }
    for (params, expected) in [
        ("type: gcs", "cache_params.gcs_bucket_name: `type: gcs` needs it; set it, or GCS_BUCKET_NAME"),
        (qdrant, "cache_params.qdrant_api_base: no Qdrant is named to keep answers in; set"),
        ("type: redis-semantic, similarity_threshold: 0.8", "no Redis is named to keep answers in"),
        ("type: s3, s3_bucket_name: b, s3_verify: /nowhere.pem", "cache_params.s3_verify: cannot read"),
    ] {
        let (cache, _, finding) = built(params, &[]);
        let finding = finding.unwrap();
        assert!(!cache && finding.contains(expected), "{params}: {finding}");
    }
}

fn call(running: &Running, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let answer = running.call(method, path, MASTER, body.to_string().as_bytes());
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

fn start(folder: &Path, config: &str, url: Option<&str>) -> Running {
    let file = folder.join("config.yaml");
    fs::write(&file, config).unwrap();
    let mut command = faregate(folder, &["--config", file.to_str().unwrap()]);
    command.env("LITELLM_MASTER_KEY", MASTER).envs(url.map(|url| ("DATABASE_URL", url)));
    Running::of(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_in_the_gateways_own_database_are_there_from_the_start_and_after_a_reload() {
    let Some(database) = Database::create_with_vectors().await else { return };
    let folder = tempdir().unwrap();
    let config = "litellm_settings: {cache: true, cache_params: {type: pgvector-semantic, similarity_threshold: 0.8}}\n";
    let mut running = start(folder.path(), config, Some(&database.url()));
    let (status, found) = call(&running, "GET", "/cache/ping", &Value::Null);
    assert_eq!((status, &found["cache_type"]), (200, &json!("pgvector-semantic")), "{found}");
    let rows = "SELECT count(*) FROM faregate_near";
    assert_eq!(database.number(rows).await, 0, "the table is there");
    fs::write(folder.path().join("config.yaml"), config.replace("0.8", "0.9")).unwrap();
    running.signal("HUP");
    running.line("config reloaded");
    let (status, found) = call(&running, "GET", "/cache/ping", &Value::Null);
    assert_eq!(status, 200, "{found}");
    assert!(found["litellm_cache_params"].as_str().unwrap().contains("0.9"), "{found}");
    assert_eq!(call(&running, "POST", "/cache/flushall", &json!({})).0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_cache_settings_serve_at_once_and_after_a_restart() {
    let folder = tempdir().unwrap();
    let config = "general_settings: {store_model_in_db: true}\n";
    let running = start(folder.path(), config, None);
    assert_eq!(call(&running, "GET", "/cache/ping", &Value::Null).0, 503, "there is no cache");
    let settings = json!({"cache_settings": {"type": "local", "ttl": 7}});
    let (status, saved) = call(&running, "POST", "/cache/settings", &settings);
    assert_eq!(status, 200, "{saved}");
    let serves = |running: &Running| {
        let (status, found) = call(running, "GET", "/cache/ping", &Value::Null);
        assert_eq!((status, &found["cache_type"]), (200, &json!("local")), "{found}");
        assert!(found["litellm_cache_params"].as_str().unwrap().contains(r#""ttl":7.0"#), "{found}");
    };
    serves(&running);
    drop(running);
    serves(&start(folder.path(), config, None));
}
