//! Sealed values: secrets at rest, in LiteLLM's two formats, so that what it sealed opens here and the other
//! way round.
//!
//! The key is SHA-256 of the salt key's text. A value is either XSalsa20-Poly1305 (NaCl's secret box) as
//! URL-safe base64 of nonce and box, or `v2:gcm:` and URL-safe base64 of nonce, AES-256-GCM ciphertext and tag.
//! Reading tells them apart by themselves.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_URL_SAFE;
use crypto_secretbox::XSalsa20Poly1305;
use faregate_terms::{Secret, UtcMillis};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::db::{Cell, Tx};
use crate::schema::{Kind, Table, identity, settings};
use crate::{Store, StoreError};

/// A sealed value cannot be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Made with another key, damaged, or not sealed at all.
    #[error("a sealed value does not open; it was made with another LITELLM_SALT_KEY (or master key)")]
    WrongKey,
    /// The operating system gave no random bytes, or the value is too long for the cipher.
    #[error("a value cannot be sealed")]
    NotSealed,
}

/// How new values are sealed: `general_settings.encryption_algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cipher {
    /// `xsalsa20-poly1305`, LiteLLM's default: every release of it can read the value.
    #[default]
    XSalsa20Poly1305,
    /// `aes-256-gcm`.
    Aes256Gcm,
}

/// What values are sealed with: `LITELLM_SALT_KEY`, else the master key.
#[derive(Clone)]
pub struct SaltKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for SaltKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SaltKey")
    }
}

/// Before a sealed variable of a callback in the metadata of a key or team. Source: LiteLLM,
/// `CALLBACK_VAR_ENCRYPTED_PREFIX`.
pub const CALLBACK_PREFIX: &str = "litellm_enc::";
const GCM_PREFIX: &str = "v2:gcm:";
const BOX_NONCE: usize = 24;
const GCM_NONCE: usize = 12;

/// Padding may be missing; the URL-safe letters are mapped to these before.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl SaltKey {
    /// Derives the key from its text.
    pub fn of(text: &Secret) -> Self {
        Self(Zeroizing::new(Sha256::digest(text.expose().as_bytes()).into()))
    }

    /// Seals a value with a fresh nonce.
    ///
    /// # Errors
    /// [`SealError::NotSealed`] when there are no random bytes.
    pub fn seal(&self, plain: &str, cipher: Cipher) -> Result<String, SealError> {
        let mut nonce = [0u8; BOX_NONCE];
        rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, &mut nonce)
            .map_err(|_| SealError::NotSealed)?;
        match cipher {
            Cipher::XSalsa20Poly1305 => {
                let sealed = XSalsa20Poly1305::new(self.0.as_slice().into())
                    .encrypt(nonce.as_slice().into(), plain.as_bytes())
                    .map_err(|_| SealError::NotSealed)?;
                Ok(BASE64_URL_SAFE.encode([nonce.as_slice(), &sealed].concat()))
            }
            Cipher::Aes256Gcm => {
                let (nonce, _) = nonce.split_at(GCM_NONCE);
                let sealed = Aes256Gcm::new(self.0.as_slice().into())
                    .encrypt(nonce.into(), plain.as_bytes())
                    .map_err(|_| SealError::NotSealed)?;
                Ok(format!("{GCM_PREFIX}{}", BASE64_URL_SAFE.encode([nonce, &sealed].concat())))
            }
        }
    }

    /// Opens a value of either format.
    ///
    /// # Errors
    /// [`SealError::WrongKey`] when it was not sealed with this key.
    pub fn open(&self, sealed: &str) -> Result<Secret, SealError> {
        let gcm = sealed.strip_prefix(GCM_PREFIX);
        let standard = gcm.unwrap_or(sealed).trim().replace('-', "+").replace('_', "/");
        let bytes = LENIENT.decode(standard).map_err(|_| SealError::WrongKey)?;
        let split = |at| bytes.split_at_checked(at).ok_or(SealError::WrongKey);
        let plain = if gcm.is_some() {
            let (nonce, sealed) = split(GCM_NONCE)?;
            Aes256Gcm::new(self.0.as_slice().into()).decrypt(nonce.into(), sealed)
        } else {
            let (nonce, sealed) = split(BOX_NONCE)?;
            XSalsa20Poly1305::new(self.0.as_slice().into()).decrypt(nonce.into(), sealed)
        };
        let plain = plain.map_err(|_| SealError::WrongKey)?;
        String::from_utf8(plain).map(Secret::new).map_err(|_| SealError::WrongKey)
    }

    /// Seals every text that is a direct member of `object`, as LiteLLM does with credentials and model
    /// parameters; other values stay as they are.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_members(&self, object: &mut Value, cipher: Cipher) -> Result<(), SealError> {
        for (name, value) in object.as_object_mut().into_iter().flatten() {
            for text in texts(name, value) {
                *text = self.seal(text, cipher)?;
            }
        }
        Ok(())
    }

    /// Opens every text that is a direct member of `object`; one that does not open was never sealed, and
    /// stays. Returns the names of members that look sealed and do not open: the salt key was changed.
    pub fn open_members(&self, object: &mut Value) -> Vec<String> {
        let mut closed = Vec::new();
        for (name, value) in object.as_object_mut().into_iter().flatten() {
            for text in texts(name, value) {
                match self.open(text) {
                    Ok(plain) => plain.expose().clone_into(text),
                    Err(_) if looks_sealed(text) => closed.push(name.clone()),
                    Err(_) => {}
                }
            }
        }
        closed
    }

    /// Seals again, with `new`, every text anywhere in `value` that opens; returns how many.
    fn reseal(&self, value: &mut Value, new: &Self, cipher: Cipher) -> Result<u64, SealError> {
        match value {
            Value::String(text) => {
                let (prefix, sealed) = match text.strip_prefix(CALLBACK_PREFIX) {
                    Some(sealed) => (CALLBACK_PREFIX, sealed),
                    None => ("", text.as_str()),
                };
                let Ok(plain) = self.open(sealed) else { return Ok(0) };
                *text = format!("{prefix}{}", new.seal(plain.expose(), cipher)?);
                Ok(1)
            }
            Value::Array(items) => items.iter_mut().map(|item| self.reseal(item, new, cipher)).sum(),
            Value::Object(members) => members.values_mut().map(|item| self.reseal(item, new, cipher)).sum(),
            _ => Ok(0),
        }
    }
}

/// A member's text. Of lists only that of keys is sealed, text by text: LiteLLM seals none, and reads its own.
fn texts<'v>(name: &str, value: &'v mut Value) -> Vec<&'v mut String> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) if name == "api_keys" => {
            items.iter_mut().flat_map(|item| texts("", item)).collect()
        }
        _ => Vec::new(),
    }
}

/// True for what only our sealing makes, or what is very likely a secret box: base64 of at least a nonce and
/// an authentication tag, in which no ordinary key or URL is written.
fn looks_sealed(text: &str) -> bool {
    let padded = text.len().is_multiple_of(4) && text.len() >= 56;
    text.starts_with(GCM_PREFIX) || (padded && text.ends_with('=') && BASE64_URL_SAFE.decode(text).is_ok())
}

/// Where sealed values are stored: table, key column, JSON column.
const SEALED: &[(&Table, &str, &str)] = &[
    (&settings::PROXY_MODEL, "model_id", "litellm_params"),
    (&identity::TEAM, "team_id", "metadata"),
    (&identity::VERIFICATION_TOKEN, "token", "metadata"),
    (&settings::CREDENTIALS, "credential_id", "credential_values"),
    (&settings::CONFIG, "param_name", "param_value"),
    (&settings::SSO_CONFIG, "id", "sso_settings"),
    (&settings::CACHE_CONFIG, "id", "cache_settings"),
    (&settings::CONFIG_OVERRIDES, "config_type", "config_value"),
    (&settings::GUARDRAILS, "guardrail_id", "litellm_params"),
    (&settings::MANAGED_VECTOR_STORES, "vector_store_id", "litellm_params"),
    (&settings::MCP_SERVER, "server_id", "credentials"),
    (&settings::MCP_SERVER, "server_id", "env"),
    (&settings::MCP_SERVER, "server_id", "env_vars"),
    (&settings::MCP_SERVER, "server_id", "static_headers"),
];

impl Store {
    /// Opens every sealed value with `old` and seals it with `new`, all in one transaction. Values that do
    /// not open with `old` stay as they are. Returns how many were sealed again.
    ///
    /// # Errors
    /// When the database is away; nothing is changed then.
    pub async fn rotate_salt(
        &self,
        old: &SaltKey,
        new: &SaltKey,
        cipher: Cipher,
        now: UtcMillis,
    ) -> Result<u64, StoreError> {
        let mut tx = self.db.begin().await?;
        let mut resealed = 0;
        for (table, key, column) in SEALED {
            resealed +=
                reseal_column(&mut tx, table, key, column, |value| old.reseal(value, new, cipher), now)
                    .await?;
        }
        tx.commit().await?;
        Ok(resealed)
    }
}

async fn reseal_column(
    tx: &mut Tx,
    table: &Table,
    key: &str,
    column: &str,
    reseal: impl Fn(&mut Value) -> Result<u64, SealError>,
    now: UtcMillis,
) -> Result<u64, StoreError> {
    let mut sql = tx.sql("SELECT ");
    let columns: Vec<_> = [key, column].iter().filter_map(|name| table.column(name).copied()).collect();
    sql.select("t", &columns)
        .push(&format!(" FROM \"{}\" AS t WHERE t.\"{column}\" IS NOT NULL", table.name));
    crate::record::for_update(&mut sql);
    let mut resealed = 0;
    for row in tx.fetch(sql, &[Kind::Text, Kind::Json]).await? {
        let mut cells = row.into_iter().map(Cell::text);
        let (Some(Some(id)), Some(Some(text))) = (cells.next(), cells.next()) else { continue };
        let Ok(mut value) = serde_json::from_str::<Value>(&text) else { continue };
        let changed = reseal(&mut value)?;
        if changed == 0 {
            continue;
        }
        resealed += changed;
        let mut sql = tx.sql(&format!("UPDATE \"{}\" SET \"{column}\" = ", table.name));
        sql.bind(Kind::Json, value.to_string());
        if table.column("updated_at").is_some() {
            sql.push(", updated_at = ").bind(Kind::Time, now);
        }
        sql.push(&format!(" WHERE \"{key}\" = ")).bind(Kind::Text, id);
        tx.execute(sql).await?;
    }
    Ok(resealed)
}
