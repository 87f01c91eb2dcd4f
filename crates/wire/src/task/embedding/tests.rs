use serde_json::json;

use super::*;
use crate::dialect::{Abilities, Quirks};

fn target<'a>(model: &'a str, flavor: Flavor<'a>, quirks: &'a Quirks) -> Target<'a> {
    Target {
        provider: "p",
        model,
        flavor,
        abilities: Abilities::default(),
        quirks,
        may_modify: false,
        betas: Vec::new(),
    }
}

fn request(body: Value) -> EmbeddingRequest {
    EmbeddingRequest::read(&json::write(&body)).unwrap()
}

/// Dialect, model, flavor; what the client sends; path and body that go out; answer that comes; vectors and tokens.
type Case = (Dialect, &'static str, Flavor<'static>, Value, &'static str, Value, Value, Vec<Vec<f32>>, u64);

const VERTEX: Flavor<'_> = Flavor::Vertex { project: "p", location: "eu", version: "v1" };

fn cases() -> Vec<Case> {
    let two = || json!({"model": "m", "input": ["a", "b"], "dimensions": 2});
    let vectors = || vec![vec![1.0, 0.5], vec![0.0, -1.0]];
    vec![
        (
            Dialect::OpenAiChat,
            "text-embedding-3-small",
            Flavor::Plain,
            two(),
            "/embeddings",
            json!({"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 2}),
            json!({"data": [{"index": 1, "embedding": [0.0, -1.0]}, {"index": 0, "embedding": [1, 0.5]}],
                   "usage": {"prompt_tokens": 2, "total_tokens": 2}}),
            vectors(),
            2,
        ),
        (
            Dialect::Cohere,
            "embed-v4.0",
            Flavor::Plain,
            json!({"model": "m", "input": ["a", "b"], "dimensions": 2, "input_type": "search_query"}),
            "/v2/embed",
            json!({"model": "embed-v4.0", "texts": ["a", "b"], "input_type": "search_query",
                   "embedding_types": ["float"], "output_dimension": 2}),
            json!({"id": "x", "embeddings": {"float": [[1.0, 0.5], [0.0, -1.0]]},
                   "meta": {"billed_units": {"input_tokens": 4}}}),
            vectors(),
            4,
        ),
        (
            Dialect::Gemini,
            "gemini-embedding-001",
            Flavor::Plain,
            json!({"model": "m", "input": "a", "input_type": "search_query"}),
            "/v1beta/models/gemini-embedding-001:batchEmbedContents",
            json!({"requests": [{"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "a"}]},
                                 "taskType": "RETRIEVAL_QUERY"}]}),
            json!({"embeddings": [{"values": [1.0, 0.5]}]}),
            vec![vec![1.0, 0.5]],
            0,
        ),
        (
            Dialect::Gemini,
            "text-embedding-005",
            VERTEX,
            two(),
            "/v1/projects/p/locations/eu/publishers/google/models/text-embedding-005:predict",
            json!({"instances": [{"content": "a"}, {"content": "b"}], "parameters": {"outputDimensionality": 2}}),
            json!({"predictions": [
                {"embeddings": {"values": [1.0, 0.5], "statistics": {"token_count": 3.0, "truncated": false}}},
                {"embeddings": {"values": [0.0, -1.0], "statistics": {"token_count": 4.0, "truncated": false}}}]}),
            vectors(),
            7,
        ),
        (
            Dialect::Bedrock,
            "amazon.titan-embed-text-v2:0",
            Flavor::Plain,
            json!({"model": "m", "input": "a", "dimensions": 256}),
            "/model/amazon%2Etitan%2Dembed%2Dtext%2Dv2%3A0/invoke",
            json!({"inputText": "a", "dimensions": 256}),
            json!({"embedding": [1.0, 0.5], "inputTextTokenCount": 5}),
            vec![vec![1.0, 0.5]],
            5,
        ),
        (
            Dialect::Bedrock,
            "cohere.embed-english-v3",
            Flavor::Plain,
            json!({"model": "m", "input": ["a", "b"]}),
            "/model/cohere%2Eembed%2Denglish%2Dv3/invoke",
            json!({"texts": ["a", "b"], "input_type": "search_document"}),
            json!({"id": "x", "embeddings": [[1.0, 0.5], [0.0, -1.0]], "texts": ["a", "b"]}),
            vectors(),
            0,
        ),
        (
            Dialect::Ollama,
            "nomic-embed-text",
            Flavor::Plain,
            json!({"model": "m", "input": ["a", "b"]}),
            "/api/embed",
            json!({"model": "nomic-embed-text", "input": ["a", "b"]}),
            json!({"model": "nomic-embed-text", "embeddings": [[1.0, 0.5], [0.0, -1.0]], "prompt_eval_count": 8}),
            vectors(),
            8,
        ),
    ]
}

#[test]
fn each_format_is_written_and_read_as_its_provider_documents_it() {
    let quirks = Quirks::default();
    for (dialect, model, flavor, body, path, sent, answer, vectors, tokens) in cases() {
        let target = target(model, flavor, &quirks);
        let codec = codec(dialect, &target).unwrap();
        assert_eq!(codec.route(&target).path, path);
        let request = request(body);
        let written = codec.body(&request, &request.inputs, &target, &mut Losses::default()).unwrap();
        assert_eq!(json::read::<Value>(&written).unwrap(), sent, "{model}");
        let read = codec.read(&target, &json::write(&answer)).unwrap();
        assert_eq!(read.numbers().unwrap(), vectors, "{model}");
        assert_eq!(read.usage.input, tokens, "{model}");
        assert!(codec.read(&target, b"{}").is_err(), "{model} reads an answer without vectors");
        assert!(codec.read(&target, b"<html>").is_err(), "{model} reads what is no JSON");
    }
}

#[test]
fn azure_has_its_own_paths() {
    let quirks = Quirks::default();
    for (flavor, path) in [
        (
            Flavor::Azure { api_version: "2024-02-01" },
            "/openai/deployments/m/embeddings?api-version=2024-02-01",
        ),
        (Flavor::AzureV1 { api_version: None }, "/openai/v1/embeddings"),
        (Flavor::AzureFoundry { api_version: "v" }, "/models/embeddings?api-version=v"),
    ] {
        let target = target("m", flavor, &quirks);
        assert_eq!(codec(Dialect::OpenAiChat, &target).unwrap().route(&target).path, path);
    }
}

#[test]
fn inputs_come_in_four_forms() {
    let read = |input: Value| EmbeddingRequest::read(&json::write(&json!({"model": "m", "input": input})));
    let text = |text: &str| Input::Text(text.to_owned());
    for (input, inputs, is_single) in [
        (json!("a"), vec![text("a")], true),
        (json!(["a", "b"]), vec![text("a"), text("b")], false),
        (json!([1, 2]), vec![Input::Tokens(vec![1, 2])], true),
        (json!([[1], [2, 3]]), vec![Input::Tokens(vec![1]), Input::Tokens(vec![2, 3])], false),
    ] {
        let request = read(input).unwrap();
        assert_eq!((request.inputs, request.is_single), (inputs, is_single));
    }
    for (input, param) in [
        (json!([]), "input"),
        (json!({}), "input"),
        (json!(["a", {}]), "input[1]"),
        (json!([[1], [-1]]), "input[1]"),
    ] {
        assert_eq!(read(input).unwrap_err().param.as_deref(), Some(param));
    }
}

#[test]
fn vectors_are_packed_where_the_client_wants_that_and_read_in_both_forms() {
    let body =
        br#"{"data":[{"index":0,"embedding":[1.0,-0.5]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#;
    let plain = Embeddings::read(body).unwrap();
    let packed = plain.write("m", true);
    let value: Value = json::read(&packed).unwrap();
    assert_eq!(value["data"][0]["embedding"], "AACAPwAAAL8=");
    assert_eq!(value["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
    let again = Embeddings::read(&packed).unwrap();
    assert_eq!(again.numbers().unwrap(), vec![vec![1.0, -0.5]]);
    assert_eq!(again.write("m", true), packed, "what is packed stays as it is");
    assert_eq!(
        json::read::<Value>(&plain.write("m", false)).unwrap()["data"][0]["embedding"],
        json!([1.0, -0.5])
    );
}

#[test]
fn tokens_are_for_openais_models_only() {
    let quirks = Quirks::default();
    let target = target("embed-v4.0", Flavor::Plain, &quirks);
    let request = request(json!({"model": "m", "input": [1, 2]}));
    let refused =
        cohere::Cohere.body(&request, &request.inputs, &target, &mut Losses::default()).unwrap_err();
    assert_eq!(refused.what, "input");
}
