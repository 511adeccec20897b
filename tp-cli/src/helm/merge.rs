//! What to change in a live object so that it becomes the new one: a JSON merge patch out of three versions.
//!
//! Fields that others set (defaults of the API server, a controller's status, annotations of an operator) stay;
//! fields that the old release set and the new one does not are taken away. Lists are replaced as a whole.

use serde_json::{Map, Value};

/// The merge patch (RFC 7386) for `live`; nothing when there is nothing to change.
pub(crate) fn patch(old: &Value, new: &Value, live: &Value) -> Option<Value> {
    let none = Map::new();
    let map = |value: &'_ Value| value.as_object().cloned().unwrap_or_else(|| none.clone());
    let (old, new, live) = (map(old), map(new), map(live));
    let patch = maps(&old, &new, &live);
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn maps(old: &Map<String, Value>, new: &Map<String, Value>, live: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, wanted) in new {
        let (before, now) = (old.get(key), live.get(key));
        match (wanted, now) {
            (Value::Object(wanted), Some(Value::Object(now))) => {
                let before = before.and_then(Value::as_object).cloned().unwrap_or_default();
                let inner = maps(&before, wanted, now);
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            // Null in a manifest means "not set"; in a merge patch it deletes.
            (Value::Null, None) => {}
            // The API server fills in defaults inside of lists: that alone is no difference.
            (Value::Array(_), Some(now)) if before == Some(wanted) && covers(now, wanted) => {}
            (wanted, Some(now)) if now == wanted => {}
            (wanted, _) => {
                patch.insert(key.clone(), wanted.clone());
            }
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key) && live.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

/// Does `live` have everything that `wanted` says?
fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| live.get(key).is_some_and(|live| covers(live, wanted)) || wanted.is_null()),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::{covers, patch};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn changes_what_we_changed_and_leaves_the_rest() {
        let old = json!({"spec": {"a": 1, "gone": 2, "list": [{"name": "x"}]}});
        let new = json!({"spec": {"a": 5, "list": [{"name": "x"}], "more": {"b": 1}}});
        let live = json!({"spec": {"a": 1, "gone": 2, "list": [{"name": "x", "default": true}], "theirs": 9}, "status": {}});
        assert_eq!(patch(&old, &new, &live), Some(json!({"spec": {"a": 5, "gone": null, "more": {"b": 1}}})));
        assert_eq!(patch(&old, &old, &live), None);
    }

    #[test]
    fn undoes_what_someone_changed_by_hand() {
        let ours = json!({"spec": {"replicas": 1, "list": [{"name": "x", "v": 1}]}});
        let live = json!({"spec": {"replicas": 3, "list": [{"name": "x", "v": 2}]}});
        assert_eq!(patch(&ours, &ours, &live), Some(ours.clone()));
    }

    fn object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..3i32).prop_map(Value::from)];
        let inner = leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        proptest::collection::btree_map("[a-d]", inner, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    /// RFC 7386, as the API server applies it.
    fn apply(live: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *live = patch.clone();
            return;
        };
        if !live.is_object() {
            *live = json!({});
        }
        let live = live.as_object_mut().unwrap();
        for (key, change) in patch {
            if change.is_null() {
                live.remove(key);
            } else {
                apply(live.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
    }

    proptest! {
        #[test]
        fn afterwards_live_has_all_of_new_and_nothing_that_only_old_had(old in object(), new in object(), live in object()) {
            let mut after = live.clone();
            if let Some(patch) = patch(&old, &new, &live) {
                apply(&mut after, &patch);
            }
            prop_assert!(covers(&after, &new), "{after}");
            for key in old.as_object().unwrap().keys() {
                prop_assert!(new.get(key).is_some() || after.get(key).is_none(), "{key} is left in {after}");
            }
            for (key, value) in live.as_object().unwrap() {
                if old.get(key).is_none() && new.get(key).is_none() {
                    prop_assert_eq!(after.get(key), Some(value));
                }
            }
        }
    }
}
