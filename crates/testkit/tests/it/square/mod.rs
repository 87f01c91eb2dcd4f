//! The dialect square: every client dialect against every provider, feature by feature, whole and streamed.
//!
//! Each cell is one conversation through a real gateway and a provider that speaks true wire format. What must
//! arrive at both ends is in `feature`; what a dialect cannot carry is in `expected`, with the reason. The page
//! `docs/fidelity.md` is written from the same two (`UPDATE_DOCS=1 cargo test -p faregate-testkit square`).

mod expected;
mod feature;
mod fold;
mod heard;
mod page;
mod seen;
mod talk;

use std::collections::{BTreeMap, BTreeSet};

use faregate_fake_provider::{FakeProvider, Matcher, Received};
use faregate_testkit::{Gateway, MASTER_KEY, Receipts};
use faregate_wire::dialect::Dialect;
use serde_json::{Map, Value, json};

use feature::Feature;
use talk::{Client, Talk, Turn};

/// The columns.
pub const PROVIDERS: [&str; 10] = [
    "openai",
    "responses",
    "azure",
    "anthropic",
    "gemini",
    "vertex-anthropic",
    "bedrock",
    "cohere",
    "ollama",
    "groq",
];

/// Where a cell is: client, provider, feature, streamed.
pub type Place = (Client, &'static str, Feature, bool);

/// What was seen: per cell what did not arrive, per pair the losses the gateway reported.
#[derive(Default)]
pub struct Square {
    pub cells: BTreeMap<Place, String>,
    pub losses: BTreeMap<(Client, &'static str), BTreeSet<String>>,
}

const KEY: &str = include_str!("../../../../upstream/tests/it/fixtures/service_account_key.pem");

/// One group per column and, for reasoning and images, one with a model that can.
fn config(provider: &FakeProvider) -> String {
    let base = provider.url();
    let v1 = format!("{base}/v1");
    let google = json!({"type": "service_account", "project_id": "square", "private_key_id": "1", "private_key": KEY,
        "client_email": "square@square.iam.gserviceaccount.com", "token_uri": format!("{base}/token")});
    let vertex = |model: &str| {
        json!({"model": model, "vertex_project": "square", "vertex_location": "us-central1",
        "vertex_credentials": google.to_string(), "api_base": base})
    };
    let params = |column: &str, thinks: bool, sees: bool| match column {
        "openai" => {
            json!({"model": if thinks { "openai/gpt-5-mini" } else { "openai/gpt-4o" }, "api_key": "sk-up", "api_base": v1})
        }
        "responses" => {
            json!({"model": if thinks { "openai/responses/gpt-5-mini" } else { "openai/responses/gpt-4o" },
            "api_key": "sk-up", "api_base": v1})
        }
        "azure" => {
            json!({"model": if thinks { "azure/gpt-5-mini" } else { "azure/gpt-4o" }, "api_key": "az-up",
            "api_base": base, "api_version": "2024-10-21"})
        }
        "anthropic" => {
            json!({"model": "anthropic/claude-sonnet-4-5", "api_key": "sk-ant-up", "api_base": base})
        }
        "gemini" => json!({"model": "gemini/gemini-2.5-pro", "api_key": "AIza-up", "api_base": base}),
        "vertex-anthropic" => vertex("vertex_ai/claude-sonnet-4-5@20250929"),
        "bedrock" => json!({"model": "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws_access_key_id": "AKIDFAKEPROVIDER", "aws_secret_access_key": "fake-secret-key",
            "aws_region_name": "us-east-1", "aws_bedrock_runtime_endpoint": base}),
        "cohere" => {
            let model = match (thinks, sees) {
                (true, _) => "cohere_chat/command-a-reasoning-08-2025",
                (_, true) => "cohere_chat/command-a-vision-07-2025",
                _ => "cohere_chat/command-a-03-2025",
            };
            json!({"model": model, "api_key": "co-up", "api_base": base})
        }
        "ollama" => {
            json!({"model": if thinks { "ollama_chat/deepseek-r1" } else { "ollama_chat/llama3.2-vision" }, "api_base": base})
        }
        _ => {
            let model = match (thinks, sees) {
                (true, _) => "groq/openai/gpt-oss-120b",
                (_, true) => "groq/meta-llama/llama-4-scout-17b-16e-instruct",
                _ => "groq/llama-3.3-70b-versatile",
            };
            json!({"model": model, "api_key": "gsk-up", "api_base": format!("{base}/openai/v1")})
        }
    };
    let groups = PROVIDERS.iter().flat_map(|column| {
        [("", false, false), ("-thinks", true, false), ("-sees", false, true)].map(|(suffix, thinks, sees)| {
            json!({"model_name": format!("{column}{suffix}"), "litellm_params": params(column, thinks, sees)})
        })
    });
    json!({
        "model_list": groups.collect::<Vec<_>>(),
        "general_settings": {"master_key": MASTER_KEY},
        "litellm_settings": {"drop_params": true, "num_retries": 0},
        "router_settings": {"num_retries": 0, "disable_cooldowns": true},
    })
    .to_string()
}

struct Bench {
    provider: FakeProvider,
    gateway: Gateway,
    receipts: Receipts,
    square: Square,
}

impl Bench {
    async fn start() -> Self {
        let provider = FakeProvider::start().await;
        let gateway = Gateway::start(&config(&provider)).await;
        let receipts = gateway.receipts();
        Self { provider, gateway, receipts, square: Square::default() }
    }

    /// One request; notes the losses reported and answers what the provider received.
    async fn ask(&mut self, place: Place, talk: &Talk) -> (faregate_testkit::Reply, Option<Received>) {
        let (client, column, feature, stream) = place;
        let suffix = match feature {
            Feature::Reasoning => "-thinks",
            Feature::Image | Feature::ResultImage => "-sees",
            _ => "",
        };
        let model = format!("{column}{suffix}");
        self.provider.reset();
        self.provider.always(Matcher::any(), feature.answer());
        let reply =
            self.gateway.post(&client.path(&model, stream), &client.write(talk, &model, stream)).await;
        let receipt = self.receipts.next().await;
        self.square.losses.entry((client, column)).or_default().extend(receipt.losses.iter().cloned());
        if receipt.status == 200 {
            let told = receipt.log.raw_usage.as_deref().map(serde_json::from_str::<Map<String, Value>>);
            assert!(matches!(told, Some(Ok(_))), "{place:?}: the provider's own usage is kept: {told:?}");
            let priced = receipt.cost.is_some();
            assert_eq!(receipt.log.price_version.is_some(), priced, "{place:?}: costs name their prices");
        }
        let received = self.provider.requests().into_iter().rfind(|request| request.path != "/token");
        (reply, received)
    }

    /// What did not arrive in this cell; empty if all did.
    async fn cell(&mut self, place: Place) -> String {
        let (client, column, feature, stream) = place;
        let mut talk = feature.talk();
        let (reply, received) = self.ask(place, &talk).await;
        let status = reply.status.as_u16();
        let shown = || String::from_utf8_lossy(&reply.body).into_owned();
        if let Some(wanted) = feature.error() {
            let missing = feature::error_missing(client, feature, &reply);
            if status != wanted {
                return format!("status {status}");
            }
            return missing.join(", ");
        }
        if status != 200 {
            eprintln!("{place:?} {}", shown());
            return format!("refused {status}");
        }
        let whole: Result<Value, String> =
            if stream { fold::fold(client, &reply.body) } else { Ok(reply.json()) };
        let seen = match whole {
            Ok(whole) => seen::read(client, &whole),
            Err(why) if why.contains("InternalServerError") => return "error event in the stream".to_owned(),
            Err(why) => return format!("stream breaks its rules: {why}"),
        };
        let mut heard = self::heard(column, &received.unwrap());
        if feature == Feature::Reasoning {
            talk.turns.extend([Turn::Echo(seen.echo.clone()), Turn::User("And Oslo?")]);
            let (again, received) = self.ask(place, &talk).await;
            if again.status != 200 {
                eprintln!("{} => {place:?} second turn {}", shown(), String::from_utf8_lossy(&again.body));
                return format!("second turn refused {}", again.status.as_u16());
            }
            heard = self::heard(column, &received.unwrap());
        }
        let missing = feature.missing(client, &heard, &seen);
        if !missing.is_empty() && std::env::var_os("SQUARE_SHOW").is_some() {
            eprintln!("{place:?} {missing:?}\n  {heard:?}\n  {seen:?}\n  {}", shown());
        }
        missing.join(", ")
    }
}

fn heard(column: &str, received: &Received) -> heard::Heard {
    heard::read(column, &received.path, &received.json())
}

/// Every place whose dialects there is code for.
fn places() -> impl Iterator<Item = Place> {
    Client::ALL
        .into_iter()
        .filter(|client| *client != Client::Bedrock || Dialect::Bedrock.client().is_some())
        .flat_map(|client| {
            let served = PROVIDERS
                .into_iter()
                .filter(|name| *name != "bedrock" || Dialect::Bedrock.provider().is_some());
            served.flat_map(move |provider| {
                Feature::ALL
                    .into_iter()
                    .flat_map(move |feature| [false, true].map(|stream| (client, provider, feature, stream)))
            })
        })
}

#[tokio::test]
async fn every_cell_of_the_square_is_what_the_table_says_and_the_page_shows_it() {
    let mut bench = Bench::start().await;
    for place in places() {
        let missing = bench.cell(place).await;
        bench.square.cells.insert(place, missing);
    }
    let wrong = expected::differences(&bench.square);
    assert!(wrong.is_empty(), "{} cells differ from the table:\n{}", wrong.len(), wrong.join("\n"));
    page::check(&page::render(&bench.square));
}
