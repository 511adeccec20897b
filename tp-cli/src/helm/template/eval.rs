//! Trees and values to text.

use super::{
    TemplateError, funcs,
    parse::{Block, Command, Node, NodeKind, Operand, Pipeline},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Far above what the chart needs, and what makes rendering end whatever the templates say.
const MAX_DEPTH: usize = 150;
const MAX_STEPS: usize = 200_000;
const MAX_TEXT: usize = 4 << 20;

pub(super) struct Evaluation<'a> {
    named: &'a BTreeMap<String, Block>,
    steps: usize,
    depth: usize,
}

/// Where we are: for messages, and for `.`, `$` and the variables.
struct Scope<'a> {
    file: &'a str,
    dot: Value,
    variables: Vec<(String, Value)>,
}

impl Scope<'_> {
    fn wrong(&self, line: usize, what: impl Into<String>) -> TemplateError {
        TemplateError { file: self.file.to_owned(), line, what: what.into(), refusal: false }
    }
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(named: &'a BTreeMap<String, Block>) -> Self {
        Self { named, steps: 0, depth: 0 }
    }

    pub(super) fn run(&mut self, name: &str, dot: &Value) -> Result<String, TemplateError> {
        let Some(block) = self.named.get(name) else {
            let what = format!("no template is named `{name}`");
            return Err(TemplateError { file: name.to_owned(), line: 1, what, refusal: false });
        };
        // `$` is the value a template was called with.
        let variables = vec![(String::new(), dot.clone())];
        let mut scope = Scope { file: &block.file, dot: dot.clone(), variables };
        let mut out = String::new();
        self.nodes(&block.nodes, &mut scope, &mut out)?;
        Ok(out)
    }

    fn nodes(
        &mut self,
        nodes: &[Node],
        scope: &mut Scope<'_>,
        out: &mut String,
    ) -> Result<(), TemplateError> {
        let outer = scope.variables.len();
        self.depth += 1;
        for node in nodes {
            self.steps += 1;
            if self.steps > MAX_STEPS || self.depth > MAX_DEPTH || out.len() > MAX_TEXT {
                return Err(scope.wrong(node.line, "this template does not end, or makes too much text"));
            }
            self.node(node, scope, out)?;
        }
        self.depth -= 1;
        scope.variables.truncate(outer);
        Ok(())
    }

    fn node(&mut self, node: &Node, scope: &mut Scope<'_>, out: &mut String) -> Result<(), TemplateError> {
        let line = node.line;
        match &node.kind {
            NodeKind::Text(text) => out.push_str(text),
            NodeKind::Print(pipeline) => {
                let value = self.pipeline(pipeline, line, scope)?;
                out.push_str(&funcs::text(&value).map_err(|what| scope.wrong(line, what))?);
            }
            NodeKind::Declare(name, pipeline) => {
                let value = self.pipeline(pipeline, line, scope)?;
                scope.variables.push((name.clone(), value));
            }
            NodeKind::If(condition, then, otherwise) => {
                let chosen = self.pipeline(condition, line, scope)?;
                self.nodes(if funcs::is_true(&chosen) { then } else { otherwise }, scope, out)?;
            }
            NodeKind::With(condition, then, otherwise) => {
                let chosen = self.pipeline(condition, line, scope)?;
                if funcs::is_true(&chosen) {
                    self.with_dot(chosen, then, scope, out)?;
                } else {
                    self.nodes(otherwise, scope, out)?;
                }
            }
            NodeKind::Range(index, element, over, body, otherwise) => {
                let over = self.pipeline(over, line, scope)?;
                let items = items(over).map_err(|what| scope.wrong(line, what))?;
                if items.is_empty() {
                    return self.nodes(otherwise, scope, out);
                }
                for (key, item) in items {
                    let outer = scope.variables.len();
                    if let Some(name) = index {
                        scope.variables.push((name.clone(), key));
                    }
                    if let Some(name) = element {
                        scope.variables.push((name.clone(), item.clone()));
                    }
                    self.with_dot(item, body, scope, out)?;
                    scope.variables.truncate(outer);
                }
            }
        }
        Ok(())
    }

    fn with_dot(
        &mut self,
        dot: Value,
        body: &[Node],
        scope: &mut Scope<'_>,
        out: &mut String,
    ) -> Result<(), TemplateError> {
        let outer = std::mem::replace(&mut scope.dot, dot);
        let result = self.nodes(body, scope, out);
        scope.dot = outer;
        result
    }

    fn pipeline(
        &mut self,
        pipeline: &Pipeline,
        line: usize,
        scope: &Scope<'_>,
    ) -> Result<Value, TemplateError> {
        let mut piped = None;
        for command in pipeline {
            piped = Some(self.command(command, piped, line, scope)?);
        }
        piped.ok_or_else(|| scope.wrong(line, "a value is missing here"))
    }

    fn command(
        &mut self,
        command: &Command,
        piped: Option<Value>,
        line: usize,
        scope: &Scope<'_>,
    ) -> Result<Value, TemplateError> {
        let Operand::Function(name) = &command.head else { return self.operand(&command.head, line, scope) };
        if name == "and" || name == "or" {
            return self.either(name == "or", command, piped, line, scope);
        }
        let mut args = Vec::with_capacity(command.args.len() + 1);
        for arg in &command.args {
            args.push(self.operand(arg, line, scope)?);
        }
        args.extend(piped);
        let wrong = |what| scope.wrong(line, what);
        if name == "include" {
            let [Value::String(template), dot] = args.as_slice() else {
                return Err(wrong("`include` takes a name and a value".to_owned()));
            };
            return self.include(template, dot, line, scope);
        }
        let refusal = name == "fail" || name == "required";
        let value = funcs::call(name, &args).map_err(|what| TemplateError { refusal, ..wrong(what) })?;
        match &value {
            Value::String(text) if text.len() > MAX_TEXT => Err(wrong("this makes too much text".to_owned())),
            _ => Ok(value),
        }
    }

    /// `and`, `or`: the first argument that decides; those after it are not looked at.
    fn either(
        &mut self,
        or: bool,
        command: &Command,
        piped: Option<Value>,
        line: usize,
        scope: &Scope<'_>,
    ) -> Result<Value, TemplateError> {
        let mut last = None;
        for arg in &command.args {
            let value = self.operand(arg, line, scope)?;
            if funcs::is_true(&value) == or {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| scope.wrong(line, "`and` and `or` need a value"))
    }

    fn include(
        &mut self,
        name: &str,
        dot: &Value,
        line: usize,
        scope: &Scope<'_>,
    ) -> Result<Value, TemplateError> {
        if !self.named.contains_key(name) {
            return Err(scope.wrong(line, format!("no template is named `{name}`")));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(scope.wrong(line, "templates include each other without an end"));
        }
        let text = self.run(name, dot)?;
        self.depth -= 1;
        Ok(Value::String(text))
    }

    fn operand(&mut self, operand: &Operand, line: usize, scope: &Scope<'_>) -> Result<Value, TemplateError> {
        let (value, names) = match operand {
            Operand::Text(text) => return Ok(Value::String(text.clone())),
            Operand::Number(number) => return Ok(Value::from(*number)),
            Operand::Bool(value) => return Ok(Value::Bool(*value)),
            Operand::Function(name) => return funcs::call(name, &[]).map_err(|what| scope.wrong(line, what)),
            Operand::Dot(names) => (scope.dot.clone(), names),
            Operand::Variable(name, names) => {
                let found = scope.variables.iter().rev().find(|(n, _)| n == name);
                let Some((_, value)) = found else {
                    return Err(scope.wrong(line, format!("no variable is named `${name}`")));
                };
                (value.clone(), names)
            }
            Operand::Paren(pipeline, names) => (self.pipeline(pipeline, line, scope)?, names),
        };
        field(value, names).map_err(|what| scope.wrong(line, what))
    }
}

/// A key that a map lacks is null (Helm's templates see the same); a key of something that is no map is an error.
fn field(mut value: Value, names: &[String]) -> Result<Value, String> {
    for name in names {
        value = match value {
            Value::Object(mut map) => map.remove(name).unwrap_or(Value::Null),
            other => return Err(format!("`.{name}` of {}, which has no keys", funcs::kind(&other))),
        };
    }
    Ok(value)
}

/// What `range` goes through; maps in the order of their keys, as Go does.
fn items(over: Value) -> Result<Vec<(Value, Value)>, String> {
    match over {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            Ok(items.into_iter().enumerate().map(|(at, item)| (Value::from(at), item)).collect())
        }
        Value::Object(map) => {
            let mut items: Vec<_> = map.into_iter().collect();
            items.sort_by(|(a, _), (b, _)| a.cmp(b));
            Ok(items.into_iter().map(|(key, item)| (Value::String(key), item)).collect())
        }
        other => Err(format!("`range` over {}", funcs::kind(&other))),
    }
}
