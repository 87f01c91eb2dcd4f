//! Where data may go, as the metadata of keys, teams and organizations says.

use faregate_fake_provider::FakeProvider;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::process::{Running, faregate};

const MASTER: &str = "sk-residency-master-key-0123456789";

fn done(running: &Running, path: &str, body: &Value) -> Value {
    let answer = running.call("POST", path, MASTER, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_stay_in_the_region_that_the_widest_of_key_team_and_organization_names() {
    let (folder, provider) = (tempdir().unwrap(), FakeProvider::start().await);
    let entry = |region: &str| {
        let base = format!("{}/v1", provider.url());
        let params =
            json!({"model": "openai/fake-a", "api_key": "sk-up", "api_base": base, "region_name": region});
        json!({"model_name": "m", "litellm_params": params, "model_info": {"id": region}})
    };
    let config =
        json!({"model_list": [entry("eu"), entry("us")], "general_settings": {"master_key": MASTER}});
    std::fs::write(folder.path().join("config.yaml"), config.to_string()).unwrap();
    let running = Running::of(faregate(folder.path(), &["--config", "config.yaml"]));
    let in_region = |region: &str| json!({"data_residency": region});
    done(
        &running,
        "/organization/new",
        &json!({"organization_id": "o", "organization_alias": "o", "metadata": in_region("us")}),
    );
    for (id, organization, metadata) in
        [("in-eu", None, in_region("eu")), ("of-o", Some("o"), in_region("eu"))]
    {
        done(
            &running,
            "/team/new",
            &json!({"team_id": id, "organization_id": organization, "metadata": metadata}),
        );
    }
    for (asked, region) in [
        (json!({"metadata": in_region("us")}), "us"),
        (json!({"team_id": "in-eu"}), "eu"),
        (json!({"team_id": "in-eu", "metadata": in_region("us")}), "eu"),
        (json!({"team_id": "of-o"}), "us"),
    ] {
        let key = done(&running, "/key/generate", &asked)["key"].as_str().unwrap().to_owned();
        for _ in 0..4 {
            // What a request asks for does not lead out of it.
            let body = json!({"model": "m", "allowed_model_region": "jp", "messages": [{"role": "user", "content": "hi"}]});
            let answer = running.call("POST", "/v1/chat/completions", &key, body.to_string().as_bytes());
            assert_eq!(
                (answer.status, answer.header("x-litellm-model-id").as_deref()),
                (200, Some(region)),
                "{asked}"
            );
        }
    }
    let nowhere = done(&running, "/key/generate", &json!({"metadata": in_region("jp")}));
    assert_eq!(running.chat("m", nowhere["key"].as_str().unwrap()).status, 400);
}
