//! The semantic kinds of `litellm_settings.cache_params`: answers found by what the question means.
//!
//! Source: compat, config §2.1.

use std::time::Duration;

use faregate_terms::Secret;

use super::buckets::required;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;

/// What LiteLLM embeds with when nobody says otherwise.
const DEFAULT_MODEL: &str = "text-embedding-ada-002";
/// What LiteLLM waits for an embedding.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// Conversations longer than this are not looked up.
const DEFAULT_MAX_MESSAGES: u64 = 4;

/// How answers to questions that mean the same are found.
#[derive(Debug, Clone, PartialEq)]
pub struct SemanticSettings {
    /// Where the vectors are.
    pub index: IndexKind,
    /// The cosine similarity from which on two questions mean the same, 0 to 1.
    pub similarity_threshold: f32,
    /// The model group that makes vectors.
    pub embedding_model: String,
    /// The index's name, where several share a server.
    pub index_name: Option<String>,
    /// How long a request waits for its vector.
    pub embedding_timeout: Duration,
    /// The most tokens that are embedded; what the model takes when absent.
    pub embedding_max_input_tokens: Option<u64>,
    /// Who shares answers; never more than `isolation` lets.
    pub scope: SemanticScope,
    /// Requests with more messages are neither looked up nor kept; no limit if `None`.
    pub max_messages: Option<u64>,
    /// The server of `type: qdrant-semantic`.
    pub qdrant: QdrantSettings,
}

/// Where vectors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// In this process.
    Memory,
    /// In a Redis or Valkey that searches vectors.
    Redis,
    /// In Qdrant.
    Qdrant,
    /// In the database, which is PostgreSQL with pgvector.
    Postgres,
}

/// Who shares answers that were found by meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SemanticScope {
    /// Requests of one key, team and organization.
    #[default]
    Key,
    /// The same for one end user, where the request names one.
    EndUser,
}

/// A Qdrant server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QdrantSettings {
    /// Its URL; `QDRANT_URL` or `QDRANT_API_BASE` when absent.
    pub url: Option<String>,
    /// Its key; `QDRANT_API_KEY` when absent.
    pub key: Option<Secret>,
    /// The collection; empty if none is named.
    pub collection: String,
    /// How the server makes vectors smaller.
    pub quantization: Quantization,
    /// The length of vectors in the collection; 1536 when absent. Others have a collection of their own.
    pub vector_size: Option<u64>,
}

/// How Qdrant makes vectors smaller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Quantization {
    /// To a bit per number.
    #[default]
    Binary,
    /// To a byte per number.
    Scalar,
    /// By sixteen.
    Product,
}

const QUANTIZATIONS: &[(&str, Quantization)] =
    &[("binary", Quantization::Binary), ("scalar", Quantization::Scalar), ("product", Quantization::Product)];

impl SemanticSettings {
    /// `None` if the threshold is missing or wrong, which is an error while the cache is on.
    pub(super) fn read(index: IndexKind, on: bool, params: &mut Fields<'_>) -> Option<Self> {
        let threshold = threshold(on, params);
        // LiteLLM's names begin with the kind; `semantic_cache_*` says it for every kind.
        let word = params.filled("type")?;
        let own = word.replace('-', "_");
        let mut named = |what: &str| {
            let of_kind = params.filled(&format!("{own}_cache_{what}"));
            of_kind.or_else(|| params.filled(&format!("semantic_cache_{what}")))
        };
        let embedding_model = named("embedding_model").unwrap_or_else(|| DEFAULT_MODEL.to_owned());
        let index_name = named("index_name");
        let qdrant = match index {
            IndexKind::Qdrant => QdrantSettings::read(on, params),
            IndexKind::Memory | IndexKind::Redis | IndexKind::Postgres => QdrantSettings::default(),
        };
        Some(Self {
            index,
            similarity_threshold: threshold?,
            embedding_model,
            index_name,
            embedding_timeout: params.seconds("semantic_cache_embedding_timeout").unwrap_or(DEFAULT_TIMEOUT),
            embedding_max_input_tokens: params.count("semantic_cache_embedding_max_input_tokens"),
            scope: params
                .word(
                    "semantic_cache_scope",
                    &[("key", SemanticScope::Key), ("end_user", SemanticScope::EndUser)],
                )
                .unwrap_or_default(),
            max_messages: max_messages(params),
            qdrant,
        })
    }
}

impl QdrantSettings {
    fn read(on: bool, params: &mut Fields<'_>) -> Self {
        Self {
            url: params.filled("qdrant_api_base"),
            key: params.secret("qdrant_api_key"),
            collection: required(
                on,
                params,
                "qdrant_collection_name",
                "name a collection of its own for the cache; it is made when it is missing",
            ),
            quantization: params.word("qdrant_quantization_config", QUANTIZATIONS).unwrap_or_default(),
            vector_size: params.count("qdrant_semantic_cache_vector_size"),
        }
    }
}

fn threshold(on: bool, params: &mut Fields<'_>) -> Option<f32> {
    let key = "similarity_threshold";
    let Some(node) = params.get(key) else {
        // The same message as for any key a type needs.
        let remedy = "set how alike two questions have to be, 0 to 1; 0.8 is a common start";
        required(on, params, key, remedy);
        return None;
    };
    let given = params.number(key)?;
    if !(0.0..=1.0).contains(&given) {
        let found = Diagnostic::error(Some(&node.at), params.at(key), "expected a number from 0 to 1");
        params.findings.push(found.remedy("1 is the same meaning, 0 any; 0.8 is a common start"));
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a number from 0 to 1")]
    let threshold = given as f32;
    Some(threshold)
}

/// Said to be nothing is no limit; not said is LiteLLM's.
fn max_messages(params: &mut Fields<'_>) -> Option<u64> {
    let is_said = params.entries().iter().any(|entry| entry.key == "max_messages");
    match params.count("max_messages") {
        None if !is_said => Some(DEFAULT_MAX_MESSAGES),
        given => given,
    }
}
