//! What the data plane asks for, answered by crates it does not know.

pub mod known_keys;
pub mod principal;
pub mod shared_sql;
