//! A YAML or JSON document as a tree whose every node knows its line and column.
//!
//! **Problem.** A wrong manifest must be answered with the line of what is wrong, also when the YAML is fine and
//! only its meaning is not. **How.** A document is first read into this tree, without any type of ours; the
//! manifest's fields are then looked up by path, and a complaint about a path finds its position here.
//!
//! # Properties
//! - Reading ends quickly with a tree or an error, whatever the text: nesting, nodes and alias expansion are
//!   bounded.
//! - The fingerprint does not depend on layout, comments, or the order of a mapping's keys.

use std::fmt;

use md5::{Digest, Md5};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use super::error::Position;

/// Mappings and sequences within each other. A pod needs 13; each costs up to 40 KiB of stack in a debug build.
const MAX_DEPTH: usize = 24;
/// Scalars, mappings and sequences of one document, aliases expanded.
const MAX_NODES: usize = 100_000;
/// Nodes that come from aliases: enough for anchors in earnest, too few for a bomb.
const MAX_ALIASED: usize = 10_000;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: Position,
}

/// What YAML knows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As text: what it means is the field's business.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// Keys in the order of the document, without duplicates.
    Map(Vec<(String, Node)>),
}

/// Why a text is no document.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) at: Option<Position>,
    pub(super) message: String,
}

impl Node {
    /// Reads one document.
    pub(super) fn read(text: &str) -> Result<Self, SyntaxError> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_depth: MAX_DEPTH,
                flow_nesting_limit: MAX_DEPTH,
                max_nodes: MAX_NODES,
                max_events: 3 * MAX_NODES,
                max_aliases: MAX_ALIASED,
                max_anchors: MAX_ALIASED,
                max_recorded_anchor_events: 10 * MAX_ALIASED,
                max_documents: 1,
            },
            alias_limits: serde_saphyr::alias_limits! {
                max_total_replayed_events: MAX_ALIASED,
                max_replay_stack_depth: 16,
            },
            duplicate_keys: DuplicateKeyPolicy::Error,
            // YAML 1.2: a command's argument `y` or `no` is a text.
            strict_booleans: true,
            with_snippet: false,
        };
        let root: Spanned<Value> =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| SyntaxError {
                at: error.location().and_then(position),
                message: message(&error),
            })?;
        Ok(root.into())
    }

    /// The value of a mapping's key; `None` also where it is null, which the API treats as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        entries
            .iter()
            .find(|(name, node)| name == key && node.value != Value::Null)
            .map(|(_, node)| node)
    }

    /// Moves every position `lines` down: from a place in the document to one in its file.
    pub(super) fn shift(&mut self, lines: usize) {
        self.at.line += lines;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, node)| node.shift(lines)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    /// What this is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Feeds the content, keys sorted, to a hash.
    pub(super) fn fingerprint(&self, hash: &mut Md5) {
        let mut leaf = |tag: u8, text: &str| {
            hash.update([tag]);
            hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(text);
        };
        match &self.value {
            Value::Null => leaf(b'0', ""),
            Value::Bool(value) => leaf(b'b', if *value { "true" } else { "false" }),
            Value::Number(text) => leaf(b'n', text),
            Value::Text(text) => leaf(b't', text),
            Value::List(items) => {
                leaf(b'l', &items.len().to_string());
                for item in items {
                    item.fingerprint(hash);
                }
            }
            Value::Map(entries) => {
                leaf(b'm', &entries.len().to_string());
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
                for (key, node) in sorted {
                    hash.update(u64::try_from(key.len()).unwrap_or(u64::MAX).to_le_bytes());
                    hash.update(key);
                    node.fingerprint(hash);
                }
            }
        }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self {
            at: position(spanned.referenced).unwrap_or_default(),
            value: spanned.value,
        }
    }
}

fn position(location: Location) -> Option<Position> {
    let (line, column) = (location.line(), location.column());
    (line > 0).then(|| Position {
        line: usize::try_from(line).unwrap_or(usize::MAX),
        column: usize::try_from(column).unwrap_or(usize::MAX),
    })
}

/// The parser's own words, without the position that is given beside them.
fn message(error: &serde_saphyr::Error) -> String {
    let options = serde_saphyr::render_options! {
        formatter: &serde_saphyr::DefaultMessageFormatter,
        snippets: serde_saphyr::SnippetMode::Off,
    };
    let text = error.render_with_options(options);
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(item.into());
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<String, Spanned<Value>>()? {
            map.push((key, value.into()));
        }
        Ok(Value::Map(map))
    }
}
