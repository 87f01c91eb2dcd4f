//! Who may set which field of a user. The one place for it.
//!
//! Admins of the proxy set anything. Admins of an organization make users in it, and change those they have in
//! charge, themselves included, in what gives nobody more. Source: LiteLLM 1.106.2,
//! `_check_user_update_authz`, which lets them change themselves only.

use faregate_store::User;
use serde_json::Value;

use crate::columns::json_of;
use crate::error::AdminError;
use crate::routes::Call;
use crate::tighten::{same, widens};

/// What proxy admins alone may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Any change.
    All,
    /// Any change on somebody else's account: whoever sets the address signs in as its owner.
    OfOthers,
    /// A change that allows more.
    More,
}

const RULES: &[(&str, Kept)] = &[
    ("user_role", Kept::All),
    ("sso_user_id", Kept::All),
    ("spend", Kept::All),
    ("user_email", Kept::OfOthers),
    ("password", Kept::OfOthers),
    ("password_reset_required", Kept::OfOthers),
    ("max_budget", Kept::More),
    ("model_max_budget", Kept::More),
    ("budget_duration", Kept::More),
    ("tpm_limit", Kept::More),
    ("rpm_limit", Kept::More),
    ("max_parallel_requests", Kept::More),
    ("models", Kept::More),
    ("policies", Kept::All),
    ("allowed_cache_controls", Kept::More),
    ("model_rpm_limit", Kept::More),
    ("model_tpm_limit", Kept::More),
    ("guardrails", Kept::All),
    ("scim_active", Kept::All),
];

/// Roles that an admin of an organization may give to a new user.
const PLAIN_ROLES: &[&str] = &["internal_user", "internal_user_viewer"];

/// Whether the caller may make this user.
///
/// # Errors
/// 403 naming the field.
pub(super) fn check_new(call: &Call, user: &User) -> Result<(), AdminError> {
    if call.caller.is_admin() {
        return Ok(());
    }
    let role = user.user_role.as_deref().unwrap_or_default();
    if !PLAIN_ROLES.contains(&role) {
        return Err(AdminError::forbidden(format!(
            "Only proxy admins can create users with user_role={role}. Your role: {}; give one of {}",
            call.caller.role.word(),
            PLAIN_ROLES.join(", ")
        ))
        .about("user_role"));
    }
    if user.sso_user_id.is_some() {
        return Err(only_proxy_admins("sso_user_id"));
    }
    if call.admin.is_operators(&user.user_id) {
        return Err(only_proxy_admins("user_id"));
    }
    Ok(())
}

/// Whether the caller, who has this user in charge, may turn `before` into `after`.
///
/// # Errors
/// 403 naming the first field that they may not change.
pub(super) fn check_fields(call: &Call, before: &User, after: &User) -> Result<(), AdminError> {
    if call.caller.is_admin() {
        return Ok(());
    }
    let (old, new) = (json_of(before), json_of(after));
    let own = before.user_id == call.caller.user_id();
    for (field, kept) in RULES {
        let (was, is) = (value(&old, field), value(&new, field));
        // Spend moves by itself: that it is sent is enough.
        let sent = *field == "spend" && call.given(field).is_some();
        let refused = match kept {
            Kept::All => sent || !same(was, is),
            Kept::OfOthers => !own && !same(was, is),
            Kept::More => widens(was, is),
        };
        if refused {
            return Err(only_proxy_admins(field));
        }
    }
    Ok(())
}

/// A column, else a member of `metadata`.
fn value<'a>(row: &'a Value, field: &str) -> &'a Value {
    row.get(field).unwrap_or(&row["metadata"][field])
}

fn only_proxy_admins(field: &str) -> AdminError {
    AdminError::forbidden(format!(
        "Only proxy admins can set '{field}' of a user to this value; leave the field out, or ask one"
    ))
    .about(field)
}
