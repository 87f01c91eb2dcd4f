//! The SQL that makes tables, written from their descriptions.
//!
//! Constraint and index names follow Prisma's rule (`<table>_<columns>_<suffix>`, cut to 63 bytes before the
//! suffix), so that a database made here and one made by LiteLLM name the same thing alike.

use std::fmt::Write as _;

use crate::db::{Engine, pg_type};
use crate::schema::{Column, Fill, Kind, OnDelete, Table};

/// PostgreSQL's limit for a name, in bytes.
const NAME_LIMIT: usize = 63;

/// `CREATE TABLE` and its indexes. In SQLite foreign keys are part of the table.
pub fn create(engine: Engine, table: &Table) -> String {
    let mut parts: Vec<String> = table.columns.iter().map(|column| definition(engine, column)).collect();
    let constraint = name(table, &[], "pkey");
    match (engine, table.columns.iter().find(|column| column.kind == Kind::Serial)) {
        // SQLite counts up only in a column declared like this, which makes it the key as well.
        (Engine::Sqlite, Some(_)) => {}
        _ => parts.push(format!("CONSTRAINT \"{constraint}\" PRIMARY KEY ({})", quoted(table.primary))),
    }
    if engine == Engine::Sqlite {
        parts.extend(table.foreign.iter().map(|key| reference(table, key)));
    }
    let mut sql = format!("CREATE TABLE \"{}\" (\n  {}\n);\n", table.name, parts.join(",\n  "));
    for (columns, unique) in keys(engine, table) {
        let (word, suffix) = if unique { ("UNIQUE INDEX", "key") } else { ("INDEX", "idx") };
        let index = name(table, columns, suffix);
        let _ = writeln!(sql, "CREATE {word} \"{index}\" ON \"{}\" ({});", table.name, quoted(columns));
    }
    sql
}

/// PostgreSQL's foreign keys, added once every table is there.
pub fn foreign_keys(table: &Table) -> String {
    let key = |key| format!("ALTER TABLE \"{}\" ADD {};\n", table.name, reference(table, key));
    table.foreign.iter().map(key).collect()
}

/// Adds a column to a table that somebody else made.
pub fn add_column(engine: Engine, table: &Table, column: &Column) -> String {
    let mut column = *column;
    // Rows are there already: what cannot be filled in has to be allowed to be empty. SQLite adds
    // constants only.
    if column.default == Fill::Nothing || (engine == Engine::Sqlite && column.default == Fill::Now) {
        column.null = true;
        column.default = Fill::Nothing;
    }
    format!("ALTER TABLE \"{}\" ADD COLUMN {};\n", table.name, definition(engine, &column))
}

fn keys(engine: Engine, table: &Table) -> impl Iterator<Item = (&'static [&'static str], bool)> {
    let unique = table.unique.iter().map(|columns| (*columns, true));
    // PostgreSQL gets all that LiteLLM makes; of our own file, nobody wants one that another begins with.
    let needed = move |columns: &&&[&str]| {
        let begins = |other: &&[&str]| other.len() > columns.len() && other.starts_with(columns);
        engine == Engine::Postgres || !table.indexes.iter().any(begins)
    };
    unique.chain(table.indexes.iter().filter(needed).map(|columns| (*columns, false)))
}

fn definition(engine: Engine, column: &Column) -> String {
    let Column { name, kind, null, default } = column;
    if *kind == Kind::Serial {
        return match engine {
            Engine::Postgres => format!("\"{name}\" SERIAL NOT NULL"),
            Engine::Sqlite => format!("\"{name}\" INTEGER PRIMARY KEY AUTOINCREMENT"),
        };
    }
    let typed = match engine {
        Engine::Postgres => pg_type(*kind).to_uppercase(),
        // Words with the affinity the values need: text, integer, real.
        Engine::Sqlite => match kind {
            Kind::Text | Kind::Time | Kind::Json | Kind::List => "TEXT",
            Kind::Float => "DOUBLE PRECISION",
            Kind::Int | Kind::Big | Kind::Flag | Kind::Serial => "INTEGER",
        }
        .to_owned(),
    };
    // Prisma leaves a list without default nullable; it reads null as empty.
    let nullable = *null || (*kind == Kind::List && *default == Fill::Nothing);
    let mut sql = format!("\"{name}\" {typed}");
    if !nullable {
        sql.push_str(" NOT NULL");
    }
    match (default, engine) {
        (Fill::Nothing, _) => {}
        (Fill::Now, Engine::Postgres) => sql.push_str(" DEFAULT CURRENT_TIMESTAMP"),
        (Fill::Now, Engine::Sqlite) => sql.push_str(" DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))"),
        (Fill::EmptyList, Engine::Postgres) => sql.push_str(" DEFAULT ARRAY[]::TEXT[]"),
        (Fill::EmptyList, Engine::Sqlite) => sql.push_str(" DEFAULT '[]'"),
        (Fill::Literal(literal), _) => {
            let _ = match kind {
                Kind::Text | Kind::Json | Kind::Time | Kind::List => write!(sql, " DEFAULT '{literal}'"),
                _ => write!(sql, " DEFAULT {literal}"),
            };
        }
    }
    sql
}

fn reference(table: &Table, key: &(&str, &str, &str, OnDelete)) -> String {
    let (column, target, target_column, rule) = key;
    let nullable = table.columns.iter().any(|candidate| candidate.name == *column && candidate.null);
    let on_delete = match (rule, nullable) {
        (OnDelete::Cascade, _) => "CASCADE",
        (OnDelete::Default, true) => "SET NULL",
        (OnDelete::Default, false) => "RESTRICT",
    };
    let constraint = name(table, &[column], "fkey");
    format!(
        "CONSTRAINT \"{constraint}\" FOREIGN KEY (\"{column}\") REFERENCES \"{target}\"(\"{target_column}\") \
         ON DELETE {on_delete} ON UPDATE CASCADE"
    )
}

fn quoted(columns: &[&str]) -> String {
    columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ")
}

fn name(table: &Table, columns: &[&str], suffix: &str) -> String {
    let mut stem = [&[table.name], columns].concat().join("_");
    stem.truncate(NAME_LIMIT - 1 - suffix.len());
    format!("{stem}_{suffix}")
}
