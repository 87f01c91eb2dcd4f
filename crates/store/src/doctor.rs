//! Looks for what should not be: a schema with gaps, sums that disagree, rows that point nowhere.
//!
//! Changes nothing.

use faregate_terms::PicoUsd;
use serde::Serialize;

use crate::db::{Cell, Sql};
use crate::ledger::{SubjectKind, totals};
use crate::schema::Kind;
use crate::usd::join;
use crate::{MigrationReport, Store, StoreError};

/// Examples named per finding.
const EXAMPLES: usize = 5;

/// What a check-up found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What a migration would add.
    pub missing: MigrationReport,
    /// What is wrong, one entry per check that failed.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, e.g. `key totals`.
    pub check: String,
    /// What is wrong and what to do about it.
    pub problem: String,
    /// How many rows.
    pub rows: u64,
    /// Some of their ids.
    pub examples: Vec<String>,
}

impl Diagnosis {
    /// True when nothing is wrong.
    pub fn is_healthy(&self) -> bool {
        self.missing.nothing_missing() && self.findings.is_empty()
    }
}

/// References that no constraint guards: table, id, column, target table, target column.
const REFERENCES: &[(&str, &str, &str, &str, &str)] = &[
    ("LiteLLM_VerificationToken", "token", "team_id", "LiteLLM_TeamTable", "team_id"),
    ("LiteLLM_VerificationToken", "token", "user_id", "LiteLLM_UserTable", "user_id"),
    ("LiteLLM_TeamMembership", "user_id", "team_id", "LiteLLM_TeamTable", "team_id"),
    ("LiteLLM_DeprecatedVerificationToken", "token", "active_token_id", "LiteLLM_VerificationToken", "token"),
];

impl Store {
    /// Checks the schema, the totals against their columns, the log against the receipts that were booked, and
    /// references. Reads every row of the receipts that are remembered: not for every minute.
    ///
    /// # Errors
    /// When the database is away. With tables missing only the schema is checked.
    pub async fn diagnose(&self) -> Result<Diagnosis, StoreError> {
        let mut diagnosis = Diagnosis { missing: self.pending_migration().await?, findings: Vec::new() };
        if !diagnosis.missing.nothing_missing() {
            return Ok(diagnosis);
        }
        let mut findings = Vec::new();
        for kind in SubjectKind::BUDGETED {
            let problem = "the spend column is not the exact total; `migrate` takes the column over";
            findings.push(
                self.find(
                    &format!("{} totals", kind.word()),
                    problem,
                    totals::disagreeing(&self.db.sql(""), kind),
                )
                .await?,
            );
        }
        let problem = "booked requests whose log row says another cost";
        findings.push(self.find("request log", problem, self.other_costs()).await?);
        for (table, id, column, target, target_column) in REFERENCES {
            let mut sql = self
                .db
                .sql(&format!("SELECT t.\"{id}\" FROM \"{table}\" AS t WHERE t.\"{column}\" IS NOT NULL "));
            sql.push(&format!("AND t.\"{column}\" <> '' AND NOT EXISTS (SELECT 1 FROM \"{target}\" AS o "));
            sql.push(&format!("WHERE o.\"{target_column}\" = t.\"{column}\")"));
            let problem = format!("{column} names nothing in {target}");
            findings.push(self.find(table, &problem, sql).await?);
        }
        diagnosis.findings = findings.into_iter().flatten().collect();
        Ok(diagnosis)
    }

    /// The exact sum of all receipts that are remembered as booked.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn booked_total(&self) -> Result<PicoUsd, StoreError> {
        let sql = "SELECT CAST(sum(cost_usd) AS bigint), CAST(sum(cost_pico / 1000000) AS bigint), \
                   CAST(sum(cost_pico % 1000000) AS bigint) FROM \"faregate_settled\"";
        let rows = self.db.fetch(self.db.sql(sql), &[Kind::Big; 3]).await?;
        let part = |index: usize| rows.first().and_then(|row| row.get(index)).map_or(0, Cell::int);
        let micro = PicoUsd::from_pico(i128::from(part(1)) * 1_000_000);
        Ok(join(part(0), 0) + micro + PicoUsd::from_pico(i128::from(part(2))))
    }

    fn other_costs(&self) -> Sql {
        let mut sql =
            self.db.sql("SELECT s.call_id FROM \"faregate_settled\" AS s JOIN \"LiteLLM_SpendLogs\" AS l ");
        sql.push(
            "ON l.request_id = s.request_id WHERE abs(l.spend - (CAST(s.cost_usd AS double precision) + ",
        );
        sql.push("CAST(s.cost_pico AS double precision) / CAST(1000000000000 AS double precision))) > ");
        sql.push("CAST(1 AS double precision) / CAST(2000000000000 AS double precision)");
        sql
    }

    async fn find(&self, check: &str, problem: &str, sql: Sql) -> Result<Option<Finding>, StoreError> {
        let rows = self.db.report(sql.once(), &[Kind::Text]).await?;
        let ids: Vec<String> = rows.into_iter().flatten().filter_map(Cell::text).collect();
        let found = Finding {
            check: check.to_owned(),
            problem: problem.to_owned(),
            rows: ids.len() as u64,
            examples: ids.iter().take(EXAMPLES).cloned().collect(),
        };
        Ok((!ids.is_empty()).then_some(found))
    }
}
