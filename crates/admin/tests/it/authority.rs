//! Every role on every object: who may do what to keys, teams, users, organizations and projects.

use serde_json::{Value, json};

use crate::world::World;

/// An action on an object that is made for it.
struct Case {
    /// What, in the table of [`World`]: `key:<team>:<owner>`, `team:<organization>`,
    /// `user:<organizations, with a plus between>`, `boss` (an admin of the proxy who is in `here`),
    /// `project:<team>`, `limits` (of `mine`, as they were at first), or nothing.
    object: &'static str,
    call: &'static str,
    body: fn(&str) -> Value,
    /// Who may. `root` always may.
    may: &'static [&'static str],
}

const EVERYBODY: &[&str] =
    &["root", "viewer", "chief", "chief-there", "lead", "member", "stranger", "solo", "titular"];

const fn case(
    object: &'static str,
    call: &'static str,
    body: fn(&str) -> Value,
    may: &'static [&'static str],
) -> Case {
    Case { object, call, body, may }
}

const CASES: &[Case] = &[
    // A personal key that an admin made.
    case("key::solo", "POST /key/update", |id| json!({"key": id, "rpm_limit": 9}), &[]),
    case("key::solo", "POST /key/delete", |id| json!({"keys": [id]}), &["solo"]),
    case("key::solo", "POST /key/regenerate", |id| json!({"key": id}), &["solo"]),
    case("key::solo", "POST /key/block", |id| json!({"key": id}), &[]),
    case("key::solo", "POST /key/{id}/reset_spend", |_| json!({"reset_to": 0}), &[]),
    case("key::solo", "GET /key/info?key={id}", |_| Value::Null, &["viewer", "solo"]),
    // Keys of a team: of a service, of a plain member, of its admin, of another organization.
    case("key:mine:", "POST /key/update", |id| json!({"key": id, "max_budget": 9}), &["chief", "lead"]),
    case("key:mine:", "POST /key/delete", |id| json!({"keys": [id]}), &["chief", "lead"]),
    case("key:mine:", "POST /key/regenerate", |id| json!({"key": id}), &["chief", "lead"]),
    case("key:mine:", "POST /key/block", |id| json!({"key": id}), &["chief", "lead"]),
    case("key:mine:", "POST /key/{id}/reset_spend", |_| json!({"reset_to": 0}), &["chief", "lead"]),
    case("key:mine:", "GET /key/info?key={id}", |_| Value::Null, &["viewer", "chief", "lead", "member"]),
    case("key:mine:member", "POST /key/update", |id| json!({"key": id, "spend": 0}), &["chief", "lead"]),
    case("key:mine:member", "POST /key/delete", |id| json!({"keys": [id]}), &["chief", "lead", "member"]),
    case("key:mine:lead", "POST /key/delete", |id| json!({"keys": [id]}), &["chief", "lead"]),
    case("key:away:", "POST /key/update", |id| json!({"key": id, "rpm_limit": 9}), &["chief-there"]),
    case("key:away:", "POST /key/delete", |id| json!({"keys": [id]}), &["chief-there"]),
    case("", "POST /key/generate", |_| json!({"team_id": "mine"}), &["chief", "lead"]),
    case("", "POST /key/generate", |_| json!({"team_id": "away"}), &["chief-there"]),
    case("", "POST /key/service-account/generate", |_| json!({"team_id": "mine"}), &["chief", "lead"]),
    case(
        "",
        "POST /key/generate",
        |_| json!({}),
        &["chief", "chief-there", "lead", "member", "stranger", "solo", "titular"],
    ),
    case("", "POST /key/generate", |_| json!({"organization_id": "here"}), &["chief", "lead", "member"]),
    case("", "POST /key/generate", |_| json!({"user_id": "root"}), &[]),
    case("", "POST /key/bulk_update", |_| json!({"keys": [{"key": "sk-x"}]}), &[]),
    // Teams.
    case("", "POST /team/new", |_| json!({"organization_id": "here"}), &["chief"]),
    case("", "POST /team/new", |_| json!({"organization_id": "there"}), &["chief-there"]),
    case("", "POST /team/new", |_| json!({}), &[]),
    case("", "POST /team/update", |_| json!({"team_id": "mine", "team_alias": "a"}), &["chief", "lead"]),
    case("limits", "POST /team/update", |_| json!({"team_id": "mine", "rpm_limit": 61}), &["chief"]),
    case("", "POST /team/update", |_| json!({"team_id": "away", "team_alias": "a"}), &["chief-there"]),
    case("team:here", "POST /team/block", |id| json!({"team_id": id}), &["chief"]),
    case("team:here", "POST /team/unblock", |id| json!({"team_id": id}), &["chief"]),
    case("", "POST /team/unblock", |_| json!({"team_id": "mine"}), &["chief"]),
    case("team:here", "POST /team/delete", |id| json!({"team_ids": [id]}), &["chief"]),
    case("team:there", "POST /team/delete", |id| json!({"team_ids": [id]}), &["chief-there"]),
    case("team:", "POST /team/delete", |id| json!({"team_ids": [id]}), &[]),
    case("user:", "POST /team/member_add", |id| member("mine", id), &["chief", "lead"]),
    case("user:", "POST /team/member_add", |id| member("away", id), &["chief-there"]),
    case(
        "",
        "POST /team/permissions_update",
        |_| json!({"team_id": "mine", "team_member_permissions": []}),
        &["chief", "lead"],
    ),
    case("", "GET /team/info?team_id=mine", |_| Value::Null, &["viewer", "chief", "lead", "member"]),
    case("", "POST /team/model/add", |_| json!({"team_id": "mine", "models": ["c"]}), &[]),
    // Users: of one organization, of both, of none.
    case("", "POST /user/new", |_| json!({"organizations": ["here"]}), &["chief"]),
    case("", "POST /user/new", |_| json!({"organizations": ["here", "there"]}), &[]),
    case("", "POST /user/new", |_| json!({}), &[]),
    case("user:here", "POST /user/update", |id| json!({"user_id": id, "user_alias": "a"}), &["chief"]),
    case("user:here", "POST /user/update", |id| json!({"user_id": id, "max_budget": 11}), &[]),
    case("user:here", "POST /user/update", |id| json!({"user_id": id, "user_role": "proxy_admin"}), &[]),
    case("user:there", "POST /user/update", |id| json!({"user_id": id, "user_alias": "a"}), &["chief-there"]),
    case("user:", "POST /user/update", |id| json!({"user_id": id, "user_alias": "a"}), &[]),
    case("user:here+there", "POST /user/update", |id| json!({"user_id": id, "user_alias": "a"}), &[]),
    case("boss", "POST /user/update", |id| json!({"user_id": id, "user_role": "internal_user"}), &[]),
    case("boss", "POST /user/delete", |id| json!({"user_ids": [id]}), &[]),
    case("user:here", "POST /user/delete", |id| json!({"user_ids": [id]}), &["chief"]),
    case("user:here", "DELETE /user/delete", |id| json!({"user_id": id}), &["chief"]),
    case("user:here+there", "POST /user/delete", |id| json!({"user_ids": [id]}), &[]),
    case("user:", "POST /user/delete", |id| json!({"user_ids": [id]}), &[]),
    case("user:here", "GET /user/{id}", |_| Value::Null, &["viewer", "chief"]),
    case("user:here", "GET /user/info?user_id={id}", |_| Value::Null, &["viewer", "chief"]),
    case("user:here+there", "GET /user/{id}", |_| Value::Null, &["viewer"]),
    case(
        "user:here+there",
        "GET /v2/user/info?user_id={id}",
        |_| Value::Null,
        &["viewer", "chief", "chief-there"],
    ),
    case("user:", "GET /user/{id}", |_| Value::Null, &["viewer"]),
    // Organizations.
    case("", "POST /organization/new", |_| json!({"organization_alias": "x"}), &[]),
    case("", "GET /organization/info?organization_id=here", |_| Value::Null, &["viewer", "chief"]),
    case("", "PATCH /organization/update", |_| json!({"organization_id": "here", "max_budget": 2000}), &[]),
    case(
        "user:",
        "POST /organization/member_add",
        |id| json!({"organization_id": "here", "member": {"user_id": id, "role": "internal_user"}}),
        &["chief"],
    ),
    case(
        "user:here",
        "PATCH /organization/member_update",
        |id| json!({"organization_id": "here", "user_id": id, "role": "internal_user_viewer"}),
        &["chief"],
    ),
    case(
        "user:here",
        "DELETE /organization/member_delete",
        |id| json!({"organization_id": "here", "user_id": id}),
        &["chief"],
    ),
    case("", "DELETE /organization/delete", |_| json!({"organization_ids": []}), &[]),
    // Projects.
    case("", "POST /project/new", |_| json!({"team_id": "mine"}), &["chief"]),
    case("", "POST /project/new", |_| json!({"team_id": "away"}), &["chief-there"]),
    case("", "POST /project/new", |_| json!({}), &[]),
    case("project:mine", "POST /project/update", |id| json!({"project_id": id, "max_budget": 7}), &["chief"]),
    case("project:mine", "POST /project/update", |id| json!({"project_id": id, "team_id": "away"}), &[]),
    case("project:away", "POST /project/update", |id| json!({"project_id": id}), &["chief-there"]),
    case("project:mine", "DELETE /project/delete", |id| json!({"project_ids": [id]}), &[]),
    case(
        "project:mine",
        "GET /project/info?project_id={id}",
        |_| Value::Null,
        &["viewer", "chief", "lead", "member"],
    ),
];

fn member(team: &str, user: &str) -> Value {
    json!({"team_id": team, "member": {"user_id": user, "role": "user"}})
}

/// Makes the object of a case; its id.
async fn make(world: &World, object: &str, n: usize) -> String {
    let id = format!("fresh-{n}");
    let (kind, of) = object.split_once(':').unwrap_or((object, ""));
    match kind {
        "key" => {
            let (team, owner) = of.split_once(':').unwrap();
            let mut body = json!({"spend": 1, "blocked": false});
            for (field, value) in [("team_id", team), ("user_id", owner)] {
                if !value.is_empty() {
                    body[field] = json!(value);
                }
            }
            return world.key(body).await;
        }
        "team" => {
            let body = json!({"team_id": id, "organization_id": Some(of).filter(|of| !of.is_empty())});
            world.post("master", "/team/new", body).await.ok();
        }
        "user" => {
            let of: Vec<&str> = of.split('+').filter(|of| !of.is_empty()).collect();
            let body = json!({
                "user_id": id, "organizations": of, "max_budget": 10, "auto_create_key": false,
            });
            world.post("master", "/user/new", body).await.ok();
        }
        "boss" => {
            let body = json!({
                "user_id": id, "organizations": ["here"], "user_role": "proxy_admin", "auto_create_key": false,
            });
            world.post("master", "/user/new", body).await.ok();
        }
        "limits" => {
            world.post("master", "/team/update", json!({"team_id": "mine", "rpm_limit": 60})).await.ok();
        }
        "project" => {
            world.post("master", "/project/new", json!({"project_id": id, "team_id": of})).await.ok();
        }
        _ => {}
    }
    id
}

#[tokio::test]
async fn every_role_does_to_every_object_what_is_its_own_to_do_and_nothing_more() {
    let world = World::new().await;
    let mut wrong = Vec::new();
    for (row, case) in CASES.iter().enumerate() {
        for (column, who) in EVERYBODY.iter().enumerate() {
            let id = make(&world, case.object, row * EVERYBODY.len() + column).await;
            let (method, path) = case.call.split_once(' ').unwrap();
            let path = path.replace("{id}", &id);
            let (path, query) =
                path.split_once('?').map_or((&*path, None), |(path, query)| (path, Some(query)));
            let body = Some((case.body)(&id)).filter(|body| !body.is_null());
            let got = world.call(method, who, path, query, body.clone()).await;
            let may = *who == "root" || case.may.contains(who);
            let refused = matches!(got.status, 400 | 401 | 403);
            if (got.status == 200) != may || refused == may {
                let body = body.unwrap_or_default();
                wrong.push(format!(
                    "{who}: {} {} {body}: {} {}",
                    case.object, case.call, got.status, got.body
                ));
            }
            assert!(!got.body.to_string().contains("scrypt:"), "{who}: {}: {}", case.call, got.body);
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The ids in a list, sorted.
fn ids(body: &Value, list: &str, id: &str) -> Vec<String> {
    let rows = if list.is_empty() { body } else { &body[list] };
    let rows = rows.as_array().into_iter().flatten();
    let mut ids: Vec<String> = rows.filter_map(|row| row[id].as_str().map(str::to_owned)).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn lists_show_everybody_their_own_part() {
    let world = World::new().await;
    for body in [json!({"team_id": "mine", "user_id": "member"}), json!({"team_id": "away"})] {
        let mut body = body;
        body["key_alias"] = json!(format!("of-{}", body["team_id"].as_str().unwrap()));
        world.key(body).await;
    }
    let (all, mine, away) = (&["away", "mine", "other"][..], &["mine"][..], &["away"][..]);
    let people = ["chief", "chief-there", "lead", "member", "root", "solo", "stranger", "titular", "viewer"];
    for (who, teams, users, projects, keys) in [
        ("root", all, &people[..], &["project-away", "project-mine"][..], &["of-away", "of-mine"][..]),
        ("viewer", all, &people[..], &["project-away", "project-mine"], &["of-away", "of-mine"]),
        ("chief", &["mine", "other"], &["chief", "lead", "member"], &["project-mine"], &["of-mine"]),
        ("chief-there", away, &["chief-there", "stranger"], &["project-away"], &["of-away"]),
        ("lead", mine, &["lead"], &["project-mine"], &["of-mine"]),
        ("member", mine, &["member"], &["project-mine"], &["of-mine"]),
        ("stranger", away, &["stranger"], &["project-away"], &[]),
        ("solo", &[], &["solo"], &[], &[]),
        ("titular", &[], &["titular"], &[], &[]),
    ] {
        let list = async |path: &str, query: &str| world.get(who, path, query).await.ok();
        assert_eq!(ids(&list("/team/list", "").await, "", "team_id"), teams, "{who}");
        assert_eq!(ids(&list("/v2/team/list", "").await, "teams", "team_id"), teams, "{who}");
        assert_eq!(ids(&list("/user/list", "").await, "users", "user_id"), users, "{who}");
        assert_eq!(ids(&list("/project/list", "").await, "", "project_id"), projects, "{who}");
        let query = "include_team_keys=true&return_full_object=true&size=100";
        assert_eq!(ids(&list("/key/list", query).await, "keys", "key_alias"), keys, "{who}");
    }
}
