//! Scripts: which answers to give to which requests, in place of what the request itself asks for.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

use crate::failure::Failure;
use crate::scenario::Scenario;

/// Which requests a script is for; an empty matcher takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matcher {
    /// The path contains this.
    pub path: Option<String>,
    /// The body or the path contains this model name.
    pub model: Option<String>,
    /// The body contains this.
    pub body: Option<String>,
}

impl Matcher {
    /// All requests.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests whose path contains `path`.
    pub fn path(path: impl Into<String>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }

    /// Requests that name `model`, in the path or the body.
    pub fn model(model: impl Into<String>) -> Self {
        Self { model: Some(model.into()), ..Self::default() }
    }

    /// Requests whose body contains `text`.
    pub fn body(text: impl Into<String>) -> Self {
        Self { body: Some(text.into()), ..Self::default() }
    }

    fn takes(&self, path: &str, body: &[u8]) -> bool {
        let in_path = |wanted: &String| path.contains(wanted.as_str());
        let in_body = |wanted: &String| contains(body, wanted.as_bytes());
        let quoted = |model: &String| format!("\"{model}\"");
        self.path.as_ref().is_none_or(in_path)
            && self.body.as_ref().is_none_or(in_body)
            && self.model.as_ref().is_none_or(|model| in_path(model) || in_body(&quoted(model)))
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}

/// One scripted answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// An answer in the dialect that was asked.
    Scenario(Box<Scenario>),
    /// These bytes, whatever the dialect.
    Raw {
        /// HTTP status.
        status: u16,
        /// Headers, `content-type` among them.
        headers: Vec<(String, String)>,
        /// The body, sent frame by frame.
        frames: Vec<Bytes>,
    },
}

impl Answer {
    /// Exactly this text.
    pub fn text(text: impl Into<String>) -> Self {
        Scenario::text(text).into()
    }

    /// The named scenario; the default echo if there is none of that name.
    pub fn named(name: &str) -> Self {
        Scenario::named(name).unwrap_or_default().into()
    }

    /// What the words of a `[[fake: ...]]` directive ask for, e.g. `status=429 retry_after=3`.
    pub fn directive(words: &str) -> Self {
        Scenario::parse(words, Scenario::default()).into()
    }

    /// An upstream error with this status.
    pub fn status(status: u16) -> Self {
        Scenario::failing(Failure::of_status(status)).into()
    }

    /// A JSON body with this status.
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self::Raw { status, headers, frames: vec![Bytes::from(body.to_string())] }
    }

    /// A recorded SSE stream, cut into its events.
    pub fn sse(recording: &str) -> Self {
        let frames =
            recording.split_inclusive("\n\n").map(|frame| Bytes::copy_from_slice(frame.as_bytes())).collect();
        let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
        Self::Raw { status: 200, headers, frames }
    }

    /// Reads an answer as `POST /__fake__/script` takes it.
    fn of_json(value: &Value) -> Result<Self, String> {
        if let Some(name) = value["scenario"].as_str() {
            let scenario = Scenario::named(name).ok_or_else(|| format!("unknown scenario `{name}`"))?;
            let words = value["directive"].as_str().unwrap_or_default();
            return Ok(Scenario::parse(words, scenario).into());
        }
        if let Some(words) = value["directive"].as_str() {
            return Ok(Self::directive(words));
        }
        if let Some(text) = value["text"].as_str() {
            return Ok(Self::text(text));
        }
        let raw = &value["raw"];
        let body =
            raw["body"].as_str().ok_or("an answer needs `scenario`, `directive`, `text` or `raw.body`")?;
        let status = raw["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
        let headers = raw["headers"].as_object().into_iter().flatten();
        let headers =
            headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        Ok(Self::Raw {
            status,
            headers: headers.collect(),
            frames: vec![Bytes::copy_from_slice(body.as_bytes())],
        })
    }
}

impl From<Scenario> for Answer {
    fn from(scenario: Scenario) -> Self {
        Self::Scenario(Box::new(scenario))
    }
}

#[derive(Debug)]
struct Rule {
    matcher: Matcher,
    answers: VecDeque<Answer>,
    /// The last answer stays for ever.
    lasting: bool,
}

/// The scripts of one provider. Older scripts go first; an exhausted one is gone.
#[derive(Debug, Default)]
pub struct Control {
    rules: Mutex<Vec<Rule>>,
}

impl Control {
    /// Gives `answers` in order to the requests that `matcher` takes, one each.
    pub fn script(&self, matcher: Matcher, answers: impl IntoIterator<Item = Answer>) {
        self.add(Rule { matcher, answers: answers.into_iter().collect(), lasting: false });
    }

    /// Gives `answer` to all requests that `matcher` takes.
    pub fn always(&self, matcher: Matcher, answer: Answer) {
        self.add(Rule { matcher, answers: VecDeque::from([answer]), lasting: true });
    }

    fn add(&self, rule: Rule) {
        self.rules.lock().push(rule);
    }

    /// Forgets all scripts.
    pub fn clear(&self) {
        self.rules.lock().clear();
    }

    pub(crate) fn next(&self, path: &str, body: &[u8]) -> Option<Answer> {
        let mut rules = self.rules.lock();
        let index =
            rules.iter().position(|rule| !rule.answers.is_empty() && rule.matcher.takes(path, body))?;
        let rule = &mut rules[index];
        if rule.lasting && rule.answers.len() == 1 {
            return rule.answers.front().cloned();
        }
        let answer = rule.answers.pop_front();
        if rule.answers.is_empty() {
            rules.remove(index);
        }
        answer
    }

    /// Takes a script as JSON: `{"match": {"path", "model", "body"}, "answers": [...], "always": bool}`.
    pub(crate) fn script_json(&self, script: &Value) -> Result<(), String> {
        let word = |name: &str| script["match"][name].as_str().map(str::to_owned);
        let matcher = Matcher { path: word("path"), model: word("model"), body: word("body") };
        let answers = script["answers"].as_array().ok_or("`answers` must be an array")?;
        let answers = answers.iter().map(Answer::of_json).collect::<Result<VecDeque<_>, _>>()?;
        self.add(Rule { matcher, answers, lasting: script["always"] == true });
        Ok(())
    }
}
