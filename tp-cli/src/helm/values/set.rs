//! The notation of `--set`: `a.b=1,list[0].c=x,all={1,2}`, backslash before a character that shall mean itself.

use super::Values;
use anyhow::{Result, bail, ensure};
use serde_json::Value;

/// More than any list of the chart; an index is memory.
const MAX_INDEX: usize = 1000;
/// Values are walked by recursion.
const MAX_DEPTH: usize = 32;

/// Writes what `text` says into `values`.
pub(super) fn apply(values: &mut Values, text: &str, as_text: bool) -> Result<()> {
    let mut rest: Vec<char> = text.chars().rev().collect();
    while !rest.is_empty() {
        let path = path(&mut rest)?;
        ensure!(path.len() <= MAX_DEPTH, "more than {MAX_DEPTH} keys inside of each other");
        let value = value(&mut rest, as_text)?;
        let mut root = Value::Object(std::mem::take(values));
        let written = write(&mut root, &path, value);
        if let Value::Object(map) = root {
            *values = map;
        }
        written?;
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Everything up to the `=`, which is eaten too. `rest` is reversed, so that pop() gives the next character.
fn path(rest: &mut Vec<char>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut key = String::new();
    // After `]` a key need not follow.
    let mut complete = false;
    loop {
        match rest.pop() {
            None => bail!("`=` is missing after `{key}`"),
            Some('\\') => key.extend(rest.pop()),
            Some('.') => end_key(&mut steps, &mut key, &mut complete)?,
            Some('[') => {
                if !key.is_empty() {
                    steps.push(Step::Key(std::mem::take(&mut key)));
                }
                ensure!(!steps.is_empty(), "a list needs a key before its [");
                let mut digits = String::new();
                loop {
                    match rest.pop() {
                        Some(']') => break,
                        Some(c) => digits.push(c),
                        None => bail!("`]` is missing"),
                    }
                }
                let index = digits.parse().ok().filter(|&index| index <= MAX_INDEX);
                let Some(index) = index else { bail!("`{digits}` is not an index up to {MAX_INDEX}") };
                steps.push(Step::Index(index));
                complete = true;
            }
            Some('=') => {
                end_key(&mut steps, &mut key, &mut complete)?;
                return Ok(steps);
            }
            Some(',') => bail!("`=` is missing after `{key}`"),
            Some(c) => {
                ensure!(!complete, "a dot is missing after ]");
                key.push(c);
            }
        }
    }
}

fn end_key(steps: &mut Vec<Step>, key: &mut String, complete: &mut bool) -> Result<()> {
    if !*complete || !key.is_empty() {
        ensure!(!key.is_empty(), "a key is empty");
        steps.push(Step::Key(std::mem::take(key)));
    }
    *complete = false;
    Ok(())
}

/// Everything up to the `,` that ends the value, which is eaten too.
fn value(rest: &mut Vec<char>, as_text: bool) -> Result<Value> {
    if rest.last() != Some(&'{') {
        let (text, _) = text_until(rest, &[',']);
        return Ok(typed(text, as_text));
    }
    rest.pop();
    let mut items = Vec::new();
    loop {
        let (text, end) = text_until(rest, &[',', '}']);
        let is_empty_list = items.is_empty() && text.is_empty() && end == Some('}');
        if !is_empty_list {
            items.push(typed(text, as_text));
        }
        match end {
            Some(',') => {}
            Some(_) => break,
            None => bail!("`}}` is missing"),
        }
    }
    match rest.pop() {
        None | Some(',') => Ok(Value::Array(items)),
        Some(c) => bail!("a comma is missing before `{c}`"),
    }
}

fn text_until(rest: &mut Vec<char>, ends: &[char]) -> (String, Option<char>) {
    let mut text = String::new();
    while let Some(c) = rest.pop() {
        match c {
            '\\' => text.extend(rest.pop()),
            c if ends.contains(&c) => return (text, Some(c)),
            c => text.push(c),
        }
    }
    (text, None)
}

/// helm's guess of what a text means: a leading 0 makes it a text.
fn typed(text: String, as_text: bool) -> Value {
    if as_text {
        return Value::String(text);
    }
    match text.as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        "0" => Value::from(0),
        digits if !digits.starts_with('0') => match digits.parse::<i64>() {
            Ok(number) => Value::from(number),
            Err(_) => Value::String(text),
        },
        _ => Value::String(text),
    }
}

fn write(at: &mut Value, path: &[Step], value: Value) -> Result<()> {
    let Some((step, rest)) = path.split_first() else {
        *at = value;
        return Ok(());
    };
    match step {
        Step::Key(key) => {
            if !at.is_object() {
                *at = Value::Object(Values::new());
            }
            let Value::Object(map) = at else { bail!("`{key}` is a key of something that has none") };
            write(map.entry(key.clone()).or_insert(Value::Null), rest, value)
        }
        Step::Index(index) => {
            if !at.is_array() {
                *at = Value::Array(Vec::new());
            }
            let Value::Array(items) = at else { bail!("[{index}] of something that is no list") };
            if items.len() <= *index {
                items.resize(index + 1, Value::Null);
            }
            write(&mut items[*index], rest, value)
        }
    }
}
