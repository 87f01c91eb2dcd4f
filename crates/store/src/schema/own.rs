//! Our own tables. LiteLLM never looks at them, and they hold nothing that it would miss.
//!
//! **Money.** An exact sum is two integers: whole dollars, and the rest in pico-dollars (1e-12 USD) from 0
//! to 999,999,999,999. Both engines add such pairs in plain SQL without a 128-bit type, so one statement
//! serves both; `NUMERIC` would be exact in PostgreSQL only. In SQL, a sum in dollars is
//! `spend_usd + spend_pico / 1e12`.

use super::{Table, big, int, text, time};

/// What `migrate` did and when.
pub const MIGRATIONS: Table = Table {
    name: "faregate_migrations",
    columns: &[int("version"), text("name"), text("report"), time("applied_at")],
    primary: &["version"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Exact spend of a subject: since its last reset, and over its life.
///
/// `kind` is a name of [`crate::SubjectKind`]; `sub_id` is the second half of a subject with two ids, else empty.
pub const SPEND_TOTALS: Table = Table {
    name: "faregate_spend_totals",
    columns: &[
        text("kind"),
        text("id"),
        text("sub_id").or(""),
        big("spend_usd").or("0"),
        big("spend_pico").or("0"),
        big("total_usd").or("0"),
        big("total_pico").or("0"),
        time("updated_at"),
    ],
    primary: &["kind", "id", "sub_id"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Receipts that were booked: what makes settling the same one again do nothing.
pub const SETTLED: Table = Table {
    name: "faregate_settled",
    columns: &[text("call_id"), text("request_id"), big("cost_usd"), big("cost_pico"), time("settled_at")],
    primary: &["call_id"],
    unique: &[],
    indexes: &[&["settled_at"]],
    foreign: &[],
};

/// Counters that replicas share where there is no Redis: one line of text each, which only the caller reads.
pub const SHARED_COUNTERS: Table = Table {
    name: "faregate_shared_counters",
    columns: &[text("name"), text("state"), big("wanted_until_ms").or("0"), big("touched_ms").or("0")],
    primary: &["name"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Replicas that share counters, and when each was last heard. The one without a name is the table's own
/// beginning.
pub const SHARED_REPLICAS: Table = Table {
    name: "faregate_shared_replicas",
    columns: &[text("id"), big("seen_ms").or("0")],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// What replicas tell each other, by topic, numbered without gaps.
pub const SHARED_LOG: Table = Table {
    name: "faregate_shared_log",
    columns: &[text("topic"), big("version"), text("entry")],
    primary: &["topic", "version"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Who holds a job, until when.
pub const LEASES: Table = Table {
    name: "faregate_leases",
    columns: &[text("name"), text("holder"), time("expires_at")],
    primary: &["name"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};
