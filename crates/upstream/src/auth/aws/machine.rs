//! Keys from the machine we run on: container agent, instance metadata, a program.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Container credential provider", "IMDS credential provider"
//! (version 2 of the service only), "Process credential provider".

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::{IssuedKeys, Keys};
use crate::auth::AuthError;
use crate::auth::header::sensitive;
use crate::auth::oauth;
use crate::auth::subject::read_token_file;
use crate::auth::token::Lease;
use crate::client::Transport;
use crate::env::EnvView;

const CONTAINER: &str = "the AWS container credential service";
const CONTAINER_HOST: &str = "http://169.254.170.2";
const INSTANCE: &str = "the AWS instance metadata service";
const INSTANCE_HOST: &str = "http://169.254.169.254";
const TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
/// On a machine that is none of AWS's nobody answers: do not keep the first request waiting long.
const METADATA_PATIENCE: Duration = Duration::from_secs(2);
const PROCESS_PATIENCE: Duration = Duration::from_secs(30);

/// `None` outside of a container that has been given a role.
pub(super) async fn container(
    env: &EnvView,
    transport: &Transport,
) -> Result<Option<Lease<Keys>>, AuthError> {
    let url = match (
        env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ) {
        (Some(path), _) => {
            oauth::url(&format!("{CONTAINER_HOST}{path}"), "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")?
        }
        (None, Some(url)) => allowed(oauth::url(&url, "AWS_CONTAINER_CREDENTIALS_FULL_URI")?)?,
        (None, None) => return Ok(None),
    };
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url;
    let token = match env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => Some(read_token_file(Path::new(&file)).await?),
        None => env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Into::into),
    };
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, sensitive(token.expose())?);
    }
    let body = oauth::ask(transport, CONTAINER, request, METADATA_PATIENCE).await?;
    IssuedKeys::parse(&body, CONTAINER).map(Some)
}

/// Keys may travel unencrypted only on the machine itself.
fn allowed(url: Uri) -> Result<Uri, AuthError> {
    const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
    let host = url.host().unwrap_or_default();
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback());
    match url.scheme_str() == Some("https") || loopback || AGENTS.contains(&host) {
        true => Ok(url),
        false => Err(AuthError::malformed(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http on a loopback or container agent address",
        )),
    }
}

/// The role of the EC2 instance.
pub(super) async fn instance(env: &EnvView, transport: &Transport) -> Result<Lease<Keys>, AuthError> {
    const REMEDY: &str = "no AWS credential: set aws_access_key_id and aws_secret_access_key, aws_profile_name, \
                          aws_role_name, or AWS's own environment variables";
    if env.get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(AuthError::missing(REMEDY));
    }
    from_instance(env, transport)
        .await
        .map_err(|error| AuthError { message: format!("{REMEDY} ({error})"), ..error })
}

async fn from_instance(env: &EnvView, transport: &Transport) -> Result<Lease<Keys>, AuthError> {
    let host = env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE_HOST.to_owned());
    let host = host.trim_end_matches('/');
    let mut asking = Request::new(Bytes::new());
    *asking.method_mut() = Method::PUT;
    *asking.uri_mut() = oauth::url(&format!("{host}/latest/api/token"), "AWS_EC2_METADATA_SERVICE_ENDPOINT")?;
    asking.headers_mut().insert(TOKEN_TTL, HeaderValue::from_static("21600"));
    let token = text(&oauth::ask(transport, INSTANCE, asking, METADATA_PATIENCE).await?)?;
    let token = sensitive(&token)?;

    let get = async |path: &str| {
        let mut request = Request::new(Bytes::new());
        let url = format!("{host}/latest/meta-data/iam/security-credentials/{path}");
        *request.uri_mut() = oauth::url(&url, "AWS_EC2_METADATA_SERVICE_ENDPOINT")?;
        request.headers_mut().insert(TOKEN, token.clone());
        oauth::ask(transport, INSTANCE, request, METADATA_PATIENCE).await
    };
    let roles = text(&get("").await?)?;
    let role = roles.lines().next().filter(|role| !role.is_empty());
    let role =
        role.ok_or_else(|| AuthError::missing("this EC2 instance has no role; attach an instance profile"))?;
    IssuedKeys::parse(&get(role).await?, INSTANCE)
}

fn text(body: &[u8]) -> Result<String, AuthError> {
    std::str::from_utf8(body).map(|text| text.trim().to_owned()).map_err(|_| AuthError::nonsense(INSTANCE))
}

/// Runs `credential_process` of a profile, without a shell.
pub(super) async fn process(command: &str) -> Result<Lease<Keys>, AuthError> {
    const SERVICE: &str = "credential_process";
    let words = words(command);
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| AuthError::malformed("credential_process of the AWS profile is empty"))?;
    let running = tokio::process::Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = match tokio::time::timeout(PROCESS_PATIENCE, running).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            return Err(AuthError::malformed(format!("credential_process cannot be run: {error}")));
        }
        Err(_) => {
            let seconds = PROCESS_PATIENCE.as_secs();
            return Err(AuthError::unavailable(format!("credential_process did not end within {seconds}s")));
        }
    };
    if !output.status.success() {
        return Err(AuthError::refused(format!("credential_process ended with {}", output.status)));
    }
    IssuedKeys::parse(&output.stdout, SERVICE)
}

/// Splits at blanks, except within double quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in command.chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            blank if blank.is_whitespace() && !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_keeps_its_blanks() {
        assert_eq!(words(r#"/opt/get "my role" --x="a b" """#), ["/opt/get", "my role", "--x=a b", ""]);
    }

    #[test]
    fn keys_never_travel_in_the_clear_to_another_machine() {
        for (url, fine) in [
            ("http://localhost:1/x", true),
            ("http://127.0.0.9/x", true),
            ("http://[::1]/x", true),
            ("http://169.254.170.23/v1", true),
            ("https://keys.example/x", true),
            ("http://keys.example/x", false),
            ("http://10.0.0.1/x", false),
        ] {
            assert_eq!(allowed(url.parse().unwrap()).is_ok(), fine, "{url}");
        }
    }

    #[tokio::test]
    async fn a_programs_keys_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        let json = r#"{"Version": 1, "AccessKeyId": "AK", "SecretAccessKey": "s", "SessionToken": "t"}"#;
        std::fs::write(&file, json).unwrap();
        let lease = process(&format!("cat \"{}\"", file.display())).await.unwrap();
        assert_eq!((lease.value.access_key_id.as_str(), lease.lifetime), ("AK", None));
        assert_eq!(lease.value.session_token.unwrap().expose(), "t");
        assert!(process("false").await.is_err());
    }
}
