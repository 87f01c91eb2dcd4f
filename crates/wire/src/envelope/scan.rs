//! One pass over a JSON object: where its top-level members are, and which telling words occur in it.
//!
//! Strings are skipped many bytes at a time ([`text`]), which is what makes this several times cheaper than a
//! parser that looks at each byte. All a parser would refuse is refused here too, so that two readers cannot
//! disagree about where a member begins.

mod text;

use std::ops::Range;

/// The deepest nesting that is read; serde_json's own limit.
const MAX_DEPTH: u32 = 128;

/// Words whose presence decides whether a body may go through as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A member or value `cache_control`.
    CacheControl,
    /// `thinking_blocks`.
    ThinkingBlocks,
    /// `reasoning_content`.
    ReasoningContent,
    /// A dialect's word for a tool call or its result: the conversation holds calls, whose ids may carry state.
    Calls,
    /// `item_reference`.
    ItemReference,
    /// A string that begins with `fg1.`, the seal of [`crate::opaque`].
    Sealed,
    /// What Anthropic has a beta for in tools: a type with a date, or a member of a function.
    BetaTool,
    /// `file_id`.
    FileId,
    /// `provider_specific_fields`, LiteLLM's place for what only a provider understands.
    ProviderFields,
}

/// Which [`Mark`]s a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks(u16);

impl Marks {
    fn set(&mut self, mark: Mark) {
        self.0 |= 1 << mark as u8;
    }

    pub(super) fn has(self, mark: Mark) -> bool {
        self.0 & (1 << mark as u8) != 0
    }

    /// Looks at one string, quotes excluded. Most are told apart by their length alone.
    fn see(&mut self, string: &[u8]) {
        match (string.len(), string) {
            (13, b"cache_control") => self.set(Mark::CacheControl),
            (15, b"thinking_blocks") => self.set(Mark::ThinkingBlocks),
            (17, b"reasoning_content") => self.set(Mark::ReasoningContent),
            (7, b"toolUse")
            | (8, b"tool_use")
            | (10, b"tool_calls")
            | (11, b"tool_result")
            | (12, b"tool_call_id" | b"functionCall")
            | (13, b"function_call")
            | (16, b"custom_tool_call")
            | (20, b"function_call_output") => self.set(Mark::Calls),
            (7, b"file_id") => self.set(Mark::FileId),
            (24, b"provider_specific_fields") => self.set(Mark::ProviderFields),
            (14, b"item_reference") => self.set(Mark::ItemReference),
            (11, b"mcp_toolset")
            | (13, b"defer_loading")
            | (14, b"input_examples")
            | (15, b"allowed_callers")
            | (21, b"eager_input_streaming") => self.set(Mark::BetaTool),
            (_, [b'f', b'g', b'1', b'.', ..]) => self.set(Mark::Sealed),
            (14..=40, [.., b'_', b'2', b'0', _, _, _, _, _, _]) => self.set(Mark::BetaTool),
            _ => {}
        }
    }
}

/// A top-level member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The key with its quotes.
    pub key: Range<usize>,
    /// The value.
    pub value: Range<usize>,
}

/// What the pass found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub members: Vec<Found>,
    pub marks: Marks,
    /// True if all of it is known to be ASCII, so that nobody need look.
    pub is_ascii: bool,
}

/// Why a body is no object that can be indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// Not JSON, or not an object.
    Syntax,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// Scans one JSON object and the white space around it.
pub(super) fn scan(json: &[u8]) -> Result<Scan, Bad> {
    let mut scanner = Scanner { json, at: 0, open: 0, depth: 0, marks: Marks::default(), is_ascii: true };
    let members = scanner.object()?;
    scanner.space();
    if scanner.at == json.len() {
        Ok(Scan { members, marks: scanner.marks, is_ascii: scanner.is_ascii })
    } else {
        Err(Bad::Syntax)
    }
}

struct Scanner<'a> {
    json: &'a [u8],
    at: usize,
    /// The kinds of the open containers, innermost in the lowest bit: 1 is an object.
    open: u128,
    depth: u32,
    marks: Marks,
    /// False once a string held bytes beyond ASCII.
    is_ascii: bool,
}

impl Scanner<'_> {
    fn object(&mut self) -> Result<Vec<Found>, Bad> {
        let mut members = Vec::with_capacity(8);
        self.space();
        self.take(b'{')?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(members);
        }
        loop {
            let key = self.key()?;
            self.space();
            let start = self.at;
            self.value()?;
            members.push(Found { key, value: start..self.at });
            self.space();
            match self.next() {
                Some(b',') => self.space(),
                Some(b'}') => return Ok(members),
                _ => return Err(Bad::Syntax),
            }
        }
    }

    /// Passes over one value, however deep.
    fn value(&mut self) -> Result<(), Bad> {
        let base = self.depth;
        loop {
            self.space();
            match self.next() {
                Some(b'"') => self.string()?,
                Some(open @ (b'{' | b'[')) => {
                    let is_object = open == b'{';
                    self.space();
                    if self.peek() == Some(if is_object { b'}' } else { b']' }) {
                        self.at += 1;
                    } else {
                        self.push(is_object)?;
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                Some(b't') => self.literal(b"rue")?,
                Some(b'f') => self.literal(b"alse")?,
                Some(b'n') => self.literal(b"ull")?,
                Some(first @ (b'-' | b'0'..=b'9')) => self.number(first)?,
                _ => return Err(Bad::Syntax),
            }
            // A value is over; so may be the containers it ends.
            loop {
                if self.depth == base {
                    return Ok(());
                }
                self.space();
                let in_object = self.open & 1 == 1;
                match self.next() {
                    Some(b',') => {
                        if in_object {
                            self.space();
                            self.key()?;
                        }
                        break;
                    }
                    Some(b'}') if in_object => self.pop(),
                    Some(b']') if !in_object => self.pop(),
                    _ => return Err(Bad::Syntax),
                }
            }
        }
    }

    fn push(&mut self, is_object: bool) -> Result<(), Bad> {
        // The outermost object counts as well, and the parser refuses the limit itself.
        if self.depth + 2 >= MAX_DEPTH {
            return Err(Bad::TooDeep);
        }
        self.open = self.open << 1 | u128::from(is_object);
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) {
        self.open >>= 1;
        self.depth -= 1;
    }

    /// A member's name and its colon; the name's range includes the quotes.
    fn key(&mut self) -> Result<Range<usize>, Bad> {
        let start = self.at;
        self.take(b'"')?;
        self.string()?;
        let end = self.at;
        self.space();
        self.take(b':')?;
        Ok(start..end)
    }

    /// The rest of a string whose opening quote is behind us.
    fn string(&mut self) -> Result<(), Bad> {
        let start = self.at;
        let end = text::end(self.json, start)?;
        self.marks.see(&self.json[start..end.at]);
        self.is_ascii &= end.is_ascii;
        self.at = end.at + 1;
        Ok(())
    }

    fn literal(&mut self, rest: &[u8]) -> Result<(), Bad> {
        if self.json[self.at..].starts_with(rest) {
            self.at += rest.len();
            Ok(())
        } else {
            Err(Bad::Syntax)
        }
    }

    /// The rest of a number whose first byte is behind us. Source: RFC 8259, section 6.
    fn number(&mut self, first: u8) -> Result<(), Bad> {
        let leading = if first == b'-' { self.next().ok_or(Bad::Syntax)? } else { first };
        match leading {
            b'0' => {}
            b'1'..=b'9' => {
                self.digits();
            }
            _ => return Err(Bad::Syntax),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(Bad::Syntax);
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(Bad::Syntax);
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let count = self.json[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, byte: u8) -> Result<(), Bad> {
        if self.next() == Some(byte) { Ok(()) } else { Err(Bad::Syntax) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;
    use serde_json::{Map, Value};

    use super::*;

    fn names(json: &str) -> Vec<String> {
        let found = scan(json.as_bytes()).unwrap();
        found.members.iter().map(|member| json[member.key.clone()].to_owned()).collect()
    }

    #[test]
    fn members_are_found_whatever_surrounds_them() {
        assert_eq!(
            names(" {\"a\" : [1, {\"b\":{}}, []] ,\n\"c\":\"}\\\"\",\"d\":-1.5e+3} "),
            ["\"a\"", "\"c\"", "\"d\""]
        );
        assert!(names("{ }").is_empty());
    }

    #[test]
    fn words_are_seen_at_any_depth_and_only_whole() {
        let marks = |json: &str| scan(json.as_bytes()).unwrap().marks;
        assert!(
            marks(r#"{"messages":[{"content":[{"cache_control":{"type":"ephemeral"}}]}]}"#)
                .has(Mark::CacheControl)
        );
        assert!(
            !marks(r#"{"messages":[{"content":"set \"cache_control\" please"}]}"#).has(Mark::CacheControl)
        );
        assert!(marks(r#"{"a":[{"tool_call_id":"x"}]}"#).has(Mark::Calls));
        assert!(marks(r#"{"a":{"encrypted_content":"fg1.abc"}}"#).has(Mark::Sealed));
        assert!(!marks(r#"{"a":"xfg1.abc"}"#).has(Mark::Sealed));
    }

    #[test]
    fn ascii_is_said_only_of_what_has_been_looked_at() {
        let is_ascii = |text: &str| scan(format!("{{\"a\":\"{text}\"}}").as_bytes()).unwrap().is_ascii;
        assert!(is_ascii(&"plain words, \\n and more ".repeat(50)));
        for at in 0..9 {
            assert!(!is_ascii(&format!("{}é and more text", "x".repeat(at))));
        }
        assert!(is_ascii(&"x".repeat(1000)));
        assert!(!is_ascii(&format!("{}é", "x".repeat(1000))));
    }

    #[test]
    fn nesting_has_the_parsers_own_limit() {
        let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        for depth in [1, 100, 126, 127, 128, 200] {
            let json = nested(depth);
            let parses = serde_json::from_str::<Value>(&json).is_ok();
            assert_eq!(scan(json.as_bytes()).is_ok(), parses, "{depth} levels");
        }
        assert_eq!(scan(nested(10_000).as_bytes()).unwrap_err(), Bad::TooDeep);
    }

    /// JSON-like text: valid pieces put together at random, so that both sides of every rule are met.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"b\\\"c\"",
            "\"\\u00e9\"",
            "\"\\x\"",
            "\"",
            "\\",
            "1",
            "-0",
            "01",
            "1.",
            "1.5e3",
            "1e",
            "true",
            "fals",
            "null",
            " ",
            "\n",
            "{\"k\":1}",
            "[1,2]",
            "\"é\"",
        ]);
        prop::collection::vec(piece, 0..14).prop_map(|pieces| format!("{{\"k\":{}}}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn the_scan_takes_what_a_parser_takes(json in pieces()) {
            let parsed = serde_json::from_str::<IgnoredAny>(&json);
            prop_assert_eq!(scan(json.as_bytes()).is_ok(), parsed.is_ok(), "{}", json);
        }

        /// Strings longer than a block, with escapes and quotes at every place in it.
        #[test]
        fn long_strings_end_where_a_parser_ends_them(pieces in prop::collection::vec(
            prop::sample::select(vec!["abcdefg", "thirty-one plain bytes of prose", "x", "\\\\", "\\\"", "\\n", "\\u00e9", "\\u12", "é", "\"", "\\", "\n"]), 0..24)) {
            let json = format!("{{\"k\":\"{}\",\"l\":1}}", pieces.concat());
            let parsed = serde_json::from_str::<Map<String, Value>>(&json);
            match scan(json.as_bytes()) {
                Ok(found) => prop_assert!(parsed.is_ok() && found.is_ascii == json.is_ascii(), "{}", json),
                Err(_) => prop_assert!(parsed.is_err(), "{}", json),
            }
        }

        #[test]
        fn values_found_are_the_parsers(json in pieces()) {
            let Ok(found) = scan(json.as_bytes()) else { return Ok(()) };
            let Ok(expected) = serde_json::from_str::<Map<String, Value>>(&json) else { return Ok(()) };
            for member in found.members {
                let key: String = serde_json::from_str(&json[member.key]).unwrap();
                let value: Value = serde_json::from_str(&json[member.value]).unwrap();
                prop_assert!(expected.contains_key(&key));
                if expected.len() == 1 {
                    prop_assert_eq!(&expected[&key], &value);
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_break_the_scan(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&bytes);
        }
    }
}
