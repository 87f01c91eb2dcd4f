//! Users as others name them: by id or by address, known or new.

use faregate_store::{Filter, ListQuery, User};
use serde_json::json;

use crate::Admin;
use crate::error::AdminError;

impl Admin {
    /// True for the id under which the operator signs in: whoever has an account of that id before becomes an
    /// admin of the proxy then.
    pub(crate) fn is_operators(&self, user: &str) -> bool {
        let operator = self.snapshot.load().env.filled("PROXY_ADMIN_ID").map(str::to_owned);
        user == "default_user_id" || operator.as_deref() == Some(user)
    }

    /// The user with this id, else with this address.
    pub(crate) async fn person(
        &self,
        id: Option<&str>,
        email: Option<&str>,
    ) -> Result<Option<User>, AdminError> {
        if let Some(id) = id {
            return Ok(self.store.get::<User>(&[id]).await?);
        }
        let Some(email) = email else { return Ok(None) };
        let query = ListQuery::new().filter(Filter::Is("user_email", json!(email))).page(1, 1);
        Ok(self.store.list::<User>(&query).await?.rows.into_iter().next())
    }

    /// The same; made if there is none.
    ///
    /// # Errors
    /// 400 if neither id nor address is given.
    pub(crate) async fn person_or_new(
        &self,
        id: Option<&str>,
        email: Option<&str>,
    ) -> Result<User, AdminError> {
        if id.is_none() && email.is_none() {
            return Err(AdminError::invalid("member", "Either user_id or user_email must be provided"));
        }
        if let Some(user) = self.person(id, email).await? {
            return Ok(user);
        }
        let user = User {
            user_id: id.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned),
            user_email: email.map(str::to_owned),
            user_role: Some("internal_user".to_owned()),
            metadata: json!({}),
            ..User::default()
        };
        self.store.insert(&user, self.now()).await?;
        Ok(user)
    }
}
