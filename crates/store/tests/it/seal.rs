//! Sealed values: LiteLLM's open here, and rotation reaches all of them.

use faregate_store::seal::{Cipher, SaltKey};
use faregate_store::{ConfigRow, Credential, ProxyModel};
use faregate_terms::Secret;
use serde_json::{Value, json};

use crate::support::{NOW, on_both};

/// Made by LiteLLM 1.106.2's own `encrypt_value_helper`.
const SEALED: &str = include_str!("fixtures/sealed_by_litellm.json");

fn key(text: &str) -> SaltKey {
    SaltKey::of(&Secret::new(text))
}

#[test]
fn what_litellm_sealed_opens() {
    let cases: Vec<Value> = serde_json::from_str(SEALED).unwrap();
    assert!(cases.len() >= 9);
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap().to_owned();
        let opened = key(&text("key")).open(&text("sealed"));
        assert_eq!(opened.unwrap().expose(), text("plain"), "{case}");
        assert!(key("another").open(&text("sealed")).is_err(), "{case}");
    }
}

#[test]
fn what_is_sealed_opens_and_never_looks_the_same_twice() {
    for cipher in [Cipher::XSalsa20Poly1305, Cipher::Aes256Gcm] {
        let (a, b) = (key("k").seal("secret", cipher).unwrap(), key("k").seal("secret", cipher).unwrap());
        assert_ne!(a, b);
        assert_eq!(key("k").open(&a).unwrap().expose(), "secret");
        let mut damaged = a.into_bytes();
        let last = damaged.len() - 6;
        damaged[last] = if damaged[last] == b'A' { b'B' } else { b'A' };
        assert!(key("k").open(&String::from_utf8(damaged).unwrap()).is_err());
    }
}

#[test]
fn plain_members_stay_and_closed_ones_are_named() {
    let mut params = json!({"model": "openai/gpt-4o", "api_key": "sk-1", "rpm": 5, "nested": {"a": "b"},
        "api_keys": ["sk-2", "sk-3"], "tags": ["free"]});
    key("k").seal_members(&mut params, Cipher::default()).unwrap();
    assert_ne!(params["api_key"], json!("sk-1"));
    assert_eq!((&params["rpm"], &params["nested"]), (&json!(5), &json!({"a": "b"})));
    assert!(params["api_keys"][0] != json!("sk-2") && params["tags"] == json!(["free"]), "{params}");
    params["api_base"] = json!("https://never.sealed/v1");
    let mut elsewhere = params.clone();
    assert!(key("k").open_members(&mut params).is_empty());
    assert_eq!(
        (&params["api_key"], &params["api_base"]),
        (&json!("sk-1"), &json!("https://never.sealed/v1"))
    );
    assert_eq!(params["api_keys"], json!(["sk-2", "sk-3"]));
    let closed = key("other").open_members(&mut elsewhere);
    assert!(closed.contains(&"model".to_owned()) || closed.contains(&"api_key".to_owned()), "{closed:?}");
}

on_both! {
    async fn rotation_reseals_everything_that_opens(store) {
        let (old, new) = (key("old"), key("new"));
        let sealed = |text: &str| json!(old.seal(text, Cipher::XSalsa20Poly1305).unwrap());
        let model = ProxyModel {
            model_id: "m".to_owned(),
            model_name: "fast".to_owned(),
            litellm_params: json!({"api_key": sealed("sk-1"), "rpm": 1, "api_base": "https://plain"}),
            ..ProxyModel::default()
        };
        store.insert(&model, NOW).await.unwrap();
        let credential = Credential {
            credential_id: "c".to_owned(),
            credential_name: "c".to_owned(),
            credential_values: json!({"api_key": sealed("sk-2")}),
            ..Credential::default()
        };
        store.insert(&credential, NOW).await.unwrap();
        let config = ConfigRow {
            param_name: "environment_variables".to_owned(),
            param_value: json!({"A": sealed("x"), "B": sealed("y")}),
            ..ConfigRow::default()
        };
        store.insert(&config, NOW).await.unwrap();

        assert_eq!(store.rotate_salt(&old, &new, Cipher::Aes256Gcm, NOW).await.unwrap(), 4);
        let model = store.get::<ProxyModel>(&["m"]).await.unwrap().unwrap();
        let text = model.litellm_params["api_key"].as_str().unwrap();
        assert!(text.starts_with("v2:gcm:") && old.open(text).is_err());
        assert_eq!(new.open(text).unwrap().expose(), "sk-1");
        assert_eq!(model.litellm_params["api_base"], json!("https://plain"));
        assert_eq!(store.rotate_salt(&old, &new, Cipher::Aes256Gcm, NOW).await.unwrap(), 0);
    }
}
