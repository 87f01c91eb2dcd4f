//! A provider whose every byte the test writes, so that calls are in flight for as long as it wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

/// A listening provider.
pub struct Upstream(TcpListener);

/// One piece of text.
pub const PIECE: &str = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"piece"}}]}"#;
/// The last piece.
pub const LAST: &str = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

impl Upstream {
    /// On a port of its own.
    pub fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// A configuration with the model `slow` served by it, and further lines.
    pub fn config(&self, key: &str, more: &str) -> String {
        format!(
            "model_list:\n- model_name: slow\n  litellm_params: {{model: openai/m, api_key: sk-upstream-key, api_base: \"{}/v1\"}}\n\
             general_settings: {{master_key: {key}}}\n{more}",
            self.url()
        )
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// Waits for a connection and leaves it unread.
    pub fn connection(&self) -> TcpStream {
        self.0.accept().unwrap().0
    }

    /// Waits for a request and reads it; the connection takes the answer.
    pub fn request(&self) -> TcpStream {
        let (stream, _) = self.0.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        stream
    }
}

/// Begins a stream of events that ends with the connection.
pub fn begin_events(stream: &mut TcpStream) {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        .unwrap();
    event(stream, PIECE);
}

/// Sends one event.
pub fn event(stream: &mut TcpStream, data: &str) {
    stream.write_all(format!("data: {data}\n\n").as_bytes()).unwrap();
}

/// Reads from a connection until `text` has come.
pub fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains(text) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "no {text} in {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(seen).unwrap()
}
