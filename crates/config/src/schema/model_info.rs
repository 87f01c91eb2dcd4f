//! `model_info`: what a deployment is, as opposed to how it is reached.

use std::collections::BTreeMap;
use std::time::Duration;

use super::health::OwnCheck;
use super::router::counts;
use crate::fields::Fields;
use crate::open_map::OpenMap;
use crate::registry;

/// `model_list[].model_info`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelInfo {
    /// Name under which prices and capabilities are looked up, when the upstream name says nothing.
    pub base_model: Option<String>,
    /// `chat`, `embedding`, `rerank`, ...: what the model does.
    pub mode: Option<String>,
    /// Groups that keys and teams may name instead of models.
    pub access_groups: Vec<String>,
    /// Total token limit.
    pub max_tokens: Option<u64>,
    /// Input token limit.
    pub max_input_tokens: Option<u64>,
    /// Output token limit.
    pub max_output_tokens: Option<u64>,
    /// `supports_*` overrides, by full key.
    pub supports: Vec<(String, bool)>,
    /// The only team that may use it.
    pub team_id: Option<String>,
    /// The name by which that team asks for it.
    pub team_public_model_name: Option<String>,
    /// Failures forgiven, instead of the router's.
    pub allowed_fails: Option<u64>,
    /// The same by error class, such as `TimeoutErrorAllowedFails`.
    pub allowed_fails_policy: BTreeMap<String, u64>,
    /// Pause after failures; wins over `litellm_params.cooldown_time`.
    pub cooldown_time: Option<Duration>,
    /// How its health is checked.
    pub check: OwnCheck,
    /// Custom prices; every number is a JSON string with its exact decimal text.
    pub prices: OpenMap,
    /// The whole section as written, for `/model/info`.
    pub all: OpenMap,
}

impl ModelInfo {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let mut info = Self {
            base_model: fields.filled("base_model"),
            mode: fields.filled("mode"),
            access_groups: fields.texts("access_groups").unwrap_or_default(),
            max_tokens: fields.count("max_tokens"),
            max_input_tokens: fields.count("max_input_tokens"),
            max_output_tokens: fields.count("max_output_tokens"),
            team_id: fields.filled("team_id"),
            team_public_model_name: fields.filled("team_public_model_name"),
            allowed_fails: fields.count("allowed_fails"),
            allowed_fails_policy: fields
                .child("allowed_fails_policy")
                .map(|mut policy| counts(&mut policy))
                .unwrap_or_default(),
            cooldown_time: fields.seconds("cooldown_time"),
            check: OwnCheck::read(fields),
            ..Self::default()
        };
        for entry in fields.entries() {
            info.all.insert(entry.key.clone(), entry.node.to_json());
            if entry.node.is_null() {
                continue;
            }
            if entry.key.starts_with("supports_") {
                info.supports.extend(fields.flag(&entry.key).map(|flag| (entry.key.clone(), flag)));
            } else if registry::is_price(&entry.key) {
                info.prices.insert(entry.key.clone(), entry.node.to_exact_json());
            }
        }
        info
    }
}
