//! A statement being written, and the plain values that go in and come out.

use crate::schema::{Column, Kind};

/// Which engine a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file of our own.
    Sqlite,
    /// A server.
    Postgres,
}

/// A value on its way in or out. Times, JSON and lists travel as text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    Int(i64),
    Float(f64),
    Flag(bool),
}

/// One row: cells in the order they were asked for.
pub(crate) type Row = Vec<Cell>;

impl Cell {
    pub fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            _ => 0,
        }
    }

    pub fn float(&self) -> f64 {
        match self {
            Self::Float(number) => *number,
            _ => 0.0,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<faregate_terms::UtcMillis> for Cell {
    fn from(moment: faregate_terms::UtcMillis) -> Self {
        Self::Text(moment.sql())
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A statement being written. Text and values are added side by side, so that they cannot get out of step.
#[derive(Debug, Clone)]
pub(crate) struct Sql {
    pub engine: Engine,
    pub(super) text: String,
    pub(super) values: Vec<Cell>,
    /// False for statements whose text is rarely the same twice.
    pub(super) cached: bool,
}

impl Sql {
    pub fn new(engine: Engine, text: &str) -> Self {
        Self { engine, text: text.to_owned(), values: Vec::new(), cached: true }
    }

    /// Keeps this statement out of the cache of prepared statements.
    pub fn once(mut self) -> Self {
        self.cached = false;
        self
    }

    /// Adds SQL text. Never holds a value.
    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a placeholder for `value`, cast to what a column of `kind` holds.
    ///
    /// NUL characters are dropped: PostgreSQL stores them neither in text nor in JSON.
    pub fn bind(&mut self, kind: Kind, value: impl Into<Cell>) -> &mut Self {
        let value = match value.into() {
            Cell::Text(text) if text.contains('\0') => Cell::Text(text.replace('\0', "")),
            Cell::Text(text) if matches!(kind, Kind::Json | Kind::List) && text.contains("\\u0000") => {
                Cell::Text(without_escaped_nul(&text))
            }
            other => other,
        };
        self.values.push(value);
        let number = self.values.len();
        let written = match (self.engine, kind) {
            // Not numbered: SQLite looks names of placeholders up one by one, which is slow for thousands.
            (Engine::Sqlite, _) => {
                self.text.push('?');
                return self;
            }
            (Engine::Postgres, Kind::List) => {
                format!("ARRAY(SELECT jsonb_array_elements_text(${number}::jsonb))")
            }
            (Engine::Postgres, kind) => format!("${number}::{}", pg_type(kind)),
        };
        self.text.push_str(&written);
        self
    }

    /// Adds `, `-separated placeholders in parentheses.
    pub fn bind_list(&mut self, kind: Kind, values: impl IntoIterator<Item = impl Into<Cell>>) -> &mut Self {
        self.push("(");
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.bind(kind, value);
        }
        self.push(")")
    }

    /// Adds `alias."column"` for each, in the form [`Cell`]s are read from.
    pub fn select(&mut self, alias: &str, columns: &[Column]) -> &mut Self {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            let read = readable(self.engine, &format!("{alias}.\"{}\"", column.name), column.kind);
            self.push(&read);
        }
        self
    }
}

/// The escape `\u0000` inside JSON text, unless its backslash is itself escaped.
fn without_escaped_nul(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = from.strip_prefix("\\u0000") {
            rest = after;
        } else {
            // An escape is two bytes at least; both are ASCII in valid JSON.
            let cut = from.char_indices().nth(2).map_or(from.len(), |(at, _)| at);
            let (escape, after) = from.split_at(cut);
            out.push_str(escape);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// PostgreSQL's name of a kind.
pub(crate) fn pg_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Float => "double precision",
        Kind::Int | Kind::Serial => "integer",
        Kind::Big => "bigint",
        Kind::Flag => "boolean",
        Kind::Time => "timestamp(3)",
        Kind::Json => "jsonb",
        Kind::List => "text[]",
    }
}

/// SQL that reads `expression` of `kind` as one of the five plain types.
pub(crate) fn readable(engine: Engine, expression: &str, kind: Kind) -> String {
    match (engine, kind) {
        (Engine::Postgres, Kind::Time) => format!("to_char({expression}, 'YYYY-MM-DD HH24:MI:SS.MS')"),
        (Engine::Postgres, Kind::Json) => format!("{expression}::text"),
        (Engine::Postgres, Kind::List) => format!("array_to_json({expression})::text"),
        (Engine::Postgres, Kind::Int | Kind::Serial | Kind::Big) => format!("({expression})::bigint"),
        (Engine::Postgres, Kind::Float) => format!("({expression})::double precision"),
        _ => expression.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_escape_of_nul_is_dropped() {
        for (text, kept) in [
            (r#""a\u0000b""#, r#""ab""#),
            (r#""a\\u0000b""#, r#""a\\u0000b""#),
            (r#""\\\u0000é\n""#, r#""\\é\n""#),
        ] {
            assert_eq!(without_escaped_nul(text), kept, "{text}");
        }
    }
}
