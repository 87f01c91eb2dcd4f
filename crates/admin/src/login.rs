//! Sign-in of people with name and password, their sessions, and invitations. Source: compat, endpoints §2.17; the
//! token's members and the words of refusals are LiteLLM's.
//!
//! A session is a virtual key of the user with an end; the token that a browser keeps is a JWT around it, signed with
//! the master key.

use faregate_config::UiAccess;
use faregate_state::invalidate::Subject;
use faregate_store::seal::Cipher;
use faregate_store::{Filter, Invitation, ListQuery, Patch, User, VirtualKey};
use faregate_terms::{KeyHash, Secret, UtcMillis};
use http::{HeaderMap, HeaderValue, header};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, required};
use crate::passwords;
use crate::routes::{Answer, Call, Route, route};
use crate::{Admin, Outcome};

const INVITATIONS: &str = "LiteLLM_InvitationLink";
/// The team that LiteLLM gives to keys of sessions; there is no such team.
pub(crate) const SESSIONS_TEAM: &str = "litellm-dashboard";
/// Dollars that a session may spend in all. Source: LiteLLM's max_ui_session_budget.
const SESSION_BUDGET: &str = "0.25";
const INVITED_FOR: &str = "7d";
/// How long one claim of an invitation keeps others out.
const CLAIM_TURN_MS: i64 = 60_000;
const ONBOARDING: &str = "litellm_onboarding";
/// Wrong passwords for one name within five minutes before it has to wait.
pub(crate) const MOST_WRONG: u32 = 10;
const WRONG: &str = "Invalid credentials used to access UI. Check 'UI_USERNAME' and 'UI_PASSWORD', or the password set \
                     for your user";

const SIGN_IN: &[Field] = &[
    required("username", Holds::Text, "UI_USERNAME, or an e-mail address"),
    required("password", Holds::Text, "UI_PASSWORD or the master key, or the user's password"),
];
const CODE: &[Field] = &[required("code", Holds::Text, "what /v3/login gave")];
const INVITE: &[Field] = &[required("user_id", Holds::Text, "who is invited")];
const NAMED: &[Field] = &[required("invitation_id", Holds::Text, "the invitation")];
const CHANGE: &[Field] = &[
    required("invitation_id", Holds::Text, "the invitation"),
    required("is_accepted", Holds::Flag, "whether it was accepted"),
];
const LINK: &[Field] = &[required("invite_link", Holds::Text, "the invitation")];
const CLAIM: &[Field] = &[
    required("invitation_link", Holds::Text, "the invitation"),
    required("user_id", Holds::Text, "who was invited"),
    required("password", Holds::Text, "the password from now on"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "POST",
        &["/login"],
        Public,
        &[SIGN_IN],
        &[],
        "Sign in with a form; sets the session's cookie",
        form
    ),
    route!("GET", &["/fallback/login"], Public, &[], &[], "A page to sign in on", fallback),
    route!(
        "POST",
        &["/v2/login"],
        Public,
        &[SIGN_IN],
        &[],
        "Sign in with JSON; answers the session's token",
        sign_in
    ),
    route!(
        "POST",
        &["/v3/login"],
        Public,
        &[SIGN_IN],
        &[],
        "Sign in for a console on another host; answers a code that is good once, for a minute",
        hand_over
    ),
    route!(
        "POST",
        &["/v3/login/exchange"],
        Public,
        &[CODE],
        &[],
        "Exchange the code for the session's token",
        exchange
    ),
    route!("POST", &["/invitation/new"], Org, &[INVITE], &[], "Invite a user to set a password", invite),
    route!("GET", &["/invitation/info"], Viewer, &[], NAMED, "Details of an invitation", info),
    route!("POST", &["/invitation/update"], Admin, &[CHANGE], &[], "Mark an invitation as accepted", update),
    route!("POST", &["/invitation/delete"], Org, &[NAMED], &[], "Take an invitation back", delete),
    route!("GET", &["/onboarding/get_token"], Public, &[], LINK, "Open an invitation", open),
    route!(
        "POST",
        &["/onboarding/claim_token"],
        Public,
        &[CLAIM],
        &[],
        "Accept an invitation: set a password",
        claim
    ),
];

/// What the browser's token says.
#[derive(Debug, Serialize, Deserialize)]
struct Session {
    user_id: String,
    key: String,
    user_email: Option<String>,
    user_role: String,
    login_method: String,
    premium_user: bool,
    auth_header_name: String,
    disabled_non_admin_personal_key_creation: bool,
    server_root_path: String,
    password_reset_required: bool,
    exp: i64,
}

/// What lets somebody set the password that an invitation is for.
#[derive(Debug, Serialize, Deserialize)]
struct Onboarding {
    token_type: String,
    invitation_link: String,
    user_id: String,
    exp: i64,
}

fn refused(message: &str) -> AdminError {
    AdminError::unauthorized("auth_error", message)
}

fn master(admin: &Admin) -> Result<Secret, AdminError> {
    admin.snapshot.load().master_key().or_else(|| admin.master_key.clone()).ok_or_else(|| {
        AdminError::new(
            500,
            "auth_error",
            "Master Key not set for Proxy. Set `LITELLM_MASTER_KEY` in .env or general_settings.master_key to sign in.",
        )
    })
}

fn signed<T: Serialize>(claims: &T, master: &Secret) -> Result<String, AdminError> {
    let key = EncodingKey::from_secret(master.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)
        .map_err(|error| AdminError::new(500, "internal_server_error", format!("No token: {error}")))
}

/// Finds out who signs in, and gives them a session.
async fn session(call: &Call) -> Result<String, AdminError> {
    let admin = &call.admin;
    let master = master(admin)?;
    let name = call.text("username").unwrap_or_default().trim().to_lowercase();
    let password = call.text("password").unwrap_or_default();
    if admin.wrong_passwords.get(&name).unwrap_or_default() >= MOST_WRONG {
        return Err(AdminError::new(
            429,
            "auth_error",
            "Too many failed sign-ins for this name; try again in five minutes",
        ));
    }
    let env = admin.snapshot.load().env.clone();
    let same = |one: &str, other: &str| bool::from(one.as_bytes().ct_eq(other.as_bytes()));
    let known = env.filled("UI_USERNAME").unwrap_or("admin").to_lowercase();
    let secret = env.filled("UI_PASSWORD").unwrap_or(master.expose());
    if same(&name, &known) & same(password, secret) {
        let id = env.filled("PROXY_ADMIN_ID").unwrap_or("default_user_id");
        let user = administrator(admin, id).await?;
        return begin(admin, &user, &master, Method::Password).await;
    }
    let found = by_email(admin, &name).await?;
    let stored = found.as_ref().and_then(|user| user.password.as_deref());
    let right = passwords::verify(password, stored).await;
    match found.filter(|_| right) {
        Some(user) => {
            if user.password.as_deref().is_some_and(|stored| !stored.starts_with("scrypt:")) {
                let patch = Patch::new().set("password", passwords::hash(password).await?);
                admin.store.update::<User>(&[&user.user_id], &patch, admin.now()).await?;
            }
            admin.wrong_passwords.invalidate(&name);
            begin(admin, &user, &master, Method::Password).await
        }
        None => {
            let count = admin.wrong_passwords.get(&name).unwrap_or_default();
            admin.wrong_passwords.insert(name, count + 1);
            Err(refused(WRONG))
        }
    }
}

pub(crate) async fn by_email(admin: &Admin, name: &str) -> Result<Option<User>, AdminError> {
    if name.is_empty() {
        return Ok(None);
    }
    let query = ListQuery::new().filter(Filter::Contains("user_email", name.to_owned())).uncounted();
    let rows = admin.store.list::<User>(&query).await?.rows;
    let same = |user: &User| user.user_email.as_deref().is_some_and(|email| email.to_lowercase() == name);
    Ok(rows.into_iter().find(same))
}

/// The user of the operator's own name and password.
async fn administrator(admin: &Admin, id: &str) -> Result<User, AdminError> {
    let role = "proxy_admin";
    match admin.store.get::<User>(&[id]).await? {
        Some(user) if user.user_role.as_deref() == Some(role) => return Ok(user),
        Some(_) => {
            let patch = Patch::new().set("user_role", role);
            admin.store.update::<User>(&[id], &patch, admin.now()).await?;
        }
        None => {
            let user = User { user_id: id.to_owned(), user_role: Some(role.to_owned()), ..User::default() };
            admin.store.insert(&user, admin.now()).await?;
        }
    }
    admin.changed(Subject::User, id);
    admin.row(&[id], || "User does not exist in db.".to_owned()).await
}

/// How somebody signed in, in LiteLLM's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Password,
    Sso,
}

impl Method {
    fn word(self) -> &'static str {
        match self {
            Self::Password => "username_password",
            Self::Sso => "sso",
        }
    }
}

/// A session for somebody whom an identity provider vouches for.
///
/// # Errors
/// 403 for who may not use the UI.
pub(crate) async fn begin_elsewhere(admin: &Admin, user: &User) -> Result<String, AdminError> {
    begin(admin, user, &master(admin)?, Method::Sso).await
}

/// Makes a session's key, and the token around it.
async fn begin(admin: &Admin, user: &User, master: &Secret, method: Method) -> Result<String, AdminError> {
    let powerful = user.user_role.as_deref().is_some_and(|role| role.starts_with("proxy_admin"));
    if admin.snapshot.load().general.people.access == UiAccess::Admins && !powerful {
        return Err(AdminError::forbidden(
            "Only admins of the proxy sign in here (ui_access_mode: admin_only)",
        ));
    }
    let env = admin.snapshot.load().env.clone();
    let now = admin.now();
    let expires = columns::after(
        "LITELLM_UI_SESSION_DURATION",
        env.filled("LITELLM_UI_SESSION_DURATION").unwrap_or("24h"),
        now,
    )?;
    let secret = columns::new_secret();
    let row = VirtualKey {
        token: KeyHash::of(&secret).to_string(),
        key_name: Some(columns::shown(&secret)),
        user_id: Some(user.user_id.clone()),
        team_id: Some(SESSIONS_TEAM.to_owned()),
        expires: Some(expires),
        max_budget: serde_json::from_value(json!(SESSION_BUDGET.parse::<f64>().unwrap_or_default())).ok(),
        metadata: json!({ "login_method": method.word() }),
        created_by: Some(user.user_id.clone()),
        updated_by: Some(user.user_id.clone()),
        ..VirtualKey::default()
    };
    admin.store.insert(&row, now).await?;
    admin.changed(Subject::Key, &row.token);
    signed(&claims(admin, user, secret, expires, method), master)
}

/// Ends all sessions of a user, but for one.
pub(crate) async fn end_sessions(admin: &Admin, user_id: &str, keep: Option<&str>) -> Result<(), AdminError> {
    let query = ListQuery::new()
        .filter(Filter::Is("user_id", json!(user_id)))
        .filter(Filter::Is("team_id", json!(SESSIONS_TEAM)))
        .uncounted();
    let keys = admin.store.list::<VirtualKey>(&query).await?.rows;
    for key in keys.iter().filter(|key| keep != Some(&key.token)) {
        admin.store.delete::<VirtualKey>(&[&key.token]).await?;
        admin.changed(Subject::Key, &key.token);
    }
    Ok(())
}

fn claims(admin: &Admin, user: &User, key: String, expires: UtcMillis, method: Method) -> Session {
    let snapshot = admin.snapshot.load();
    Session {
        user_id: user.user_id.clone(),
        key,
        user_email: user.user_email.clone(),
        user_role: user.user_role.clone().unwrap_or_else(|| "internal_user_viewer".to_owned()),
        login_method: method.word().to_owned(),
        premium_user: true,
        auth_header_name: snapshot
            .general
            .litellm_key_header_name
            .clone()
            .unwrap_or_else(|| "Authorization".to_owned()),
        disabled_non_admin_personal_key_creation: false,
        server_root_path: snapshot.env.filled("SERVER_ROOT_PATH").unwrap_or_default().to_owned(),
        password_reset_required: user.password_reset_required.unwrap_or_default(),
        exp: expires.millis() / 1000,
    }
}

/// Where the browser goes next.
pub(crate) fn landing(admin: &Admin, rest: &str) -> String {
    let env = admin.snapshot.load().env.clone();
    let base = env.filled("PROXY_BASE_URL").or_else(|| env.filled("SERVER_ROOT_PATH")).unwrap_or_default();
    format!("{}/ui{rest}", base.trim_end_matches('/'))
}

/// The dashboard reads the cookie, so it cannot be `HttpOnly`. Source: LiteLLM's set_session_token_cookie.
pub(crate) fn cookie(admin: &Admin, token: &str) -> HeaderMap {
    let secure =
        admin.snapshot.load().env.filled("PROXY_BASE_URL").is_some_and(|base| base.starts_with("https://"));
    let text = format!("token={token}; Path=/; SameSite=lax{}", if secure { "; Secure" } else { "" });
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(header::SET_COOKIE, value);
    }
    headers
}

/// A page to sign in on with name and password, which needs nothing else.
pub(crate) fn page() -> Outcome {
    Ok(Answer::html(include_str!("login.html")))
}

async fn fallback(_: Call) -> Outcome {
    page()
}

async fn form(call: Call) -> Outcome {
    let token = session(&call).await?;
    let mut headers = cookie(&call.admin, &token);
    if let Ok(place) = HeaderValue::from_str(&landing(&call.admin, "/?login=success")) {
        headers.insert(header::LOCATION, place);
    }
    Ok(Answer { status: 303, kind: "text/plain", body: bytes::Bytes::new(), headers })
}

async fn sign_in(call: Call) -> Outcome {
    let token = session(&call).await?;
    let headers = cookie(&call.admin, &token);
    let body = json!({ "redirect_url": landing(&call.admin, "/?login=success"), "token": token });
    Ok(Answer { headers, ..Answer::json(&body) })
}

/// A session on its way to a console on another host. Sealed, it is the code itself: nothing has to be kept until it
/// is asked for, and every replica can open it.
#[derive(Serialize, Deserialize)]
struct OnItsWay {
    token: String,
    until: i64,
}

/// How long a code is good.
const CODE_MS: i64 = 60_000;

/// Refuses where no console on another host is configured, in LiteLLM's words.
fn for_others(call: &Call) -> Result<(), AdminError> {
    if call.admin.snapshot.load().general.people.signs_in_for_others {
        return Ok(());
    }
    let text = format!("{} is only available on workers with control_plane_url configured", call.route);
    Err(AdminError::not_found(text).about("control_plane_url"))
}

async fn hand_over(call: Call) -> Outcome {
    for_others(&call)?;
    let token = session(&call).await?;
    let until = call.admin.now().millis() + CODE_MS;
    let text = json!(OnItsWay { token, until }).to_string();
    let code = call.admin.salt()?.seal(&text, Cipher::Aes256Gcm)?;
    Ok(Answer::json(&json!({ "code": code, "expires_in": CODE_MS / 1000 })))
}

async fn exchange(call: Call) -> Outcome {
    for_others(&call)?;
    let wrong = || refused("Invalid or expired login code").about("code");
    let code = call.text("code").unwrap_or_default();
    let opened = call.admin.salt()?.open(code).map_err(|_| wrong())?;
    let session: OnItsWay = serde_json::from_str(opened.expose()).map_err(|_| wrong())?;
    let now = call.admin.now();
    if session.until <= now.millis() {
        return Err(wrong());
    }
    // Whoever comes first has it, on whichever replica; the note goes when the code is worth nothing any more.
    let name = format!("login-code:{}", KeyHash::of(code));
    let holder = uuid::Uuid::new_v4().to_string();
    if !call.admin.store.acquire_lease(&name, &holder, now, UtcMillis::from_millis(session.until)).await? {
        return Err(wrong());
    }
    let headers = cookie(&call.admin, &session.token);
    let body = json!({ "redirect_url": landing(&call.admin, "/?login=success"), "token": session.token });
    Ok(Answer { headers, ..Answer::json(&body) })
}

fn gone() -> AdminError {
    AdminError::invalid("invitation_id", "Invitation id does not exist in the database.")
}

async fn invite(call: Call) -> Outcome {
    let admin = &call.admin;
    let id = call.text("user_id").unwrap_or_default();
    let missing = || AdminError::invalid("user_id", "User id does not exist in 'LiteLLM_UserTable'.");
    let user = admin.store.get::<User>(&[id]).await?.ok_or_else(missing)?;
    // Whoever opens the invitation sets the password, and with it signs in as the user.
    admin.may_change_user(&call.caller, &user).await?;
    // The table refers to a user for each author; the master key's is made when it is needed.
    let author = match call.caller.user_id() {
        "default_user_id" => administrator(admin, "default_user_id").await?.user_id,
        author => author.to_owned(),
    };
    let now = admin.now();
    let row = Invitation {
        id: uuid::Uuid::new_v4().to_string(),
        user_id: user.user_id,
        expires_at: columns::after("expires_at", INVITED_FOR, now)?,
        created_by: author.clone(),
        updated_by: author,
        ..Invitation::default()
    };
    let row = admin.store.add(&row, now).await?;
    admin.audit(&call, "created", INVITATIONS, &row.id, Value::Null, json_of(&row)).await;
    Ok(Answer::json(&row))
}

async fn info(call: Call) -> Outcome {
    let id = call.asked("invitation_id").unwrap_or_default();
    Ok(Answer::json(&call.admin.store.get::<Invitation>(&[id]).await?.ok_or_else(gone)?))
}

async fn update(call: Call) -> Outcome {
    let id = call.text("invitation_id").unwrap_or_default();
    let accepted = call.given("is_accepted").and_then(Value::as_bool).unwrap_or_default();
    let patch = Patch::new().set("is_accepted", accepted).set("accepted_at", call.admin.now());
    let row = call.admin.store.update::<Invitation>(&[id], &patch, call.admin.now()).await?;
    Ok(Answer::json(&row.ok_or_else(gone)?))
}

async fn delete(call: Call) -> Outcome {
    let id = call.text("invitation_id").unwrap_or_default();
    let row = call.admin.store.get::<Invitation>(&[id]).await?.ok_or_else(gone)?;
    if !call.caller.is_admin() && row.created_by != call.caller.user_id() {
        return Err(AdminError::forbidden("You can only delete invitations that you have made."));
    }
    call.admin.store.delete::<Invitation>(&[id]).await?;
    call.admin.audit(&call, "deleted", INVITATIONS, id, json_of(&row), Value::Null).await;
    Ok(Answer::json(&row))
}

/// An invitation that can still be accepted, and who is invited.
async fn pending(admin: &Admin, id: &str) -> Result<(Invitation, User), AdminError> {
    let row = admin.store.get::<Invitation>(&[id]).await?;
    let row = row.ok_or_else(|| refused("Invitation link does not exist in db."))?;
    if row.expires_at < admin.now() {
        return Err(refused("Invitation link has expired."));
    }
    if row.is_accepted || row.accepted_at.is_some() {
        return Err(refused("Invitation link has already been used."));
    }
    let user = admin.store.get::<User>(&[&row.user_id]).await?;
    Ok((row, user.ok_or_else(|| refused("User does not exist in db."))?))
}

async fn open(call: Call) -> Outcome {
    let admin = &call.admin;
    let master = master(admin)?;
    let (row, user) = pending(admin, call.asked("invite_link").unwrap_or_default()).await?;
    let expires = columns::after("exp", "15m", admin.now())?;
    let permit = Onboarding {
        token_type: ONBOARDING.to_owned(),
        invitation_link: row.id,
        user_id: user.user_id.clone(),
        exp: expires.millis() / 1000,
    };
    let token = signed(&claims(admin, &user, signed(&permit, &master)?, expires, Method::Password), &master)?;
    let url = landing(admin, &format!("/onboarding?token={token}"));
    Ok(Answer::json(&json!({ "login_url": url, "token": token, "user_email": user.user_email })))
}

async fn claim(call: Call) -> Outcome {
    let admin = &call.admin;
    let master = master(admin)?;
    let (row, user) = pending(admin, call.text("invitation_link").unwrap_or_default()).await?;
    if call.text("user_id") != Some(&user.user_id) {
        return Err(refused("The user id submitted does not match the user id this link is attached to."));
    }
    let permit =
        call.token.as_deref().ok_or_else(|| refused("Missing onboarding session for invitation link."))?;
    let key = DecodingKey::from_secret(master.expose().as_bytes());
    let permit = jsonwebtoken::decode::<Onboarding>(permit, &key, &Validation::new(Algorithm::HS256));
    let fits = permit.is_ok_and(|permit| {
        let claims = permit.claims;
        claims.token_type == ONBOARDING && claims.invitation_link == row.id && claims.user_id == user.user_id
    });
    if !fits {
        return Err(refused("Invalid onboarding session for invitation link."));
    }
    let password = passwords::hash(call.text("password").unwrap_or_default()).await?;
    let now = admin.now();
    // Of two who claim at the same moment one is first; the other finds it used.
    let turn = (format!("invitation:{}", row.id), uuid::Uuid::new_v4().to_string());
    let until = now.plus_millis(CLAIM_TURN_MS);
    if !admin.store.acquire_lease(&turn.0, &turn.1, now, until).await? {
        return Err(refused("Invitation link has already been used."));
    }
    pending(admin, &row.id).await?;
    let patch = Patch::new().set("is_accepted", true).set("accepted_at", now);
    admin.store.update::<Invitation>(&[&row.id], &patch, now).await?;
    let patch = Patch::new().set("password", password).set("password_reset_required", false);
    let user = admin.store.update::<User>(&[&user.user_id], &patch, now).await?;
    let user = user.ok_or_else(|| refused("User does not exist in db."))?;
    admin.store.release_lease(&turn.0, &turn.1).await?;
    admin.audit(&call, "updated", INVITATIONS, &row.id, json_of(&row), json!({ "is_accepted": true })).await;
    // Whoever signed in with an older password is out.
    end_sessions(admin, &user.user_id, None).await?;
    let token = begin(admin, &user, &master, Method::Password).await?;
    let headers = cookie(admin, &token);
    let body = json!({
        "login_url": landing(admin, "/?login=success"), "token": token, "user_email": user.user_email,
    });
    Ok(Answer { headers, ..Answer::json(&body) })
}
