//! Who does a background job: one replica at a time, until its lease runs out.

use faregate_terms::UtcMillis;

use crate::schema::Kind;
use crate::{Store, StoreError};

impl Store {
    /// Takes or renews the lease of a job until `until`; false while somebody else holds it.
    ///
    /// # Errors
    /// When the database is away; the lease is then not held.
    pub async fn acquire_lease(
        &self,
        job: &str,
        holder: &str,
        now: UtcMillis,
        until: UtcMillis,
    ) -> Result<bool, StoreError> {
        let mut sql = self.db.sql("INSERT INTO \"faregate_leases\" AS l (name, holder, expires_at) VALUES (");
        sql.bind(Kind::Text, job).push(", ").bind(Kind::Text, holder).push(", ").bind(Kind::Time, until);
        sql.push(
            ") ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at ",
        );
        sql.push("WHERE l.holder = excluded.holder OR l.expires_at <= ").bind(Kind::Time, now);
        Ok(self.db.execute(sql).await? > 0)
    }

    /// Forgets leases that ran out before `before`, at most `limit` of them; call again until it returns fewer.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn forget_leases(&self, before: UtcMillis, limit: u32) -> Result<u64, StoreError> {
        let mut sql = self.db.sql("DELETE FROM \"faregate_leases\" WHERE name IN (");
        sql.push("SELECT name FROM \"faregate_leases\" WHERE expires_at < ").bind(Kind::Time, before);
        sql.push(" LIMIT ").bind(Kind::Big, i64::from(limit)).push(")");
        self.db.execute(sql).await
    }

    /// Gives a lease back early, so that another replica need not wait for its end.
    ///
    /// # Errors
    /// When the database is away; the lease then runs out by itself.
    pub async fn release_lease(&self, job: &str, holder: &str) -> Result<(), StoreError> {
        let mut sql = self.db.sql("DELETE FROM \"faregate_leases\" WHERE name = ");
        sql.bind(Kind::Text, job).push(" AND holder = ").bind(Kind::Text, holder);
        self.db.execute(sql).await.map(drop)
    }
}
