//! Which models unified access groups add to the lists of a key and its team. Source: LiteLLM, `auth_checks.py`,
//! `get_authorized_resources_from_key_access_groups`.

use std::collections::BTreeSet;

use faregate_store::{AccessGroup, Filter, KeyRecord, ListQuery, Store, StoreError};
use serde_json::json;

/// Models that groups add.
#[derive(Default)]
pub(super) struct GroupModels {
    /// To the key's list.
    pub key: Vec<String>,
    /// To the team's list: those of its own groups, and those of the key's groups that are the team's or the key's
    /// by assignment.
    pub team: Vec<String>,
}

impl GroupModels {
    /// Asks only for those who have groups.
    pub async fn of(store: &Store, record: &KeyRecord) -> Result<Self, StoreError> {
        let of_key = &record.key.access_group_ids;
        let of_team = record.team.as_ref().map(|team| team.access_group_ids.as_slice()).unwrap_or_default();
        let ids: BTreeSet<&String> = of_key.iter().chain(of_team).collect();
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let ids: Vec<_> = ids.into_iter().map(|id| json!(id)).collect();
        let most = ids.len() as u64;
        let query = ListQuery::new().filter(Filter::In("access_group_id", ids)).page(1, most).uncounted();
        let groups = store.list::<AccessGroup>(&query).await?.rows;
        let mut models = Self::default();
        for group in &groups {
            let keys = of_key.contains(&group.access_group_id);
            let teams = of_team.contains(&group.access_group_id);
            if keys {
                models.key.extend(group.access_model_names.iter().cloned());
            }
            let team = record.key.team_id.as_ref();
            let assigned = team.is_some_and(|team| group.assigned_team_ids.contains(team))
                || group.assigned_key_ids.contains(&record.key.token);
            if teams || (keys && assigned) {
                models.team.extend(group.access_model_names.iter().cloned());
            }
        }
        Ok(models)
    }
}
