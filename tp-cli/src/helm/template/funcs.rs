//! The functions our chart may use, meaning what Helm's functions of the same name mean.
//!
//! `and`, `or` and `include` are the evaluation's own: they need more than values.

use crate::helm::yaml;
use serde_json::Value;

pub(super) fn call(name: &str, args: &[Value]) -> Result<Value, String> {
    let takes = |what: &str| format!("`{name}` takes {what}");
    let value = match (name, args) {
        ("default", [fallback, value]) => if is_true(value) { value } else { fallback }.clone(),
        ("default", _) => return Err(takes("a default and a value")),
        ("not", [value]) => Value::Bool(!is_true(value)),
        ("not", _) => return Err(takes("one value")),
        ("eq", [first, others @ ..]) if !others.is_empty() => Value::Bool(equals_any(first, others)?),
        ("ne", [a, b]) => Value::Bool(!equals_any(a, std::slice::from_ref(b))?),
        ("eq" | "ne", _) => return Err(takes("two values")),
        ("quote", args) => Value::String(quote(args)?),
        ("toYaml", [value]) => Value::String(yaml::emit(value)),
        ("toYaml", _) => return Err(takes("one value")),
        ("indent", [count, text]) => Value::String(indent(name, count, text)?),
        ("nindent", [count, text]) => Value::String(format!("\n{}", indent(name, count, text)?)),
        ("indent" | "nindent", _) => return Err(takes("a number of spaces and a text")),
        ("printf", [Value::String(format), args @ ..]) => Value::String(printf(format, args)?),
        ("printf", _) => return Err(takes("a format and values")),
        ("join", [Value::String(between), list]) => Value::String(join(between, list)?),
        ("join", _) => return Err(takes("a text and a list")),
        ("list", args) => Value::Array(args.to_vec()),
        ("int", [value]) => int(value)?,
        ("int", _) => return Err(takes("one value")),
        ("required", [Value::String(why), value]) => match value {
            Value::Null => return Err(why.clone()),
            Value::String(text) if text.is_empty() => return Err(why.clone()),
            value => value.clone(),
        },
        ("required", _) => return Err(takes("a message and a value")),
        ("fail", [Value::String(why)]) => return Err(why.clone()),
        ("fail", _) => return Err(takes("a message")),
        _ => {
            return Err(format!(
                "the function `{name}` is outside of the part of Go templates that we render"
            ));
        }
    };
    Ok(value)
}

/// Go's truth: everything but null, false, 0 and what is empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// A value as `{{ value }}` prints it. Lists and maps are refused: Go prints its own notation, which no chart wants.
/// Whole numbers print as such; Helm prints 1000000 of a values file as 1e+06 unless it goes through `int`.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => {
            Ok(yaml::whole(number).map_or_else(|| number.to_string(), |whole| whole.to_string()))
        }
        Value::String(text) => Ok(text.clone()),
        Value::Array(_) | Value::Object(_) => Err(format!("{} cannot be printed; use toYaml", kind(value))),
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn equals_any(first: &Value, others: &[Value]) -> Result<bool, String> {
    for other in others {
        let equal = match (first, other) {
            (Value::Null, other) | (other, Value::Null) => other.is_null(),
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
            (a, b) => return Err(format!("{} cannot be compared with {}", kind(a), kind(b))),
        };
        if equal {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Go's %q of each value that is not null, separated by spaces.
fn quote(args: &[Value]) -> Result<String, String> {
    let mut quoted = Vec::new();
    for arg in args.iter().filter(|arg| !arg.is_null()) {
        quoted.push(go_quote(&text(arg)?));
    }
    Ok(quoted.join(" "))
}

fn go_quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if u32::from(c) < 0x20 || c == '\x7f' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn indent(name: &str, count: &Value, text: &Value) -> Result<String, String> {
    let spaces = count.as_u64().filter(|&n| n <= 64).and_then(|n| usize::try_from(n).ok());
    let (Some(spaces), Value::String(text)) = (spaces, text) else {
        return Err(format!("`{name}` takes a number of spaces up to 64 and a text"));
    };
    let pad = " ".repeat(spaces);
    Ok(format!("{pad}{}", text.replace('\n', &format!("\n{pad}"))))
}

fn printf(format: &str, args: &[Value]) -> Result<String, String> {
    let mut made = String::new();
    let mut args = args.iter();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            made.push(c);
            continue;
        }
        let verb = chars.next().ok_or("`printf` ends in %")?;
        if verb == '%' {
            made.push('%');
            continue;
        }
        let arg = args.next().ok_or("`printf` has too few values")?;
        match (verb, arg) {
            ('s', Value::String(text)) => made.push_str(text),
            ('q', Value::String(text)) => made.push_str(&go_quote(text)),
            ('d', Value::Number(number)) if number.is_i64() => made.push_str(&number.to_string()),
            ('v', Value::String(_) | Value::Bool(_) | Value::Number(_)) => made.push_str(&text(arg)?),
            (verb, arg) => return Err(format!("`printf` cannot write {} as %{verb}", kind(arg))),
        }
    }
    if args.next().is_some() {
        return Err("`printf` has too many values".to_owned());
    }
    Ok(made)
}

fn join(between: &str, list: &Value) -> Result<String, String> {
    let Value::Array(items) = list else { return Err(format!("`join` takes a list, not {}", kind(list))) };
    let items: Result<Vec<String>, String> = items.iter().filter(|item| !item.is_null()).map(text).collect();
    Ok(items?.join(between))
}

fn int(value: &Value) -> Result<Value, String> {
    let number = match value {
        Value::Number(number) => yaml::whole(number),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.map(Value::from).ok_or_else(|| format!("{value} is not a whole number"))
}
