//! Passwords of people, in LiteLLM's two forms: `scrypt:` and base64 of a salt and the derived key, or, read only, the
//! SHA-256 of the text. Source: compat, database, `LiteLLM_UserTable.password`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore as _;
use scrypt::Params;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::error::AdminError;

const SALT: usize = 16;
const KEY: usize = 32;
/// Deriving a key takes a core and 16 MiB for a while: strangers must not be able to take more than this.
static AT_ONCE: Semaphore = Semaphore::const_new(2);
/// The shortest password that is taken.
const SHORTEST: usize = 8;
const LONGEST: usize = 1024;

/// LiteLLM's cost: N = 2^14, r = 8, p = 1.
fn derive(password: &str, salt: &[u8]) -> Option<[u8; KEY]> {
    let params = Params::new(14, 8, 1, KEY).ok()?;
    let mut key = [0; KEY];
    scrypt::scrypt(password.as_bytes(), salt, &params, &mut key).ok()?;
    Some(key)
}

/// The form that is stored.
///
/// # Errors
/// 400 for a password that is too short or too long.
pub(crate) async fn hash(password: &str) -> Result<String, AdminError> {
    if !(SHORTEST..=LONGEST).contains(&password.chars().count()) {
        return Err(AdminError::invalid(
            "password",
            format!("password must have {SHORTEST} to {LONGEST} characters"),
        ));
    }
    let mut salt = [0; SALT];
    rand::rng().fill_bytes(&mut salt);
    let password = password.to_owned();
    let key = costly(move || derive(&password, &salt)).await.flatten();
    let key = key.ok_or_else(|| {
        AdminError::new(500, "internal_server_error", "The password cannot be stored; try again")
    })?;
    Ok(format!("scrypt:{}", STANDARD.encode([salt.as_slice(), key.as_slice()].concat())))
}

/// Whether `password` is the one that was stored. Takes as long for nobody's password as for somebody's.
pub(crate) async fn verify(password: &str, stored: Option<&str>) -> bool {
    let Some(stored) = stored.filter(|stored| stored.starts_with("scrypt:")) else {
        let nobody = matches_scrypt(password, &[0; SALT + KEY]).await;
        let sha = format!("{:x}", Sha256::digest(password.as_bytes()));
        return !nobody && stored.is_some_and(|stored| bool::from(stored.as_bytes().ct_eq(sha.as_bytes())));
    };
    match STANDARD.decode(&stored["scrypt:".len()..]) {
        Ok(bytes) if bytes.len() == SALT + KEY => matches_scrypt(password, &bytes).await,
        _ => false,
    }
}

async fn matches_scrypt(password: &str, stored: &[u8]) -> bool {
    let (password, stored) = (password.chars().take(LONGEST).collect::<String>(), stored.to_vec());
    let same = move || {
        let (salt, key) = stored.split_at_checked(SALT)?;
        Some(bool::from(derive(&password, salt)?.ct_eq(key)))
    };
    costly(same).await.flatten().unwrap_or_default()
}

async fn costly<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let _turn = AT_ONCE.acquire().await.ok()?;
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_litellm_stored_is_read_and_the_other_way_round() {
        // Made with Python's hashlib.scrypt(b"correct horse", salt=b"0123456789abcdef", n=16384, r=8, p=1, dklen=32).
        let scrypt = "scrypt:MDEyMzQ1Njc4OWFiY2RlZtC7qch5MwCIA6/VA7K4gAH/O7zGwm3GlHw7xTgB5NA9";
        assert!(verify("correct horse", Some(scrypt)).await);
        assert!(!verify("correct horse", Some(&scrypt[..40])).await, "cut off");
        let stored = hash("correct horse").await.unwrap();
        assert!(verify("correct horse", Some(&stored)).await);
        assert!(!verify("wrong horse", Some(&stored)).await);
        let sha = format!("{:x}", Sha256::digest(b"correct horse"));
        assert!(verify("correct horse", Some(&sha)).await);
        assert!(!verify(&sha, Some(&sha)).await, "the hash is no password");
        assert!(!verify("", None).await);
        assert!(hash("short").await.is_err());
    }
}
