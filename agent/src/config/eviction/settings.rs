//! The maps of thresholds, by signal, each entry read at its own line of the file.
//!
//! # Properties
//! - A map prints as it was written, and reading that gives the same map.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::values::parse_duration;
use super::grammar::{Level, is_derived, read_level, read_reclaim};
use crate::model::pressure::Signal;

/// A kind of value that a signal may be given.
pub trait Kind: fmt::Debug + Clone + PartialEq {
    /// What is read.
    type Value: fmt::Debug + Clone + Copy + PartialEq;

    /// Reads a signal's value, or says what is wrong with it and what to write.
    ///
    /// # Errors
    /// The text does not follow the grammar.
    fn read(signal: Signal, text: &str) -> Result<Self::Value, String>;
}

/// A threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds;
/// For how long a soft threshold must be crossed.
#[derive(Debug, Clone, PartialEq)]
pub struct Graces;
/// How much must come free beyond a threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Reclaims;

impl Kind for Thresholds {
    type Value = Level;
    fn read(signal: Signal, text: &str) -> Result<Level, String> {
        read_level(signal.name(), text).map_err(|error| error.to_string())
    }
}

impl Kind for Graces {
    type Value = Duration;
    fn read(signal: Signal, text: &str) -> Result<Duration, String> {
        match parse_duration(text)? {
            Duration::ZERO => Err(format!(
                "the grace period of {signal} must be above 0s; a threshold without grace belongs into evictionHard"
            )),
            grace => Ok(grace),
        }
    }
}

impl Kind for Reclaims {
    type Value = Level;
    fn read(signal: Signal, text: &str) -> Result<Level, String> {
        if matches!(signal, Signal::PressureMemoryFull | Signal::TimeToExhaustion) {
            return Err(format!(
                "{signal} is no amount: there is no minimum of it to reclaim"
            ));
        }
        read_reclaim(text).map_err(|error| error.to_string())
    }
}

/// Values by signal, with the text that they were read from.
#[derive(Debug, Clone, PartialEq)]
pub struct BySignal<K: Kind>(BTreeMap<Signal, (String, K::Value)>);

impl<K: Kind> Default for BySignal<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Kind> BySignal<K> {
    /// What is set for a signal.
    #[must_use]
    pub fn get(&self, signal: Signal) -> Option<K::Value> {
        self.0.get(&signal).map(|(_, value)| *value)
    }

    /// As it was written.
    pub(super) fn text(&self, signal: Signal) -> &str {
        self.0.get(&signal).map_or("", |(text, _)| text)
    }

    /// All of it, in the order of [`Signal`].
    pub fn iter(&self) -> impl Iterator<Item = (Signal, K::Value)> + '_ {
        self.0.iter().map(|(signal, (_, value))| (*signal, *value))
    }

    /// Values known to be good when the program was written; others are left out.
    pub(in super::super) fn fixed(values: &[(Signal, &str)]) -> Self {
        let read = |(signal, text): &(Signal, &str)| {
            let value = K::read(*signal, text).ok()?;
            Some((*signal, ((*text).to_owned(), value)))
        };
        Self(values.iter().filter_map(read).collect())
    }
}

impl<K: Kind> Serialize for BySignal<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(signal, (text, _))| (signal.name(), text)))
    }
}

impl<'de, K: Kind> Deserialize<'de> for BySignal<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<K>(PhantomData<K>);

impl<'de, K: Kind> Visitor<'de> for Entries<K> {
    type Value = BySignal<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signals with a value each, such as memory.available: 100Mi")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BySignal<K>, A::Error> {
        let mut values = BTreeMap::new();
        while let Some(signal) = map.next_key_seed(Name)? {
            let value = map.next_value_seed(Text::<K>(signal, PhantomData))?;
            if values.insert(signal, value).is_some() {
                return Err(A::Error::custom(format!(
                    "{signal} is there twice: write it once"
                )));
            }
        }
        Ok(BySignal(values))
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Signal;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Signal, D::Error> {
        let name = String::deserialize(deserializer)?;
        if is_derived(&name) {
            return Err(D::Error::custom(format!(
                "{name} follows from nodefs or imagefs, and what is set for it has no effect: set {} instead",
                name.replace("containerfs", "nodefs")
            )));
        }
        name.parse().map_err(D::Error::custom)
    }
}

struct Text<K>(Signal, PhantomData<K>);

impl<'de, K: Kind> DeserializeSeed<'de> for Text<K> {
    type Value = (String, K::Value);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value =
            K::read(self.0, &text).map_err(|problem| D::Error::custom(format!("{}: {problem}", self.0)))?;
        Ok((text, value))
    }
}

impl<K: Kind> JsonSchema for BySignal<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BySignal".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        BTreeMap::<String, String>::json_schema(generator)
    }
}
