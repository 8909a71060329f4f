//! Identifiers, each valid by construction.
//!
//! **Problem.** Names and UIDs come from manifests that anybody may have written, and they end up in cgroup
//! paths, file names, metric labels and log lines. **How.** Each kind has one checking constructor; there is no
//! other way to make one, deserialising included.
//!
//! # Properties
//! - No identifier contains `/`, NUL, white space or a control character, or is `.` or `..`.
//! - Parsing what an identifier prints gives the same identifier.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is no identifier of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text has more than `max` characters.
    #[error("has {len} characters, at most {max} are allowed")]
    TooLong {
        /// Characters in the text.
        len: usize,
        /// Characters allowed.
        max: usize,
    },
    /// A character that this kind does not allow, escaped for printing, at `at` (bytes from 0).
    #[error("has the character {found} at position {at}; {allowed}")]
    BadCharacter {
        /// The character as Rust would escape it.
        found: String,
        /// Its byte position, from 0.
        at: usize,
        /// What is allowed instead.
        allowed: &'static str,
    },
}

const LABEL: &str = "only a-z, 0-9 and '-' are allowed, and '-' neither first nor last";
const SUBDOMAIN: &str =
    "only a-z, 0-9, '-' and '.' are allowed, and each part starts and ends with a-z or 0-9";
const UID: &str = "only a-z, A-Z, 0-9 and '-' are allowed, and '-' neither first nor last";

/// Checks `text` against an alphabet; `-` (and `.`, where allowed) may only stand between two others.
fn check(text: &str, max: usize, allowed: &'static str, upper: bool, dots: bool) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > max {
        return Err(IdError::TooLong {
            len: text.chars().count(),
            max,
        });
    }
    let alphanumeric =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || (upper && c.is_ascii_uppercase());
    let bad = |at: usize, c: char| IdError::BadCharacter {
        found: format!("{c:?}"),
        at,
        allowed,
    };
    let mut previous = None;
    for (at, c) in text.char_indices() {
        let fits = match c {
            _ if alphanumeric(c) => true,
            '-' => previous.is_some_and(|p| p != '.'),
            '.' => dots && previous.is_some_and(alphanumeric),
            _ => false,
        };
        if !fits {
            return Err(bad(at, c));
        }
        previous = Some(c);
    }
    match text.char_indices().next_back() {
        Some((at, c)) if !alphanumeric(c) => Err(bad(at, c)),
        _ => Ok(()),
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $max:expr, $allowed:expr, $upper:expr, $dots:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and keeps it.
            ///
            /// # Errors
            /// [`IdError`] says which character or length is not allowed.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text, $max, $allowed, $upper, $dots)?;
                Ok(Self(text.to_owned()))
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

identifier!(
    /// A pod's UID: a UUID, or the hash that a static pod gets. Letters, digits and `-`, at most 63 characters,
    /// so that it can be a component of a cgroup path.
    PodUid, 63, UID, true, false
);
identifier!(
    /// A pod's name: a DNS-1123 subdomain of at most 253 characters.
    PodName, 253, SUBDOMAIN, false, true
);
identifier!(
    /// A namespace: a DNS-1123 label of at most 63 characters.
    Namespace, 63, LABEL, false, false
);
identifier!(
    /// A container's name, unique in its pod: a DNS-1123 label of at most 63 characters.
    ContainerName, 63, LABEL, false, false
);

/// A cgroup's identity: the inode number of its directory, which the kernel and eBPF call its id. A cgroup that
/// was removed and made again under the same name has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CgroupId(pub u64);

/// One process for good: a pid can be used again, a pid with its start time cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The process id in the agent's pid namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_would_leave_a_directory_are_refused() {
        for text in [
            "..", ".", "../..", "a/b", "a\0b", "a b", "a\nb", "-a", "a-", "a..b", "a.-b", "é", "",
        ] {
            assert!(PodName::parse(text).is_err(), "{text:?}");
            assert!(PodUid::parse(text).is_err(), "{text:?}");
            assert!(ContainerName::parse(text).is_err(), "{text:?}");
        }
        assert!(PodName::parse(&"a".repeat(300)).is_err());
    }

    #[test]
    fn usual_names_are_accepted() {
        assert!(PodName::parse("web-0.shop").is_ok());
        assert!(PodUid::parse("1f2e3d4c-aaaa-bbbb-cccc-0123456789ab").is_ok());
        assert!(Namespace::parse("kube-system").is_ok());
        assert!(ContainerName::parse("c0").is_ok());
        assert!(
            ContainerName::parse("a.b").is_err(),
            "a container name is a label, without dots"
        );
    }

    proptest! {
        #[test]
        fn an_identifier_is_safe_as_a_path_component(text in "\\PC{0,80}|[a-z.\\-/]{0,20}") {
            if let Ok(name) = PodName::parse(&text) {
                prop_assert!(!name.as_str().contains(['/', '\0', ' ', '\n']));
                prop_assert!(name.as_str() != "." && name.as_str() != "..");
                prop_assert_eq!(PodName::parse(name.as_str()), Ok(name));
            }
        }
    }
}
