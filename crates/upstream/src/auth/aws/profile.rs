//! `~/.aws/config` and `~/.aws/credentials`.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files", "Assume role provider".

use std::collections::HashMap;
use std::path::PathBuf;

use super::Keys;
use crate::auth::AuthError;
use crate::env::EnvView;

pub(super) const DEFAULT: &str = "default";
/// More roles in a row than this is a mistake in the file.
const MAX_ROLES: usize = 5;

type Section = HashMap<String, String>;

/// Both files merged; the credentials file wins.
#[derive(Debug, Default)]
pub(super) struct Profiles(HashMap<String, Section>);

/// How to get a profile's keys.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) base: Base,
    /// To be assumed with the base's keys, first to last.
    pub(super) roles: Vec<Role>,
}

/// Where a profile's first keys come from.
#[derive(Debug, PartialEq)]
pub(super) enum Base {
    Keys(Keys),
    WebIdentity { role: String, session: Option<String>, file: PathBuf },
    Process(String),
    Environment,
    Container,
    Instance,
}

/// One role of a profile.
#[derive(Debug, PartialEq)]
pub(super) struct Role {
    pub(super) role: String,
    pub(super) session: Option<String>,
    pub(super) external_id: Option<String>,
}

impl Profiles {
    /// Files that are not there are empty.
    pub(super) async fn read(env: &EnvView) -> Self {
        let at = |variable: &str, name: &str| match env.get(variable) {
            Some(path) => Some(PathBuf::from(path)),
            None => env.home().map(|home| home.join(".aws").join(name)),
        };
        let mut profiles = Self::default();
        if let Some(path) = at("AWS_CONFIG_FILE", "config") {
            profiles.add(&tokio::fs::read_to_string(path).await.unwrap_or_default(), Kind::Config);
        }
        if let Some(path) = at("AWS_SHARED_CREDENTIALS_FILE", "credentials") {
            profiles.add(&tokio::fs::read_to_string(path).await.unwrap_or_default(), Kind::Credentials);
        }
        profiles
    }

    fn add(&mut self, text: &str, kind: Kind) {
        let mut current: Option<&mut Section> = None;
        for line in text.lines() {
            // An indented line belongs to a nested setting, of which none matters here.
            if line.starts_with([' ', '\t', '#', ';']) {
                continue;
            }
            if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                current = kind.profile(header.trim()).map(|name| self.0.entry(name.to_owned()).or_default());
                continue;
            }
            if let (Some(section), Some((key, value))) = (&mut current, line.split_once('=')) {
                section.insert(key.trim().to_ascii_lowercase(), without_comment(value).to_owned());
            }
        }
    }

    /// Whether the profile says anything about keys.
    pub(super) fn has_credential(&self, name: &str) -> bool {
        const TELLING: [&str; 5] =
            ["aws_access_key_id", "role_arn", "credential_process", "sso_session", "sso_start_url"];
        self.0.get(name).is_some_and(|section| TELLING.iter().any(|key| section.contains_key(*key)))
    }

    /// Follows `source_profile` from `name` to keys.
    pub(super) fn plan(&self, name: &str) -> Result<Plan, AuthError> {
        let mut roles = Vec::new();
        let mut at = name;
        loop {
            let section = self.0.get(at).ok_or_else(|| {
                AuthError::missing(format!(
                    "AWS profile `{at}` is neither in the config nor in the credentials file"
                ))
            })?;
            let get = |key: &str| section.get(key).filter(|value| !value.is_empty()).cloned();
            let Some(role) = get("role_arn") else {
                return Ok(Plan { base: own_keys(at, section)?, roles: in_order(roles) });
            };
            let session = get("role_session_name");
            if let Some(file) = get("web_identity_token_file") {
                let base = Base::WebIdentity { role, session, file: file.into() };
                return Ok(Plan { base, roles: in_order(roles) });
            }
            roles.push(Role { role, session, external_id: get("external_id") });
            if roles.len() > MAX_ROLES {
                return Err(AuthError::malformed(format!(
                    "AWS profile `{name}`: source_profile leads in a circle"
                )));
            }
            match (section.get("source_profile"), get("credential_source").as_deref()) {
                // A profile that names itself has keys as well as a role.
                (Some(source), _) if source == at => {
                    return Ok(Plan { base: own_keys(at, section)?, roles: in_order(roles) });
                }
                (Some(source), _) => at = source,
                (None, Some("Environment")) => {
                    return Ok(Plan { base: Base::Environment, roles: in_order(roles) });
                }
                (None, Some("EcsContainer")) => {
                    return Ok(Plan { base: Base::Container, roles: in_order(roles) });
                }
                (None, Some("Ec2InstanceMetadata")) => {
                    return Ok(Plan { base: Base::Instance, roles: in_order(roles) });
                }
                (None, _) => {
                    return Err(AuthError::malformed(format!(
                        "AWS profile `{at}` has a role_arn but neither source_profile, credential_source \
                         (Environment, EcsContainer, Ec2InstanceMetadata) nor web_identity_token_file"
                    )));
                }
            }
        }
    }
}

/// The files differ in how a section is called.
#[derive(Clone, Copy)]
enum Kind {
    Config,
    Credentials,
}

impl Kind {
    fn profile(self, header: &str) -> Option<&str> {
        match self {
            Self::Config if header == DEFAULT => Some(header),
            Self::Config => header.strip_prefix("profile").map(str::trim).filter(|name| !name.is_empty()),
            Self::Credentials => Some(header),
        }
    }
}

/// The roles were found from the last to be assumed to the first.
fn in_order(mut roles: Vec<Role>) -> Vec<Role> {
    roles.reverse();
    roles
}

fn own_keys(name: &str, section: &Section) -> Result<Base, AuthError> {
    let get = |key: &str| section.get(key).filter(|value| !value.is_empty()).cloned();
    if let (Some(id), Some(secret)) = (get("aws_access_key_id"), get("aws_secret_access_key")) {
        return Ok(Base::Keys(Keys {
            access_key_id: id,
            secret_access_key: secret.into(),
            session_token: get("aws_session_token").map(Into::into),
        }));
    }
    if let Some(command) = get("credential_process") {
        return Ok(Base::Process(command));
    }
    Err(AuthError::missing(match get("sso_session").or_else(|| get("sso_start_url")) {
        Some(_) => format!(
            "AWS profile `{name}` signs in by IAM Identity Center, which needs a browser; export keys with \
             `aws configure export-credentials`, or use a role"
        ),
        None => format!("AWS profile `{name}` has no keys, role or credential_process"),
    }))
}

/// A comment begins with `#` or `;` after a blank.
fn without_comment(value: &str) -> &str {
    let end =
        [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min().unwrap_or(value.len());
    value[..end].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
[default]
region = eu-west-1
s3 =
  max_concurrent_requests = 20

[profile outer] ; a role in two steps
role_arn = arn:aws:iam::2:role/outer  # the last
source_profile = inner
external_id = agreed

[profile inner]
role_arn=arn:aws:iam::1:role/inner
role_session_name = me
source_profile = base

[profile pod]
role_arn = arn:aws:iam::3:role/pod
web_identity_token_file = /var/run/token

[profile loop]
role_arn = r
source_profile = loop2
[profile loop2]
role_arn = r
source_profile = loop

[profile browser]
sso_session = corp
";
    const CREDENTIALS: &str = "[base]\naws_access_key_id = AK\nAWS_SECRET_ACCESS_KEY = a/b+c#d\n";

    fn profiles() -> Profiles {
        let mut profiles = Profiles::default();
        profiles.add(CONFIG, Kind::Config);
        profiles.add(CREDENTIALS, Kind::Credentials);
        profiles
    }

    #[test]
    fn source_profiles_are_followed_to_keys_and_roles_come_in_the_order_to_assume_them() {
        let plan = profiles().plan("outer").unwrap();
        let base =
            Keys { access_key_id: "AK".into(), secret_access_key: "a/b+c#d".into(), session_token: None };
        assert_eq!(plan.base, Base::Keys(base));
        let roles: Vec<_> = plan.roles.iter().map(|role| role.role.as_str()).collect();
        assert_eq!(roles, ["arn:aws:iam::1:role/inner", "arn:aws:iam::2:role/outer"]);
        assert_eq!(plan.roles[0].session.as_deref(), Some("me"));
        assert_eq!(plan.roles[1].external_id.as_deref(), Some("agreed"));
    }

    #[test]
    fn a_web_identity_profile_needs_no_other_keys() {
        let Base::WebIdentity { file, .. } = profiles().plan("pod").unwrap().base else { panic!() };
        assert_eq!(file, PathBuf::from("/var/run/token"));
    }

    #[test]
    fn what_cannot_work_says_why() {
        for (name, expected) in [
            ("nobody", "neither in the config"),
            ("loop", "circle"),
            ("browser", "IAM Identity Center"),
            ("default", "no keys"),
        ] {
            let message = profiles().plan(name).unwrap_err().message;
            assert!(message.contains(expected), "{name}: {message}");
        }
        assert!(!profiles().has_credential(DEFAULT) && profiles().has_credential("base"));
    }
}
