//! Texts that are not what they should be: anything may come out but a panic.

use std::fs;
use std::path::Path;

use faregate_config::{Env, Strictness, read_text};
use proptest::prelude::*;

use crate::{fixture, full_env};

fn read(text: &str, env: &Env) {
    let reading = read_text(text, Path::new("config.yaml"), env, Strictness::Lenient);
    assert_eq!(reading.snapshot.is_none(), reading.findings.iter().any(|found| found.is_error()), "{text}");
    assert!(reading.findings.iter().all(|found| found.position.is_some()), "{:?}", reading.findings);
}

#[test]
fn a_file_cut_anywhere_is_read_or_refused() {
    let env = full_env();
    for name in ["ids/config.yaml", "seeds/access_control.yaml", "seeds/load_balancing.yaml"] {
        let text = fs::read_to_string(fixture(name)).unwrap();
        for (end, _) in text.char_indices() {
            read(&text[..end], &env);
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[-:{}\\[\\],&*!|>'\"%@`#a-c0-9\n\t ~<?.=_+é\u{0}\u{feff}]{0,120}") {
        read(&text, &Env::empty());
    }

    /// Shapes that are YAML, under names that are ours.
    #[test]
    fn any_value_under_a_known_key_is_read_or_refused(
        section in prop::sample::select(vec![
            "model_list", "litellm_settings", "router_settings", "general_settings", "environment_variables",
            "credential_list", "include",
        ]),
        key in prop::sample::select(vec![
            "model_name", "litellm_params", "model_info", "fallbacks", "default_fallbacks", "model_group_alias",
            "retry_policy", "model_group_retry_policy", "callbacks", "prometheus_latency_buckets", "authentication",
            "credential_name", "credential_values", "budget_reset_time", "ssl_verify", "model_alias_map",
        ]),
        value in prop::sample::select(vec![
            "", "5", "-1", "1e400", "a", "[]", "[[]]", "[{}]", "{}", "{a: }", "{a: [b]}", "[a, {model: 1}]",
            "{model: [x]}", "{model: openai/a, organization: [[], 1]}", "{id: [1]}", "{a: {b: {c: -5}}}", ".nan",
            "{model: x, timeout: 1e300}", "\"::\"", "yes", "os.environ/X", "{model: os.environ/X}",
        ]),
    ) {
        for text in [
            format!("{section}: {value}\n"),
            format!("{section}: [{value}]\n"),
            format!("{section}: {{{key}: {value}}}\n"),
            format!("{section}: [{{{key}: {value}}}]\n"),
            format!("{section}: [{{model_name: a, litellm_params: {{model: b}}, {key}: {value}}}]\n"),
        ] {
            read(&text, &Env::empty());
        }
    }
}
