//! Spend per day: one table per kind of subject, all of one shape.

use super::{Column, Table, big, float, text, time};

macro_rules! daily {
    ($(#[$doc:meta])* $const:ident, $name:literal, who: [$($who:expr),*], tail: [$($tail:expr),*],
     unique: [$($unique:literal),*], indexes: [$($index:expr),*]) => {
        $(#[$doc])*
        pub const $const: Table = Table {
            name: $name,
            columns: {
                const COLUMNS: &[Column] = &[
                    text("id"),
                    $($who,)*
                    text("model").null(),
                    text("model_group").null(),
                    text("custom_llm_provider").null(),
                    text("mcp_namespaced_tool_name").null(),
                    text("endpoint").null(),
                    big("prompt_tokens").or("0"),
                    big("completion_tokens").or("0"),
                    big("cache_read_input_tokens").or("0"),
                    big("cache_creation_input_tokens").or("0"),
                    big("compression_saved_tokens").or("0"),
                    float("compression_savings_spend").or("0.0"),
                    float("prompt_caching_savings_spend").or("0.0"),
                    float("gateway_injected_caching_savings_spend").or("0.0"),
                    float("autorouter_savings_spend").or("0.0"),
                    float("spend").or("0.0"),
                    big("api_requests").or("0"),
                    big("successful_requests").or("0"),
                    big("failed_requests").or("0"),
                    big("total_response_time_ms").or("0"),
                    big("timed_requests").or("0"),
                    $($tail,)*
                    time("created_at").now(),
                    time("updated_at"),
                ];
                COLUMNS
            },
            primary: &["id"],
            unique: &[&[$($unique),*]],
            indexes: &[$($index),*],
            foreign: &[],
        };
    };
    // A subject's own table: one more column in front, and the same keys but for its name.
    ($(#[$doc:meta])* $const:ident, $name:literal, subject: $subject:literal, before: [$($before:expr),*],
     tail: [$($tail:expr),*]) => {
        daily! {
            $(#[$doc])*
            $const, $name,
            who: [$($before,)* text($subject).null(), text("date"), text("api_key")],
            tail: [$($tail),*],
            unique: [
                $subject, "date", "api_key", "model", "custom_llm_provider", "mcp_namespaced_tool_name", "endpoint"
            ],
            indexes: [
                &["date"],
                &[$subject, "date"],
                &["api_key"],
                &["model"],
                &["mcp_namespaced_tool_name"],
                &["endpoint"]
            ]
        }
    };
}

daily! {
    /// Per internal user.
    USER, "LiteLLM_DailyUserSpend", subject: "user_id", before: [], tail: []
}
daily! {
    /// Per team.
    TEAM, "LiteLLM_DailyTeamSpend", subject: "team_id", before: [], tail: [float("ptu_flat_cost").or("0.0")]
}
daily! {
    /// Per request tag.
    TAG, "LiteLLM_DailyTagSpend", subject: "tag", before: [text("request_id").null()], tail: []
}
daily! {
    /// Per organization.
    ORGANIZATION, "LiteLLM_DailyOrganizationSpend", subject: "organization_id", before: [], tail: []
}
daily! {
    /// Per end user.
    END_USER, "LiteLLM_DailyEndUserSpend", subject: "end_user_id", before: [], tail: []
}
daily! {
    /// Per agent.
    AGENT, "LiteLLM_DailyAgentSpend", subject: "agent_id", before: [], tail: []
}
daily! {
    /// Over everybody.
    GLOBAL, "LiteLLM_DailyGlobalSpend",
    who: [text("date")],
    tail: [],
    unique: ["date", "model", "model_group", "custom_llm_provider", "mcp_namespaced_tool_name", "endpoint"],
    indexes: [&["date"]]
}
