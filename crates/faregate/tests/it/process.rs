//! The built binary as a child, with its log read line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use faregate_admin::answers;
use http::Method;

/// Long enough for a busy machine; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(30);

/// The command, with nothing of this machine's environment, inside `folder`.
pub fn faregate(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faregate"));
    command.args(args).env_clear().env("FAREGATE_DATA_DIR", folder.join("data")).current_dir(folder);
    command
}

/// Runs a command that ends by itself.
pub fn run(folder: &Path, args: &[&str]) -> Output {
    faregate(folder, args).stdin(Stdio::null()).output().unwrap()
}

/// What a command wrote to standard error.
pub fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A gateway in a process of its own, killed when dropped.
pub struct Running {
    child: Child,
    lines: Mutex<Receiver<String>>,
    /// `127.0.0.1:port`.
    pub address: String,
    /// All lines until it listened.
    pub greeting: Vec<String>,
}

impl Running {
    /// Starts it on a free port and waits until it listens.
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        Self::of(faregate(folder, args))
    }

    /// The same for a command with more to it.
    pub fn of(command: Command) -> Self {
        Self::with_input(command, Stdio::null())
    }

    /// The same with something to read.
    pub fn with_input(mut command: Command, input: Stdio) -> Self {
        command.args(["--host", "127.0.0.1", "--port", "0"]).stdin(input).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut running =
            Self { child, lines: Mutex::new(lines), address: String::new(), greeting: Vec::new() };
        let line = running.line("listening on http");
        running.address = line.rsplit_once("://").unwrap().1.to_owned();
        running
    }

    /// Waits for a log line that holds `text`.
    pub fn line(&mut self, text: &str) -> String {
        loop {
            let line = self
                .lines
                .get_mut()
                .unwrap()
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("no line with {text:?} after {:#?}", self.greeting));
            self.greeting.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends a signal, by its short name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// The exit code, once it has ended.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Sends one request; answers status, head and body.
    pub fn call(&self, method: &str, path: &str, key: &str, body: &[u8]) -> Answer {
        let answer = self.call_declared(method, path, key, body, body.len());
        if answer.status == 200
            && let Ok(json) = serde_json::from_str(&answer.body)
        {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let path = path.split('?').next().unwrap();
            assert_eq!(answers::check(&method, path, &json), Ok(()));
        }
        answer
    }

    /// The same with a body length that is only claimed.
    pub fn call_declared(&self, method: &str, path: &str, key: &str, body: &[u8], length: usize) -> Answer {
        let more = format!("content-length: {length}\r\n");
        Answer::read(self.begin(&format!("{method} {path}"), key, &more, body))
    }

    /// Sends one request and leaves its answer on the connection; `more` are further header lines.
    pub fn begin(&self, line: &str, key: &str, more: &str, body: &[u8]) -> TcpStream {
        self.try_begin(line, key, more, body).unwrap()
    }

    /// The same; `None` if nobody listens any more.
    pub fn try_begin(&self, line: &str, key: &str, more: &str, body: &[u8]) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let head = format!(
            "{line} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\n{more}connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        Some(stream)
    }

    /// Sends a form, as a browser does.
    pub fn send_form(&self, path: &str, form: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            form.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(form).unwrap();
        Answer::read(stream)
    }

    /// One turn with `model`, streamed: the connection with the answer to come.
    pub fn stream(&self, model: &str, key: &str) -> TcpStream {
        let body = serde_json::json!({
            "model": model, "stream": true, "messages": [{"role": "user", "content": "hello"}]
        })
        .to_string();
        let more = format!("content-length: {}\r\n", body.len());
        self.begin("POST /v1/chat/completions", key, &more, body.as_bytes())
    }

    /// One turn with `model`.
    pub fn chat(&self, model: &str, key: &str) -> Answer {
        let body = serde_json::json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
        self.call("POST", "/v1/chat/completions", key, body.to_string().as_bytes())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer over plain HTTP.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Status line and headers, lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .map(|(name, value)| (name, value.trim()))
            .find(|(one, _)| *one == name)
            .map(|(_, it)| it.to_owned())
    }

    /// Reads to the end of the connection.
    pub fn read(mut stream: impl Read) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// `error.message`.
    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}
