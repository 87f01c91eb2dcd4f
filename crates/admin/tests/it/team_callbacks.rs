//! Logging callbacks of a team: kept as LiteLLM keeps them, secrets sealed, for its admins only.

use faregate_store::Team;
use faregate_store::seal::{CALLBACK_PREFIX, SaltKey};
use faregate_terms::Secret;
use serde_json::{Value, json};

use crate::world::{MASTER, World};

const MINE: &str = "/team/mine/callback";

fn langfuse(kind: &str) -> Value {
    json!({
        "callback_name": "langfuse", "callback_type": kind,
        "callback_vars": {"langfuse_public_key": "pk-1", "langfuse_secret_key": "sk-lf-1", "langfuse_host": "https://lf"},
    })
}

async fn stored(world: &World) -> Value {
    world.admin.store.get::<Team>(&["mine"]).await.unwrap().unwrap().metadata
}

#[tokio::test]
async fn a_callback_is_kept_with_its_secrets_sealed_and_shown_without_them() {
    let world = World::new().await;
    let told = world.post("lead", MINE, langfuse("success")).await.ok();
    assert_eq!((&told["status"], &told["data"]["team_id"]), (&json!("success"), &json!("mine")));
    assert!(told["message"].as_str().unwrap().contains("langfuse is no callback of Faregate"), "{told}");
    let gcs = json!({"callback_name": "gcs_bucket", "callback_vars": {"gcs_bucket_name": "b"}});
    world.post("chief", MINE, gcs).await.ok();

    let kept = &stored(&world).await["logging"];
    assert_eq!(
        kept[1],
        json!({
            "callback_name": "gcs_bucket", "callback_type": "success_and_failure", "callback_vars": {"gcs_bucket_name": "b"},
        })
    );
    let variables = &kept[0]["callback_vars"];
    assert_eq!(variables["langfuse_host"], "https://lf");
    let sealed = variables["langfuse_secret_key"].as_str().unwrap().strip_prefix(CALLBACK_PREFIX).unwrap();
    assert_eq!(SaltKey::of(&Secret::from(MASTER)).open(sealed).unwrap().expose(), "sk-lf-1");

    let shown = world.get("lead", MINE, "").await.ok();
    assert_eq!(
        shown["data"],
        json!({
            "team_id": "mine", "success_callbacks": ["langfuse", "gcs_bucket"], "failure_callbacks": ["gcs_bucket"],
            "callback_vars": {
                "langfuse_public_key": "***REDACTED***", "langfuse_secret_key": "***REDACTED***",
                "langfuse_host": "https://lf", "gcs_bucket_name": "b",
            },
        })
    );
}

#[tokio::test]
async fn one_callback_is_taken_away_by_name_and_all_by_disabling() {
    let world = World::new().await;
    for kind in ["success", "failure"] {
        world.post("master", MINE, langfuse(kind)).await.ok();
    }
    let gcs = json!({"callback_name": "gcs_bucket", "callback_vars": {"gcs_bucket_name": "b"}});
    world.post("master", MINE, gcs.clone()).await.ok();
    let gone = world.call("DELETE", "lead", "/team/mine/callback/langfuse", None, None).await.ok();
    assert_eq!(
        gone["data"],
        json!({
            "team_id": "mine", "success_callbacks": ["gcs_bucket"], "failure_callbacks": ["gcs_bucket"],
        })
    );
    let again = world.call("DELETE", "lead", "/team/mine/callback/langfuse", None, None).await;
    again.refused(404, "langfuse is not registered");

    world.post("lead", "/team/mine/disable_logging", json!({})).await.refused(401, "Only proxy admin");
    world.post("master", "/team/mine/disable_logging", json!({})).await.ok();
    let shown = world.get("lead", MINE, "").await.ok();
    assert_eq!(
        (&shown["data"]["success_callbacks"], &shown["data"]["callback_vars"]),
        (&json!([]), &json!({}))
    );
    assert_eq!(stored(&world).await["logging"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_and_others_see_nothing() {
    let world = World::new().await;
    let with = |variables: Value| json!({"callback_name": "langfuse", "callback_vars": variables});
    let mut often = langfuse("often");
    world.post("lead", MINE, often.clone()).await.refused(422, "callback_type");
    often["callback_type"] = json!("success");
    world.post("lead", MINE, with(json!({"langfuse_key": "x"}))).await.refused(422, "langfuse_key");
    let named = with(json!({"langfuse_host": "os.environ/SECRET"}));
    world.post("master", MINE, named).await.refused(422, "langfuse_host");
    world.post("lead", MINE, json!({"callback_name": "langfuse"})).await.refused(422, "callback_vars");
    world.post("lead", MINE, often.clone()).await.ok();
    world.post("lead", MINE, often).await.refused(400, "already exists");

    // A second entry must not send the first one's secret elsewhere; the same values may be given again.
    let moved = with(json!({"langfuse_host": "https://elsewhere"}));
    world.post("lead", MINE, moved.clone()).await.refused(400, "langfuse is already configured");
    world.post("lead", MINE, langfuse("failure")).await.ok();
    world.post("master", MINE, moved).await.ok();

    for who in ["member", "stranger", "solo"] {
        world.get(who, MINE, "").await.refused(403, "");
        world.post(who, MINE, langfuse("success")).await.refused(403, "");
        world.get(who, "/team/nowhere/callback", "").await.refused(403, "You do not have access");
    }
    world.get("master", "/team/nowhere/callback", "").await.refused(404, "nowhere");
}

#[tokio::test]
async fn callbacks_that_come_with_the_teams_metadata_are_sealed_as_well() {
    let world = World::new().await;
    let metadata = json!({"logging": [langfuse("success")]});
    world.post("master", "/team/update", json!({"team_id": "mine", "metadata": metadata})).await.ok();
    let first = stored(&world).await;
    let secret = first["logging"][0]["callback_vars"]["langfuse_secret_key"].as_str().unwrap();
    assert!(secret.starts_with(CALLBACK_PREFIX), "{secret}");
    // Read and sent again, as a form does.
    world.post("master", "/team/update", json!({"team_id": "mine", "metadata": first})).await.ok();
    assert_eq!(stored(&world).await["logging"], first["logging"]);
}
