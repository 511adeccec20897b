//! The part of the Go template language that our chart is written in, rendered without Go.
//!
//! The chart must mean the same to helm and to us, so everything outside of this part is an error that names file
//! and line, never a guess:
//! - text, `{{- trimming -}}`, `{{/* comments */}}`
//! - `if`, `else if`, `else`, `with`, `range` (also `range $x :=`, `range $i, $x :=`), `define`, `end`, `$x := ..`
//! - `.a.b`, `$.a`, `$x.a`, `(..).a`, "strings", integers, `true`, `false`, pipelines
//! - the functions in [`funcs`]
//!
//! Absent: `template`, `block`, `break`, `continue`, `=`, methods, `lookup`, `tpl`, `.Files`, `.Capabilities`.

mod eval;
mod funcs;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// A set of parsed templates: the files and what they `define`.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    named: BTreeMap<String, parse::Block>,
}

/// Why a template cannot be rendered, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) what: String,
    /// The chart itself refuses these values (`fail`, `required`): `what` is meant for the user.
    pub(crate) refusal: bool,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

impl std::error::Error for TemplateError {}

impl Templates {
    /// Adds a file under its name, and what it defines under the names it gives.
    pub(crate) fn add(&mut self, file: &str, source: &str) -> Result<(), TemplateError> {
        let at = |(line, what)| TemplateError { file: file.to_owned(), line, what, refusal: false };
        let tokens = lex::lex(source).map_err(at)?;
        let parsed = parse::parse(file, &tokens).map_err(at)?;
        for (name, block) in parsed {
            // Go lets the last one win; two of a name in one chart are a mistake.
            if self.named.contains_key(&name) {
                return Err(at((block.line, format!("`{name}` is defined twice"))));
            }
            self.named.insert(name, block);
        }
        Ok(())
    }

    /// Renders the template of that name with `dot` as `.` and `$`.
    pub(crate) fn render(&self, name: &str, dot: &Value) -> Result<String, TemplateError> {
        eval::Evaluation::new(&self.named).run(name, dot)
    }
}
