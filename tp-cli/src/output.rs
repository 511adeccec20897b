//! What goes to stdout: data, as text for people or as JSON for programs.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON document, whose fields stay
    Json,
}

impl Output {
    /// Prints `data` in the chosen form; `text` makes the one for people.
    pub fn print<T: Serialize>(self, data: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        let mut document = match self {
            Self::Text => text(data),
            Self::Json => serde_json::to_string_pretty(data).context("writing JSON")?,
        };
        if !document.is_empty() && !document.ends_with('\n') {
            document.push('\n');
        }
        match io::stdout().write_all(document.as_bytes()) {
            // `tp status | head -1` has read enough
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context("writing to stdout"),
        }
    }
}

/// A table without frames, as kubectl's.
pub fn table(header: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// `Name:  value` lines, the values in one column. Lines without a value are left out.
pub fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    let shown = fields.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("{:<width$}  {value}\n", format!("{name}:"))).collect()
}
