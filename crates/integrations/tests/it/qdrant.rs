//! Qdrant. Its server cannot be installed by a package, so the one here speaks its documented REST form.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use faregate_config::{QdrantSettings, Quantization};
use faregate_integrations::stores::qdrant::QdrantIndex;
use faregate_state::clock::SystemClock;
use faregate_state::nearest::VectorIndex;
use faregate_state::suite;
use faregate_upstream::{AuthSpec, EnvView, Upstream, UpstreamSettings};
use serde_json::{Value, json};

use crate::server::{Seen, start};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Collection {
    settings: Value,
    fields: Vec<String>,
    /// Vector and payload by id.
    points: BTreeMap<String, (Vec<f64>, Value)>,
}

type Collections = Arc<Mutex<BTreeMap<String, Collection>>>;

async fn server(collections: &Collections) -> SocketAddr {
    let collections = Arc::clone(collections);
    start(move |seen| {
        if seen.header("api-key") != "a-key" {
            return (401, "Must provide an API key or an Authorization bearer token".into());
        }
        let (status, reply) = answer(&mut collections.lock().unwrap(), &seen);
        let reply = match status {
            200 => json!({"result": reply, "status": "ok", "time": 0.001}),
            _ => json!({"status": {"error": reply}, "time": 0.001}),
        };
        (status, reply.to_string().into())
    })
    .await
}

fn answer(collections: &mut BTreeMap<String, Collection>, seen: &Seen) -> (u16, Value) {
    let path = percent_encoding::percent_decode_str(seen.head.uri.path()).decode_utf8().unwrap();
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let method = seen.head.method.as_str();
    if (method, parts.as_slice()) == ("GET", &["collections"]) {
        let names: Vec<Value> = collections.keys().map(|name| json!({"name": name})).collect();
        return (200, json!({"collections": names}));
    }
    let name = parts[1].to_owned();
    if method == "PUT" && parts.len() == 2 {
        if collections.contains_key(&name) {
            return (409, json!(format!("Wrong input: Collection `{name}` already exists!")));
        }
        collections.insert(name, Collection { settings: body, ..Collection::default() });
        return (200, json!(true));
    }
    let Some(collection) = collections.get_mut(&name) else {
        return (404, json!(format!("Not found: Collection `{name}` doesn't exist!")));
    };
    match (method, &parts[2..]) {
        ("PUT", ["index"]) => {
            collection.fields.push(body["field_name"].as_str().unwrap().to_owned());
            (200, json!({"operation_id": 1, "status": "completed"}))
        }
        ("PUT", ["points"]) => upsert(collection, &body),
        ("POST", ["points", "query"]) => (200, query(collection, &body)),
        ("POST", ["points", "delete"]) => {
            collection.points.retain(|_, (_, payload)| !fits(payload, &body["filter"]));
            (200, json!({"operation_id": 2, "status": "completed"}))
        }
        other => (404, json!(format!("no such call: {other:?}"))),
    }
}

fn upsert(collection: &mut Collection, body: &Value) -> (u16, Value) {
    for point in body["points"].as_array().unwrap() {
        let id = point["id"].as_str().unwrap();
        let is_uuid = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let vector = numbers(&point["vector"]);
        if !is_uuid {
            return (400, json!("Wrong input: the id is neither a number nor a UUID"));
        }
        if json!(vector.len()) != collection.settings["vectors"]["size"] {
            return (400, json!("Wrong input: Vector dimension error"));
        }
        collection.points.insert(id.to_owned(), (vector, point["payload"].clone()));
    }
    (200, json!({"operation_id": 0, "status": "completed"}))
}

fn query(collection: &Collection, body: &Value) -> Value {
    let asked = numbers(&body["query"]);
    let length = |vector: &[f64]| vector.iter().map(|part| part * part).sum::<f64>().sqrt();
    let points = collection.points.iter().filter(|(_, (_, payload))| fits(payload, &body["filter"]));
    let mut points: Vec<Value> = points
        .map(|(id, (vector, payload))| {
            let product: f64 = asked.iter().zip(vector).map(|(one, other)| one * other).sum();
            let named = body["with_payload"].as_array().unwrap().iter();
            let payload: serde_json::Map<String, Value> =
                named.map(|name| name.as_str().unwrap()).map(|name| (name.into(), payload[name].clone())).collect();
            json!({"id": id, "version": 1, "score": product / length(&asked) / length(vector), "payload": payload})
        })
        .collect();
    points.sort_by(|one, other| other["score"].as_f64().unwrap().total_cmp(&one["score"].as_f64().unwrap()));
    points.truncate(usize::try_from(body["limit"].as_u64().unwrap()).unwrap());
    json!({"points": points})
}

fn fits(payload: &Value, filter: &Value) -> bool {
    filter["must"].as_array().unwrap().iter().all(|condition| {
        let value = &payload[condition["key"].as_str().unwrap()];
        let range = &condition["range"];
        let number = value.as_i64();
        let holds = |word: &str, check: fn(i64, i64) -> bool| {
            range[word].as_i64().is_none_or(|edge| number.is_some_and(|number| check(number, edge)))
        };
        let is_match = condition["match"]["value"].is_null() || condition["match"]["value"] == *value;
        is_match && holds("gt", |a, b| a > b) && holds("gte", |a, b| a >= b) && holds("lte", |a, b| a <= b)
    })
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn index(address: SocketAddr, key: &str) -> QdrantIndex {
    let upstream = Upstream::new(&UpstreamSettings::default()).unwrap();
    let spec = AuthSpec::Header { name: "api-key".into(), secret: key.into() };
    let auth = upstream.authenticator(spec, &EnvView::empty()).unwrap();
    let settings = QdrantSettings {
        collection: "my answers".into(),
        quantization: Quantization::Scalar,
        vector_size: Some(3),
        ..QdrantSettings::default()
    };
    let (base, patience) = (format!("http://{address}/"), Duration::from_secs(5));
    QdrantIndex::new(&upstream, auth, &base, &settings, patience, Arc::new(SystemClock::new()))
}

#[tokio::test]
async fn an_index_in_qdrant_keeps_its_promises_and_leaves_what_is_not_its_own() {
    let collections = Collections::default();
    let address = server(&collections).await;
    let settings = json!({"vectors": {"size": 3, "distance": "Cosine"}});
    let theirs = (vec![0.0, 1.0, 0.0], json!({"litellm_cache_key": "k", "response": "theirs"}));
    for name in ["my answers", "my answers of old"] {
        let points = BTreeMap::from([("theirs".to_owned(), theirs.clone())]);
        let collection = Collection { settings: settings.clone(), points, ..Collection::default() };
        collections.lock().unwrap().insert(name.into(), collection);
    }
    suite::vector_index(&index(address, "a-key")).await;
    let collections = collections.lock().unwrap();
    for name in ["my answers", "my answers of old"] {
        assert!(collections[name].points.contains_key("theirs"), "{name}");
    }
    let made = &collections["my answers_2"];
    assert_eq!(made.settings["vectors"], json!({"size": 2, "distance": "Cosine"}));
    assert_eq!(made.settings["quantization_config"]["scalar"]["type"], "int8");
    assert_eq!(made.fields, ["faregate_scope", "faregate_ends_ms"]);
}

#[tokio::test]
async fn a_collection_that_somebody_dropped_is_made_again() {
    let collections = Collections::default();
    let index = index(server(&collections).await, "a-key");
    let add = async || index.add("a", &[1.0, 2.0, 3.0], Bytes::from_static(b"x"), MINUTE).await;
    add().await.unwrap();
    collections.lock().unwrap().clear();
    assert_eq!(index.nearest("a", &[1.0, 2.0, 3.0]).await.unwrap(), None);
    add().await.unwrap();
    assert!(index.nearest("a", &[1.0, 2.0, 3.0]).await.unwrap().is_some());
}

#[tokio::test]
async fn what_qdrant_says_is_wrong_is_told() {
    let collections = Collections::default();
    let address = server(&collections).await;
    let error = index(address, "wrong").ping().await.unwrap_err().to_string();
    assert!(error.contains("the Qdrant of the cache: status 401"), "{error}");
    let settings = json!({"vectors": {"size": 1536, "distance": "Cosine"}});
    let other = Collection { settings, ..Collection::default() };
    collections.lock().unwrap().insert("my answers".into(), other);
    let index = index(address, "a-key");
    let error = index.add("a", &[1.0, 2.0, 3.0], Bytes::new(), MINUTE).await.unwrap_err().to_string();
    assert!(error.contains("status 400, Wrong input: Vector dimension error"), "{error}");
}
