//! What replicas share.
