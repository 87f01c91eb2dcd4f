//! The canonical chat model every dialect is translated through.
//!
//! Typed where the gateway or a translation acts, open where it only carries: members a dialect does not
//! share with the others travel in [`Extra`], by the family that sent them.

mod event;
mod extra;
mod fold;
mod message;
mod request;
mod response;
mod tool;

pub use event::{Event, PartKind};
pub use extra::{Extra, Family};
pub use fold::{Folder, unfold};
pub use message::{CacheHint, Media, Message, Part, Role, Signature};
pub use request::{ChatRequest, Effort, OutputFormat, Reasoning, Sampling};
pub use response::{ChatResponse, Choice, FinishReason};
pub use tool::{Tool, ToolChoice};
