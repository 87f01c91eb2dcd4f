//! One line per event: `time LEVEL target: message name=value ...`, or a flat JSON object.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::writer::Sink;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// Formats events and hands them to the writer.
pub(super) struct Lines {
    form: Form,
    sink: Sink,
}

thread_local! {
    static LINE: RefCell<Line> = RefCell::new(Line::default());
}

impl Lines {
    pub(super) fn new(form: Form, sink: Sink) -> Self {
        Self { form, sink }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        LINE.with_borrow_mut(|line| {
            line.render(self.form, event, Timestamp::now());
            self.sink.push(line.text.as_bytes());
        });
    }
}

/// A line in the making, and the clock's text, which changes once per second.
#[derive(Default)]
struct Line {
    text: String,
    /// What one value looks like before it is quoted.
    value: String,
    second: Option<i64>,
    clock: String,
}

impl Line {
    fn render(&mut self, form: Form, event: &Event<'_>, now: Timestamp) {
        let meta = event.metadata();
        if self.second != Some(now.as_second()) {
            self.second = Some(now.as_second());
            self.clock = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string();
        }
        let Self { text, value, clock, .. } = self;
        text.clear();
        let micros = now.subsec_microsecond().unsigned_abs();
        // Writing to a string cannot fail.
        let _ = match form {
            Form::Text => {
                write!(text, "{clock}.{micros:06}Z {:>5} {}:", meta.level().as_str(), meta.target())
            }
            Form::Json => {
                write!(
                    text,
                    r#"{{"timestamp":"{clock}.{micros:06}Z","level":"{}","target":"{}""#,
                    meta.level().as_str(),
                    meta.target()
                )
            }
        };
        event.record(&mut Fields { form, text, value });
        if form == Form::Json {
            text.push('}');
        }
        text.push('\n');
    }
}

struct Fields<'a> {
    form: Form,
    text: &'a mut String,
    value: &'a mut String,
}

impl Fields<'_> {
    fn name(&mut self, name: &str) {
        let (before, after) = match self.form {
            Form::Json => (",\"", "\":"),
            Form::Text if name == "message" => return self.text.push(' '),
            Form::Text => (" ", "="),
        };
        for part in [before, name, after] {
            self.text.push_str(part);
        }
    }

    fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        match self.form {
            Form::Json => self.text.push_str(&serde_json::to_string(value).unwrap_or_default()),
            // A value from outside must not pass for another field or another line.
            Form::Text if name == "message" && !value.contains(char::is_control) => self.text.push_str(value),
            Form::Text if is_word(value) => self.text.push_str(value),
            Form::Text => {
                let _ = write!(self.text, "{value:?}");
            }
        }
    }

    fn bare(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        let _ = write!(self.text, "{value}");
    }
}

fn is_word(value: &str) -> bool {
    !value.is_empty()
        && value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'='))
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field.name(), value);
        } else {
            self.string(field.name(), &value.to_string());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = std::mem::take(self.value);
        text.clear();
        let _ = write!(text, "{value:?}");
        self.string(field.name(), &text);
        *self.value = text;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tracing_subscriber::layer::SubscriberExt;

    use super::super::writer::Writer;
    use super::*;

    /// What is written for the events of `log`.
    fn lines(form: Form, log: impl FnOnce()) -> String {
        struct Channel(mpsc::Sender<Vec<u8>>);
        impl std::io::Write for Channel {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let _ = self.0.send(bytes.to_vec());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (sender, written) = mpsc::channel();
        let writer = Writer::start(Channel(sender)).unwrap();
        let subscriber = tracing_subscriber::registry().with(Lines::new(form, writer.sink()));
        tracing::subscriber::with_default(subscriber, log);
        drop(writer);
        String::from_utf8(written.iter().flatten().collect()).unwrap()
    }

    #[test]
    fn text_lines_cannot_be_forged_by_values() {
        let written = lines(Form::Text, || {
            tracing::info!(target: "faregate::request", model = "gpt\n2026 INFO forged", id = %"a b", n = 3, "request");
        });
        let (time, rest) = written.split_at("2026-11-21T02:40:00.123456Z".len());
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
        assert_eq!(
            rest,
            "  INFO faregate::request: request model=\"gpt\\n2026 INFO forged\" id=\"a b\" n=3\n"
        );
    }

    #[test]
    fn json_lines_are_flat_objects() {
        let written = lines(Form::Json, || {
            tracing::warn!(target: "t", text = "say \"hi\"", absent = None::<&str>, yes = true, cost = %"0.1", "oh");
        });
        let mut line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&written).unwrap();
        assert!(line.remove("timestamp").unwrap().as_str().unwrap().parse::<Timestamp>().is_ok());
        let expected = serde_json::json!({
            "level": "WARN", "target": "t", "message": "oh", "text": "say \"hi\"", "yes": true, "cost": "0.1",
        });
        assert_eq!(serde_json::Value::Object(line), expected);
    }
}
