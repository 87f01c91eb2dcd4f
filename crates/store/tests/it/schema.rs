//! Migrations: from nothing, again, and with parts missing.

use std::collections::BTreeSet;

use faregate_store::schema::{TABLES, Table};
use faregate_store::{
    AccessGroup, AccessGroupBudget, AuditLog, Budget, BudgetWindowSpend, CacheConfig, ConfigOverride,
    ConfigRow, Credential, DeletedKey, DeletedTeam, DeprecatedKey, EndUser, Guardrail, HealthCheck,
    Invitation, JwtKeyMapping, McpServer, ModelAliases, ObjectPermission, Organization,
    OrganizationMembership, Project, ProxyModel, Record, SpendLog, SsoConfig, Tag, Team, TeamMembership,
    UiSettings, User, UserNotification, VectorStore, VirtualKey,
};

use crate::support::{Bench, NOW, on_both};

on_both! {
    async fn a_second_migration_finds_nothing_to_do(store) {
        assert!(store.pending_migration().await.unwrap().nothing_missing());
        let report = store.migrate(NOW).await.unwrap();
        assert!(report.nothing_missing(), "{report:?}");
        assert_eq!(report.totals_adopted, 0);
    }
}

#[tokio::test]
async fn replicas_that_start_at_once_migrate_once() {
    let store = Bench::empty_postgres().await;
    let others = [store.replica().await, store.replica().await];
    let (a, b, c) = tokio::join!(store.migrate(NOW), others[0].migrate(NOW), others[1].migrate(NOW));
    let reports = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert_eq!(reports.iter().filter(|report| !report.nothing_missing()).count(), 1, "{reports:?}");
}

#[tokio::test]
async fn a_fresh_database_gets_every_table() {
    for store in [Bench::empty_sqlite().await, Bench::empty_postgres().await] {
        let report = store.migrate(NOW).await.unwrap();
        for table in TABLES {
            assert!(report.created.iter().any(|created| created == table.name), "{}", table.name);
        }
        assert!(report.created.iter().any(|created| created == "MonthlyGlobalSpend"), "{report:?}");
    }
}

fn columns<T: Record + Default>() -> (&'static Table, BTreeSet<String>) {
    let record = serde_json::to_value(T::default()).unwrap();
    (T::TABLE, record.as_object().unwrap().keys().cloned().collect())
}

#[test]
fn every_record_has_exactly_the_columns_of_its_table() {
    let records = [
        columns::<AccessGroup>(),
        columns::<AccessGroupBudget>(),
        columns::<AuditLog>(),
        columns::<Budget>(),
        columns::<BudgetWindowSpend>(),
        columns::<CacheConfig>(),
        columns::<ConfigOverride>(),
        columns::<ConfigRow>(),
        columns::<Credential>(),
        columns::<DeletedKey>(),
        columns::<DeletedTeam>(),
        columns::<DeprecatedKey>(),
        columns::<EndUser>(),
        columns::<Guardrail>(),
        columns::<HealthCheck>(),
        columns::<Invitation>(),
        columns::<JwtKeyMapping>(),
        columns::<McpServer>(),
        columns::<ModelAliases>(),
        columns::<ObjectPermission>(),
        columns::<Organization>(),
        columns::<OrganizationMembership>(),
        columns::<Project>(),
        columns::<ProxyModel>(),
        columns::<SpendLog>(),
        columns::<SsoConfig>(),
        columns::<Tag>(),
        columns::<Team>(),
        columns::<TeamMembership>(),
        columns::<UiSettings>(),
        columns::<User>(),
        columns::<UserNotification>(),
        columns::<VectorStore>(),
        columns::<VirtualKey>(),
    ];
    for (table, members) in records {
        let expected: BTreeSet<String> = table.columns.iter().map(|column| column.name.to_owned()).collect();
        assert_eq!(members, expected, "{}", table.name);
    }
}
