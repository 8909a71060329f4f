//! Reads kubelet's `cpu_manager_state`, so that a node can move over with its pods where they are.
//!
//! **The format** is JSON: `policyName`, `defaultCpuSet` as a CPU list, `entries`, and `checksum`. In the first version
//! `entries` has a list for each container id; in the second, since Kubernetes 1.18, one for each container name below
//! each pod UID; the third adds `podEntries`, CPUs of whole pods, which nothing here corresponds to. The versions are told
//! apart by their content, as kubelet does it.
//!
//! The checksum is over how a Go program prints its structure, with which nothing outside of Go can be compared; kubelet
//! itself takes a file without one. So it is not looked at, and what the file says is checked against the machine
//! instead, where it is used.
//!
//! # Properties
//! - Any bytes are read or refused, with file and field named; none makes it fail otherwise.
//! - A name that stands twice is refused: which one counts would depend on the reader.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::kernel::files::{self, FileError};
use crate::model::{CpuListError, CpuSet, KubeletCpuEntry, KubeletCpus, KubeletHolder, Shown};

/// The largest file: many times what kubelet writes on the largest machine with the most pods.
const LARGEST: u64 = 4 << 20;

/// Why the file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KubeletCpusError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is something else than kubelet writes.
    #[error("{path:?} is no state of kubelet's CPU manager: {problem}")]
    Strange {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// The shared pool is no list of CPUs.
    #[error("{path:?}: defaultCpuSet: {error}")]
    Shared {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: CpuListError,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct Raw {
    policy_name: String,
    default_cpu_set: String,
    #[serde(default)]
    entries: Pairs<Holder>,
    #[serde(default, rename = "checksum")]
    _checksum: Option<Value>,
    #[serde(default)]
    pod_entries: Pairs<Value>,
    #[serde(flatten)]
    others: std::collections::BTreeMap<String, Value>,
}

enum Holder {
    /// Of a container, by its id.
    One(String),
    /// Of a pod, by containers.
    Many(Pairs<String>),
}

impl<'de> Deserialize<'de> for Holder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Holder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of CPUs, or one for each container's name")
            }

            fn visit_str<E>(self, list: &str) -> Result<Holder, E> {
                Ok(Holder::One(list.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Holder, A::Error> {
                Pairs::deserialize(MapAccessDeserializer::new(map)).map(Holder::Many)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// Names with values, each name once, in the order of the file.
struct Pairs<T>(Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, or null")
            }

            fn visit_unit<E>(self) -> Result<Pairs<T>, E> {
                Ok(Pairs::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs = Vec::new();
                let mut names = std::collections::BTreeSet::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if !names.insert(name.clone()) {
                        let name = Shown(&name);
                        return Err(serde::de::Error::custom(format!("\"{name}\" stands there twice")));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_any(Reader(PhantomData))
    }
}

/// Reads the file.
///
/// # Errors
/// It cannot be read, is larger than 4 MiB, is no such state, or its shared pool is no list of CPUs. A bad entry is not
/// an error of the file.
pub fn read(path: &Path) -> Result<KubeletCpus, KubeletCpusError> {
    let (bytes, _) = files::read_bounded(path, LARGEST)?;
    parse(&bytes, path)
}

fn parse(bytes: &[u8], path: &Path) -> Result<KubeletCpus, KubeletCpusError> {
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| KubeletCpusError::Strange {
        path: path.to_owned(),
        // It may repeat what the file says.
        problem: Shown(&error.to_string()).to_string(),
    })?;
    let shared = CpuSet::parse(&raw.default_cpu_set).map_err(|error| KubeletCpusError::Shared {
        path: path.to_owned(),
        error,
    })?;
    let mut entries = Vec::new();
    for (name, holder) in raw.entries.0 {
        match holder {
            Holder::One(list) => entries.push(KubeletCpuEntry {
                holder: KubeletHolder::ContainerId(name),
                cpus: CpuSet::parse(&list),
            }),
            Holder::Many(containers) => {
                let entry = |(container, list): (String, String)| KubeletCpuEntry {
                    holder: KubeletHolder::Container {
                        pod: name.clone(),
                        name: container,
                    },
                    cpus: CpuSet::parse(&list),
                };
                entries.extend(containers.0.into_iter().map(entry));
            }
        }
    }
    let mut not_read: Vec<_> = raw.others.into_keys().map(|name| (name, 1)).collect();
    if !raw.pod_entries.0.is_empty() {
        not_read.push(("podEntries".to_owned(), raw.pod_entries.0.len()));
    }
    Ok(KubeletCpus {
        policy: raw.policy_name,
        shared,
        entries,
        not_read,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_text(text: &str) -> Result<KubeletCpus, String> {
        parse(text.as_bytes(), Path::new("cpu_manager_state")).map_err(|error| error.to_string())
    }

    fn shown(state: &KubeletCpus) -> Vec<String> {
        let entries = state.entries.iter();
        entries
            .map(|entry| match &entry.cpus {
                Ok(cpus) => format!("{}={cpus}", entry.holder),
                Err(error) => format!("{}: {error}", entry.holder),
            })
            .collect()
    }

    #[test]
    fn the_three_versions_are_told_apart_by_what_they_hold() {
        let v1 = read_text(include_str!("kubelet_cpus/fixtures/v1.json")).unwrap();
        assert_eq!(
            (v1.policy.as_str(), v1.shared.to_string().as_str()),
            ("static", "0-1,4-7")
        );
        assert_eq!(shown(&v1), [format!("entries.{}=2-3", "4f".repeat(32))]);
        let v2 = read_text(include_str!("kubelet_cpus/fixtures/v2.json")).unwrap();
        let pod = "entries.0b1f7c52-93d4-4a6e-8a55-1d2c3b4a5e6f";
        assert_eq!(
            shown(&v2),
            [
                format!("{pod}.init=2-3,10-11"),
                format!("{pod}.app=2-3,10"),
                "entries.c0ffee00-0000-4000-8000-00000000000a.db=4,12".to_owned()
            ]
        );
        assert!(v2.not_read.is_empty());
        let v3 = read_text(include_str!("kubelet_cpus/fixtures/v3.json")).unwrap();
        assert_eq!(
            shown(&v3),
            ["entries.c0ffee00-0000-4000-8000-00000000000a.db=4,12"]
        );
        assert_eq!(v3.not_read, [("podEntries".to_owned(), 2)]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let file = "\"cpu_manager_state\" is no state of kubelet's CPU manager: ";
        for (text, problem) in [
            ("", format!("{file}EOF while parsing a value at line 1 column 0")),
            ("[1]", format!("{file}invalid type: sequence, expected an object at line 1 column 0")),
            (
                "{\"policyName\":\"static\"}",
                format!("{file}missing field `defaultCpuSet` at line 1 column 23"),
            ),
            (
                "{\"policyName\":\"static\",\"defaultCpuSet\":\"0-\"}",
                "\"cpu_manager_state\": defaultCpuSet: \"0-\" is neither a CPU number nor a range such as 0-3".to_owned(),
            ),
            (
                "{\"policyName\":\"static\",\"defaultCpuSet\":\"0\",\"entries\":{\"a\":{\"b\":\"1\",\"b\":\"2\"}}}",
                format!("{file}\"b\" stands there twice at line 1 column 75"),
            ),
            (
                "{\"policyName\":\"static\",\"defaultCpuSet\":\"0\",\"entries\":{\"a\":\"1\",\"a\":\"2\"}}",
                format!("{file}\"a\" stands there twice at line 1 column 70"),
            ),
        ] {
            assert_eq!(read_text(text), Err(problem), "{text}");
        }
        let entries = "{\"policyName\":\"static\",\"defaultCpuSet\":\"\",\"entries\":{\"\\u001b[2J\":\"9000\"},\"new\":{}}";
        let state = read_text(entries).unwrap();
        assert_eq!(
            shown(&state),
            ["entries.\\u{1b}[2J: there is no CPU 9000: at most 8192 CPUs are supported"]
        );
        assert_eq!(state.not_read, [("new".to_owned(), 1)]);
    }

    #[test]
    fn an_endless_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let refused = read(&path).unwrap_err().to_string();
        assert!(refused.ends_with("has more than 4194304 bytes"), "{refused}");
        // Nesting does not exhaust the stack.
        std::fs::write(&path, "[".repeat(1 << 20)).unwrap();
        assert!(matches!(read(&path), Err(KubeletCpusError::Strange { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut: prop::sample::Index, byte: u8) {
            parse(&bytes, Path::new("f")).ok();
            let mut near = include_bytes!("kubelet_cpus/fixtures/v2.json").to_vec();
            let at = cut.index(near.len());
            near[at] = byte;
            if let Ok(state) = parse(&near, Path::new("f")) {
                prop_assert!(state.entries.len() <= 3);
            }
        }
    }
}
