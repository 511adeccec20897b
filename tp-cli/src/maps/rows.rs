//! A row of a map: named values in the order in which the daemon wrote them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Row(Vec<(String, Value)>);

impl Row {
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn cells(&self) -> Vec<String> {
        let cell = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        self.0.iter().map(|(_, value)| cell(value)).collect()
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut row = Vec::new();
        while let Some(entry) = map.next_entry()? {
            row.push(entry);
        }
        Ok(Row(row))
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept() {
        let text = r#"[{"proto":"udp","app":"10.0.0.1:5","idle_ms":3}]"#;
        let rows: Vec<Row> = serde_json::from_str(text).unwrap();
        assert_eq!(rows[0].columns().collect::<Vec<_>>(), ["proto", "app", "idle_ms"]);
        assert_eq!(rows[0].cells(), ["udp", "10.0.0.1:5", "3"]);
        assert_eq!(serde_json::to_string(&rows).unwrap(), text);
    }
}
