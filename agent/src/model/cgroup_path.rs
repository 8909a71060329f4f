//! A cgroup's place below the agent's root, as a value that cannot leave it.
//!
//! # Properties
//! - A path never starts with `/` and has no empty, `.` or `..` component: joined to the root it stays inside.
//! - `parse(path.to_string()) == path`; the parent of a child is the path itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A path relative to the agent's root cgroup; the empty path is the root itself.
///
/// Ordered so that a parent comes before its children.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CgroupPath {
    components: Vec<String>,
}

/// Why a text is no path below the root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{component:?} cannot be a cgroup's name: {reason}")]
pub struct CgroupPathError {
    component: String,
    reason: &'static str,
}

impl CgroupPath {
    /// The agent's root cgroup.
    pub const ROOT: Self = Self {
        components: Vec::new(),
    };

    /// Reads `a/b/c`; the empty text is the root.
    ///
    /// # Errors
    /// A component is empty, `.`, `..`, over 255 bytes, or holds a character that no cgroup of ours uses.
    pub fn parse(text: &str) -> Result<Self, CgroupPathError> {
        let mut path = Self::ROOT;
        if text.is_empty() {
            return Ok(path);
        }
        for component in text.split('/') {
            path = path.child(component)?;
        }
        Ok(path)
    }

    /// The cgroup `name` in this one.
    ///
    /// # Errors
    /// `name` is empty, `.`, `..`, over 255 bytes, or holds `/`, white space or a control character.
    pub fn child(&self, name: &str) -> Result<Self, CgroupPathError> {
        let reason = if name.is_empty() {
            "it is empty"
        } else if name == "." || name == ".." {
            "it would leave the tree"
        } else if name.len() > 255 {
            "it has over 255 bytes"
        } else if name
            .chars()
            .any(|c| c == '/' || c.is_whitespace() || c.is_control())
        {
            "it has a slash, white space or a control character"
        } else {
            let mut components = self.components.clone();
            components.push(name.to_owned());
            return Ok(Self { components });
        };
        Err(CgroupPathError {
            component: name.to_owned(),
            reason,
        })
    }

    /// The cgroup `name` in this one, where `name` is put together from identifiers and so needs no check.
    pub(super) fn child_of_parts(&self, name: &str) -> Self {
        let mut components = self.components.clone();
        components.push(name.to_owned());
        Self { components }
    }

    /// What `below` is of this one.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        below
            .components()
            .iter()
            .fold(self.clone(), |path, name| path.child_of_parts(name))
    }

    /// The cgroup that holds this one; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, init) = self.components.split_last()?;
        Some(Self {
            components: init.to_vec(),
        })
    }

    /// The last component; none for the root.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.components.last().map(String::as_str)
    }

    /// The components from the root down.
    #[must_use]
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// How many levels below the root.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.components.len()
    }

    /// Whether this is `ancestor` or lies below it.
    #[must_use]
    pub fn is_within(&self, ancestor: &Self) -> bool {
        self.components.starts_with(&ancestor.components)
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.components.join("/"))
    }
}

impl TryFrom<String> for CgroupPath {
    type Error = CgroupPathError;
    fn try_from(text: String) -> Result<Self, CgroupPathError> {
        Self::parse(&text)
    }
}

impl From<CgroupPath> for String {
    fn from(path: CgroupPath) -> String {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_path_stays_below_its_root(text in "[a-z./\\\\ ]{0,24}|\\PC{0,24}") {
            if let Ok(path) = CgroupPath::parse(&text) {
                prop_assert!(path.components().iter().all(|c| !c.is_empty() && c != "." && c != ".."));
                prop_assert!(!path.to_string().starts_with('/'));
                prop_assert_eq!(CgroupPath::parse(&path.to_string()), Ok(path));
            }
        }

        #[test]
        fn the_parent_of_a_child_is_the_path(text in "[a-z]{1,4}(/[a-z]{1,4}){0,3}", name in "[a-z0-9-]{1,8}") {
            let path = CgroupPath::parse(&text).unwrap();
            let child = path.child(&name).unwrap();
            prop_assert!(child.is_within(&path) && path < child);
            prop_assert_eq!(child.name(), Some(name.as_str()));
            prop_assert_eq!(child.parent(), Some(path));
        }
    }
}
