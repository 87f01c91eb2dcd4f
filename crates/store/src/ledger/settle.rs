//! Books finished requests: once each, all of it or nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use faregate_terms::{CallId, PicoUsd, Receipt, UtcMillis};

use super::daily::{Counts, Days};
use super::log::{self, clip};
use super::model_budgets::{self, ModelBudgets};
use super::places::{self, PeriodsOf};
use super::subject::EVERYBODY;
use super::{Subject, SubjectKind, totals, windows};
use crate::db::{Cell, Tx, add_rows, add_rows_returning};
use crate::schema::Kind;
use crate::schema::ledger::SPEND_LOGS;
use crate::usd::split;
use crate::{Store, StoreError};

/// Ids per statement.
const CHUNK: usize = 1000;
/// How often a batch is tried again that met another in the database.
const ATTEMPTS: u32 = 4;

/// Which parts of a settlement are wanted.
#[derive(Clone, Copy)]
pub struct SettleOptions<'a> {
    /// Writes rows of the request log; off by `general_settings.disable_spend_logs`.
    pub request_log: bool,
    /// Budget periods of providers and deployments that a receipt adds to; `None` where none has a budget.
    pub places: Option<PeriodsOf<'a>>,
    /// Budgets for single models, of whoever has any; `None` keeps no account of them.
    pub models: Option<ModelBudgets<'a>>,
}

impl Default for SettleOptions<'_> {
    fn default() -> Self {
        Self { request_log: true, places: None, models: None }
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Receipts booked now.
    pub booked: u64,
    /// Receipts that had been booked before, in this batch or an earlier one; nothing was done for them.
    pub duplicates: u64,
    /// Requests whose provider gave an id that another request has; logged under a longer one.
    pub renamed: u64,
    /// Receipts the database will not take, with its words. They were not booked; keep them.
    pub rejected: Vec<(CallId, String)>,
}

impl Store {
    /// Books receipts: request log, exact totals of everybody concerned, the columns that show them, daily
    /// aggregates. One transaction; a receipt whose call id was booked before is skipped whole.
    ///
    /// A receipt that the database cannot take does not hold up the others: it is found by halving the batch.
    ///
    /// # Errors
    /// When the database is away; then nothing of the batch that was in hand is booked, and the same batch
    /// may be settled again.
    pub async fn settle(
        &self,
        receipts: &[Receipt],
        options: SettleOptions<'_>,
        now: UtcMillis,
    ) -> Result<Settlement, StoreError> {
        let mut outcome = Settlement::default();
        let possible: Vec<Receipt>;
        let mut parts = vec![receipts];
        if receipts.iter().any(is_absurd) {
            let absurd = receipts.iter().filter(|receipt| is_absurd(receipt));
            outcome.rejected.extend(absurd.map(|receipt| (receipt.booking_id().clone(), ABSURD.to_owned())));
            possible = receipts.iter().filter(|receipt| !is_absurd(receipt)).cloned().collect();
            parts = vec![&possible];
        }
        while let Some(part) = parts.pop() {
            match self.settle_part(part, options, now).await {
                Ok(booked) => {
                    outcome.booked += booked.booked;
                    outcome.duplicates += booked.duplicates;
                    outcome.renamed += booked.renamed;
                }
                Err(error) if !error.is_about_the_row() => return Err(error),
                Err(error) => match part {
                    [] => {}
                    [one] => outcome.rejected.push((one.booking_id().clone(), error.to_string())),
                    many => {
                        let (left, right) = many.split_at(many.len() / 2);
                        // The first half comes off the stack first: order is kept.
                        parts.extend([right, left]);
                    }
                },
            }
        }
        Ok(outcome)
    }

    async fn settle_part(
        &self,
        receipts: &[Receipt],
        options: SettleOptions<'_>,
        now: UtcMillis,
    ) -> Result<Settlement, StoreError> {
        let mut attempt = 1;
        let mut look = Look::Count;
        loop {
            match self.settle_once(receipts, options, now, look).await {
                Ok(Some(settlement)) => return Ok(settlement),
                Ok(None) => look = Look::Ids,
                Err(error) if error.is_contention() && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Books a batch, or finds that its rows must be looked at one by one: `None`, with nothing booked.
    async fn settle_once(
        &self,
        receipts: &[Receipt],
        options: SettleOptions<'_>,
        now: UtcMillis,
        look: Look,
    ) -> Result<Option<Settlement>, StoreError> {
        if receipts.is_empty() {
            return Ok(Some(Settlement::default()));
        }
        let mut tx = self.db.begin().await?;
        let Some(fresh) = claim(&mut tx, receipts, now, look).await? else { return Ok(None) };
        let mut outcome = Settlement { booked: fresh.len() as u64, ..Settlement::default() };
        outcome.duplicates = receipts.len() as u64 - outcome.booked;
        if fresh.is_empty() {
            return Ok(Some(outcome));
        }
        let mut rows: Vec<(&Receipt, String)> =
            fresh.into_iter().map(|receipt| (receipt, log::request_id(receipt))).collect();
        if options.request_log {
            let Some(renamed) = write_log(&mut tx, &mut rows, now, look).await? else { return Ok(None) };
            outcome.renamed = renamed;
        }
        let heirs = heirs(&mut tx, &rows).await?;
        let mut amounts: BTreeMap<Subject, PicoUsd> = BTreeMap::new();
        let mut days = Days::default();
        for (receipt, counts) in alike(&rows) {
            for subject in subjects(receipt, &heirs) {
                *amounts.entry(subject).or_default() += counts.spend();
            }
            days.add(receipt, &counts);
        }
        add_end_users(&mut tx, &amounts).await?;
        totals::add(&mut tx, &amounts, now).await?;
        let by_key: Vec<(&Receipt, &str)> =
            rows.iter().map(|(receipt, _)| (*receipt, booked_key(receipt, &heirs))).collect();
        windows::add(&mut tx, &by_key, now).await?;
        if let Some(budgets) = options.models {
            model_budgets::add(&mut tx, &by_key, budgets, now).await?;
        }
        if let Some(periods_of) = options.places {
            places::add(&mut tx, &rows, periods_of, now).await?;
        }
        let daily = days.write(&mut tx, now).await?;
        totals::add(&mut tx, &daily, now).await?;
        mark_active(&mut tx, &rows, &heirs).await?;
        tx.commit().await?;
        Ok(Some(outcome))
    }

    /// Forgets receipts booked before `before`; only then may the journal's oldest entry be younger.
    ///
    /// Returns how many were forgotten, at most `limit`: call again until it is zero.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn forget_settled(&self, before: UtcMillis, limit: u32) -> Result<u64, StoreError> {
        let mut sql = self.db.sql("DELETE FROM \"faregate_settled\" WHERE call_id IN (");
        sql.push("SELECT call_id FROM \"faregate_settled\" WHERE settled_at < ").bind(Kind::Time, before);
        sql.push(" LIMIT ").bind(Kind::Big, i64::from(limit)).push(")");
        self.db.execute(sql).await
    }
}

/// How closely it is looked at which rows a statement added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Only how many: nearly always all of them.
    Count,
    /// Which.
    Ids,
}

const ABSURD: &str = "the cost is below zero or beyond a billion dollars";

/// Such a cost is a mistake of ours; added up, it would spoil the totals of everybody.
fn is_absurd(receipt: &Receipt) -> bool {
    receipt.cost.is_some_and(|cost| {
        !(PicoUsd::ZERO..=PicoUsd::from_pico(1_000_000_000 * 1_000_000_000_000)).contains(&cost)
    })
}

const SETTLED_TABLE: &str = "faregate_settled";
const SETTLED: &[(&str, Kind)] = &[
    ("call_id", Kind::Text),
    ("request_id", Kind::Text),
    ("cost_usd", Kind::Big),
    ("cost_pico", Kind::Big),
    ("settled_at", Kind::Time),
];

/// Writes down which receipts are being booked and returns those that were not booked before; `None` if some were and
/// it takes a closer look to tell which.
async fn claim<'a>(
    tx: &mut Tx,
    receipts: &'a [Receipt],
    now: UtcMillis,
    look: Look,
) -> Result<Option<Vec<&'a Receipt>>, StoreError> {
    // In one order everywhere, so that two replicas with the same receipts wait instead of deadlocking.
    let by_id: BTreeMap<&str, &Receipt> =
        receipts.iter().rev().map(|receipt| (receipt.booking_id().as_str(), receipt)).collect();
    let unique: Vec<&Receipt> = by_id.into_values().collect();
    let row = |receipt: &&Receipt| {
        let (usd, pico) = split(receipt.cost.unwrap_or_default());
        let id = Cell::from(receipt.booking_id().as_str());
        vec![id, log::request_id(receipt).into(), usd.into(), pico.into(), now.into()]
    };
    let rows = unique.iter().map(row);
    let once = "ON CONFLICT (call_id) DO NOTHING";
    if look == Look::Count {
        let claimed = add_rows(tx, SETTLED_TABLE, SETTLED, rows, once).await?;
        return Ok((claimed == unique.len() as u64).then_some(unique));
    }
    let claimed = add_rows_returning(tx, SETTLED_TABLE, SETTLED, rows, once, "call_id").await?;
    let claimed: BTreeSet<String> = claimed.into_iter().collect();
    let is_claimed = |receipt: &&Receipt| claimed.contains(receipt.booking_id().as_str());
    Ok(Some(unique.into_iter().filter(is_claimed).collect()))
}

/// Writes the log rows. A provider's id that another request has is made longer by the call's own: such a row
/// must not be lost. Tells how many were; `None` if some were and it takes a closer look to tell which.
async fn write_log(
    tx: &mut Tx,
    rows: &mut [(&Receipt, String)],
    now: UtcMillis,
    look: Look,
) -> Result<Option<u64>, StoreError> {
    let mut seen = BTreeSet::new();
    let mut shared = BTreeSet::new();
    let mut renamed = 0;
    for (receipt, request_id) in rows.iter_mut() {
        if !seen.insert(request_id.clone()) {
            shared.insert(request_id.clone());
            *request_id = longer(receipt, request_id);
            renamed += 1;
        }
    }
    // What comes twice in one batch, such as an answer that the cache gives again and again, was mostly there before:
    // asking for these few is less than trying the whole batch in vain.
    let taken = taken(tx, &shared).await?;
    for (receipt, request_id) in rows.iter_mut().filter(|(_, id)| taken.contains(id)) {
        *request_id = longer(receipt, request_id);
        renamed += 1;
    }
    let columns: Vec<(&str, Kind)> =
        SPEND_LOGS.columns.iter().map(|column| (column.name, column.kind)).collect();
    let logs = rows.iter().map(|(receipt, id)| log::cells(receipt, id, now));
    let once = "ON CONFLICT (request_id) DO NOTHING";
    if look == Look::Count {
        let written = add_rows(tx, SPEND_LOGS.name, &columns, logs, once).await?;
        if written < rows.len() as u64 {
            return Ok(None);
        }
        note_ids(tx, rows, renamed > 0).await?;
        return Ok(Some(renamed));
    }
    let written = add_rows_returning(tx, SPEND_LOGS.name, &columns, logs, once, "request_id").await?;
    let written: BTreeSet<String> = written.into_iter().collect();
    let mut again = Vec::new();
    for (receipt, request_id) in rows.iter_mut().filter(|(_, id)| !written.contains(id)) {
        *request_id = longer(receipt, request_id);
        again.push(log::cells(receipt, request_id, now));
        renamed += 1;
    }
    add_rows(tx, SPEND_LOGS.name, &columns, again.into_iter(), "").await?;
    note_ids(tx, rows, renamed > 0).await?;
    Ok(Some(renamed))
}

/// Which of these ids rows of the log have.
async fn taken(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, StoreError> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut taken = BTreeSet::new();
    for chunk in ids.chunks(CHUNK) {
        let mut sql = tx.sql("SELECT request_id FROM \"LiteLLM_SpendLogs\" WHERE request_id IN ").once();
        sql.bind_list(Kind::Text, chunk.iter().copied());
        taken.extend(tx.fetch(sql, &[Kind::Text]).await?.into_iter().flatten().filter_map(Cell::text));
    }
    Ok(taken)
}

fn longer(receipt: &Receipt, request_id: &str) -> String {
    format!("{request_id}_{}", receipt.booking_id())
}

/// Keeps the id of the log row beside the call's, where they are not what they were claimed with.
async fn note_ids(tx: &mut Tx, rows: &[(&Receipt, String)], renamed: bool) -> Result<(), StoreError> {
    let changed = rows.iter().filter(|(receipt, id)| renamed && *id != log::request_id(receipt));
    for (receipt, request_id) in changed {
        let mut sql = tx.sql("UPDATE \"faregate_settled\" SET request_id = ");
        sql.bind(Kind::Text, request_id.as_str()).push(" WHERE call_id = ");
        sql.bind(Kind::Text, receipt.booking_id().as_str());
        tx.execute(sql).await?;
    }
    Ok(())
}

/// Keys that were rotated while a request was in flight: old hash to the one that is booked on.
async fn heirs(tx: &mut Tx, rows: &[(&Receipt, String)]) -> Result<HashMap<String, String>, StoreError> {
    let keys: BTreeSet<&str> = rows.iter().map(|(receipt, _)| receipt.account.api_key.as_str()).collect();
    let keys: Vec<&str> = keys.into_iter().filter(|key| !key.is_empty()).collect();
    let mut heirs = HashMap::new();
    for chunk in keys.chunks(CHUNK) {
        let mut sql =
            tx.sql("SELECT token, active_token_id FROM \"LiteLLM_DeprecatedVerificationToken\" ").once();
        sql.push("WHERE token IN ").bind_list(Kind::Text, chunk.iter().copied());
        for row in tx.fetch(sql, &[Kind::Text, Kind::Text]).await? {
            let mut texts = row.into_iter().filter_map(Cell::text);
            if let (Some(old), Some(new)) = (texts.next(), texts.next()) {
                heirs.insert(old, new);
            }
        }
    }
    Ok(heirs)
}

fn booked_key<'a>(receipt: &'a Receipt, heirs: &'a HashMap<String, String>) -> &'a str {
    let key = &receipt.account.api_key;
    clip(heirs.get(key).unwrap_or(key))
}

/// What decides whom a receipt is added up for, and in which rows. A batch has few that differ in it.
#[derive(PartialEq, Eq, Hash)]
struct Traits<'a> {
    who: [Option<&'a str>; 7],
    tags: &'a [String],
    access_groups: &'a [String],
    what: [Option<&'a str>; 5],
    day: i64,
}

const DAY_MS: i64 = 86_400_000;

impl<'a> Traits<'a> {
    fn of(receipt: &'a Receipt) -> Self {
        let account = &receipt.account;
        Self {
            who: [
                Some(&account.api_key),
                account.user.as_deref(),
                account.team.as_deref(),
                account.organization.as_deref(),
                account.project.as_deref(),
                account.end_user.as_deref(),
                account.agent.as_deref(),
            ],
            tags: &account.tags,
            access_groups: &account.access_groups,
            what: [
                Some(log::model(receipt)),
                receipt.model_group.as_ref().map(|group| group.as_str()),
                receipt.provider.as_ref().map(|provider| provider.as_str()),
                receipt.log.mcp_tool.as_deref(),
                Some(&receipt.route),
            ],
            day: receipt.wall.started.millis().div_euclid(DAY_MS),
        }
    }
}

/// The sums of receipts that agree in their [`Traits`], each with one of them, in the order they first come.
fn alike<'a>(rows: &[(&'a Receipt, String)]) -> Vec<(&'a Receipt, Counts)> {
    let mut places: HashMap<Traits<'a>, usize> = HashMap::new();
    let mut sums: Vec<(&Receipt, Counts)> = Vec::new();
    for (receipt, request_id) in rows {
        let counts = Counts::of(receipt, request_id);
        let place = *places.entry(Traits::of(receipt)).or_insert(sums.len());
        match sums.get_mut(place) {
            Some((_, sum)) => sum.merge(&counts),
            None => sums.push((receipt, counts)),
        }
    }
    sums
}

/// Everybody whose spend the receipt adds to, each once.
fn subjects(receipt: &Receipt, heirs: &HashMap<String, String>) -> BTreeSet<Subject> {
    let account = &receipt.account;
    let named = |id: &Option<String>| id.as_deref().filter(|id| !id.is_empty()).map(|id| clip(id).to_owned());
    let (user, team, organization) =
        (named(&account.user), named(&account.team), named(&account.organization));
    let mut subjects = BTreeSet::from([Subject::of(SubjectKind::User, EVERYBODY)]);
    let key = booked_key(receipt, heirs);
    if !key.is_empty() {
        subjects.insert(Subject::of(SubjectKind::Key, key));
    }
    let single = [
        (SubjectKind::User, user.clone()),
        (SubjectKind::Team, team.clone()),
        (SubjectKind::Organization, organization.clone()),
        (SubjectKind::Project, named(&account.project)),
        (SubjectKind::EndUser, named(&account.end_user)),
    ];
    subjects.extend(single.into_iter().filter_map(|(kind, id)| Some(Subject::of(kind, id?))));
    subjects.extend(account.tags.iter().map(|tag| Subject::of(SubjectKind::Tag, clip(tag))));
    subjects
        .extend(account.access_groups.iter().map(|group| Subject::of(SubjectKind::AccessGroup, clip(group))));
    if let (Some(user), Some(team)) = (&user, &team) {
        subjects.insert(Subject::member(SubjectKind::Member, user, team));
    }
    if let (Some(user), Some(organization)) = (&user, &organization) {
        subjects.insert(Subject::member(SubjectKind::OrganizationMember, user, organization));
    }
    subjects
}

/// End users appear by being named in a request, as in LiteLLM.
async fn add_end_users(tx: &mut Tx, amounts: &BTreeMap<Subject, PicoUsd>) -> Result<(), StoreError> {
    let ids: Vec<&str> = amounts
        .keys()
        .filter(|subject| subject.kind == SubjectKind::EndUser)
        .map(|subject| subject.id.as_str())
        .collect();
    for chunk in ids.chunks(CHUNK) {
        let mut sql = tx.sql("INSERT INTO \"LiteLLM_EndUserTable\" (user_id) VALUES ").once();
        for (index, id) in chunk.iter().enumerate() {
            sql.push(if index > 0 { ", (" } else { "(" }).bind(Kind::Text, *id).push(")");
        }
        sql.push(" ON CONFLICT (user_id) DO NOTHING");
        tx.execute(sql).await?;
    }
    Ok(())
}

/// Notes when each key was last used.
async fn mark_active(
    tx: &mut Tx,
    rows: &[(&Receipt, String)],
    heirs: &HashMap<String, String>,
) -> Result<(), StoreError> {
    let mut last: BTreeMap<UtcMillis, Vec<&str>> = BTreeMap::new();
    let mut latest: BTreeMap<&str, UtcMillis> = BTreeMap::new();
    for (receipt, _) in rows {
        let at = latest.entry(booked_key(receipt, heirs)).or_default();
        *at = (*at).max(receipt.wall.ended);
    }
    // To the second: keys used in the same second share a statement.
    for (key, at) in latest.into_iter().filter(|(key, _)| !key.is_empty()) {
        last.entry(UtcMillis::from_millis(at.millis() - at.millis().rem_euclid(1000))).or_default().push(key);
    }
    for (at, keys) in last {
        let mut sql = tx.sql("UPDATE \"LiteLLM_VerificationToken\" SET last_active = ").once();
        sql.bind(Kind::Time, at).push(" WHERE token IN ").bind_list(Kind::Text, keys);
        tx.execute(sql).await?;
    }
    Ok(())
}
