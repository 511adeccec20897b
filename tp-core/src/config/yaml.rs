//! YAML as a tree that remembers where everything was written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// A configuration is smaller than this by far. Aliases can make a small file large, so this bounds the tree.
const MAX_NODES: usize = 100_000;
const MAX_ALIASES: usize = 1_000;
/// Bounds our own recursion as well.
const MAX_DEPTH: usize = 32;

/// Line and column, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

/// One value and where it begins.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) tree: Tree,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    /// As it is written, more or less: nothing here needs more than to read it again.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

/// What is wrong with a text that is no YAML.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Malformed {
    pub(super) place: Option<Place>,
    pub(super) what: String,
}

/// The only document of a text; an empty text is an empty document.
pub(super) fn parse(text: &str) -> Result<Node, Malformed> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_depth: MAX_DEPTH,
        },
    };
    let parsed = serde_saphyr::from_str_with_options::<Option<Spanned<Tree>>>(text, options);
    match parsed {
        Ok(Some(node)) => Ok(node.into()),
        Ok(None) => Ok(Node { place: Place { line: 1, column: 1 }, tree: Tree::Null }),
        Err(error) => {
            let error = error.without_snippet();
            Err(Malformed { place: error.location().and_then(place), what: described(error) })
        }
    }
}

/// In one line; the place is told beside it.
fn described(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` stands here a second time")
        }
        Error::MultipleDocuments { .. } => "a second document begins here".to_owned(),
        other => {
            let text = other.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.split(" at line ").next().unwrap_or_default().to_owned()
        }
    }
}

impl Tree {
    /// The value of a key; `None` as well if this is no map.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Self::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> &[Node] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// For messages: `the text "10"`, `a list`.
    pub(super) fn described(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(bool) => bool.to_string(),
            Self::Number(number) => format!("the number {number}"),
            Self::Text(text) => format!("the text {text:?}"),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map of keys and values".to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl From<Spanned<Tree>> for Node {
    fn from(spanned: Spanned<Tree>) -> Self {
        let place = place(spanned.referenced).unwrap_or(Place { line: 1, column: 1 });
        Self { place, tree: spanned.value }
    }
}

/// `None` if it is not known.
fn place(location: Location) -> Option<Place> {
    (location.line() > 0).then(|| Place { line: location.line(), column: location.column() })
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Text(String::from_utf8_lossy(value).into_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Tree>>()? {
            list.push(item.into());
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = pairs.next_entry::<Spanned<String>, Spanned<Tree>>()? {
            let value = Node::from(value);
            let place = place(key.referenced).unwrap_or(value.place);
            entries.push(Entry { key: key.value, place, value });
        }
        Ok(Tree::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everything_knows_its_place() {
        let node =
            parse("routing:\n  alsoProxy: [10.0.0.0/8,\n    fd00::/8]\n\n  auto: true\ndns: 1.5\n").unwrap();
        let Tree::Map(top) = &node.tree else { panic!("{node:?}") };
        assert_eq!((top[0].key.as_str(), top[0].place), ("routing", Place { line: 1, column: 1 }));
        let Tree::Map(routing) = &top[0].value.tree else { panic!("{top:?}") };
        assert_eq!(routing[0].place, Place { line: 2, column: 3 });
        assert_eq!(routing[0].value.tree.list()[1].place, Place { line: 3, column: 5 });
        assert_eq!(routing[1].value, Node { place: Place { line: 5, column: 9 }, tree: Tree::Bool(true) });
        assert_eq!(top[1].value.tree, Tree::Number("1.5".into()));
    }

    #[test]
    fn an_empty_text_is_an_empty_document() {
        for text in ["", "# nothing\n", "---\n", "null", "~"] {
            assert_eq!(parse(text).map(|node| node.tree), Ok(Tree::Null), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_place() {
        let error = parse("routing:\n  alsoProxy: [10.0.0.0/8\ndns: {}\n").unwrap_err();
        assert!(error.place.is_some_and(|place| place.line >= 2), "{error:?}");
        let error = parse("a: 1\na: 2\n").unwrap_err();
        assert_eq!(error.place.map(|place| place.line), Some(2), "{error:?}");
        for hostile in ["a: &a [*a]", "a: 1\n---\nb: 2", &"[".repeat(10_000), "? [a]\n: b"] {
            assert!(parse(hostile).is_err(), "{hostile:.40}");
        }
    }

    #[test]
    fn a_few_lines_do_not_become_a_million_nodes() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..8 {
            let one = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", [one.as_str(); 10].join(", "));
        }
        assert!(parse(&text).is_err());
    }

    #[test]
    fn fuzz_any_text_is_read_without_panic() {
        bolero::check!().with_type::<String>().for_each(|text| {
            let _ = parse(text);
        });
    }

    proptest! {
        #[test]
        fn any_text_of_yamls_own_letters_is_read_without_panic(text in "[ \\n\\t:,\\[\\]{}\\-&*#!|>'\"%@`a0.?]{0,60}") {
            let _ = parse(&text);
        }
    }
}
