//! What hangs on identities: budgets, tags, access groups, permissions, invitations.

use super::{OnDelete, Table, big, flag, float, int, json, list, text, time};

/// Budgets that other rows point to.
pub const BUDGET: Table = Table {
    name: "LiteLLM_BudgetTable",
    columns: &[
        text("budget_id"),
        float("max_budget").null(),
        float("soft_budget").null(),
        int("max_parallel_requests").null(),
        big("tpm_limit").null(),
        big("rpm_limit").null(),
        big("tpd_limit").null(),
        json("model_max_budget").null(),
        text("budget_duration").null(),
        time("budget_reset_at").null(),
        list("allowed_models").empty(),
        float("temp_budget_increase").null(),
        time("temp_budget_expiry").null(),
        time("created_at").now(),
        text("created_by"),
        time("updated_at").now(),
        text("updated_by"),
    ],
    primary: &["budget_id"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Tags with an optional budget.
pub const TAG: Table = Table {
    name: "LiteLLM_TagTable",
    columns: &[
        text("tag_name"),
        text("description").null(),
        list("models"),
        json("model_info").null(),
        float("spend").or("0.0"),
        text("budget_id").null(),
        time("created_at").now(),
        text("created_by").null(),
        time("updated_at").now(),
    ],
    primary: &["tag_name"],
    unique: &[],
    indexes: &[],
    foreign: &[("budget_id", "LiteLLM_BudgetTable", "budget_id", OnDelete::Default)],
};

/// Budgets of model access groups.
pub const MODEL_ACCESS_GROUP_BUDGET: Table = Table {
    name: "LiteLLM_ModelAccessGroupBudgetTable",
    columns: &[
        text("access_group_name"),
        float("spend").or("0.0"),
        text("budget_id").null(),
        time("created_at").now(),
        text("created_by").null(),
        time("updated_at").now(),
        text("updated_by").null(),
    ],
    primary: &["access_group_name"],
    unique: &[],
    indexes: &[],
    foreign: &[("budget_id", "LiteLLM_BudgetTable", "budget_id", OnDelete::Default)],
};

/// Spend per window, for subjects with several windows.
pub const BUDGET_WINDOW_SPEND: Table = Table {
    name: "LiteLLM_BudgetWindowSpend",
    columns: &[
        text("entity_type"),
        text("entity_id"),
        text("window_duration"),
        time("window_start"),
        float("spend").or("0.0"),
        time("created_at").now(),
        time("updated_at"),
    ],
    primary: &["entity_type", "entity_id", "window_duration"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Access groups and who holds them.
pub const ACCESS_GROUP: Table = Table {
    name: "LiteLLM_AccessGroupTable",
    columns: &[
        text("access_group_id"),
        text("access_group_name"),
        text("description").null(),
        list("access_model_names").empty(),
        list("access_mcp_server_ids").empty(),
        list("access_agent_ids").empty(),
        list("assigned_team_ids").empty(),
        list("assigned_key_ids").empty(),
        time("created_at").now(),
        text("created_by").null(),
        time("updated_at").now(),
        text("updated_by").null(),
    ],
    primary: &["access_group_id"],
    unique: &[&["access_group_name"]],
    indexes: &[],
    foreign: &[],
};

/// Allow lists for MCP servers, vector stores, agents and models.
pub const OBJECT_PERMISSION: Table = Table {
    name: "LiteLLM_ObjectPermissionTable",
    columns: &[
        text("object_permission_id"),
        list("mcp_servers").empty(),
        list("mcp_access_groups").empty(),
        json("mcp_tool_permissions").null(),
        list("vector_stores").empty(),
        list("agents").empty(),
        list("agent_access_groups").empty(),
        list("models").empty(),
        list("blocked_tools").empty(),
        list("mcp_toolsets").empty(),
        list("search_tools").empty(),
        flag("mcp_tool_search_enabled").null(),
        list("skills").empty(),
    ],
    primary: &["object_permission_id"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Invitations to the UI.
pub const INVITATION_LINK: Table = Table {
    name: "LiteLLM_InvitationLink",
    columns: &[
        text("id"),
        text("user_id"),
        flag("is_accepted").or("false"),
        time("accepted_at").null(),
        time("expires_at"),
        time("created_at"),
        text("created_by"),
        time("updated_at"),
        text("updated_by"),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    foreign: &[
        ("user_id", "LiteLLM_UserTable", "user_id", OnDelete::Default),
        ("created_by", "LiteLLM_UserTable", "user_id", OnDelete::Default),
        ("updated_by", "LiteLLM_UserTable", "user_id", OnDelete::Default),
    ],
};

/// JWT claims that stand for a virtual key.
pub const JWT_KEY_MAPPING: Table = Table {
    name: "LiteLLM_JWTKeyMapping",
    columns: &[
        text("id"),
        text("jwt_issuer").or(""),
        text("jwt_claim_name"),
        text("jwt_claim_value"),
        text("token"),
        text("description").null(),
        flag("is_active").or("true"),
        time("created_at").now(),
        text("created_by").null(),
        time("updated_at").now(),
        text("updated_by").null(),
    ],
    primary: &["id"],
    unique: &[&["jwt_issuer", "jwt_claim_name", "jwt_claim_value"]],
    indexes: &[&["jwt_issuer", "jwt_claim_name", "jwt_claim_value", "is_active"]],
    foreign: &[("token", "LiteLLM_VerificationToken", "token", OnDelete::Cascade)],
};

/// Requests for access to models.
pub const USER_NOTIFICATIONS: Table = Table {
    name: "LiteLLM_UserNotifications",
    columns: &[text("request_id"), text("user_id"), list("models"), text("justification"), text("status")],
    primary: &["request_id"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};
