//! Models, credentials and settings in the database: how their rows become configuration, and how secrets in them
//! are sealed. Source: compat, database §0 "Encryption".

use faregate_config::{STORED_SECTIONS, Stored};
use faregate_store::seal::{Cipher, SaltKey, SealError};
use faregate_store::{
    CacheConfig, ConfigRow, Credential, ListQuery, ProxyModel, SsoConfig, Store, StoreError, UiSettings,
};
use faregate_terms::Secret;
use serde_json::{Map, Value, json};

use crate::error::AdminError;
use crate::{Admin, cache_settings, sso, ui};

/// Rows of one kind that are read: as many as anybody has.
const MOST: u64 = 1_000_000;
/// The section whose values are sealed.
const ENVIRONMENT: &str = "environment_variables";

/// Reads everything that the database adds to the configuration, opened with `salt`. Rows that do not open are left
/// out, and said so in the log.
///
/// # Errors
/// When the database cannot be asked.
pub async fn read(store: &Store, salt: Option<&Secret>) -> Result<Stored, StoreError> {
    let key = salt.map(SaltKey::of);
    let open = |what: &str, name: &str, value: &mut Value| {
        let closed = key.as_ref().map(|key| key.open_members(value)).unwrap_or_default();
        if !closed.is_empty() {
            tracing::error!(
                "{what} `{name}` is left out: {} was sealed with another LITELLM_SALT_KEY or master key",
                closed.join(", ")
            );
        }
        closed.is_empty()
    };
    let all = || ListQuery::new().page(1, MOST).uncounted();
    let mut stored = Stored::default();
    let mut models = store.list::<ProxyModel>(&all()).await?.rows;
    models.sort_by(|one, other| (one.created_at, &one.model_id).cmp(&(other.created_at, &other.model_id)));
    for mut model in models {
        if !model.blocked && open("model", &model.model_name, &mut model.litellm_params) {
            stored.models.push(entry(&model));
        }
    }
    for mut credential in store.list::<Credential>(&all()).await?.rows {
        if open("credential", &credential.credential_name, &mut credential.credential_values) {
            stored.credentials.push(json!({
                "credential_name": credential.credential_name,
                "credential_values": credential.credential_values,
                "credential_info": credential.credential_info,
            }));
        }
    }
    for mut row in store.list::<ConfigRow>(&all()).await?.rows {
        let known = STORED_SECTIONS.contains(&row.param_name.as_str());
        let usable = row.param_name != ENVIRONMENT || open("section", ENVIRONMENT, &mut row.param_value);
        if known && usable && row.param_value.is_object() {
            stored.sections.insert(row.param_name, row.param_value);
        }
    }
    for row in store.list::<UiSettings>(&all()).await?.rows {
        let general = stored.sections.entry("general_settings").or_insert_with(|| json!({}));
        if let Value::Object(general) = general {
            for (name, value) in ui::as_general_settings(&row.ui_settings) {
                general.entry(name).or_insert(value);
            }
        }
    }
    for mut row in store.list::<SsoConfig>(&all()).await?.rows {
        if open("section", "sso_config", &mut row.sso_settings) {
            let variables = stored.sections.entry(ENVIRONMENT).or_insert_with(|| json!({}));
            if let Value::Object(variables) = variables {
                variables.extend(sso::as_variables(&row.sso_settings));
            }
        }
    }
    for mut row in store.list::<CacheConfig>(&all()).await?.rows {
        if open("section", "cache_config", &mut row.cache_settings) {
            let params = cache_settings::as_params(&row.cache_settings);
            let litellm = stored.sections.entry("litellm_settings").or_insert_with(|| json!({}));
            if let (Value::Object(litellm), false) = (litellm, params.is_empty()) {
                litellm.insert("cache".to_owned(), json!(true));
                litellm.insert("cache_params".to_owned(), Value::Object(params));
            }
        }
    }
    stored.sections.retain(|_, section| section.as_object().is_none_or(|members| !members.is_empty()));
    Ok(stored)
}

/// A model's row as an entry of `model_list`; its parameters are opened already.
pub(crate) fn entry(model: &ProxyModel) -> Value {
    let mut info = model.model_info.as_object().cloned().unwrap_or_default();
    info.insert("id".to_owned(), json!(model.model_id));
    info.insert("db_model".to_owned(), json!(true));
    json!({ "model_name": model.model_name, "litellm_params": model.litellm_params, "model_info": info })
}

impl Admin {
    /// The key that secrets are sealed with.
    ///
    /// # Errors
    /// 500 if there is none: secrets are not stored in the open.
    pub(crate) fn salt(&self) -> Result<SaltKey, AdminError> {
        let snapshot = self.snapshot.load();
        let master = snapshot.master_key().or_else(|| self.master_key.clone());
        snapshot.salt(master.as_ref()).map(|salt| SaltKey::of(&salt)).ok_or_else(|| {
            AdminError::new(
                500,
                "internal_server_error",
                "Secrets cannot be stored without a key to seal them; set LITELLM_SALT_KEY or a master key",
            )
        })
    }

    /// How new secrets are sealed.
    pub(crate) fn cipher(&self) -> Cipher {
        if self.snapshot.load().general.database.seal_with_gcm {
            Cipher::Aes256Gcm
        } else {
            Cipher::XSalsa20Poly1305
        }
    }

    /// Seals every text of an object.
    ///
    /// # Errors
    /// 500 if that is not possible.
    pub(crate) fn sealed(&self, mut object: Value) -> Result<Value, AdminError> {
        self.salt()?.seal_members(&mut object, self.cipher())?;
        Ok(object)
    }

    /// Opens every text of an object that was sealed.
    ///
    /// # Errors
    /// 500 naming what was sealed with another key.
    pub(crate) fn opened(&self, mut object: Value) -> Result<Value, AdminError> {
        let closed = self.salt()?.open_members(&mut object);
        if closed.is_empty() {
            return Ok(object);
        }
        Err(AdminError::new(
            500,
            "internal_server_error",
            format!("{} was sealed with another LITELLM_SALT_KEY or master key", closed.join(", ")),
        ))
    }

    /// Refuses where the database's models and settings do not count.
    ///
    /// # Errors
    /// 500 with LiteLLM's words.
    pub(crate) fn stores_models(&self) -> Result<(), AdminError> {
        if self.snapshot.load().stores_models() {
            return Ok(());
        }
        Err(AdminError::new(
            500,
            "internal_server_error",
            "Set `'STORE_MODEL_IN_DB='True'` in your env to enable this feature.",
        ))
    }

    /// What the database adds to the configuration now.
    pub(crate) async fn stored(&self) -> Result<Stored, AdminError> {
        let snapshot = self.snapshot.load_full();
        let master = snapshot.master_key().or_else(|| self.master_key.clone());
        Ok(read(&self.store, snapshot.salt(master.as_ref()).as_ref()).await?)
    }
}

impl From<SealError> for AdminError {
    fn from(error: SealError) -> Self {
        Self::new(500, "internal_server_error", error.to_string())
    }
}

/// Hides what may be a secret: any text under a name that sounds like one.
pub(crate) fn masked_members(object: &Value) -> Value {
    let hidden = |value: &Value| match value.as_str() {
        Some(text) => json!(mask(text)),
        None => json!("****"),
    };
    let members = object.as_object().into_iter().flatten();
    Value::Object(members.map(|(name, value)| (name.clone(), hidden(value))).collect::<Map<_, _>>())
}

/// LiteLLM's mask: the ends of a long text, nothing of a short one.
fn mask(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() < 12 {
        return "****".to_owned();
    }
    let (first, last): (String, String) =
        (letters.iter().take(2).collect(), letters.iter().skip(letters.len() - 2).collect());
    format!("{first}****{last}")
}
