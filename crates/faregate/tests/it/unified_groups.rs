//! Unified access groups decide which models a key may call, at once.

use std::net::{Ipv4Addr, SocketAddr};

use faregate_fake_provider::{FakeProvider, Options};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::process::{Running, faregate};

const MASTER: &str = "sk-groups-master-key-0123456789";

fn done(running: &Running, method: &str, path: &str, body: &Value) -> Value {
    let answer = running.call(method, path, MASTER, body.to_string().as_bytes());
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.body);
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_calls_what_its_groups_add_as_long_as_it_has_them() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let provider = FakeProvider::start_with(Options { address, log_capacity: 100 }).await.unwrap();
    let folder = tempdir().unwrap();
    let config = format!(
        "model_list:\n- model_name: m\n  litellm_params: {{model: openai/fake-one, api_key: k, api_base: \"{}/v1\"}}\n\
         general_settings: {{master_key: {MASTER}}}\n",
        provider.url()
    );
    std::fs::write(folder.path().join("config.yaml"), config).unwrap();
    let running = Running::of(faregate(folder.path(), &["--config", "config.yaml"]));
    done(&running, "POST", "/team/new", &json!({"team_id": "t", "models": ["another"]}));
    let key =
        |body: Value| done(&running, "POST", "/key/generate", &body)["key"].as_str().unwrap().to_owned();
    let personal = key(json!({"models": ["another"]}));
    let of_team = key(json!({"team_id": "t", "models": ["another"]}));
    for key in [&personal, &of_team] {
        assert_eq!(running.chat("m", key).status, 403);
    }
    let group = json!({
        "access_group_name": "g", "access_model_names": ["m"], "assigned_key_ids": [personal, of_team],
    });
    let id =
        done(&running, "POST", "/v1/access_group", &group)["access_group_id"].as_str().unwrap().to_owned();
    for key in [&personal, &of_team] {
        let answer = running.chat("m", key);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let path = format!("/v1/access_group/{id}");
    done(&running, "PUT", &path, &json!({"access_model_names": ["other"]}));
    assert_eq!(running.chat("m", &personal).status, 403, "what the group allows has changed");
    done(&running, "PUT", &path, &json!({"access_model_names": ["m"], "assigned_key_ids": [of_team]}));
    assert_eq!((running.chat("m", &personal).status, running.chat("m", &of_team).status), (403, 200));
    done(&running, "DELETE", &path, &json!({}));
    assert_eq!(running.chat("m", &of_team).status, 403);
}
