//! Forms with a file, read as strictly as a transcription service does. Source: RFC 7578.

use serde_json::{Map, Value};

use crate::dialect::{Head, header};
use crate::failure::Failure;

/// A form's fields and its file.
pub(super) struct Form<'a> {
    fields: Vec<(String, String)>,
    file: &'a [u8],
    name: String,
}

impl<'a> Form<'a> {
    pub(super) fn read(head: &Head<'a>) -> Result<Self, Failure> {
        let kind = header(head.headers, "content-type").unwrap_or_default();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").map(|it| it.trim_matches('"'));
        let boundary = boundary.ok_or_else(|| Failure::invalid("the body is no multipart form"))?;
        let mut form = Self { fields: Vec::new(), file: &[], name: String::new() };
        for part in parts(head.body, &format!("--{boundary}")) {
            form.part(part)?;
        }
        if form.name.is_empty() {
            return Err(Failure::invalid_param("file", "Missing required parameter: 'file'."));
        }
        if form.field("model").is_none() {
            return Err(Failure::invalid_param("model", "you must provide a model parameter"));
        }
        Ok(form)
    }

    fn part(&mut self, part: &'a [u8]) -> Result<(), Failure> {
        let bad = || Failure::invalid("a part of the form has no head");
        let end = part.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(bad)?;
        let head = String::from_utf8_lossy(&part[..end]).into_owned();
        let body = part[end + 4..].strip_suffix(b"\r\n").ok_or_else(bad)?;
        let word = |name: &str| {
            let (_, rest) = head.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        match (word(" name"), word("filename")) {
            (Some(name), Some(file)) if name == "file" => {
                (self.file, self.name) = (body, file);
            }
            (Some(name), _) => self.fields.push((name, String::from_utf8_lossy(body).into_owned())),
            _ => return Err(bad()),
        }
        Ok(())
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn file(&self) -> &[u8] {
        self.file
    }

    pub(super) fn members(&self) -> Value {
        let members: Map<String, Value> =
            self.fields.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        Value::Object(members)
    }
}

/// What stands between the boundaries.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let mark = boundary.as_bytes();
    let mut starts: Vec<usize> = body
        .windows(mark.len())
        .enumerate()
        .filter(|(_, window)| *window == mark)
        .map(|(at, _)| at)
        .collect();
    let last = starts.pop().unwrap_or_default();
    starts.push(last);
    starts.windows(2).map(|pair| body[pair[0] + mark.len()..pair[1]].trim_ascii_start()).collect()
}
