//! Sealed values: secrets at rest, in LiteLLM's formats.

/// A sealed value cannot be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Made with another key, or damaged.
    #[error("a sealed value does not open; was it made with another LITELLM_SALT_KEY?")]
    WrongKey,
}
