//! What switches a beta on, and where its name goes.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::chat::ChatRequest;
use crate::dialect::anthropic::{Client, InvokeClient, Provider};
use crate::dialect::{
    Abilities, ClientCall, ClientDialect, Edit, Features, Flavor, Losses, ProviderDialect, Quirks, Target,
    bedrock,
};
use crate::envelope::Envelope;

const VERTEX: Flavor<'_> = Flavor::Vertex { project: "p", location: "l", version: "v1" };

fn target<'a>(flavor: Flavor<'a>, model: &'a str, quirks: &'a Quirks) -> Target<'a> {
    let abilities = Abilities { effort_config: true, ..Abilities::default() };
    Target { provider: "x", model, flavor, abilities, quirks, may_modify: false, betas: Vec::new() }
}

fn body(members: Value) -> Vec<u8> {
    let mut body = json!({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    crate::json::write(&body)
}

fn request(members: Value) -> ChatRequest {
    Client.decode(&body(members), &ClientCall::default()).unwrap()
}

/// The betas of a translated request and those of the same body forwarded as bytes.
fn both(members: &Value, asked: &[&str], flavor: Flavor<'_>) -> (Vec<String>, Vec<String>, Losses) {
    let (quirks, mut losses) = (Quirks::default(), Losses::default());
    let target = target(flavor, "claude-opus-4-5", &quirks);
    let request = request(members.clone());
    let envelope = Envelope::index(Bytes::from(body(members.clone()))).unwrap();
    let translated = Provider.betas(Features::Request(&request), asked, &target, &mut losses);
    let forwarded = Provider.betas(Features::Bytes(&envelope), asked, &target, &mut losses);
    (translated, forwarded, losses)
}

#[test]
fn what_a_request_uses_switches_its_beta_on_however_it_travels() {
    let file = json!({"type": "document", "source": {"type": "file", "file_id": "file_1"}});
    let function = json!({"name": "f", "input_schema": {"type": "object"}, "defer_loading": true});
    for (members, betas) in [
        (json!({}), vec![]),
        (
            json!({"tools": [{"type": "computer_20250124", "name": "computer"}]}),
            vec!["computer-use-2025-01-24"],
        ),
        (
            json!({"tools": [{"type": "computer_20251124", "name": "computer"}]}),
            vec!["computer-use-2025-11-24"],
        ),
        (json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}), vec![]),
        (
            json!({"tools": [{"type": "memory_20250818", "name": "memory"}]}),
            vec!["context-management-2025-06-27"],
        ),
        (json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), vec![]),
        (json!({"tools": [function]}), vec!["advanced-tool-use-2025-11-20"]),
        (
            json!({"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}),
            vec!["mcp-client-2025-04-04"],
        ),
        (
            json!({"mcp_servers": [{"url": "https://x"}], "tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}),
            vec!["mcp-client-2025-11-20"],
        ),
        (
            json!({"context_management": {"edits": [{"type": "compact_20260112"}, {"type": "clear_thinking_20251015"}]}}),
            vec!["compact-2026-01-12", "context-management-2025-06-27"],
        ),
        (json!({"container": {"skills": [{"skill_id": "pptx"}]}}), vec!["skills-2025-10-02"]),
        (json!({"speed": "fast"}), vec!["fast-mode-2026-02-01"]),
        (json!({"output_config": {"effort": "low"}}), vec!["effort-2025-11-24"]),
        (json!({"messages": [{"role": "user", "content": [file]}]}), vec!["files-api-2025-04-14"]),
        (json!({"messages": [{"role": "user", "content": "say \"file_id\" and defer_loading"}]}), vec![]),
    ] {
        let (translated, forwarded, losses) = both(&members, &[], Flavor::Plain);
        assert_eq!(translated, betas, "translated: {members}");
        assert_eq!(forwarded, betas, "forwarded: {members}");
        assert!(losses.names().is_empty());
    }
}

#[test]
fn what_the_client_names_comes_first_and_is_not_named_in_another_version() {
    let members = json!({
        "anthropic_beta": ["context-1m-2025-08-07"],
        "tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}],
        "speed": "fast",
    });
    let asked = ["mcp-client-2025-04-04, claude-code-20250219", "claude-code-20250219"];
    let expected =
        ["mcp-client-2025-04-04", "claude-code-20250219", "context-1m-2025-08-07", "fast-mode-2026-02-01"];
    let (translated, forwarded, _) = both(&members, &asked, Flavor::Plain);
    assert_eq!(translated, expected);
    assert_eq!(forwarded, expected);
}

#[test]
fn clouds_get_what_they_know_under_their_own_names_and_the_rest_is_a_loss() {
    let members = json!({"tools": [
        {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
        {"type": "web_search_20250305", "name": "web_search"},
        {"name": "f", "input_schema": {}, "eager_input_streaming": true},
    ]});
    let asked = ["context-1m-2025-08-07,claude-code-20250219,interleaved-thinking-2025-05-14"];
    for (flavor, expected) in [
        (
            Flavor::BedrockInvoke,
            vec![
                "context-1m-2025-08-07",
                "interleaved-thinking-2025-05-14",
                "tool-search-tool-2025-10-19",
                "fine-grained-tool-streaming-2025-05-14",
            ],
        ),
        (
            VERTEX,
            vec![
                "context-1m-2025-08-07",
                "interleaved-thinking-2025-05-14",
                "tool-search-tool-2025-10-19",
                "web-search-2025-03-05",
            ],
        ),
    ] {
        let (translated, forwarded, losses) = both(&members, &asked, flavor);
        assert_eq!(translated, expected, "{flavor:?}");
        assert_eq!(forwarded, expected, "{flavor:?}");
        assert_eq!(losses.names(), ["beta.claude-code-20250219"]);
    }
}

#[test]
fn bedrock_is_not_told_to_interleave_where_a_model_does_so_anyway() {
    let quirks = Quirks::default();
    let mut target = target(Flavor::BedrockInvoke, "anthropic.claude-opus-4-7", &quirks);
    target.abilities.adaptive_thinking = true;
    let request = request(json!({}));
    let mut losses = Losses::default();
    let asked = ["interleaved-thinking-2025-05-14"];
    let betas = Provider.betas(Features::Request(&request), &asked, &target, &mut losses);
    assert_eq!(betas, Vec::<String>::new());
    assert_eq!(losses.names(), ["beta.interleaved-thinking-2025-05-14"]);
}

#[test]
fn thoughts_between_calls_of_the_turn_ask_for_interleaving_when_there_is_a_budget() {
    let turns = |last: Value| {
        json!({"max_tokens": 8000, "thinking": {"type": "enabled", "budget_tokens": 2000}, "messages": [
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "a", "signature": "s"},
                {"type": "tool_use", "id": "t1", "name": "w", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "rain"}]},
            {"role": "assistant", "content": last},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t2", "content": "rain"}]},
        ]})
    };
    let quirks = Quirks::default();
    let target = target(Flavor::Plain, "claude-sonnet-4-5", &quirks);
    let call = json!({"type": "tool_use", "id": "t2", "name": "w", "input": {}});
    let thought = json!({"type": "thinking", "thinking": "b", "signature": "s"});
    for (last, betas) in
        [(json!([call]), vec![]), (json!([thought, call]), vec!["interleaved-thinking-2025-05-14"])]
    {
        let request = request(turns(last));
        let found = Provider.betas(Features::Request(&request), &[], &target, &mut Losses::default());
        assert_eq!(found.iter().filter(|beta| !beta.starts_with("effort")).collect::<Vec<_>>(), betas);
    }
}

#[test]
fn each_platform_is_told_where_it_looks() {
    let quirks = Quirks::default();
    let request = request(json!({"anthropic_beta": ["ignored: the settled list counts"]}));
    let told = |flavor: Flavor<'_>| {
        let mut target = target(flavor, "claude-x", &quirks);
        target.betas = vec!["a-2025-01-01".to_owned(), "b-2025-01-01".to_owned()];
        let header =
            Provider.route(&target, false).headers.into_iter().find(|(name, _)| *name == "anthropic-beta");
        let body = Provider.body(&request, &target, &mut Losses::default()).unwrap();
        let body: Value = crate::json::read(&body).unwrap();
        let edits = Provider.edits(&target, false, false);
        (header.map(|(_, value)| value), body.get("anthropic_beta").cloned(), edits)
    };
    let (list, text) = (json!(["a-2025-01-01", "b-2025-01-01"]), "a-2025-01-01,b-2025-01-01".to_owned());
    let set = Edit::Set("anthropic_beta", crate::json::write(&list));
    let (header, member, edits) = told(Flavor::Plain);
    assert_eq!((header, member), (Some(text.clone()), None));
    assert!(edits.contains(&Edit::Remove("anthropic_beta")));
    let (header, member, edits) = told(VERTEX);
    assert_eq!((header, member), (Some(text), Some(list.clone())));
    assert!(edits.contains(&set));
    let (header, member, edits) = told(Flavor::BedrockInvoke);
    assert_eq!((header, member), (None, Some(list)));
    assert!(edits.contains(&set));
}

#[test]
fn betas_of_one_clouds_body_are_known_to_the_other_platforms() {
    let quirks = Quirks::default();
    let invoke = body(json!({"anthropic_beta": ["context-1m-2025-08-07"]}));
    let call = ClientCall { path_model: Some("m"), ..ClientCall::default() };
    let converse = json!({
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "additionalModelRequestFields": {"anthropic_beta": ["context-1m-2025-08-07"]},
    });
    let requests = [
        InvokeClient.decode(&invoke, &call).unwrap(),
        bedrock::Client.decode(&crate::json::write(&converse), &call).unwrap(),
    ];
    for request in &requests {
        let mut target = target(Flavor::Plain, "anthropic.claude-sonnet-4-5", &quirks);
        for provider in [&Provider as &dyn ProviderDialect, &bedrock::Provider] {
            target.betas = provider.betas(Features::Request(request), &[], &target, &mut Losses::default());
            assert_eq!(target.betas, ["context-1m-2025-08-07"]);
        }
        let body = bedrock::Provider.body(request, &target, &mut Losses::default()).unwrap();
        let body: Value = crate::json::read(&body).unwrap();
        let fields = &body["additionalModelRequestFields"];
        assert_eq!(fields["anthropic_beta"], json!(["context-1m-2025-08-07"]));
    }
}

#[test]
fn invoke_model_gets_the_edits_of_the_context_it_knows() {
    let quirks = Quirks::default();
    let target = target(Flavor::BedrockInvoke, "anthropic.claude-x", &quirks);
    let sent = |edits: Value| {
        let mut losses = Losses::default();
        let request = request(json!({"context_management": {"edits": edits}}));
        let body: Value = crate::json::read(&Provider.body(&request, &target, &mut losses).unwrap()).unwrap();
        (body.get("context_management").cloned(), losses.into_names())
    };
    let (clear, compact) = (json!({"type": "clear_thinking_20251015"}), json!({"type": "compact_20260112"}));
    let lost = vec!["context_management.edits".to_owned()];
    assert_eq!(sent(json!([clear])), (None, lost.clone()));
    assert_eq!(sent(json!([clear, compact])), (Some(json!({"edits": [compact]})), lost));
    assert_eq!(sent(json!([compact])), (Some(json!({"edits": [compact]})), vec![]));
}
