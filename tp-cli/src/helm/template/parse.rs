//! Tokens to trees.

use super::lex::{Kind, Token};

/// What stands between an opening keyword and its `end`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Block {
    /// The file of the template, for messages.
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: NodeKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum NodeKind {
    Text(String),
    Print(Pipeline),
    Declare(String, Pipeline),
    If(Pipeline, Vec<Node>, Vec<Node>),
    With(Pipeline, Vec<Node>, Vec<Node>),
    /// The names of index and element, where the template gives them.
    Range(Option<String>, Option<String>, Pipeline, Vec<Node>, Vec<Node>),
}

/// `a | b | c`: each command's value is the next one's last argument.
pub(super) type Pipeline = Vec<Command>;

/// A value, or a function and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    pub(super) head: Operand,
    pub(super) args: Vec<Operand>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Function(String),
    Dot(Vec<String>),
    Variable(String, Vec<String>),
    Text(String),
    Number(i64),
    Bool(bool),
    Paren(Pipeline, Vec<String>),
}

type Wrong = (usize, String);

/// The file's own template and what it defines, each with its name.
pub(super) fn parse(file: &str, tokens: &[Token]) -> Result<Vec<(String, Block)>, Wrong> {
    let mut parser = Parser { tokens, at: 0, file, depth: 0, defined: Vec::new() };
    let (nodes, end) = parser.nodes()?;
    if let Some(end) = end {
        return Err((parser.line(), format!("`{end}` without a beginning")));
    }
    let mut all = parser.defined;
    all.push((file.to_owned(), Block { file: file.to_owned(), line: 1, nodes }));
    Ok(all)
}

/// Deeper nesting than any chart needs; keeps the recursion finite.
const MAX_DEPTH: usize = 40;

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    file: &'a str,
    depth: usize,
    defined: Vec<(String, Block)>,
}

/// What closed a block: `end`, or `else` (then the parser stands behind that word).
type Closer = &'static str;

impl Parser<'_> {
    fn line(&self) -> usize {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens.get(self.at.min(last)).map_or(1, |token| token.line)
    }

    fn next(&mut self) -> Option<&Kind> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(&token.kind)
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn expect(&mut self, kind: &Kind, what: &str) -> Result<(), Wrong> {
        let line = self.line();
        if self.next() == Some(kind) { Ok(()) } else { Err((line, format!("{what} is missing here"))) }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        if self.depth >= MAX_DEPTH {
            return Err((self.line(), "nested too deeply".to_owned()));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, Option<Closer>), Wrong> {
        let mut nodes = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.next() {
                None => return Ok((nodes, None)),
                Some(Kind::Text(text)) => NodeKind::Text(text.clone()),
                Some(Kind::Open) => match self.peek() {
                    Some(Kind::Word(word)) => match word.clone().as_str() {
                        "end" => {
                            self.at += 1;
                            self.expect(&Kind::Close, "}}")?;
                            return Ok((nodes, Some("end")));
                        }
                        "else" => {
                            self.at += 1;
                            return Ok((nodes, Some("else")));
                        }
                        "define" => {
                            self.deeper(Self::define)?;
                            continue;
                        }
                        "if" => self.deeper(|p| p.conditional(NodeKind::If))?,
                        "with" => self.deeper(|p| p.conditional(NodeKind::With))?,
                        "range" => self.deeper(Self::range)?,
                        word @ ("template" | "block" | "break" | "continue") => {
                            return Err((
                                line,
                                format!("`{word}` is outside of the part of Go templates that we render"),
                            ));
                        }
                        _ => self.print()?,
                    },
                    _ => self.print()?,
                },
                Some(_) => return Err((line, "an action is missing its `{{`".to_owned())),
            };
            nodes.push(Node { line, kind });
        }
    }

    fn define(&mut self) -> Result<(), Wrong> {
        let line = self.line();
        self.at += 1;
        let Some(Kind::Quoted(name)) = self.next().cloned() else {
            return Err((line, "`define` needs a name in quotes".to_owned()));
        };
        if self.depth > 1 {
            return Err((line, "`define` must not stand inside of another block".to_owned()));
        }
        self.expect(&Kind::Close, "}}")?;
        let (nodes, closer) = self.nodes()?;
        self.must_end(line, closer)?;
        self.defined.push((name, Block { file: self.file.to_owned(), line, nodes }));
        Ok(())
    }

    fn must_end(&self, line: usize, closer: Option<Closer>) -> Result<(), Wrong> {
        match closer {
            Some("end") => Ok(()),
            Some(_) => Err((self.line(), "`else` does not belong here".to_owned())),
            None => Err((line, "the block that begins here has no `end`".to_owned())),
        }
    }

    /// `if` and `with`, from their keyword on.
    fn conditional(
        &mut self,
        make: fn(Pipeline, Vec<Node>, Vec<Node>) -> NodeKind,
    ) -> Result<NodeKind, Wrong> {
        let line = self.line();
        self.at += 1;
        let condition = self.pipeline(&Kind::Close)?;
        let (then, closer) = self.nodes()?;
        let otherwise = self.otherwise(line, closer)?;
        Ok(make(condition, then, otherwise))
    }

    /// What follows `else`, up to and with the `end`.
    fn otherwise(&mut self, line: usize, closer: Option<Closer>) -> Result<Vec<Node>, Wrong> {
        if closer != Some("else") {
            self.must_end(line, closer)?;
            return Ok(Vec::new());
        }
        if self.peek() == Some(&Kind::Word("if".to_owned())) {
            // `else if` shares the `end` of the whole.
            let line = self.line();
            let kind = self.deeper(|p| p.conditional(NodeKind::If))?;
            return Ok(vec![Node { line, kind }]);
        }
        self.expect(&Kind::Close, "}}")?;
        let (nodes, closer) = self.nodes()?;
        self.must_end(line, closer)?;
        Ok(nodes)
    }

    fn range(&mut self) -> Result<NodeKind, Wrong> {
        let line = self.line();
        self.at += 1;
        let (mut index, mut element) = (None, None);
        match self.tokens.get(self.at..).unwrap_or_default() {
            [Token { kind: Kind::Variable(v, fields), .. }, Token { kind: Kind::Declare, .. }, ..]
                if fields.is_empty() =>
            {
                element = Some(v.clone());
                self.at += 2;
            }
            [
                Token { kind: Kind::Variable(i, none), .. },
                Token { kind: Kind::Comma, .. },
                Token { kind: Kind::Variable(v, fields), .. },
                Token { kind: Kind::Declare, .. },
                ..,
            ] if fields.is_empty() && none.is_empty() => {
                (index, element) = (Some(i.clone()), Some(v.clone()));
                self.at += 4;
            }
            _ => {}
        }
        let over = self.pipeline(&Kind::Close)?;
        let (body, closer) = self.nodes()?;
        let otherwise = self.otherwise(line, closer)?;
        Ok(NodeKind::Range(index, element, over, body, otherwise))
    }

    fn print(&mut self) -> Result<NodeKind, Wrong> {
        if let [Token { kind: Kind::Variable(name, fields), .. }, Token { kind: Kind::Declare, .. }, ..] =
            self.tokens.get(self.at..).unwrap_or_default()
            && fields.is_empty()
            && !name.is_empty()
        {
            let name = name.clone();
            self.at += 2;
            return Ok(NodeKind::Declare(name, self.pipeline(&Kind::Close)?));
        }
        Ok(NodeKind::Print(self.pipeline(&Kind::Close)?))
    }

    /// Commands up to and with `end`: `}}`, or the parenthesis that closes.
    fn pipeline(&mut self, end: &Kind) -> Result<Pipeline, Wrong> {
        let mut pipeline = Vec::new();
        loop {
            let mut operands = Vec::new();
            let last = loop {
                let line = self.line();
                match self.peek() {
                    Some(kind) if same(kind, end) => break true,
                    Some(Kind::Pipe) => {
                        self.at += 1;
                        break false;
                    }
                    None => return Err((line, "the action does not end".to_owned())),
                    Some(_) => operands.push(self.operand()?),
                }
            };
            let line = self.line();
            let mut operands = operands.into_iter();
            let head = operands.next().ok_or_else(|| (line, "a value is missing here".to_owned()))?;
            let args: Vec<Operand> = operands.collect();
            let is_call = matches!(head, Operand::Function(_));
            if !is_call && (!args.is_empty() || !pipeline.is_empty()) {
                return Err((line, "only functions take arguments".to_owned()));
            }
            pipeline.push(Command { head, args });
            if last {
                if *end == Kind::Close {
                    self.at += 1;
                }
                return Ok(pipeline);
            }
        }
    }

    fn operand(&mut self) -> Result<Operand, Wrong> {
        let line = self.line();
        Ok(match self.next() {
            Some(Kind::Word(word)) => match word.as_str() {
                "true" => Operand::Bool(true),
                "false" => Operand::Bool(false),
                _ => Operand::Function(word.clone()),
            },
            Some(Kind::Dot(names)) => Operand::Dot(names.clone()),
            Some(Kind::Variable(name, names)) => Operand::Variable(name.clone(), names.clone()),
            Some(Kind::Quoted(text)) => Operand::Text(text.clone()),
            Some(Kind::Number(number)) => Operand::Number(*number),
            Some(Kind::LeftParen) => {
                let inner = self.deeper(|p| p.pipeline(&Kind::RightParen(Vec::new())))?;
                match self.next() {
                    Some(Kind::RightParen(names)) => Operand::Paren(inner, names.clone()),
                    _ => return Err((line, "the parenthesis is not closed".to_owned())),
                }
            }
            _ => return Err((line, "a value is missing here".to_owned())),
        })
    }
}

fn same(kind: &Kind, end: &Kind) -> bool {
    kind == end || matches!((kind, end), (Kind::RightParen(_), Kind::RightParen(_)))
}
