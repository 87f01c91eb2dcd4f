//! Forwards a stream to a client of the provider's own dialect: bytes go through, but for the model's name.
//!
//! An event that says nothing the gateway must know is compared with the one before, searched once for usage
//! figures, and copied. Only the first events (until something is visible) and those with usage figures are decoded.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use faregate_wire::chat::Family;
use faregate_wire::dialect::ProviderDialect;
use faregate_wire::envelope::model_value;

static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"choices\""));

/// What is known of one forwarded stream.
pub(super) struct Forward {
    family: Family,
    /// The model's name as the client shall read it, JSON text.
    model: Vec<u8>,
    usage: Finder<'static>,
    names_model: bool,
    /// Leave out OpenAI's usage chunk, which the client did not ask for.
    drop_usage_chunk: bool,
    /// How the last event with a model began: up to its value's end, and the same with our name.
    head: Vec<u8>,
    our_head: Vec<u8>,
    /// The dialect's own end has been seen.
    pub seen_end: bool,
    /// Something visible has been seen.
    pub visible: bool,
}

/// What one event block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// It must be decoded: the receipt or the commit point needs it.
    pub decode: bool,
    /// The client must not get it.
    pub withhold: bool,
}

impl Forward {
    pub(super) fn new(codec: &dyn ProviderDialect, model: Vec<u8>, drop_usage_chunk: bool) -> Self {
        Self {
            family: codec.family(),
            model,
            names_model: codec.names_model(),
            usage: Finder::new(codec.usage_mark()),
            drop_usage_chunk,
            head: Vec::new(),
            our_head: Vec::new(),
            seen_end: false,
            visible: false,
        }
    }

    /// Looks at one event block.
    pub(super) fn look(&mut self, block: &[u8]) -> Look {
        self.seen_end |= ends(self.family, block);
        // What every event repeats up to the model's name holds neither usage nor error.
        let known = if self.begins_alike(block) { self.head.len() } else { 0 };
        let news = &block[known..];
        let has_usage = self.has_usage(news);
        Look {
            decode: has_usage || !self.visible || is_error(block),
            withhold: has_usage && self.drop_usage_chunk && is_usage_only(block),
        }
    }

    /// Appends the block with our name for the model.
    pub(super) fn copy(&mut self, block: &[u8], out: &mut Vec<u8>) {
        if !self.begins_alike(block) {
            let Some(value) = self.model_of(block) else {
                out.extend_from_slice(block);
                return;
            };
            self.learn(block, value);
        }
        out.extend_from_slice(&self.our_head);
        out.extend_from_slice(&block[self.head.len()..]);
    }

    /// Where the answer's own model name is, if this event has it.
    fn model_of(&self, block: &[u8]) -> Option<Range<usize>> {
        // Anthropic says it once, at the start; later events may hold anything the model writes.
        let may = self.names_model && (self.family != Family::Anthropic || is_start(block));
        model_value(block).filter(|_| may)
    }

    fn begins_alike(&self, block: &[u8]) -> bool {
        !self.head.is_empty() && block.starts_with(&self.head)
    }

    fn learn(&mut self, block: &[u8], value: Range<usize>) {
        self.head.clear();
        self.head.extend_from_slice(&block[..value.end]);
        self.our_head.clear();
        self.our_head.extend_from_slice(&block[..value.start]);
        self.our_head.extend_from_slice(&self.model);
    }

    /// True if usage figures are there; many providers send `"usage":null` with every event.
    fn has_usage(&self, bytes: &[u8]) -> bool {
        let mark = self.usage.needle().len();
        self.usage.find_iter(bytes).any(|at| {
            let mut rest = bytes[at + mark..].iter().filter(|byte| !byte.is_ascii_whitespace());
            rest.next() != Some(&b':') || rest.next() != Some(&b'n')
        })
    }
}

/// True if this block is the dialect's own end of a stream.
fn ends(family: Family, block: &[u8]) -> bool {
    let has = |mark: &[u8]| memchr::memmem::find(block, mark).is_some();
    match family {
        Family::OpenAi => block.len() < 64 && has(b"[DONE]"),
        Family::Responses => {
            has(b"response.completed") || has(b"response.incomplete") || has(b"response.failed")
        }
        Family::Anthropic => block.len() < 256 && has(b"message_stop"),
        Family::Gemini => has(b"\"finishReason\"") || has(b"\"blockReason\""),
        Family::Bedrock | Family::Cohere | Family::Ollama => true,
    }
}

/// True for Anthropic's first event.
fn is_start(block: &[u8]) -> bool {
    memchr::memmem::find(&block[..block.len().min(128)], b"message_start").is_some()
}

/// True for an event that ends the stream with an error.
fn is_error(block: &[u8]) -> bool {
    block.starts_with(b"data: {\"error\"") || block.starts_with(b"event: error")
}

/// True for OpenAI's extra chunk that holds usage and no choice.
fn is_usage_only(block: &[u8]) -> bool {
    let Some(at) = CHOICES.find(block) else { return false };
    let mut rest = block[at + CHOICES.needle().len()..].iter().filter(|byte| !byte.is_ascii_whitespace());
    [b':', b'[', b']'].iter().all(|expected| rest.next() == Some(expected))
}

#[cfg(test)]
mod tests {
    use faregate_wire::dialect::openai_chat::Provider;

    use super::*;

    fn forward() -> Forward {
        Forward::new(&Provider, b"\"mine\"".to_vec(), true)
    }

    fn copied(forward: &mut Forward, block: &str) -> String {
        let mut out = Vec::new();
        forward.copy(block.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_event_gets_our_name_and_nothing_else_changes() {
        let mut forward = forward();
        let event =
            |id: &str, rest: &str| format!("data: {{\"id\":\"{id}\",\"model\":\"theirs\",{rest}}}\n\n");
        let ours = |id: &str, rest: &str| format!("data: {{\"id\":\"{id}\",\"model\":\"mine\",{rest}}}\n\n");
        for (id, rest) in [
            ("1", r#""choices":[{"delta":{"content":"a"}}]"#),
            ("1", r#""choices":[{"delta":{"content":"say \"model\":\"x\""}}]"#),
            // Another answer's id: what was learnt does not fit, and is learnt anew.
            ("2", r#""choices":[]"#),
            ("1", r#""model_extra":{"model":"theirs"}"#),
        ] {
            assert_eq!(copied(&mut forward, &event(id, rest)), ours(id, rest));
        }
        assert_eq!(copied(&mut forward, ": comment\n\n"), ": comment\n\n");
        assert_eq!(copied(&mut forward, "data: [DONE]\n\n"), "data: [DONE]\n\n");
    }

    #[test]
    fn a_tools_argument_named_model_is_not_the_models_name() {
        let gemini = &faregate_wire::dialect::gemini::Provider;
        let mut forward = Forward::new(gemini, b"\"mine\"".to_vec(), false);
        let event = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"args\":{\"model\":\"T\"}}}]}}]}\n\n";
        assert_eq!(copied(&mut forward, event), event);
        let anthropic = &faregate_wire::dialect::anthropic::Provider;
        let mut forward = Forward::new(anthropic, b"\"mine\"".to_vec(), false);
        let start =
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\"}}\n\n";
        assert!(copied(&mut forward, start).contains("\"model\":\"mine\""));
        let block = "event: content_block_start\ndata: {\"content_block\":{\"input\":{\"model\":\"T\"}}}\n\n";
        assert_eq!(copied(&mut forward, block), block);
    }

    #[test]
    fn only_real_usage_figures_are_decoded_once_something_is_visible() {
        let mut forward = forward();
        assert!(forward.look(b"data: {\"choices\":[{\"delta\":{}}]}\n\n").decode, "nothing visible yet");
        forward.visible = true;
        let decode =
            |forward: &mut Forward, json: &str| forward.look(format!("data: {json}\n\n").as_bytes()).decode;
        assert!(!decode(&mut forward, r#"{"choices":[{"delta":{"content":"a"}}],"usage":null}"#));
        assert!(!decode(&mut forward, r#"{"choices":[{"delta":{"content":"a"}}],"usage" : null}"#));
        assert!(decode(&mut forward, r#"{"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}"#));
        assert!(decode(&mut forward, r#"{"usage":null,"x":{"usage":{"prompt_tokens":1}}}"#));
    }

    #[test]
    fn the_usage_chunk_nobody_asked_for_is_withheld_and_still_read() {
        let mut forward = forward();
        let look = forward.look(b"data: {\"choices\": [ ],\"usage\":{\"prompt_tokens\":1}}\n\n");
        assert_eq!(look, Look { decode: true, withhold: true });
        let look = forward.look(b"data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}\n\n");
        assert_eq!(look, Look { decode: true, withhold: false });
    }

    #[test]
    fn the_end_is_the_dialects_own() {
        let mut forward = forward();
        forward.look(b"data: {\"choices\":[{\"delta\":{\"content\":\"a long text that ends in [DONE] but is no end\"}}]}\n\n");
        assert!(!forward.seen_end);
        forward.look(b"data: [DONE]\n\n");
        assert!(forward.seen_end);
    }
}
