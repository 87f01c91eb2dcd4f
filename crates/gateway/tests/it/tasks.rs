//! Embeddings, rankings and transcriptions, as clients get them from each kind of provider.

use bytes::Bytes;
use faregate_fake_provider::{Answer, Class, Failure, FakeProvider, Matcher, Scenario};
use faregate_terms::{PicoUsd, Receipt};
use faregate_testkit::{Client, Gateway, MASTER_KEY, config};
use http::Method;
use serde_json::{Value, json};

const EMBEDDINGS: &str = "/v1/embeddings";

/// One group per embedding format, named like it.
fn embedders(provider: &FakeProvider) -> Vec<(&'static str, Value)> {
    let base = provider.url();
    let account = json!({"type": "service_account", "project_id": "p", "private_key_id": "k",
        "client_email": "a@p.iam.gserviceaccount.com", "token_uri": format!("{base}/token"),
        "private_key": include_str!("../../../upstream/tests/it/fixtures/service_account_key.pem")});
    let aws = |model: &str| {
        json!({"model": format!("bedrock/{model}"), "aws_access_key_id": "AKIDFAKEPROVIDER",
               "aws_secret_access_key": "fake-secret-key", "aws_region_name": "us-east-1",
               "aws_bedrock_runtime_endpoint": base})
    };
    vec![
        (
            "openai",
            json!({"model": "openai/text-embedding-3-small", "api_key": "sk-up", "api_base": format!("{base}/v1")}),
        ),
        (
            "azure",
            json!({"model": "azure/text-embedding-3-small", "api_key": "az-up", "api_base": base, "api_version": "2024-10-21"}),
        ),
        (
            "voyage",
            json!({"model": "voyage/voyage-3.5", "api_key": "vo-up", "api_base": format!("{base}/v1")}),
        ),
        ("cohere", json!({"model": "cohere/embed-v4.0", "api_key": "co-up", "api_base": base})),
        ("gemini", json!({"model": "gemini/gemini-embedding-001", "api_key": "AIza-up", "api_base": base})),
        (
            "vertex",
            json!({"model": "vertex_ai/text-embedding-005", "vertex_project": "p", "vertex_location": "eu",
                          "vertex_credentials": account.to_string(), "api_base": base}),
        ),
        ("titan", aws("amazon.titan-embed-text-v2:0")),
        ("bedrock-cohere", aws("cohere.embed-english-v3")),
        ("ollama", json!({"model": "ollama/nomic-embed-text", "api_base": base})),
    ]
}

async fn gateway(provider: &FakeProvider) -> Gateway {
    Gateway::start(&config::of(embedders(provider))).await
}

fn client(gateway: &Gateway) -> Client {
    Client::new(gateway.url().trim_start_matches("http://").parse().unwrap(), MASTER_KEY)
}

fn vector(row: &Value) -> Vec<f64> {
    row["embedding"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[tokio::test]
async fn every_format_gives_the_same_vectors_in_openais_shape_and_is_booked() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    let mut receipts = gateway.receipts();
    let mut first: Option<Vec<Vec<f64>>> = None;
    for (group, _) in embedders(&provider) {
        let body = json!({"model": group, "input": ["the quick brown fox", "a slow train"]});
        let reply = gateway.post(EMBEDDINGS, &body).await;
        assert_eq!(reply.status, 200, "{group}: {}", reply.json());
        let answer = reply.json();
        assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!(group)), "{group}");
        let rows = answer["data"].as_array().unwrap();
        let indexes: Vec<_> = rows.iter().map(|row| row["index"].as_u64()).collect();
        assert_eq!(indexes, [Some(0), Some(1)], "{group}");
        let vectors: Vec<Vec<f64>> = rows.iter().map(vector).collect();
        assert_eq!(&vectors, first.get_or_insert_with(|| vectors.clone()), "{group}");
        let receipt = receipts.next().await;
        assert_eq!(receipt.usage.output, 0, "{group}");
        // Gemini tells no tokens: they are counted from the text and flagged.
        assert_eq!(receipt.usage.estimated, group == "gemini", "{group}");
        assert!(receipt.usage.input > 0, "{group}");
        assert_eq!(receipt.log.call_type, "aembedding");
        if group != "ollama" {
            assert!(receipt.cost > Some(PicoUsd::ZERO), "{group}: {:?}", receipt.cost);
            assert!(reply.header("x-litellm-response-cost").is_some(), "{group}");
        }
        assert_eq!(reply.header("x-litellm-model-group"), Some(group));
    }
}

#[tokio::test]
async fn an_sdk_that_wants_base64_gets_it_from_every_format() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    let mut packed = None;
    for (group, _) in embedders(&provider) {
        let body =
            json!({"model": group, "input": "one text", "encoding_format": "base64", "dimensions": 16});
        // This model's vectors have one length.
        let body = if group == "bedrock-cohere" {
            json!({"model": group, "input": "one text", "encoding_format": "base64"})
        } else {
            body
        };
        let answer = gateway.post(EMBEDDINGS, &body).await.json();
        let text = answer["data"][0]["embedding"].as_str().unwrap_or_else(|| panic!("{group}: {answer}"));
        if group != "bedrock-cohere" {
            assert_eq!(text, packed.get_or_insert_with(|| text.to_owned()), "{group}");
        }
    }
}

#[tokio::test]
async fn what_a_provider_of_the_same_shape_is_sent_is_the_clients_own() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    let body = json!({"model": "openai", "input": [[1, 2], [3]], "user": "u", "metadata": {"tags": ["t"]}, "x_new": {"a": 1}});
    assert_eq!(gateway.post(EMBEDDINGS, &body).await.status, 200);
    let body = json!({"model": "voyage", "input": "x", "dimensions": 8, "input_type": "query"});
    assert_eq!(gateway.post(EMBEDDINGS, &body).await.status, 200);
    let sent: Vec<Value> = provider.requests().iter().map(faregate_fake_provider::Received::json).collect();
    assert_eq!(
        sent[0],
        json!({"model": "text-embedding-3-small", "input": [[1, 2], [3]], "user": "u", "x_new": {"a": 1}})
    );
    // The row of the table renames it.
    assert_eq!(
        sent[1],
        json!({"model": "voyage-3.5", "input": "x", "output_dimension": 8, "input_type": "query"})
    );
}

#[tokio::test]
async fn bad_requests_name_the_member_and_failures_keep_their_class() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    for (body, param) in [
        (json!({"input": "x"}), "model"),
        (json!({"model": "openai"}), "input"),
        (json!({"model": "cohere", "input": []}), "input"),
        (json!({"model": "cohere", "input": ["a", 1]}), "input[1]"),
        (json!({"model": "cohere", "input": "x", "encoding_format": "int8"}), "encoding_format"),
    ] {
        let reply = gateway.post(EMBEDDINGS, &body).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]["param"]), (400, &json!(param)), "{body}");
    }
    let refused = gateway.post(EMBEDDINGS, &json!({"model": "cohere", "input": [1, 4_000_000]})).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["param"]), (400, &json!("input[0]")));
    let ranking = json!({"model": "gemini", "query": "q", "documents": ["a"]});
    assert_eq!(
        gateway.post("/v1/rerank", &ranking).await.status,
        501,
        "what this version does not do is said"
    );
    provider.always(
        Matcher::any(),
        Answer::Scenario(Box::new(Scenario {
            failure: Some(Failure::new(Class::RateLimit)),
            ..Scenario::default()
        })),
    );
    for group in ["openai", "cohere", "gemini", "titan", "ollama"] {
        let reply = gateway.post(EMBEDDINGS, &json!({"model": group, "input": "x", "num_retries": 0})).await;
        assert_eq!(reply.status, 429, "{group}: {}", reply.json());
    }
}

#[tokio::test]
async fn tokens_reach_providers_of_other_vocabularies_as_text() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    // Source: tiktoken, cl100k_base of "hello world" and "tiktoken".
    let body = json!({"model": "cohere", "input": [[15339, 1917], [83, 1609, 5963]]});
    assert_eq!(gateway.post(EMBEDDINGS, &body).await.status, 200);
    assert_eq!(provider.requests()[0].json()["texts"], json!(["hello world", "tiktoken"]));
}

#[tokio::test]
async fn titan_is_asked_once_for_each_text() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    let mut receipts = gateway.receipts();
    let answer =
        gateway.post(EMBEDDINGS, &json!({"model": "titan", "input": ["one", "two", "three"]})).await.json();
    assert_eq!(answer["data"].as_array().unwrap().len(), 3);
    let texts: Vec<Value> = provider.requests().iter().map(|sent| sent.json()["inputText"].clone()).collect();
    assert_eq!(texts, [json!("one"), json!("two"), json!("three")]);
    let receipt = receipts.next().await;
    assert_eq!((receipt.attempts.len(), receipt.usage.input), (1, 4), "one attempt of three calls");
}

fn rankers(provider: &FakeProvider) -> String {
    let base = provider.url();
    config::of([
        ("cohere", json!({"model": "cohere/rerank-v3.5", "api_key": "co-up", "api_base": base})),
        (
            "jina",
            json!({"model": "jina_ai/jina-reranker-v2-base-multilingual", "api_key": "j-up", "api_base": format!("{base}/v1")}),
        ),
        ("voyage", json!({"model": "voyage/rerank-2", "api_key": "v-up", "api_base": format!("{base}/v1")})),
    ])
}

#[tokio::test]
async fn documents_are_ranked_in_coheres_shape_by_every_provider() {
    let provider = FakeProvider::start().await;
    let gateway = Gateway::start(&rankers(&provider)).await;
    let mut receipts = gateway.receipts();
    for (group, path) in [("cohere", "/v1/rerank"), ("jina", "/rerank"), ("voyage", "/v2/rerank")] {
        let body = json!({"model": group, "query": "red fox", "top_n": 2, "return_documents": true,
                          "documents": ["a blue whale", {"text": "a red fox"}, "a red car"]});
        let reply = gateway.post(path, &body).await;
        assert_eq!(reply.status, 200, "{group}: {}", reply.json());
        let answer = reply.json();
        let places: Vec<_> =
            answer["results"].as_array().unwrap().iter().map(|row| row["index"].as_u64()).collect();
        assert_eq!(places, [Some(1), Some(2)], "{group}");
        assert_eq!(answer["results"][0]["document"]["text"], "a red fox", "{group}");
        let receipt = receipts.next().await;
        assert_eq!(receipt.log.call_type, "arerank");
        if group == "cohere" {
            // 0.002 USD a search.
            assert_eq!((receipt.usage.queries, receipt.cost), (1, Some(PicoUsd::from_pico(2_000_000_000))));
        } else if group == "voyage" {
            assert!(
                receipt.usage.input > 0 && receipt.cost > Some(PicoUsd::ZERO),
                "{group}: {:?}",
                receipt.cost
            );
        }
    }
    let sent = provider.requests();
    assert_eq!(sent[2].json()["top_k"], 2, "the row of the table renames it");
    let refused =
        gateway.post("/v1/rerank", &json!({"model": "cohere", "query": "x", "documents": [3]})).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["param"]), (400, &json!("documents[0]")));
}

fn form(fields: &[(&str, &str)], file: &[u8]) -> (String, Bytes) {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes(),
        );
    }
    body.extend_from_slice(
        b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"hi.wav\"\r\nContent-Type: audio/wav\r\n\r\n",
    );
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--XX--\r\n");
    ("multipart/form-data; boundary=XX".to_owned(), body.into())
}

async fn transcribe(gateway: &Gateway, fields: &[(&str, &str)]) -> faregate_testkit::Reply {
    let (kind, body) = form(fields, b"RIFF....WAVE");
    client(gateway).with("content-type", &kind).call(Method::POST, "/v1/audio/transcriptions", body).await
}

async fn recorder(provider: &FakeProvider, more: Value) -> Gateway {
    let base = provider.url();
    let mut config: Value = serde_json::from_str(&config::of([
        ("whisper", json!({"model": "openai/whisper-1", "api_key": "sk-up", "api_base": format!("{base}/v1")})),
        ("tokens", json!({"model": "openai/gpt-4o-transcribe", "api_key": "sk-up", "api_base": format!("{base}/v1")})),
    ]))
    .unwrap();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Gateway::start(&config.to_string()).await
}

#[tokio::test]
async fn speech_is_transcribed_in_each_form_and_paid_by_the_second_or_token() {
    let provider = FakeProvider::start().await;
    let gateway = recorder(&provider, json!({})).await;
    let mut receipts = gateway.receipts();
    let said = "hi.wav holds 12 bytes of speech.";
    let cost = |receipt: &Receipt| receipt.cost.unwrap().pico();
    let reply =
        transcribe(&gateway, &[("model", "whisper"), ("language", "en"), ("metadata", r#"{"tags":["t"]}"#)])
            .await;
    assert_eq!((reply.status.as_u16(), &reply.json()["text"]), (200, &json!(said)));
    let receipt = receipts.next().await;
    // Two seconds at 0.0001 USD.
    assert_eq!((receipt.usage.audio_ms, cost(&receipt)), (2000, 200_000_000));
    assert_eq!(
        (receipt.log.call_type.as_str(), &receipt.account.tags),
        ("atranscription", &vec!["t".to_owned()])
    );
    assert_eq!(receipt.usage.input, 0, "sound is no text");
    let reply = transcribe(&gateway, &[("model", "tokens")]).await;
    assert_eq!(reply.status, 200);
    let receipt = receipts.next().await;
    // 20 audio tokens at 2.5 and 8 of text at 10 dollars a million.
    assert_eq!(cost(&receipt), 20 * 2_500_000 + 8 * 10_000_000);
    let reply = transcribe(&gateway, &[("model", "whisper"), ("response_format", "text")]).await;
    assert_eq!(
        (reply.text(), reply.header("content-type")),
        (format!("{said}\n"), Some("text/plain; charset=utf-8"))
    );
    let receipt = receipts.next().await;
    assert!(
        receipt.usage.estimated && receipt.usage.audio_ms > 0,
        "nobody says how long: {:?}",
        receipt.usage
    );
    let sent = String::from_utf8_lossy(&provider.requests()[0].body).into_owned();
    assert!(sent.contains("\r\n\r\nwhisper-1\r\n") && sent.contains("\r\n\r\nen\r\n"), "{sent}");
    assert!(!sent.contains("metadata"), "what is said to the gateway stays here: {sent}");
}

#[tokio::test]
async fn a_form_that_cannot_be_used_is_refused_by_name() {
    let provider = FakeProvider::start().await;
    let gateway = recorder(&provider, json!({})).await;
    let no_form =
        client(&gateway).call(Method::POST, "/v1/audio/transcriptions", Bytes::from_static(b"{}")).await;
    assert_eq!((no_form.status.as_u16(), &no_form.json()["error"]["param"]), (400, &json!("file")));
    let (kind, body) = form(&[("model", "whisper")], b"");
    let empty = client(&gateway)
        .with("content-type", &kind)
        .call(Method::POST, "/v1/audio/transcriptions", body)
        .await;
    assert_eq!((empty.status.as_u16(), &empty.json()["error"]["param"]), (400, &json!("file")));
    let no_model = transcribe(&gateway, &[("language", "en")]).await;
    assert_eq!((no_model.status.as_u16(), &no_model.json()["error"]["param"]), (400, &json!("model")));
    let streamed = transcribe(&gateway, &[("model", "whisper"), ("stream", "true")]).await;
    assert_eq!(streamed.status, 501);
    assert!(provider.requests().is_empty(), "none of these reached the provider");
}

#[tokio::test]
async fn a_transcription_is_kept_by_its_sound_and_its_words() {
    let provider = FakeProvider::start().await;
    let cache = json!({"litellm_settings": {"cache": true, "cache_params": {"type": "local"}}});
    let gateway = recorder(&provider, cache).await;
    let text = [("model", "whisper"), ("response_format", "text")];
    let first = transcribe(&gateway, &text).await;
    let again = transcribe(&gateway, &text).await;
    assert!(again.header("x-litellm-cache-key").is_some());
    assert_eq!((again.text(), again.header("content-type")), (first.text(), first.header("content-type")));
    let other =
        transcribe(&gateway, &[("model", "whisper"), ("response_format", "text"), ("language", "de")]).await;
    assert!(other.header("x-litellm-cache-key").is_none(), "another language is another question");
    assert_eq!(provider.requests().len(), 2);
}

#[tokio::test]
async fn retries_and_fallbacks_serve_embeddings_as_they_do_chats() {
    let provider = FakeProvider::start().await;
    let mut config: Value = serde_json::from_str(&config::of(embedders(&provider))).unwrap();
    config["router_settings"] = json!({"num_retries": 0, "fallbacks": [{"openai": ["cohere"]}]});
    let gateway = Gateway::start(&config.to_string()).await;
    provider.always(
        Matcher::path("/v1/embeddings"),
        Answer::Scenario(Box::new(Scenario {
            failure: Some(Failure::new(Class::Unavailable)),
            ..Scenario::default()
        })),
    );
    let reply = gateway.post(EMBEDDINGS, &json!({"model": "openai", "input": "x"})).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    assert_eq!(reply.header("x-litellm-attempted-fallbacks"), Some("1"));
    assert_eq!(provider.requests().last().unwrap().path, "/v2/embed");
}
