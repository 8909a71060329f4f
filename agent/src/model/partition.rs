//! Cpuset partitions: CPUs that one cgroup has to itself and the rest of the machine lacks.
//!
//! Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst`, `cpuset.cpus.partition`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionKind {
    /// The scheduler balances the tasks among the CPUs, and among no others.
    Root,
    /// The scheduler does not balance at all: a task stays on its CPU until it asks for another.
    Isolated,
}

impl PartitionKind {
    /// The word for `cpuset.cpus.partition`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Isolated => "isolated",
        }
    }
}

impl fmt::Display for PartitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What `cpuset.cpus.partition` reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionState {
    /// No partition.
    Member,
    /// A partition.
    Valid(PartitionKind),
    /// It was asked for, and is none or none any more.
    Invalid {
        /// What was asked for.
        kind: PartitionKind,
        /// The kernel's reason; some kernels give none for some.
        reason: Option<String>,
    },
}

impl PartitionState {
    /// Reads the file's content; none for what no known kernel writes.
    #[must_use]
    pub fn parse(read: &str) -> Option<Self> {
        let read = read.trim();
        let (word, rest) = read.split_once(' ').unwrap_or((read, ""));
        let kind = match word {
            "member" if rest.is_empty() => return Some(Self::Member),
            "root" => PartitionKind::Root,
            "isolated" => PartitionKind::Isolated,
            _ => return None,
        };
        if rest.is_empty() {
            return Some(Self::Valid(kind));
        }
        let reason = match rest.strip_prefix("invalid")?.trim_start() {
            "" => None,
            reason => Some(reason.strip_prefix('(')?.strip_suffix(')')?.to_owned()),
        };
        Some(Self::Invalid { kind, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_kernel_is_read() {
        let invalid = |kind, reason: Option<&str>| PartitionState::Invalid {
            kind,
            reason: reason.map(str::to_owned),
        };
        for (read, state) in [
            ("member\n", Some(PartitionState::Member)),
            ("root\n", Some(PartitionState::Valid(PartitionKind::Root))),
            ("isolated", Some(PartitionState::Valid(PartitionKind::Isolated))),
            (
                "isolated invalid (Parent is not a partition root)\n",
                Some(invalid(
                    PartitionKind::Isolated,
                    Some("Parent is not a partition root"),
                )),
            ),
            ("root invalid\n", Some(invalid(PartitionKind::Root, None))),
            ("", None),
            ("member of\n", None),
            ("root of\n", None),
            ("root invalid (x\n", None),
        ] {
            assert_eq!(PartitionState::parse(read), state, "{read:?}");
        }
    }
}
