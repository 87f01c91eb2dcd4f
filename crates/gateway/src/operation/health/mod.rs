//! Is it alive, can it serve, what has it done, and how are the deployments. Source: compat, behaviour §13.

mod deployments;
mod metrics;
mod probes;
mod process;
mod trial;

pub use deployments::check;
pub use metrics::metrics;
pub use probes::{liveliness, options, readiness};
pub use process::{backlog, details, drain, license, services, shared_status};
pub use trial::test_connection;
