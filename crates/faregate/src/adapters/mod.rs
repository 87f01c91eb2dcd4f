//! What the data plane asks for, answered by crates it does not know.

pub mod principal;
pub mod shared_sql;
