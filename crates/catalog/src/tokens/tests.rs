use proptest::prelude::*;

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

/// The packed vocabularies against those of the crate they were made of, token by token.
#[test]
fn the_packed_vocabularies_are_openais() {
    let ours_and_theirs = [
        (Vocabulary::O200k, tiktoken_rs::o200k_base_singleton(), 199_998),
        (Vocabulary::Cl100k, tiktoken_rs::cl100k_base_singleton(), 100_256),
    ];
    for (vocabulary, theirs, tokens) in ours_and_theirs {
        let ours = vocabulary.encoder().unwrap();
        for rank in 0..tokens {
            assert_eq!(ours.decode_bytes(&[rank]).unwrap(), theirs.decode_bytes(&[rank]).unwrap(), "{rank}");
        }
        assert!(ours.decode_bytes(&[tokens]).is_err(), "{vocabulary:?} has no more than {tokens}");
        for text in TEXTS {
            assert_eq!(ours.encode_ordinary(text), theirs.encode_ordinary(text), "{vocabulary:?} {text:?}");
        }
    }
}

/// Prose, code, markup, numbers, blanks, scripts, and what looks like a special token.
const TEXTS: &[&str] = &[
    "We'LL see: I'd say they've gone, he's back, it'S fine, don't.",
    "fn main() {\r\n\tlet x = vec![1u8, 22, 333, 4444, 55555];\r\n\r\n}   \n",
    "<p class=\"a\">1,234.56 &amp; 0xDEADBEEF</p>///\n// --- ===\n",
    "  leading, trailing  \n\n\n   ",
    "\u{a0}\u{3000}\t \u{200d}",
    "Größe, naïve café, Ελληνικά, Русский, עברית, العربية, हिन्दी, ไทย",
    "東京は日本の首都です。서울은 한국의 수도이다。北京",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈 e\u{301}",
    "<|endoftext|><|im_start|>user<|endofprompt|>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    include_str!("../tokens.rs"),
    include_str!("../../data/README.md"),
];

proptest! {
    /// The same tokens for whatever a client sends.
    #[test]
    fn any_text_has_openais_tokens(text in "(\\PC|\\s){0,200}") {
        for (vocabulary, theirs) in [
            (Vocabulary::O200k, tiktoken_rs::o200k_base_singleton()),
            (Vocabulary::Cl100k, tiktoken_rs::cl100k_base_singleton()),
        ] {
            prop_assert_eq!(vocabulary.encoder().unwrap().encode_ordinary(&text), theirs.encode_ordinary(&text));
        }
    }
}
