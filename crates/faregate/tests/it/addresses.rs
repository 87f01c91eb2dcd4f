//! `allowed_ips`: who may call from where.

use std::fs;

use tempfile::tempdir;

use crate::process::{Answer, Running, faregate};

#[test]
fn only_allowed_addresses_may_call_models_and_management_and_a_proxy_may_say_whose_call_it_is() {
    let folder = tempdir().unwrap();
    let general = "general_settings:\n  master_key: sk-strangers-0123456789abcdef\n  use_x_forwarded_for: true\n  \
                   allowed_ips: [192.0.2.7]\n";
    fs::write(folder.path().join("config.yaml"), general).unwrap();
    let running = Running::of(faregate(folder.path(), &["--config", "config.yaml"]));
    let key = "sk-strangers-0123456789abcdef";
    let call = |line: &str, forwarded: &str| {
        let more = format!("content-length: 0\r\n{forwarded}");
        Answer::read(running.begin(line, key, &more, b""))
    };
    for line in ["GET /v1/models", "GET /key/list"] {
        let refused = call(line, "");
        assert_eq!(refused.status, 403, "{line}: {}", refused.body);
        assert_eq!(refused.message(), "Access forbidden: IP address 127.0.0.1 not allowed.");
        assert_eq!(refused.json()["error"]["type"], "auth_error");
        assert_eq!(call(line, "x-forwarded-for: 192.0.2.7, 10.0.0.1\r\n").status, 200, "{line}");
        assert_eq!(call(line, "x-forwarded-for: 192.0.2.8\r\n").status, 403, "{line}");
    }
    for line in ["GET /health/liveliness", "GET /public/providers"] {
        assert_eq!(call(line, "").status, 200, "{line} is for everybody");
    }
}
