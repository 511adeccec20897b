//! What a key takes: which values are right, what they become, and how a wrong one is described.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Value as Json, json};

use super::duration;
use super::yaml::{Node, Place, Tree};
use crate::dns::{Mapping, Name, Target};
use crate::routing;

/// Levels of a log, least first.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Bool,
    Duration,
    Port,
    Level,
    /// Of a namespace.
    Name,
    NameList,
    OneOf(&'static [&'static str]),
    SubnetV4,
    SubnetV6,
    Subnets,
    ProxyVia,
    Suffixes,
    /// Of the DNS.
    Names,
    Mappings,
    Anything,
}

/// A right value. `Unset` is what `null` means.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Unset,
    Bool(bool),
    Duration(std::time::Duration),
    Port(u16),
    Text(String),
    SubnetV4(Ipv4Net),
    SubnetV6(Ipv6Net),
    Subnets(Vec<IpNet>),
    ProxyVia(Vec<routing::ProxyVia>),
    Texts(Vec<String>),
    Mappings(Vec<Mapping>),
    /// Of a key that tp has no use for.
    Ignored(Json),
}

/// A value that is not right: where, what it should be, what it is.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Wrong {
    pub(super) place: Place,
    /// Below the key: `[2]`, `[0].name`; empty for the value itself.
    pub(super) below: String,
    pub(super) wanted: String,
    pub(super) found: String,
    pub(super) hint: Option<String>,
}

impl Kind {
    pub(super) fn read(self, node: &Node) -> Result<Value, Wrong> {
        if node.tree == Tree::Null {
            return Ok(Value::Unset);
        }
        match self {
            Self::Bool => match node.tree {
                Tree::Bool(value) => Ok(Value::Bool(value)),
                _ => Err(Wrong::new(node, "true or false")),
            },
            Self::Duration => match &node.tree {
                Tree::Text(text) | Tree::Number(text) => duration::parse(text).map(Value::Duration),
                _ => None,
            }
            .ok_or_else(|| Wrong::new(node, "a duration like 1ms, 30s or 1m30s")),
            Self::Port => match &node.tree {
                Tree::Number(text) => text.parse().ok().filter(|port| *port > 0).map(Value::Port),
                _ => None,
            }
            .ok_or_else(|| Wrong::new(node, "a port from 1 to 65535")),
            Self::Level => level(node),
            Self::Name => Ok(Value::Text(name(node)?)),
            Self::NameList => Ok(Value::Texts(items(node, "namespaces", name)?)),
            Self::OneOf(allowed) => match node.tree.text().filter(|text| allowed.contains(text)) {
                Some(text) => Ok(Value::Text(text.to_owned())),
                None => Err(Wrong::new(node, &format!("one of {}", allowed.join(", ")))),
            },
            Self::SubnetV4 => match subnet(node)? {
                IpNet::V4(net) => Ok(Value::SubnetV4(net)),
                IpNet::V6(_) => Err(Wrong::new(node, "an IPv4 subnet")),
            },
            Self::SubnetV6 => match subnet(node)? {
                IpNet::V6(net) => Ok(Value::SubnetV6(net)),
                IpNet::V4(_) => Err(Wrong::new(node, "an IPv6 subnet")),
            },
            Self::Subnets => Ok(Value::Subnets(items(node, "subnets", subnet)?)),
            Self::ProxyVia => Ok(Value::ProxyVia(items(node, "CIDR=WORKLOAD or CIDR", proxy_via)?)),
            Self::Suffixes => Ok(Value::Texts(items(node, "name suffixes", suffix)?)),
            Self::Names => Ok(Value::Texts(items(node, "names", dns_name)?)),
            Self::Mappings => Ok(Value::Mappings(items(node, "{name, aliasFor}", mapping)?)),
            Self::Anything => Ok(Value::Ignored(node.tree.to_json())),
        }
    }

    /// For the table of docs/configuration.md.
    pub fn described(self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Duration => "duration".into(),
            Self::Port => "port".into(),
            Self::Level => LEVELS.join(", "),
            Self::Name => "namespace".into(),
            Self::NameList => "list of namespaces".into(),
            Self::OneOf(allowed) => allowed.join(", "),
            Self::SubnetV4 => "IPv4 subnet".into(),
            Self::SubnetV6 => "IPv6 subnet".into(),
            Self::Subnets => "list of subnets".into(),
            Self::ProxyVia => "list of CIDR=WORKLOAD or CIDR".into(),
            Self::Suffixes => "list of name suffixes".into(),
            Self::Names => "list of names".into(),
            Self::Mappings => "list of {name, aliasFor}".into(),
            Self::Anything => "anything".into(),
        }
    }
}

impl Wrong {
    pub(super) fn new(node: &Node, wanted: &str) -> Self {
        Self {
            place: node.place,
            below: String::new(),
            wanted: wanted.to_owned(),
            found: node.tree.described(),
            hint: None,
        }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A list, all of whose items `read` takes.
fn items<T>(node: &Node, of: &str, read: impl Fn(&Node) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    let Tree::List(items) = &node.tree else {
        let wrong = Wrong::new(node, &format!("a list of {of}"));
        return Err(match &node.tree {
            Tree::Text(text) | Tree::Number(text) => wrong.hint(format!("write it as a list: [{text}]")),
            _ => wrong,
        });
    };
    let at =
        |(at, item)| read(item).map_err(|wrong| Wrong { below: format!("[{at}]{}", wrong.below), ..wrong });
    items.iter().enumerate().map(at).collect()
}

fn text<'a>(node: &'a Node, wanted: &str) -> Result<&'a str, Wrong> {
    match &node.tree {
        Tree::Text(text) => Ok(text),
        Tree::Number(text) => {
            Err(Wrong::new(node, wanted).hint(format!("if {text} is meant as a name, put it in quotes")))
        }
        Tree::Bool(bool) => {
            Err(Wrong::new(node, wanted).hint(format!("if {bool} is meant as a name, put it in quotes")))
        }
        _ => Err(Wrong::new(node, wanted)),
    }
}

fn level(node: &Node) -> Result<Value, Wrong> {
    let wanted = format!("one of {}", LEVELS.join(", "));
    let level = text(node, &wanted)?.to_ascii_lowercase();
    // Telepresence's others
    let level = match level.as_str() {
        "warning" => "warn",
        "fatal" | "panic" => "error",
        other => other,
    };
    if LEVELS.contains(&level) { Ok(Value::Text(level.to_owned())) } else { Err(Wrong::new(node, &wanted)) }
}

/// As Kubernetes wants names of namespaces (RFC 1123 labels).
fn name(node: &Node) -> Result<String, Wrong> {
    const WANTED: &str = "a namespace";
    let text = text(node, WANTED)?;
    let right = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if right { Ok(text.to_owned()) } else { Err(Wrong::new(node, WANTED)) }
}

fn subnet(node: &Node) -> Result<IpNet, Wrong> {
    const WANTED: &str = "a subnet like 10.0.0.0/8 or fd00::/8";
    let text = text(node, WANTED).map_err(|wrong| Wrong { hint: None, ..wrong })?;
    text.trim().parse().map(|net: IpNet| net.trunc()).map_err(|_| {
        let wrong = Wrong::new(node, WANTED);
        match text.trim().parse() {
            Ok(IpAddr::V4(ip)) => wrong.hint(format!("for the one address write {ip}/32")),
            Ok(IpAddr::V6(ip)) => wrong.hint(format!("for the one address write {ip}/128")),
            Err(_) => wrong,
        }
    })
}

fn proxy_via(node: &Node) -> Result<routing::ProxyVia, Wrong> {
    const WANTED: &str = "CIDR=WORKLOAD or CIDR, where also, service, pods and all may stand for the CIDR";
    let text = text(node, WANTED).map_err(|wrong| Wrong { hint: None, ..wrong })?;
    let read = if text.contains('=') { text.parse() } else { routing::ProxyVia::vnat(text) };
    read.map_err(|_| Wrong::new(node, WANTED))
}

fn suffix(node: &Node) -> Result<String, Wrong> {
    const WANTED: &str = "a name suffix like .example.com";
    let text = text(node, WANTED)?;
    if Name::suffix(text).is_some() { Ok(text.trim().to_owned()) } else { Err(Wrong::new(node, WANTED)) }
}

fn dns_name(node: &Node) -> Result<String, Wrong> {
    const WANTED: &str = "a name";
    let name = Name::parse(text(node, WANTED)?.trim());
    name.map(|name| name.to_string()).ok_or_else(|| Wrong::new(node, WANTED))
}

fn mapping(node: &Node) -> Result<Mapping, Wrong> {
    const WANTED: &str = "a map with the keys name and aliasFor";
    let Tree::Map(entries) = &node.tree else { return Err(Wrong::new(node, WANTED)) };
    if let Some(other) = entries.iter().find(|entry| !matches!(entry.key.as_str(), "name" | "aliasFor")) {
        let found = format!("one with `{}`", other.key);
        return Err(Wrong { place: other.place, found, ..Wrong::new(node, WANTED) });
    }
    let field = |name: &str| {
        let below = |wrong| Wrong { below: format!(".{name}"), ..wrong };
        let missing = || Wrong { found: format!("one without `{name}`"), ..Wrong::new(node, WANTED) };
        let value = node.tree.get(name).ok_or_else(missing)?;
        Ok((value, text(value, "a text").map_err(below)?.trim()))
    };
    let ((at_name, name), (at_alias, alias)) = (field("name")?, field("aliasFor")?);
    let name =
        Name::parse(name).ok_or_else(|| Wrong { below: ".name".into(), ..Wrong::new(at_name, "a name") })?;
    let target = match alias.parse() {
        Ok(ip) => Target::Address(ip),
        Err(_) => Target::Name(Name::parse(alias).ok_or_else(|| Wrong {
            below: ".aliasFor".into(),
            ..Wrong::new(at_alias, "an address or a name")
        })?),
    };
    Ok(Mapping { name, target })
}

impl Value {
    /// As `tp config view` shows it; a file with it is read as the same value.
    pub fn to_json(&self) -> Json {
        fn texts<T: ToString>(items: &[T]) -> Json {
            items.iter().map(ToString::to_string).collect()
        }
        match self {
            Self::Unset => Json::Null,
            Self::Bool(value) => json!(value),
            Self::Duration(value) => json!(duration::format(*value)),
            Self::Port(value) => json!(value),
            Self::Text(value) => json!(value),
            Self::SubnetV4(net) => json!(net.to_string()),
            Self::SubnetV6(net) => json!(net.to_string()),
            Self::Subnets(nets) => texts(nets),
            Self::ProxyVia(all) => texts(all),
            Self::Texts(all) => texts(all),
            Self::Mappings(all) => {
                let one = |mapping: &Mapping| json!({"name": mapping.name.as_str(), "aliasFor": mapping.target.to_string()});
                all.iter().map(one).collect()
            }
            Self::Ignored(value) => value.clone(),
        }
    }
}

impl Tree {
    fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => json!(value),
            Self::Number(text) => text.parse().map_or_else(|_| json!(text), Json::Number),
            Self::Text(text) => json!(text),
            Self::List(items) => items.iter().map(|item| item.tree.to_json()).collect(),
            Self::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.value.tree.to_json())).collect()
            }
        }
    }
}
