//! The data plane's route table: path pattern → operation, LiteLLM's aliases included.
//!
//! Built once; the docs' endpoint list is printed from it. Paths that match nothing here belong to the
//! control plane.

use std::borrow::Cow;
use std::sync::LazyLock;

use http::Method;
use percent_encoding::percent_decode_str;

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// OpenAI chat completions.
    ChatCompletions,
    /// OpenAI text completions.
    TextCompletions,
    /// OpenAI responses: create.
    Responses,
    /// OpenAI responses: fetch a stored one.
    ResponseGet,
    /// OpenAI responses: delete a stored one.
    ResponseDelete,
    /// OpenAI responses: cancel a running one.
    ResponseCancel,
    /// OpenAI responses: what a stored one was asked.
    ResponseInputItems,
    /// Anthropic messages.
    Messages,
    /// Anthropic token counting.
    MessagesCountTokens,
    /// Gemini `models/{model}:{verb}`.
    Gemini,
    /// Bedrock Converse.
    Converse,
    /// Bedrock ConverseStream.
    ConverseStream,
    /// Bedrock InvokeModel.
    Invoke,
    /// Bedrock InvokeModelWithResponseStream.
    InvokeStream,
    /// OpenAI embeddings.
    Embeddings,
    /// Cohere's reranking.
    Rerank,
    /// OpenAI speech to text.
    Transcriptions,
    /// The models a caller may use.
    Models,
    /// One model.
    Model,
    /// Deployments with their catalogue facts.
    ModelInfo,
    ModelInfoPaged,
    /// Model groups with merged facts.
    ModelGroupInfo,
    /// Groups that are public, for everybody.
    ModelHub,
    /// What is shown beside them.
    ModelHubInfo,
    /// Token counting for any model.
    TokenCounter,
    /// The OpenAI parameters a model takes.
    SupportedParams,
    /// The provider request that would be sent.
    TransformRequest,
    /// Which deployments a request would try, and why.
    RouteExplain,
    /// Does the response cache answer.
    CachePing,
    /// Drop answers from it.
    CacheDelete,
    /// Drop all of them.
    CacheFlush,
    /// What its Redis says of itself.
    CacheServer,
    /// How the deployments are.
    Health,
    /// A model tried before it is saved.
    TestConnection,
    /// A test event to a callback or alert channel.
    HealthServices,
    /// What is in flight.
    Backlog,
    /// The licence, of which there is none.
    License,
    /// Whether replicas share health checks.
    SharedHealth,
    /// Take the process out of rotation and wait.
    Drain,
    /// How probes may be asked.
    ProbeOptions,
    /// Can it serve, and with what.
    ReadinessDetails,
    /// Is the process alive.
    Liveliness,
    /// Can it serve.
    Readiness,
    /// Prometheus exposition.
    Metrics,
    /// A route of an operator's own. It has no row: its paths are the configuration's.
    PassThrough,
}

/// A row of the table.
pub struct Row {
    /// Method.
    pub method: &'static str,
    /// All paths, in `matchit` syntax; the first is the canonical one, used in logs and metrics.
    pub paths: &'static [&'static str],
    /// What it does.
    pub operation: Operation,
    /// For the docs.
    pub doc: &'static str,
}

/// Every route of the data plane.
pub const ROUTES: &[Row] = &[
    Row {
        method: "POST",
        paths: &["/v1/chat/completions", "/chat/completions"],
        operation: Operation::ChatCompletions,
        doc: "OpenAI chat completions, JSON or SSE; also `/engines/{model}/chat/completions` and \
              `/openai/deployments/{model}/chat/completions`",
    },
    Row {
        method: "POST",
        paths: &["/v1/completions", "/completions"],
        operation: Operation::TextCompletions,
        doc: "OpenAI text completions, JSON or SSE; also `/engines/{model}/completions` and \
              `/openai/deployments/{model}/completions`",
    },
    Row {
        method: "POST",
        paths: &["/v1/responses", "/responses", "/openai/v1/responses"],
        operation: Operation::Responses,
        doc: "OpenAI responses, JSON or SSE",
    },
    Row {
        method: "GET",
        paths: &["/v1/responses/{id}", "/responses/{id}", "/openai/v1/responses/{id}"],
        operation: Operation::ResponseGet,
        doc: "A stored response",
    },
    Row {
        method: "DELETE",
        paths: &["/v1/responses/{id}", "/responses/{id}", "/openai/v1/responses/{id}"],
        operation: Operation::ResponseDelete,
        doc: "Delete a stored response",
    },
    Row {
        method: "POST",
        paths: &["/v1/responses/{id}/cancel", "/responses/{id}/cancel", "/openai/v1/responses/{id}/cancel"],
        operation: Operation::ResponseCancel,
        doc: "Cancel a response that is being made",
    },
    Row {
        method: "GET",
        paths: &[
            "/v1/responses/{id}/input_items",
            "/responses/{id}/input_items",
            "/openai/v1/responses/{id}/input_items",
        ],
        operation: Operation::ResponseInputItems,
        doc: "What a stored response was asked",
    },
    Row {
        method: "POST",
        paths: &["/v1/messages", "/anthropic/v1/messages", "/claude_code_gateway/v1/messages"],
        operation: Operation::Messages,
        doc: "Anthropic messages, JSON or SSE",
    },
    Row {
        method: "POST",
        paths: &[
            "/v1/messages/count_tokens",
            "/anthropic/v1/messages/count_tokens",
            "/claude_code_gateway/v1/messages/count_tokens",
        ],
        operation: Operation::MessagesCountTokens,
        doc: "Anthropic token counting",
    },
    Row {
        method: "POST",
        paths: &["/v1/embeddings", "/embeddings"],
        operation: Operation::Embeddings,
        doc: "OpenAI embeddings; also `/engines/{model}/embeddings` and `/openai/deployments/{model}/embeddings`",
    },
    Row {
        method: "POST",
        paths: &["/v1/rerank", "/rerank", "/v2/rerank"],
        operation: Operation::Rerank,
        doc: "Documents by relevance to a query, in Cohere's shape",
    },
    Row {
        method: "POST",
        paths: &["/v1/audio/transcriptions", "/audio/transcriptions"],
        operation: Operation::Transcriptions,
        doc: "Speech to text, as a form; also `/openai/deployments/{model}/audio/transcriptions`",
    },
    Row {
        method: "GET",
        paths: &["/v1/models", "/models"],
        operation: Operation::Models,
        doc: "Models, as OpenAI lists them; as Anthropic does for callers with `anthropic-version`",
    },
    Row {
        method: "GET",
        paths: &["/v1/models/{*id}", "/models/{*id}"],
        operation: Operation::Model,
        doc: "One model",
    },
    Row {
        method: "GET",
        paths: &["/v1/model/info", "/model/info"],
        operation: Operation::ModelInfo,
        doc: "Deployments with catalogue facts, secrets removed",
    },
    Row {
        method: "GET",
        paths: &["/v2/model/info"],
        operation: Operation::ModelInfoPaged,
        doc: "The same by pages, searched and sorted",
    },
    Row {
        method: "GET",
        paths: &["/model_group/info"],
        operation: Operation::ModelGroupInfo,
        doc: "Model groups with merged facts",
    },
    Row {
        method: "GET",
        paths: &["/public/model_hub"],
        operation: Operation::ModelHub,
        doc: "Model groups that were made public, with merged facts",
    },
    Row {
        method: "GET",
        paths: &["/public/model_hub/info"],
        operation: Operation::ModelHubInfo,
        doc: "Title and links of the public list of models",
    },
    Row {
        method: "POST",
        paths: &["/utils/token_counter"],
        operation: Operation::TokenCounter,
        doc: "Count tokens",
    },
    Row {
        method: "GET",
        paths: &["/utils/supported_openai_params"],
        operation: Operation::SupportedParams,
        doc: "OpenAI parameters a model takes",
    },
    Row {
        method: "POST",
        paths: &["/utils/transform_request"],
        operation: Operation::TransformRequest,
        doc: "The provider request that would be sent",
    },
    Row {
        method: "POST",
        paths: &["/route/explain"],
        operation: Operation::RouteExplain,
        doc: "Which deployments a chat request would try, and why",
    },
    Row {
        method: "GET",
        paths: &["/cache/ping"],
        operation: Operation::CachePing,
        doc: "Whether the response cache answers; for administrators",
    },
    Row {
        method: "POST",
        paths: &["/cache/delete"],
        operation: Operation::CacheDelete,
        doc: "Drop answers from the response cache by key; for administrators",
    },
    Row {
        method: "POST",
        paths: &["/cache/flushall"],
        operation: Operation::CacheFlush,
        doc: "Drop every answer from the response cache; for administrators",
    },
    Row {
        method: "GET",
        paths: &["/cache/redis/info"],
        operation: Operation::CacheServer,
        doc: "What the response cache's Redis says of itself; for administrators",
    },
    Row {
        method: "GET",
        paths: &["/health/liveliness", "/health/liveness"],
        operation: Operation::Liveliness,
        doc: "Alive; no key needed",
    },
    Row {
        method: "GET",
        paths: &["/health/readiness"],
        operation: Operation::Readiness,
        doc: "Ready to serve; no key needed",
    },
    Row {
        method: "OPTIONS",
        paths: &["/health/readiness", "/health/liveliness", "/health/liveness"],
        operation: Operation::ProbeOptions,
        doc: "How probes may be asked",
    },
    Row {
        method: "GET",
        paths: &["/health/readiness/details"],
        operation: Operation::ReadinessDetails,
        doc: "The same with version, callbacks and cache; for administrators",
    },
    Row {
        method: "GET",
        paths: &["/health"],
        operation: Operation::Health,
        doc: "How the deployments are: each is called, unless that happens in the background",
    },
    Row {
        method: "POST",
        paths: &["/health/test_connection"],
        operation: Operation::TestConnection,
        doc: "Try a model before saving it",
    },
    Row {
        method: "GET",
        paths: &["/health/services"],
        operation: Operation::HealthServices,
        doc: "Send a test event to a callback or alert channel; for administrators",
    },
    Row {
        method: "GET",
        paths: &["/health/backlog"],
        operation: Operation::Backlog,
        doc: "What is in flight, waits and was turned away; for administrators",
    },
    Row {
        method: "GET",
        paths: &["/health/license"],
        operation: Operation::License,
        doc: "The licence: none is needed",
    },
    Row {
        method: "GET",
        paths: &["/health/shared-status"],
        operation: Operation::SharedHealth,
        doc: "Whether replicas share health checks; for administrators",
    },
    Row {
        method: "GET",
        paths: &["/health/drain"],
        operation: Operation::Drain,
        doc: "Out of rotation, and wait for requests in flight; off unless enabled",
    },
    Row {
        method: "GET",
        paths: &["/metrics", "/metrics/"],
        operation: Operation::Metrics,
        doc: "Prometheus metrics, when the `prometheus` callback is on",
    },
];

/// Routes whose model name may hold slashes, so that a pattern cannot find its end: (prefixes, suffix).
/// Gemini's are found by the verb behind the last colon.
const SUFFIX_ROUTES: &[(&[&str], &str, Operation)] = &[
    (&["/engines/", "/openai/deployments/"], "/chat/completions", Operation::ChatCompletions),
    // Behind the longer one.
    (&["/engines/", "/openai/deployments/"], "/completions", Operation::TextCompletions),
    (&["/engines/", "/openai/deployments/"], "/embeddings", Operation::Embeddings),
    (&["/openai/deployments/"], "/audio/transcriptions", Operation::Transcriptions),
    (&["/model/", "/bedrock/model/"], "/converse", Operation::Converse),
    (&["/model/", "/bedrock/model/"], "/converse-stream", Operation::ConverseStream),
    (&["/model/", "/bedrock/model/"], "/invoke", Operation::Invoke),
    (&["/model/", "/bedrock/model/"], "/invoke-with-response-stream", Operation::InvokeStream),
];

/// The same routes and Gemini's in words, for the document.
pub const SPANNING: &[Row] = &[
    Row {
        method: "POST",
        paths: &["/engines/{model}/chat/completions", "/openai/deployments/{model}/chat/completions"],
        operation: Operation::ChatCompletions,
        doc: "OpenAI chat completions of the model that the path names",
    },
    Row {
        method: "POST",
        paths: &["/engines/{model}/completions", "/openai/deployments/{model}/completions"],
        operation: Operation::TextCompletions,
        doc: "OpenAI text completions of the model that the path names",
    },
    Row {
        method: "POST",
        paths: &["/engines/{model}/embeddings", "/openai/deployments/{model}/embeddings"],
        operation: Operation::Embeddings,
        doc: "OpenAI embeddings of the model that the path names",
    },
    Row {
        method: "POST",
        paths: &["/openai/deployments/{model}/audio/transcriptions"],
        operation: Operation::Transcriptions,
        doc: "Speech to text with the model that the path names",
    },
    Row {
        method: "POST",
        paths: &["/v1beta/models/{model}:generateContent", "/v1/models/{model}:generateContent"],
        operation: Operation::Gemini,
        doc: "Gemini content",
    },
    Row {
        method: "POST",
        paths: &["/v1beta/models/{model}:streamGenerateContent", "/v1/models/{model}:streamGenerateContent"],
        operation: Operation::Gemini,
        doc: "Gemini content as a stream",
    },
    Row {
        method: "POST",
        paths: &["/v1beta/models/{model}:countTokens", "/v1/models/{model}:countTokens"],
        operation: Operation::Gemini,
        doc: "Gemini token counting",
    },
    Row {
        method: "POST",
        paths: &["/bedrock/model/{model}/converse", "/model/{model}/converse"],
        operation: Operation::Converse,
        doc: "Bedrock Converse",
    },
    Row {
        method: "POST",
        paths: &["/bedrock/model/{model}/converse-stream", "/model/{model}/converse-stream"],
        operation: Operation::ConverseStream,
        doc: "Bedrock ConverseStream, in AWS event-stream frames",
    },
    Row {
        method: "POST",
        paths: &["/bedrock/model/{model}/invoke", "/model/{model}/invoke"],
        operation: Operation::Invoke,
        doc: "Bedrock InvokeModel with Anthropic bodies",
    },
    Row {
        method: "POST",
        paths: &[
            "/bedrock/model/{model}/invoke-with-response-stream",
            "/model/{model}/invoke-with-response-stream",
        ],
        operation: Operation::InvokeStream,
        doc: "The same as a stream",
    },
];

const GEMINI_PREFIXES: &[&str] =
    &["/v1beta/models/", "/v1/models/", "/models/", "/gemini/v1beta/models/", "/gemini/v1/models/"];

/// A request's place in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What to do.
    pub operation: Operation,
    /// The canonical path, for logs and metrics.
    pub route: &'static str,
    /// The path's variable part, percent-decoded: a model or an id.
    pub subject: Option<String>,
    /// Gemini's verb, e.g. `streamGenerateContent`.
    pub verb: Option<String>,
}

impl Found {
    /// What logs and metrics call it: the canonical path, or an operator's own.
    pub fn name(&self) -> Cow<'static, str> {
        match (&self.subject, self.operation) {
            (Some(path), Operation::PassThrough) => Cow::Owned(path.clone()),
            _ => Cow::Borrowed(self.route),
        }
    }
}

/// Every path of an operation, the canonical one first.
pub fn paths_of(operation: Operation) -> &'static [&'static str] {
    ROUTES.iter().find(|row| row.operation == operation).map_or(&[], |row| row.paths)
}

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// A route of the data plane.
    Found(Found),
    /// The path is ours, but not with this method; these are.
    WrongMethod(Vec<&'static str>),
    /// Not ours.
    Unknown,
}

static EXACT: LazyLock<matchit::Router<Vec<usize>>> = LazyLock::new(|| {
    let mut by_path: Vec<(&'static str, Vec<usize>)> = Vec::new();
    for (index, row) in ROUTES.iter().enumerate() {
        for path in row.paths {
            match by_path.iter_mut().find(|(known, _)| known == path) {
                Some((_, rows)) => rows.push(index),
                None => by_path.push((path, vec![index])),
            }
        }
    }
    let mut router = matchit::Router::new();
    for (path, rows) in by_path {
        // A clash is a mistake in the table above; a unit test looks every row up.
        let _ = router.insert(path, rows);
    }
    router
});

/// Finds a route.
pub fn find(method: &Method, path: &str) -> Lookup {
    if method == Method::POST
        && let Some(found) = by_suffix(path).or_else(|| gemini(path))
    {
        return Lookup::Found(found);
    }
    let Ok(matched) = EXACT.at(path) else {
        return Lookup::Unknown;
    };
    let rows = matched.value.iter().map(|&index| &ROUTES[index]);
    match rows.clone().find(|row| row.method == method.as_str()) {
        Some(row) => Lookup::Found(Found {
            operation: row.operation,
            route: row.paths[0],
            subject: matched.params.iter().next().map(|(_, value)| decoded(value)),
            verb: None,
        }),
        None => Lookup::WrongMethod(rows.map(|row| row.method).collect()),
    }
}

fn by_suffix(path: &str) -> Option<Found> {
    SUFFIX_ROUTES.iter().find_map(|(prefixes, suffix, operation)| {
        let subject = prefixes
            .iter()
            .find_map(|prefix| path.strip_prefix(prefix)?.strip_suffix(suffix))
            .filter(|subject| !subject.is_empty())?;
        let route = match operation {
            Operation::ChatCompletions => "/v1/chat/completions",
            Operation::TextCompletions => "/v1/completions",
            Operation::Converse => "/model/{model}/converse",
            Operation::ConverseStream => "/model/{model}/converse-stream",
            Operation::Invoke => "/model/{model}/invoke",
            _ => "/model/{model}/invoke-with-response-stream",
        };
        Some(Found { operation: *operation, route, subject: Some(decoded(subject)), verb: None })
    })
}

fn gemini(path: &str) -> Option<Found> {
    let rest = GEMINI_PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix))?;
    let rest = decoded(rest);
    let (model, verb) = rest.rsplit_once(':')?;
    let route = match verb {
        "generateContent" => "/v1beta/models/{model}:generateContent",
        "streamGenerateContent" => "/v1beta/models/{model}:streamGenerateContent",
        "countTokens" => "/v1beta/models/{model}:countTokens",
        _ => return None,
    };
    Some(Found {
        operation: Operation::Gemini,
        route,
        subject: Some(model.to_owned()),
        verb: Some(verb.to_owned()),
    })
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(method: &str, path: &str) -> Option<(Operation, Option<String>)> {
        match find(&method.parse().unwrap(), path) {
            Lookup::Found(found) => Some((found.operation, found.subject)),
            _ => None,
        }
    }

    #[test]
    fn every_row_is_found_under_every_path() {
        for row in ROUTES.iter().chain(SPANNING) {
            for path in row.paths {
                let path = path.replace("{id}", "x1").replace("{*id}", "a/b").replace("{model}", "a/b");
                let found = operation(row.method, &path).map(|(operation, _)| operation);
                assert_eq!(found, Some(row.operation), "{} {path}", row.method);
            }
        }
    }

    #[test]
    fn model_names_in_paths_may_hold_slashes_and_escapes() {
        let some = |text: &str| Some(text.to_owned());
        for (path, expected, subject) in [
            (
                "/openai/deployments/azure/gpt-4o/chat/completions",
                Operation::ChatCompletions,
                some("azure/gpt-4o"),
            ),
            ("/engines/gpt/chat/completions", Operation::ChatCompletions, some("gpt")),
            ("/engines/gpt/completions", Operation::TextCompletions, some("gpt")),
            ("/openai/deployments/azure/gpt/completions", Operation::TextCompletions, some("azure/gpt")),
            (
                "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
                Operation::Gemini,
                some("gemini-2.5-pro"),
            ),
            ("/models/vertex_ai/gemini:countTokens", Operation::Gemini, some("vertex_ai/gemini")),
            (
                "/model/us.anthropic.claude-v1%3A0/converse",
                Operation::Converse,
                some("us.anthropic.claude-v1:0"),
            ),
            ("/bedrock/model/my%2Fmodel/converse-stream", Operation::ConverseStream, some("my/model")),
            ("/model/m/invoke-with-response-stream", Operation::InvokeStream, some("m")),
        ] {
            assert_eq!(operation("POST", path), Some((expected, subject)), "{path}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_from_an_unknown_path() {
        assert_eq!(find(&Method::GET, "/v1/chat/completions"), Lookup::WrongMethod(vec!["POST"]));
        assert_eq!(find(&Method::GET, "/key/info"), Lookup::Unknown);
        assert_eq!(find(&Method::POST, "/v1beta/models/x:unheardOf"), Lookup::Unknown);
    }
}
