//! `faregate health`: is a gateway alive. The image holds no shell and no curl.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use http::{HeaderMap, Method};

use faregate_upstream::{Auth, Outgoing, Payload, Timeouts, Upstream, UpstreamSettings, Verify};

/// Asks `url` for its liveliness.
///
/// # Errors
/// If it does not answer 200 within five seconds.
pub fn run(url: &str) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // The gateway's own certificate names the service, not the loopback address asked here.
        let settings = UpstreamSettings { ssl_verify: Verify::Off, ..UpstreamSettings::default() };
        let upstream = Upstream::new(&settings)?;
        let request = Outgoing {
            method: Method::GET,
            url: format!("{}/health/liveliness", url.trim_end_matches('/'))
                .parse()
                .context("--url is no URL")?,
            headers: HeaderMap::new(),
            body: Payload::default(),
            auth: &Auth::NONE,
            timeouts: Timeouts { total: Some(Duration::from_secs(5)), ..Timeouts::default() },
        };
        let answer = upstream.send(request).await.context("the gateway does not answer")?;
        ensure!(answer.status.is_success(), "the gateway answered {}", answer.status);
        Ok(ExitCode::SUCCESS)
    })
}
