//! What the process has done, for Prometheus.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::body::Body;
use crate::call::Arrival;
use crate::gate::{Gate, Table};
use crate::pipeline::authorised;
use crate::refusal::Refusal;
use crate::stage::deliver::respond;
use crate::stage::places;

/// Prometheus exposition. LiteLLM mounts it at `/metrics/` and redirects there; we answer both.
///
/// # Errors
/// 404 unless the `prometheus` callback is configured; 401 without a key where one is needed.
pub async fn metrics(gate: &Gate, table: &Table, arrival: &Arrival) -> Result<Response<Body>, Refusal> {
    if !table.settings.prometheus {
        return Err(Refusal::NotFound(
            "metrics are off; add `callbacks: [\"prometheus\"]` to litellm_settings".to_owned(),
        ));
    }
    if table.settings.metrics_need_key {
        authorised(gate, table, arrival).await?;
    }
    let accepted = arrival.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Some(journal) = &gate.services.journal {
        gate.metrics.observe(&journal.health());
    }
    places::observe(gate, table).await;
    let rendered = gate.metrics.render();
    let (kind, text) = if accepted.contains("application/openmetrics-text") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", rendered)
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", plain(&rendered))
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(respond(StatusCode::OK, headers, Body::full(text)))
}

/// OpenMetrics → the older text format: there a counter's family is called like its samples, and neither
/// units nor an end mark are known. Source: Prometheus, "Exposition formats".
fn plain(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("HELP"), Some(name), Some(text)) => help = Some((name, text)),
            (Some("TYPE"), Some(name), Some(kind)) => {
                let suffix = if kind == "counter" { "_total" } else { "" };
                if let Some((_, text)) = help.take().filter(|(known, _)| *known == name) {
                    out.push_str(&format!("# HELP {name}{suffix} {text}\n"));
                }
                let kind = if kind == "unknown" { "untyped" } else { kind };
                out.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_the_older_format_are_called_like_their_samples() {
        let openmetrics = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n\
            # HELP c Seconds.\n# TYPE c histogram\n# UNIT c seconds\nc_sum 1.5\n# EOF\n";
        assert_eq!(
            plain(openmetrics),
            "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n\
            # HELP c Seconds.\n# TYPE c histogram\nc_sum 1.5\n"
        );
    }
}
