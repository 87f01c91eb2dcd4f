//! Who asks, and which routes they get to at all. Source: compat, endpoints §0.1 and §0.2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use faregate_store::KeyRecord;
use faregate_terms::KeyHash;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use crate::Admin;
use crate::error::AdminError;
use crate::routes::Route;

/// Who gets to a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Anybody, without a key.
    Public,
    /// Any key; the handler narrows what it sees.
    Key,
    /// Internal users and above; viewers only where they read.
    User,
    /// Administrators of the proxy, or of an organization in it.
    Org,
    /// Administrators and viewers of the proxy, and of organizations.
    Viewer,
    /// Administrators of the proxy; its viewers where they read.
    Admin,
    /// The master key alone.
    Master,
}

/// What somebody may do. Source: DESIGN §12, LiteLLM's `user_role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Everything.
    ProxyAdmin,
    /// Sees everything, changes nothing.
    ProxyAdminViewer,
    /// Everything within an organization.
    OrgAdmin,
    /// Own keys and spend.
    InternalUser,
    /// Sees own keys and spend.
    InternalUserViewer,
    /// A key of a team or service, without a user.
    Team,
}

impl Role {
    /// All of them, most powerful first.
    pub const ALL: [Self; 6] = [
        Self::ProxyAdmin,
        Self::ProxyAdminViewer,
        Self::OrgAdmin,
        Self::InternalUser,
        Self::InternalUserViewer,
        Self::Team,
    ];

    /// LiteLLM's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::ProxyAdmin => "proxy_admin",
            Self::ProxyAdminViewer => "proxy_admin_viewer",
            Self::OrgAdmin => "org_admin",
            Self::InternalUser => "internal_user",
            Self::InternalUserViewer => "internal_user_viewer",
            Self::Team => "team",
        }
    }

    /// The role of a key's user. Who administers an organization is an org admin whatever the account says,
    /// and nobody is one without an organization.
    fn of(record: &KeyRecord, leads_organization: bool) -> Self {
        let Some(user) = &record.user else { return Self::Team };
        let word = user.user_role.as_deref().unwrap_or("internal_user");
        let role = Self::ALL.into_iter().find(|role| role.word() == word).unwrap_or(Self::InternalUserViewer);
        match role {
            Self::ProxyAdmin | Self::ProxyAdminViewer => role,
            _ if leads_organization => Self::OrgAdmin,
            Self::OrgAdmin => Self::InternalUser,
            role => role,
        }
    }

    /// True if this role gets through `gate` with this method.
    pub fn passes(self, gate: Gate, method: &str) -> bool {
        let reads = matches!(method, "GET" | "HEAD");
        match gate {
            Gate::Public | Gate::Key => self != Self::ProxyAdminViewer || reads || gate == Gate::Public,
            Gate::User => match self {
                Self::ProxyAdmin | Self::OrgAdmin | Self::InternalUser => true,
                Self::ProxyAdminViewer | Self::InternalUserViewer => reads,
                Self::Team => false,
            },
            Gate::Org => {
                matches!(self, Self::ProxyAdmin | Self::OrgAdmin) || (self == Self::ProxyAdminViewer && reads)
            }
            Gate::Viewer => {
                matches!(self, Self::ProxyAdmin | Self::OrgAdmin) || (self == Self::ProxyAdminViewer && reads)
            }
            Gate::Admin => self == Self::ProxyAdmin || (self == Self::ProxyAdminViewer && reads),
            Gate::Master => false,
        }
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What they may do.
    pub role: Role,
    /// True for the master key.
    pub is_master: bool,
    /// Their key with all it belongs to; nothing for the master key.
    pub record: Option<Box<KeyRecord>>,
}

impl Caller {
    /// The master key.
    pub fn master() -> Self {
        Self { role: Role::ProxyAdmin, is_master: true, record: None }
    }

    /// Hash of the key; the master key's stays its name, and who came without a key has none.
    pub fn key_hash(&self) -> &str {
        match &self.record {
            None if self.is_master => "litellm_proxy_master_key",
            None => "",
            Some(record) => &record.key.token,
        }
    }

    /// Id of the user; the master key's is LiteLLM's, and who came without a key has none.
    pub fn user_id(&self) -> &str {
        match &self.record {
            None if self.is_master => "default_user_id",
            None => "",
            Some(record) => record.key.user_id.as_deref().unwrap_or_default(),
        }
    }

    /// The key's own team.
    pub fn team_id(&self) -> Option<&str> {
        self.record.as_ref()?.key.team_id.as_deref()
    }

    /// Everything is allowed.
    pub fn is_admin(&self) -> bool {
        self.role == Role::ProxyAdmin
    }

    /// Everything may be seen.
    pub fn sees_all(&self) -> bool {
        matches!(self.role, Role::ProxyAdmin | Role::ProxyAdminViewer)
    }
}

/// Finds out who asks and whether the route is open to them.
///
/// # Errors
/// 401 and 403 in the forms of compat, behaviour §3.1.
pub(crate) async fn authenticate(
    admin: &Admin,
    route: &Route,
    headers: &HeaderMap,
) -> Result<Caller, AdminError> {
    let master = admin.snapshot.load().master_key().or_else(|| admin.master_key.clone());
    let Some(master) = master else { return Ok(Caller::master()) };
    if route.gate == Gate::Public {
        return Ok(Caller { role: Role::Team, is_master: false, record: None });
    }
    let key = presented(headers, admin.snapshot.load().general.litellm_key_header_name.as_deref())
        .ok_or_else(|| {
            AdminError::unauthorized("auth_error", "Authentication Error, No api key passed in.")
        })?;
    if bool::from(key.as_bytes().ct_eq(master.expose().as_bytes())) {
        return Ok(Caller::master());
    }
    let caller = of_key(admin, &key).await?;
    allowed(&caller, route)?;
    Ok(caller)
}

async fn of_key(admin: &Admin, key: &str) -> Result<Caller, AdminError> {
    let hash = KeyHash::of(key).to_string();
    let unknown = || {
        let tail = if key.len() < 16 { "" } else { key.get(key.len() - 4..).unwrap_or_default() };
        AdminError::unauthorized(
            "token_not_found_in_db",
            format!(
                "Authentication Error, Invalid proxy server token passed. Received API Key = sk-...{tail}, Key \
                 Hash (Token) ={hash}. Unable to find token in cache or `LiteLLM_VerificationTokenTable`"
            ),
        )
        .about("key")
    };
    if !key.starts_with("sk-") {
        return Err(AdminError::unauthorized(
            "auth_error",
            "LiteLLM Virtual Key expected; a key starts with 'sk-'.",
        ));
    }
    let record = admin.store.key_record(&hash, admin.now()).await?.ok_or_else(unknown)?;
    if record.key.blocked == Some(true) {
        return Err(AdminError::unauthorized(
            "auth_error",
            "Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin.",
        ));
    }
    if record.key.expires.is_some_and(|expires| expires <= admin.now()) {
        return Err(AdminError::unauthorized("expired_key", "Authentication Error - Expired Key."));
    }
    let user = record.key.user_id.as_deref().unwrap_or_default();
    let leads_organization = !admin.led_by(user).await?.is_empty();
    Ok(Caller {
        role: Role::of(&record, leads_organization),
        is_master: false,
        record: Some(Box::new(record)),
    })
}

fn allowed(caller: &Caller, route: &Route) -> Result<(), AdminError> {
    let path = route.paths.first().copied().unwrap_or_default();
    let routes = caller.record.as_ref().map_or(&[][..], |record| &record.key.allowed_routes);
    let listed = routes.iter().any(|allowed| {
        let group = match allowed.as_str() {
            "management_routes" => true,
            "info_routes" => route.method == "GET",
            "spend_tracking_routes" => path.contains("/spend"),
            _ => false,
        };
        let prefix = allowed.trim_end_matches('*');
        group || allowed == path || (allowed.ends_with('*') && path.starts_with(prefix))
    });
    if !routes.is_empty() && !listed {
        return Err(AdminError::forbidden(format!(
            "Virtual key is not allowed to call this route. Only allowed to call routes: {routes:?}. Tried to \
             call route: {path}"
        )));
    }
    if caller.role.passes(route.gate, route.method) {
        return Ok(());
    }
    Err(AdminError::unauthorized(
        "auth_error",
        format!(
            "Authentication Error, Only proxy admin can be used to generate, delete, update info for new \
             keys/users/teams. Route={path}. Your role={}",
            caller.role.word()
        ),
    ))
}

/// The key of a request. Source: compat, endpoints §0.2.
pub(crate) fn presented(headers: &HeaderMap, only: Option<&str>) -> Option<String> {
    let text = |name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim).filter(|text| !text.is_empty())
    };
    if let Some(name) = only {
        return bearer(text(&name.to_ascii_lowercase())?);
    }
    if let Some(value) = text("x-litellm-api-key") {
        return Some(bearer(value).unwrap_or_else(|| value.to_owned()));
    }
    if let Some(value) = text(AUTHORIZATION.as_str()) {
        return bearer(value);
    }
    let raw = ["api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"];
    raw.iter().find_map(|name| text(name)).map(|value| bearer(value).unwrap_or_else(|| value.to_owned()))
}

fn bearer(value: &str) -> Option<String> {
    if let Some(key) = value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")) {
        return Some(key.trim().to_owned());
    }
    let rest = value.strip_prefix("Basic ")?.trim();
    let decoded = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let word = decoded.as_deref().and_then(|pair| pair.split_once(':')).map(|(_, word)| word.to_owned());
    Some(word.filter(|word| word.starts_with("sk-")).unwrap_or_else(|| rest.to_owned()))
}
