use super::*;

/// Counts of OpenAI's own tiktoken 0.14 (`encode_ordinary`): (text, o200k_base, cl100k_base).
const KNOWN: &[(&str, u64, u64)] = &[
    ("", 0, 0),
    ("hello", 1, 1),
    ("Hello, world!", 4, 4),
    ("The quick brown fox jumps over the lazy dog.", 10, 10),
    ("東京は日本の首都です。", 8, 11),
    ("fn main() { println!(\"{}\", 1 + 1); }", 13, 13),
    ("   indented\n\n\ttext 12345 don't", 9, 10),
    ("🙂🙂 naïve café", 5, 7),
];

#[test]
fn openai_models_are_counted_as_openai_counts() {
    for (text, o200k, cl100k) in KNOWN {
        for model in ["gpt-4o", "openai/gpt-5-mini", "o3", "azure/gpt-4.1-nano", "gpt-oss-120b"] {
            assert_eq!(count(model, text), *o200k, "{model} {text:?}");
        }
        for model in ["gpt-4", "gpt-3.5-turbo-0125", "ft:gpt-3.5-turbo:acme", "text-embedding-3-small"] {
            assert_eq!(count(model, text), *cl100k, "{model} {text:?}");
        }
    }
    assert!(Counter::of("openai/gpt-4o").is_exact());
}

#[test]
fn other_vendors_are_scaled_and_say_so() {
    let text = KNOWN[3].0;
    assert_eq!(count("anthropic/claude-sonnet-4-5", text), 12);
    assert_eq!(count("gemini/gemini-2.5-pro", text), 10);
    for model in ["claude-sonnet-4-5", "gemini-2.5-pro", "mistral-large", "text-davinci-003", "anything"] {
        assert!(!Counter::of(model).is_exact(), "{model}");
    }
}

#[test]
fn a_long_text_is_the_sum_of_its_pieces() {
    let sentence = "The quick brown fox jumps over the lazy dog. ";
    let text = sentence.repeat(10_000);
    // Reference: one token for each word, the stop, and the last blank.
    assert_eq!(count("gpt-4o", &text), 100_001);
    let unbroken = "é".repeat(200_000);
    let whole = count("gpt-4o", &unbroken);
    let (first, second) = unbroken.split_at(unbroken.len() / 2);
    let halves = count("gpt-4o", first) + count("gpt-4o", second);
    assert!(whole.abs_diff(halves) <= 8, "{whole} {halves}: cuts cost a token each at most");
}

#[test]
fn an_estimate_needs_no_text() {
    assert_eq!(estimate("gpt-4o", 0), 0);
    assert_eq!(estimate("gpt-4o", 41), 11);
    assert_eq!(estimate("claude-sonnet-4-5", 40), 12);
    assert!(estimate("gpt-4o", u64::MAX) > 0);
}
