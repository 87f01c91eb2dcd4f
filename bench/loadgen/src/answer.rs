//! Reads an answer as it arrives and says whether it is the right one.

use serde::Deserialize;

/// What a right answer looks like.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Must be part of the answer's text.
    pub text: String,
    /// Least number of events of a stream; `None` for a plain answer.
    pub events: Option<u64>,
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

/// Tokens as the answer counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Message>,
    delta: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

/// One answer in the making.
#[derive(Debug, Default)]
pub struct Answer {
    stream: bool,
    /// A plain body, or the unfinished line of a stream.
    rest: Vec<u8>,
    text: String,
    finish: Option<String>,
    events: u64,
    done: bool,
    usage: Option<Usage>,
    wrong: Option<&'static str>,
}

impl Answer {
    pub fn new(stream: bool) -> Self {
        Self { stream, ..Self::default() }
    }

    /// Takes the next bytes, cut anywhere.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        if !self.stream {
            self.rest.extend_from_slice(bytes);
            return;
        }
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(&bytes[..end]);
            let line = std::mem::take(&mut self.rest);
            self.line(&line);
            self.rest = line;
            self.rest.clear();
            bytes = &bytes[end + 1..];
        }
        self.rest.extend_from_slice(bytes);
    }

    /// Events read so far, the end mark not counted.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The usage of a right answer, or what is wrong with it. Streams may come without usage.
    pub fn verdict(mut self, expected: &Expected) -> Result<Option<Usage>, &'static str> {
        if !self.stream {
            let body = std::mem::take(&mut self.rest);
            self.completion(&body);
        } else if !self.done {
            return Err("stream without its end mark");
        }
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if self.finish.as_deref() != Some("stop") {
            return Err("finish reason is not `stop`");
        }
        if !self.text.contains(&expected.text) {
            return Err("text is not the expected one");
        }
        if expected.events.is_some_and(|least| self.events < least) {
            return Err("too few events");
        }
        if !self.stream && self.usage.is_none_or(|usage| usage.completion_tokens == 0) {
            return Err("no usage");
        }
        Ok(self.usage)
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(data) = line.strip_prefix(b"data:") else { return };
        let data = data.trim_ascii_start();
        if self.done {
            self.wrong = Some("event after the end mark");
        } else if data == b"[DONE]" {
            self.done = true;
        } else {
            self.events += 1;
            self.completion(data);
        }
    }

    fn completion(&mut self, json: &[u8]) {
        let Ok(completion) = serde_json::from_slice::<Completion>(json) else {
            self.wrong = Some("not a completion");
            return;
        };
        self.usage = completion.usage.or(self.usage);
        for choice in completion.choices {
            if let Some(text) = choice.message.or(choice.delta).and_then(|message| message.content) {
                self.text.push_str(&text);
            }
            self.finish = choice.finish_reason.or(self.finish.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"he\"}}]}\n\n\
        : comment\n\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"llo\"}}]}\r\n\r\n\
        data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
        data: [DONE]\n\n";

    fn verdict(bytes: &[u8], cut: usize, text: &str, events: u64) -> Result<Option<Usage>, &'static str> {
        let mut answer = Answer::new(true);
        answer.feed(&bytes[..cut]);
        answer.feed(&bytes[cut..]);
        answer.verdict(&Expected { text: text.into(), events: Some(events) })
    }

    #[test]
    fn a_stream_is_right_wherever_it_is_cut() {
        for cut in 0..=STREAM.len() {
            assert_eq!(verdict(STREAM, cut, "hello", 3), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn a_wrong_stream_is_noticed() {
        let unfinished = &STREAM[..STREAM.len() - "data: [DONE]\n\n".len()];
        assert_eq!(verdict(unfinished, 9, "hello", 3), Err("stream without its end mark"));
        assert_eq!(verdict(STREAM, 9, "hullo", 3), Err("text is not the expected one"));
        assert_eq!(verdict(STREAM, 9, "hello", 4), Err("too few events"));
        let error = b"data: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n\n";
        assert_eq!(verdict(error, 9, "", 0), Err("not a completion"));
    }

    #[test]
    fn a_plain_answer_is_read_from_its_message() {
        let mut answer = Answer::new(false);
        answer.feed(br#"{"choices":[{"message":{"content":"hello"},"#);
        answer.feed(br#""finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#);
        let usage = Usage { prompt_tokens: 7, completion_tokens: 1 };
        assert_eq!(answer.verdict(&Expected { text: "hello".into(), events: None }), Ok(Some(usage)));
    }
}
