//! Models, credentials and settings in the database, as an operator meets them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use faregate_fake_provider::{FakeProvider, Options};
use faregate_testkit::postgres::Database;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::process::{Answer, Running, faregate};

const MASTER: &str = "sk-stored-master-key-0123456789";

async fn provider() -> FakeProvider {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    FakeProvider::start_with(Options { address, log_capacity: 100 }).await.unwrap()
}

fn start(folder: &Path, config: &str, more: &[(&str, &str)]) -> Running {
    let file = folder.join("config.yaml");
    fs::write(&file, config).unwrap();
    let mut command = faregate(folder, &["--config", file.to_str().unwrap()]);
    command.env("LITELLM_MASTER_KEY", MASTER).envs(more.iter().copied());
    Running::of(command)
}

fn call(running: &Running, method: &str, path: &str, body: &Value) -> Answer {
    running.call(method, path, MASTER, body.to_string().as_bytes())
}

fn done(running: &Running, method: &str, path: &str, body: &Value) -> Value {
    let answer = call(running, method, path, body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

fn model(name: &str, provider: &FakeProvider) -> Value {
    json!({
        "model_name": name,
        "litellm_params": {
            "model": "openai/fake-one", "api_base": format!("{}/v1", provider.url()), "api_key": "sk-upstream-secret",
        },
        "model_info": {"id": format!("id-of-{name}"), "mode": "chat"},
    })
}

const STORES: &str = "general_settings: {store_model_in_db: true}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_model_added_by_a_call_serves_at_once_and_after_a_restart_until_it_is_deleted() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let running = start(folder.path(), STORES, &[]);
    assert_eq!(running.chat("added", MASTER).status, 400);
    let row = done(&running, "POST", "/model/new", &model("added", &provider));
    assert_eq!(row["model_id"], "id-of-added");
    assert_eq!(running.chat("added", MASTER).status, 200, "the answer to the call means that it serves");

    let shown = done(&running, "GET", "/model/info", &json!({}));
    assert_eq!(shown["data"][0]["model_info"]["db_model"], true, "{shown}");
    for text in [row.to_string(), shown.to_string()] {
        assert!(!text.contains("sk-upstream-secret"), "{text}");
    }
    let file = fs::read(folder.path().join("data/faregate.db")).unwrap();
    let log = fs::read(folder.path().join("data/faregate.db-wal")).unwrap_or_default();
    let secret = b"sk-upstream-secret";
    let found = [file, log].iter().any(|bytes| bytes.windows(secret.len()).any(|part| part == secret));
    assert!(!found, "the secret is not in the database as text");

    drop(running);
    let running = start(folder.path(), STORES, &[]);
    assert_eq!(running.chat("added", MASTER).status, 200);

    let renamed = json!({"model_name": "renamed", "litellm_params": {"rpm": 5}});
    done(&running, "PATCH", "/model/id-of-added/update", &renamed);
    assert_eq!(running.chat("renamed", MASTER).status, 200, "the other parameters stay");
    assert_eq!(running.chat("added", MASTER).status, 400);

    done(&running, "POST", "/model/block", &json!({"model_id": "id-of-added"}));
    assert_eq!(running.chat("renamed", MASTER).status, 400);
    done(&running, "POST", "/model/unblock", &json!({"model_id": "id-of-added"}));
    assert_eq!(running.chat("renamed", MASTER).status, 200);

    done(&running, "POST", "/model/delete", &json!({"id": "id-of-added"}));
    assert_eq!(running.chat("renamed", MASTER).status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_refused_with_the_field_and_the_remedy() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let of_file = format!(
        "{STORES}model_list:\n  - model_name: of-file\n    litellm_params: {{model: openai/fake-one, api_base: '{}/v1', \
         api_key: k}}\n    model_info: {{id: id-of-of-file}}\n",
        provider.url()
    );
    let running = start(folder.path(), &of_file, &[]);
    let with = |member: &str, value: Value| {
        let mut body = model("m", &provider);
        body["litellm_params"][member] = value;
        body
    };
    for (method, path, body, status, words) in [
        ("POST", "/model/new", with("rpm", json!("many")), 400, "litellm_params.rpm"),
        ("POST", "/model/new", with("model", json!("")), 400, "litellm_params.model"),
        (
            "POST",
            "/model/new",
            with("litellm_credential_name", json!("none")),
            400,
            "Credential 'none' not found",
        ),
        ("POST", "/model/new", json!({"model_name": "x"}), 422, "litellm_params: Field required"),
        ("POST", "/model/new", model("of-file", &provider), 400, "already exists"),
        ("POST", "/model/delete", json!({"id": "id-of-of-file"}), 400, "Cannot edit config-based model"),
        ("POST", "/model/delete", json!({"id": "nobody"}), 404, "Model nobody not found"),
        ("POST", "/model/update", json!({"model_name": "x"}), 400, "model_info.id"),
        ("POST", "/config/update", json!({"router_settings": {"num_retry": 1}}), 400, "num_retry"),
        ("POST", "/config/update", json!({"router_settings": {"num_retries": "x"}}), 400, "num_retries"),
        (
            "POST",
            "/config/field/update",
            json!({"field_name": "x", "field_value": 1}),
            400,
            "Invalid field=x",
        ),
    ] {
        let answer = call(&running, method, path, &body);
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        assert!(answer.body.contains(words), "{path} {body}: {}", answer.body);
    }
    drop(running);
    let running = start(folder.path(), "general_settings: {store_model_in_db: false}\n", &[]);
    let answer = call(&running, "POST", "/model/new", &model("m", &provider));
    assert!(answer.status == 500 && answer.body.contains("STORE_MODEL_IN_DB"), "{}", answer.body);
    drop(running);
    let running = start(
        folder.path(),
        "general_settings: {store_model_in_db: false}\n",
        &[("STORE_MODEL_IN_DB", "True")],
    );
    done(&running, "POST", "/model/new", &model("m", &provider));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_credential_serves_its_models_and_is_never_shown() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let running = start(folder.path(), STORES, &[]);
    let values = json!({"api_key": "sk-upstream-secret", "api_base": format!("{}/v1", provider.url())});
    let credential = json!({"credential_name": "team/openai", "credential_values": values, "credential_info": {"description": "x"}});
    done(&running, "POST", "/credentials", &credential);
    assert_eq!(call(&running, "POST", "/credentials", &credential).status, 409);
    let named = json!({
        "model_name": "m", "litellm_params": {"model": "openai/fake-one", "litellm_credential_name": "team/openai"},
    });
    done(&running, "POST", "/model/new", &named);
    assert_eq!(running.chat("m", MASTER).status, 200);
    // The log of the fake keeps the ends of keys.
    assert_eq!(provider.requests().last().unwrap().header("authorization"), Some("Bearer ...cret"));

    let one = done(&running, "GET", "/credentials/by_name/team/openai", &json!({}));
    assert_eq!(one["credential_info"]["description"], "x");
    let all = done(&running, "GET", "/credentials", &json!({}));
    assert_eq!(all["credentials"].as_array().unwrap().len(), 1);
    assert!(!format!("{one}{all}").contains("sk-upstream-secret"), "{one}{all}");

    let update = json!({"credential_info": {}, "credential_values": {"api_key": "sk-the-other"}});
    done(&running, "PATCH", "/credentials/team/openai", &update);
    assert_eq!(running.chat("m", MASTER).status, 200);
    assert_eq!(provider.requests().last().unwrap().header("authorization"), Some("Bearer ...ther"));
    done(&running, "DELETE", "/credentials/team/openai", &json!({}));
    assert_eq!(call(&running, "GET", "/credentials/by_name/team/openai", &json!({})).status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_settings_win_over_the_files_and_sealed_ones_reach_the_environment() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let running = start(folder.path(), STORES, &[]);
    let settings = json!({
        "environment_variables": {"UPSTREAM_KEY": "sk-upstream-secret"},
        "router_settings": {"model_group_alias": {"nick": "m"}},
    });
    done(&running, "POST", "/config/update", &settings);
    let mut by_variable = model("m", &provider);
    by_variable["litellm_params"]["api_key"] = json!("os.environ/UPSTREAM_KEY");
    done(&running, "POST", "/model/new", &by_variable);
    assert_eq!(running.chat("nick", MASTER).status, 200);
    assert_eq!(provider.requests().last().unwrap().header("authorization"), Some("Bearer ...cret"));

    let set = json!({"field_name": "max_request_size_mb", "field_value": 0.00001, "config_type": "general_settings"});
    done(&running, "POST", "/config/field/update", &set);
    assert_eq!(running.chat("nick", MASTER).status, 413, "it counts at once");
    let info = done(&running, "GET", "/config/field/info?field_name=max_request_size_mb", &json!({}));
    assert_eq!((&info["field_value"], &info["source"]), (&json!(0.00001), &json!("db")));
    let named = json!({"field_name": "max_request_size_mb", "config_type": "general_settings"});
    done(&running, "POST", "/config/field/delete", &named);
    assert_eq!(running.chat("nick", MASTER).status, 200);
    let list = done(&running, "GET", "/config/list?config_type=general_settings", &json!({}));
    assert!(list.as_array().unwrap().iter().any(|field| field["field_name"] == "max_request_size_mb"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_added_on_one_replica_serves_on_the_other_within_a_second() {
    let (database, provider) = (Database::create().await, provider().await);
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    let url = database.url();
    let (a, b) = (
        start(one.path(), STORES, &[("DATABASE_URL", &url)]),
        start(two.path(), STORES, &[("DATABASE_URL", &url)]),
    );
    done(&a, "POST", "/model/new", &model("added", &provider));
    let since = Instant::now();
    while b.chat("added", MASTER).status != 200 {
        assert!(since.elapsed() < Duration::from_secs(5), "not there after {:?}", since.elapsed());
    }
    // The promise is a second; a busy test machine gets some more before this fails.
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sees_the_deployments_of_its_models_only_page_by_page() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let running = start(folder.path(), STORES, &[]);
    for name in ["b-one", "a-two", "hidden"] {
        done(&running, "POST", "/model/new", &model(name, &provider));
    }
    let made = done(&running, "POST", "/key/generate", &json!({"models": ["a-two", "b-one"]}));
    let key = made["key"].as_str().unwrap();
    let names = |path: &str| -> Vec<String> {
        let answer = running.call("GET", path, key, b"");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let rows = answer.json()["data"].as_array().cloned().unwrap();
        rows.iter()
            .map(|row| row["model_name"].as_str().or(row["model_group"].as_str()).unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("/model/info"), ["b-one", "a-two"]);
    assert_eq!(names("/model_group/info"), ["b-one", "a-two"]);
    assert_eq!(names("/v2/model/info?sortBy=model_name"), ["a-two", "b-one"]);
    assert_eq!(names("/v2/model/info?sortBy=model_name&sortOrder=desc&size=1&page=2"), ["a-two"]);
    assert_eq!(names("/v2/model/info?search=TWO"), ["a-two"]);
    let all = done(&running, "GET", "/v2/model/info?size=2", &json!({}));
    assert_eq!((&all["total_count"], &all["total_pages"]), (&json!(3), &json!(2)));
    let hidden = running.call("GET", "/model/info?litellm_model_id=id-of-hidden", key, b"");
    assert_eq!(hidden.status, 400, "{}", hidden.body);
    assert_eq!(running.call("GET", "/v2/model/info?page=0", key, b"").status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_group_opens_its_models_to_keys_that_name_it() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let running = start(folder.path(), STORES, &[]);
    for name in ["cheap", "fast", "dear"] {
        done(&running, "POST", "/model/new", &model(name, &provider));
    }
    let nobody = call(
        &running,
        "POST",
        "/access_group/new",
        &json!({"access_group": "beta", "model_names": ["none"]}),
    );
    assert!(nobody.status == 400 && nobody.body.contains("none"), "{}", nobody.body);
    let made = json!({"access_group": "beta", "model_names": ["cheap"], "model_ids": ["id-of-fast"]});
    assert_eq!(done(&running, "POST", "/access_group/new", &made)["models_updated"], 2);
    assert_eq!(call(&running, "POST", "/access_group/new", &made).status, 409);
    let key = done(&running, "POST", "/key/generate", &json!({"models": ["beta"]}));
    let key = key["key"].as_str().unwrap();
    let open = |name: &str| running.chat(name, key).status;
    assert_eq!((open("cheap"), open("fast"), open("dear")), (200, 200, 403));

    let members = json!({"model_names": ["dear"]});
    done(&running, "PUT", "/access_group/beta/update", &members);
    assert_eq!((open("cheap"), open("dear")), (403, 200));
    let info = done(&running, "GET", "/access_group/beta/info", &json!({}));
    assert_eq!((&info["model_names"], &info["deployment_count"]), (&json!(["dear"]), &json!(1)));
    done(&running, "DELETE", "/access_group/beta/delete", &json!({}));
    assert_eq!(open("dear"), 403);
    assert_eq!(done(&running, "GET", "/access_group/list", &json!({}))["access_groups"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_may_know_of_the_models_that_were_made_public_and_of_nothing_else() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let links = "litellm_settings: {public_model_groups_links: {Handbook: 'https://handbook.example'}}\n";
    let running = start(folder.path(), &format!("{STORES}{links}"), &[]);
    for name in ["shown", "hidden"] {
        done(&running, "POST", "/model/new", &model(name, &provider));
    }
    let hub = || running.call("GET", "/public/model_hub", "", b"").json();
    assert_eq!(hub(), json!([]));
    done(&running, "POST", "/model_group/make_public", &json!({"model_groups": ["shown"]}));
    let told = hub();
    assert_eq!((told[0]["model_group"].as_str(), told.as_array().unwrap().len()), (Some("shown"), 1));
    assert_eq!(told[0]["is_public_model_group"], true);
    assert!(!told.to_string().contains(&provider.url()), "nothing of how it is reached: {told}");
    let info = running.call("GET", "/public/model_hub/info", "", b"").json();
    assert_eq!(info["useful_links"], json!({"Handbook": "https://handbook.example"}));
    let unknown = json!({"model_groups": ["nowhere"]});
    let refused = call(&running, "POST", "/model_group/make_public", &unknown);
    assert!(refused.status == 400 && refused.body.contains("`nowhere`"), "{}", refused.body);
}
