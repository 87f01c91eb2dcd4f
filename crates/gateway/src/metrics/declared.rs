//! What is counted of requests: the families with their labels, by LiteLLM's names. Source: compat, metrics §2.

/// One family.
pub(super) struct Declared {
    /// The family's name.
    pub(super) name: &'static str,
    /// What it counts.
    pub(super) help: &'static str,
    /// Its labels, in LiteLLM's order.
    pub(super) labels: &'static [&'static str],
    /// Which requests it counts.
    pub(super) when: When,
}

/// Which requests a family counts.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum When {
    Always,
    Failed,
    /// A deployment was called.
    Called,
    /// A deployment answered.
    Answered,
    /// A deployment failed: counted call by call, for the deployment that was called.
    CallFailed,
    /// The response cache answered.
    CacheHit,
    /// It did not, and a deployment answered.
    CacheMiss,
}

const WHO: [&str; 4] = ["end_user", "hashed_api_key", "api_key_alias", "requested_model"];
const TOKEN_LABELS: &[&str] = &[
    "end_user",
    "hashed_api_key",
    "api_key_alias",
    "model",
    "team",
    "team_alias",
    "user",
    "user_email",
    "requested_model",
    "model_id",
    "api_provider",
    "org_id",
    "org_alias",
];
const TOKEN_LABELS_SHORT: &[&str] = &[
    "end_user",
    "hashed_api_key",
    "api_key_alias",
    "model",
    "team",
    "team_alias",
    "user",
    "user_email",
    "requested_model",
    "model_id",
    "api_provider",
];
const CACHE_LABELS: &[&str] = &[
    "model",
    "hashed_api_key",
    "api_key_alias",
    "team",
    "team_alias",
    "end_user",
    "user",
    "model_id",
    "api_provider",
];
const DEPLOYMENT_LABELS: &[&str] = &[
    "model_group",
    "requested_model",
    "litellm_model_name",
    "model_id",
    "api_base",
    "api_provider",
    "hashed_api_key",
    "api_key_alias",
    "team",
    "team_alias",
    "client_ip",
    "user_agent",
];
const LATENCY_LABELS: &[&str] = &[
    "model_group",
    "end_user",
    "hashed_api_key",
    "api_key_alias",
    "requested_model",
    "team",
    "team_alias",
    "user",
    "model",
    "model_id",
    "api_provider",
    "service_tier",
    "org_id",
    "org_alias",
];
const OVERHEAD_LABELS: &[&str] = &[
    "model_group",
    "api_provider",
    "api_base",
    "litellm_model_name",
    "hashed_api_key",
    "api_key_alias",
    "model_id",
];

/// Counters, by one for each request.
pub(super) const COUNTERS: &[Declared] = &[
    Declared {
        name: "litellm_proxy_total_requests_metric",
        help: "Requests the proxy answered, by status code and route",
        labels: &[
            WHO[0],
            WHO[1],
            WHO[2],
            WHO[3],
            "team",
            "team_alias",
            "user",
            "status_code",
            "user_email",
            "route",
            "client_ip",
            "user_agent",
            "model_id",
            "api_provider",
            "org_id",
            "org_alias",
        ],
        when: When::Always,
    },
    Declared {
        name: "litellm_proxy_failed_requests_metric",
        help: "Requests that did not end in success for the client",
        labels: &[
            WHO[0],
            WHO[1],
            WHO[2],
            WHO[3],
            "team",
            "team_alias",
            "user",
            "user_email",
            "exception_status",
            "exception_class",
            "route",
            "client_ip",
            "user_agent",
            "model_id",
            "api_provider",
            "org_id",
            "org_alias",
        ],
        when: When::Failed,
    },
    Declared {
        name: "litellm_deployment_total_requests",
        help: "Upstream calls per deployment",
        labels: DEPLOYMENT_LABELS,
        when: When::Called,
    },
    Declared {
        name: "litellm_deployment_success_responses",
        help: "Upstream successes per deployment",
        labels: DEPLOYMENT_LABELS,
        when: When::Answered,
    },
    Declared {
        name: "litellm_deployment_failure_responses",
        help: "Upstream failures per deployment",
        labels: &[
            "model_group",
            "requested_model",
            "litellm_model_name",
            "model_id",
            "api_base",
            "api_provider",
            "exception_status",
            "exception_class",
            "hashed_api_key",
            "api_key_alias",
            "team",
            "team_alias",
            "client_ip",
            "user_agent",
        ],
        when: When::CallFailed,
    },
    Declared {
        name: "litellm_total_tokens_metric",
        help: "Input plus output tokens",
        labels: TOKEN_LABELS,
        when: When::Answered,
    },
    Declared {
        name: "litellm_input_tokens_metric",
        help: "Input tokens",
        labels: TOKEN_LABELS,
        when: When::Answered,
    },
    Declared {
        name: "litellm_output_tokens_metric",
        help: "Output tokens",
        labels: TOKEN_LABELS,
        when: When::Answered,
    },
    Declared {
        name: "litellm_input_cached_tokens_metric",
        help: "Input tokens served from the provider's prompt cache",
        labels: TOKEN_LABELS_SHORT,
        when: When::Answered,
    },
    Declared {
        name: "litellm_input_cache_creation_tokens_metric",
        help: "Input tokens written to the provider's prompt cache",
        labels: TOKEN_LABELS_SHORT,
        when: When::Answered,
    },
    Declared {
        name: "litellm_output_reasoning_tokens_metric",
        help: "Reasoning tokens",
        labels: TOKEN_LABELS_SHORT,
        when: When::Answered,
    },
    Declared {
        name: "litellm_cache_hits_metric",
        help: "Requests the response cache answered",
        labels: CACHE_LABELS,
        when: When::CacheHit,
    },
    Declared {
        name: "litellm_cache_misses_metric",
        help: "Requests the response cache was asked for in vain, and a deployment answered",
        labels: CACHE_LABELS,
        when: When::CacheMiss,
    },
    Declared {
        name: "litellm_cached_tokens_metric",
        help: "Tokens of answers from the response cache",
        labels: CACHE_LABELS,
        when: When::CacheHit,
    },
];

pub(super) const SPEND: Declared = Declared {
    name: "litellm_spend_metric",
    help: "US dollars spent",
    labels: &[
        "end_user",
        "hashed_api_key",
        "api_key_alias",
        "model",
        "team",
        "team_alias",
        "user",
        "user_email",
        "client_ip",
        "user_agent",
        "requested_model",
        "model_id",
        "api_provider",
        "service_tier",
        "org_id",
        "org_alias",
    ],
    when: When::Answered,
};

pub(super) const HISTOGRAMS: &[Declared] = &[
    Declared {
        name: "litellm_request_total_latency_metric",
        help: "Seconds from arrival to the end of the answer",
        labels: LATENCY_LABELS,
        when: When::Answered,
    },
    Declared {
        name: "litellm_llm_api_latency_metric",
        help: "Seconds spent waiting for the provider",
        labels: LATENCY_LABELS,
        when: When::Answered,
    },
    Declared {
        name: "litellm_llm_api_time_to_first_token_metric",
        help: "Seconds to the first output of a stream",
        labels: LATENCY_LABELS,
        when: When::Answered,
    },
    Declared {
        name: "litellm_overhead_latency_metric",
        help: "Seconds added by the gateway",
        labels: OVERHEAD_LABELS,
        when: When::Answered,
    },
    Declared {
        name: "litellm_deployment_latency_per_output_token",
        help: "Seconds per output token",
        labels: &[
            "model_group",
            "litellm_model_name",
            "model_id",
            "api_base",
            "api_provider",
            "hashed_api_key",
            "api_key_alias",
            "team",
            "team_alias",
            "org_id",
            "org_alias",
        ],
        when: When::Answered,
    },
];
