//! Unified access groups: made, given to teams and keys, taken away.

use serde_json::{Value, json};

use crate::world::{World, hash};

#[tokio::test]
async fn a_group_is_in_the_lists_of_those_who_have_it_and_of_nobody_else() {
    for world in [World::new().await, World::postgres().await] {
        let key = world.key(json!({"team_id": "other"})).await;
        let body = json!({
            "access_group_name": "big", "access_model_names": ["c"], "assigned_team_ids": ["mine"],
            "assigned_key_ids": [key],
        });
        let made = world.post("master", "/v1/access_group", body.clone()).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let id = made.body["access_group_id"].as_str().unwrap().to_owned();
        assert_eq!(made.body["assigned_keys"][0]["id"], hash(&key));
        assert_eq!(world.row(&key).await.access_group_ids, std::slice::from_ref(&id));
        let team = |name: &'static str| async {
            world.get("master", "/team/info", name).await.ok()["team_info"]["access_group_ids"].clone()
        };
        assert_eq!(team("team_id=mine").await, json!([id]));
        world.post("master", "/v1/unified_access_group", body).await.refused(409, "already exists");

        let path: &'static str = Box::leak(format!("/v1/unified_access_group/{id}").into_boxed_str());
        let put = |body: Value| world.call("PUT", "master", path, None, Some(body));
        let after = put(json!({"assigned_team_ids": ["other"], "access_model_names": ["c", "d"]})).await.ok();
        assert_eq!(after["access_group_name"], "big", "what is not named stays");
        assert_eq!((team("team_id=mine").await, team("team_id=other").await), (json!([]), json!([id])));
        assert_eq!(world.row(&key).await.access_group_ids, std::slice::from_ref(&id), "keys were not named");
        put(json!({"assigned_team_ids": ["nowhere"]})).await.refused(400, "nowhere");
        assert_eq!(world.get("master", "/v1/access_group", "").await.ok().as_array().unwrap().len(), 1);
        world.get("member", path, "").await.refused(401, "Only proxy admin");

        assert_eq!(world.call("DELETE", "master", path, None, None).await.status, 204);
        assert!(world.row(&key).await.access_group_ids.is_empty());
        assert_eq!(team("team_id=other").await, json!([]));
        world.get("master", path, "").await.refused(404, "not found");
    }
}
