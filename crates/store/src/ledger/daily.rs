//! Daily aggregates: one row per day, subject, key, model, provider and endpoint.

use std::collections::{BTreeMap, BTreeSet};

use faregate_terms::{PicoUsd, Receipt, UtcMillis};

use super::log::{clip, model, succeeded};
use super::{Subject, SubjectKind};
use crate::StoreError;
use crate::db::{Cell, Tx, insert_rows};
use crate::schema::{Kind, Table};

/// Rows per statement: about 25 values each.
const CHUNK: usize = 400;

/// What is counted, in the order of [`COUNTERS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    numbers: [i64; COUNTERS.len()],
    spend: PicoUsd,
    /// The last request of a tag's row.
    request_id: String,
}

const COUNTERS: [&str; 9] = [
    "prompt_tokens",
    "completion_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "api_requests",
    "successful_requests",
    "failed_requests",
    "total_response_time_ms",
    "timed_requests",
];

/// The values of a table's unique key, in its order, and the model group.
type Key = (Vec<String>, String);

/// Receipts added up per table and row, until they are written.
#[derive(Debug, Default)]
pub(super) struct Days(BTreeMap<SubjectKind, BTreeMap<Key, Counts>>);

impl Days {
    /// Adds the sum of receipts that agree in all that rows are told apart by to every table it counts in;
    /// `receipt` is one of them.
    pub fn add(&mut self, receipt: &Receipt, counts: &Counts) {
        let account = &receipt.account;
        // A user's table holds requests of nobody in particular too: reports over everybody read it.
        let mut rows = vec![
            (SubjectKind::DailyUser, account.user.as_deref().unwrap_or_default()),
            (SubjectKind::DailyGlobal, ""),
        ];
        let others = [
            (SubjectKind::DailyTeam, &account.team),
            (SubjectKind::DailyOrganization, &account.organization),
            (SubjectKind::DailyEndUser, &account.end_user),
            (SubjectKind::DailyAgent, &account.agent),
        ];
        rows.extend(others.iter().filter_map(|(kind, id)| Some((*kind, id.as_deref()?))));
        let tags: BTreeSet<&str> = account.tags.iter().map(String::as_str).collect();
        rows.extend(tags.into_iter().map(|tag| (SubjectKind::DailyTag, tag)));
        for (kind, id) in rows {
            let key = key(kind.table(), receipt, clip(id));
            self.0.entry(kind).or_default().entry(key).or_default().merge(counts);
        }
    }

    /// Writes the counts and returns what each touched row's spend grows by.
    pub async fn write(self, tx: &mut Tx, now: UtcMillis) -> Result<BTreeMap<Subject, PicoUsd>, StoreError> {
        let mut amounts = BTreeMap::new();
        for (kind, rows) in self.0 {
            // One statement may not meet a row twice: groups of a model share its row.
            let mut merged: BTreeMap<Vec<String>, (String, Counts)> = BTreeMap::new();
            for ((key, group), counts) in rows {
                match merged.get_mut(&key) {
                    Some((_, sum)) => sum.merge(&counts),
                    None => {
                        merged.insert(key, (group, counts));
                    }
                }
            }
            let rows: Vec<_> = merged.into_iter().collect();
            for chunk in rows.chunks(CHUNK) {
                amounts.extend(write(tx, kind, chunk, now).await?);
            }
        }
        Ok(amounts)
    }
}

impl Counts {
    /// What one receipt counts.
    pub fn of(receipt: &Receipt, request_id: &str) -> Self {
        let usage = &receipt.usage;
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let success = i64::from(succeeded(receipt));
        let time = i64::try_from(receipt.duration.as_millis()).unwrap_or(i64::MAX);
        Self {
            numbers: [
                number(usage.input),
                number(usage.output),
                number(usage.cache_read),
                number(usage.cache_write()),
                1,
                success,
                1 - success,
                time * success,
                success,
            ],
            spend: receipt.cost.unwrap_or_default(),
            request_id: request_id.to_owned(),
        }
    }

    /// What all of them cost.
    pub fn spend(&self) -> PicoUsd {
        self.spend
    }

    /// Adds those of later requests.
    pub fn merge(&mut self, later: &Self) {
        for (sum, number) in self.numbers.iter_mut().zip(later.numbers) {
            *sum = sum.saturating_add(number);
        }
        self.spend += later.spend;
        self.request_id.clone_from(&later.request_id);
    }
}

/// Empty texts stand for what is missing: a unique key with a null would never meet itself again.
fn key(table: &Table, receipt: &Receipt, subject: &str) -> Key {
    let unique = table.unique.first().copied().unwrap_or_default();
    let group = receipt.model_group.as_ref().map(|group| clip(group.as_str()).to_owned()).unwrap_or_default();
    let value = |name: &&str| match *name {
        "date" => receipt.wall.started.day(),
        "api_key" => clip(&receipt.account.api_key).to_owned(),
        "model" => model(receipt).to_owned(),
        "model_group" => group.clone(),
        "custom_llm_provider" => receipt.provider.as_ref().map(ToString::to_string).unwrap_or_default(),
        "mcp_namespaced_tool_name" => clip(receipt.log.mcp_tool.as_deref().unwrap_or_default()).to_owned(),
        "endpoint" => clip(&receipt.route).to_owned(),
        _ => subject.to_owned(),
    };
    (unique.iter().map(value).collect(), group)
}

async fn write(
    tx: &mut Tx,
    kind: SubjectKind,
    rows: &[(Vec<String>, (String, Counts))],
    now: UtcMillis,
) -> Result<Vec<(Subject, PicoUsd)>, StoreError> {
    let table = kind.table();
    let unique = table.unique.first().copied().unwrap_or_default();
    let grouped = !unique.contains(&"model_group");
    let tagged = table.column("request_id").is_some();
    let mut columns = vec![("id", Kind::Text), ("created_at", Kind::Time), ("updated_at", Kind::Time)];
    columns.extend(grouped.then_some(("model_group", Kind::Text)));
    columns.extend(tagged.then_some(("request_id", Kind::Text)));
    columns.extend(COUNTERS.map(|counter| (counter, Kind::Big)));
    columns.extend(unique.iter().map(|name| (*name, Kind::Text)));
    let cells = |(key, (group, counts)): &(Vec<String>, (String, Counts))| {
        let mut row = vec![Cell::from(uuid::Uuid::now_v7().to_string()), now.into(), now.into()];
        row.extend(grouped.then(|| group.as_str().into()));
        row.extend(tagged.then(|| counts.request_id.as_str().into()));
        row.extend(counts.numbers.map(Cell::from));
        row.extend(key.iter().map(|text| Cell::from(text.as_str())));
        row
    };
    let mut sql = insert_rows(tx.engine(), table.name, &columns, rows.iter().map(cells).collect());
    sql.push(" ON CONFLICT (\"").push(&unique.join("\", \"")).push("\") DO UPDATE SET ");
    sql.push("updated_at = excluded.updated_at");
    for counter in COUNTERS {
        sql.push(&format!(", {counter} = t.{counter} + excluded.{counter}"));
    }
    if tagged {
        sql.push(", request_id = excluded.request_id");
    }
    sql.push(" RETURNING \"id\", \"").push(&unique.join("\", \"")).push("\"");
    let spent: BTreeMap<&[String], PicoUsd> =
        rows.iter().map(|(key, (_, counts))| (key.as_slice(), counts.spend)).collect();
    let mut amounts = Vec::with_capacity(rows.len());
    for row in tx.fetch(sql, &vec![Kind::Text; unique.len() + 1]).await? {
        let mut texts = row.into_iter().map(|cell: Cell| cell.text().unwrap_or_default());
        let id = texts.next().unwrap_or_default();
        let key: Vec<String> = texts.collect();
        let amount = spent.get(key.as_slice()).copied().unwrap_or_default();
        amounts.push((Subject::of(kind, id), amount));
    }
    Ok(amounts)
}
