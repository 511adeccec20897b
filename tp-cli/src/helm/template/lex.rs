//! Template text to tokens; the whitespace that `{{-` and `-}}` eat is gone afterwards.

/// A piece of the template with the line it is on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Text(String),
    /// `{{`: everything up to `Close` is inside of an action.
    Open,
    Close,
    /// A keyword, a function, `true` or `false`.
    Word(String),
    /// `.a.b`; `.` alone has no names.
    Dot(Vec<String>),
    /// `$x.a.b`; `$` is the variable with the empty name.
    Variable(String, Vec<String>),
    Quoted(String),
    Number(i64),
    LeftParen,
    /// `)` and the names that follow it at once: `(..).a`.
    RightParen(Vec<String>),
    Pipe,
    Comma,
    Declare,
}

type Wrong = (usize, String);

pub(super) fn lex(source: &str) -> Result<Vec<Token>, Wrong> {
    let mut lexer = Lexer { rest: source, line: 1, tokens: Vec::new() };
    let mut trim_next = false;
    while let Some(open) = lexer.rest.find("{{") {
        let (text, after) = lexer.rest.split_at(open);
        let after = after.get(2..).unwrap_or_default();
        let trims = after.starts_with('-') && after[1..].starts_with(char::is_whitespace);
        lexer.text(text, trim_next, trims);
        lexer.line += text.matches('\n').count();
        lexer.rest = if trims { &after[1..] } else { after };
        trim_next = match lexer.comment()? {
            Some(trims) => trims,
            None => lexer.action()?,
        };
    }
    let last = lexer.rest;
    lexer.text(last, trim_next, false);
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { line: self.line, kind });
    }

    fn text(&mut self, text: &str, trim_start: bool, trim_end: bool) {
        let text = if trim_start { text.trim_start_matches(GO_SPACE) } else { text };
        let text = if trim_end { text.trim_end_matches(GO_SPACE) } else { text };
        if !text.is_empty() {
            self.push(Kind::Text(text.to_owned()));
        }
    }

    /// Skips a comment if one is next; says whether it trims what follows.
    fn comment(&mut self) -> Result<Option<bool>, Wrong> {
        let start = self.rest.trim_start_matches(GO_SPACE);
        if !start.starts_with("/*") {
            return Ok(None);
        }
        let end = start.find("*/").ok_or_else(|| (self.line, "the comment does not end".to_owned()))?;
        let after = &start[end + 2..];
        let skipped = self.rest.len() - after.len();
        self.line += self.rest[..skipped].matches('\n').count();
        if let Some(after) = after.strip_prefix("}}") {
            self.rest = after;
            return Ok(Some(false));
        }
        if let Some(after) = after.trim_start_matches(GO_SPACE).strip_prefix("-}}")
            && self.rest[skipped..].starts_with(GO_SPACE)
        {
            self.rest = after;
            return Ok(Some(true));
        }
        Err((self.line, "a comment must be the whole of its action".to_owned()))
    }

    /// The tokens of one action; says whether it trims what follows.
    fn action(&mut self) -> Result<bool, Wrong> {
        self.push(Kind::Open);
        loop {
            let before = self.rest.len();
            let inside = self.rest.trim_start_matches(GO_SPACE);
            let spaced = inside.len() < before;
            self.line += self.rest[..before - inside.len()].matches('\n').count();
            self.rest = inside;
            if let Some(after) = inside.strip_prefix("}}") {
                self.rest = after;
                self.push(Kind::Close);
                return Ok(false);
            }
            if spaced && let Some(after) = inside.strip_prefix("-}}") {
                self.rest = after;
                self.push(Kind::Close);
                return Ok(true);
            }
            self.token()?;
        }
    }

    fn token(&mut self) -> Result<(), Wrong> {
        let mut chars = self.rest.chars();
        let Some(first) = chars.next() else {
            return Err((self.line, "the action does not end".to_owned()));
        };
        let kind = match first {
            '(' => {
                self.rest = &self.rest[1..];
                self.push(Kind::LeftParen);
                return Ok(());
            }
            '|' => {
                self.rest = &self.rest[1..];
                self.push(Kind::Pipe);
                return Ok(());
            }
            ',' => {
                self.rest = &self.rest[1..];
                self.push(Kind::Comma);
                return Ok(());
            }
            ':' if self.rest.starts_with(":=") => {
                self.rest = &self.rest[2..];
                self.push(Kind::Declare);
                return Ok(());
            }
            ')' => {
                self.rest = &self.rest[1..];
                Kind::RightParen(self.names()?)
            }
            '.' => {
                let names = self.names()?;
                if names.is_empty() {
                    self.rest = &self.rest[1..];
                }
                Kind::Dot(names)
            }
            '$' => {
                self.rest = &self.rest[1..];
                let name = self.word().to_owned();
                Kind::Variable(name, self.names()?)
            }
            '"' => Kind::Quoted(self.quoted()?),
            '`' => {
                let raw = &self.rest[1..];
                let end = raw.find('`').ok_or_else(|| (self.line, "the string does not end".to_owned()))?;
                self.rest = &raw[end + 1..];
                Kind::Quoted(raw[..end].to_owned())
            }
            '0'..='9' | '-' => self.number()?,
            c if c.is_alphabetic() || c == '_' => Kind::Word(self.word().to_owned()),
            c => return Err((self.line, format!("`{c}` does not belong into an action"))),
        };
        self.push(kind);
        // Go, too, refuses `"a""b"` and `.a"b"`.
        let ends = [")", "|", ",", "}}", ":="];
        if self.rest.starts_with(GO_SPACE) || ends.iter().any(|end| self.rest.starts_with(end)) {
            return Ok(());
        }
        match self.rest.chars().next() {
            Some(c) => Err((self.line, format!("a space is missing before `{c}`"))),
            None => Err((self.line, "the action does not end".to_owned())),
        }
    }

    /// `.a.b.c` from here on.
    fn names(&mut self) -> Result<Vec<String>, Wrong> {
        let mut names = Vec::new();
        while let Some(after) = self.rest.strip_prefix('.') {
            if !after.starts_with(|c: char| c.is_alphabetic() || c == '_') {
                break;
            }
            self.rest = after;
            names.push(self.word().to_owned());
        }
        if !names.is_empty() && self.rest.starts_with('.') {
            return Err((self.line, "a name is missing after `.`".to_owned()));
        }
        Ok(names)
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<Kind, Wrong> {
        let end = self.rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(self.rest.len(), |at| at + 1);
        let (digits, rest) = self.rest.split_at(end);
        // Go reads 010 as octal; nobody needs to wonder.
        if digits.len() > 1 && digits.trim_start_matches('-').starts_with('0') {
            return Err((self.line, format!("the number {digits} starts with 0")));
        }
        let number = digits.parse().map_err(|_| (self.line, format!("`{digits}` is not a number")))?;
        self.rest = rest;
        Ok(Kind::Number(number))
    }

    fn quoted(&mut self) -> Result<String, Wrong> {
        let mut text = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 2..];
                    return Ok(text);
                }
                '\n' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    _ => {
                        return Err((
                            self.line,
                            "only \\n, \\t, \\\" and \\\\ are known in strings".to_owned(),
                        ));
                    }
                },
                c => text.push(c),
            }
        }
        Err((self.line, "the string does not end".to_owned()))
    }
}

/// What Go's template lexer takes for space.
const GO_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
