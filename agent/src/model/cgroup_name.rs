//! Names of cgroups, independent of the driver that makes them.
//!
//! **Problem.** Kubernetes names a cgroup by a list of components, such as `kubepods`, `burstable`, `pod1f2e…`.
//! Under the *cgroupfs* driver these are directories as they stand; under the *systemd* driver each level is a
//! slice whose name repeats all levels above it, joined by `-`, so a `-` inside a component has to give way.
//! Source: kubelet's `CgroupName` and its two conversions.
//!
//! # Properties
//! - No component is empty or contains `/` or `_`; therefore both forms can be read back without loss.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who makes cgroups, which decides their names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// The agent itself, by mkdir.
    #[default]
    Cgroupfs,
    /// systemd, as slices and scopes.
    Systemd,
}

/// A cgroup's name as a list of components from the top of the hierarchy; the empty list is the top.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupName {
    components: Vec<String>,
}

/// Why a text is no component of a cgroup's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{component:?} cannot be part of a cgroup's name: it must not be empty, '.' or '..', and must not hold \
     '/', '_', white space or control characters"
)]
pub struct CgroupNameError {
    component: String,
}

impl CgroupName {
    /// A name of these components.
    ///
    /// # Errors
    /// A component is empty, `.` or `..`, or has `/`, `_` (systemd names need it for `-`), white space or a
    /// control character.
    pub fn new<T: AsRef<str>>(components: impl IntoIterator<Item = T>) -> Result<Self, CgroupNameError> {
        let mut name = Self::default();
        for component in components {
            name = name.child(component.as_ref())?;
        }
        Ok(name)
    }

    /// The name one level below.
    ///
    /// # Errors
    /// As for [`CgroupName::new`].
    pub fn child(&self, component: &str) -> Result<Self, CgroupNameError> {
        let unusable = |c: char| c == '/' || c == '_' || c.is_whitespace() || c.is_control();
        if matches!(component, "" | "." | "..") || component.contains(unusable) {
            return Err(CgroupNameError {
                component: component.to_owned(),
            });
        }
        Ok(self.child_of_parts(component))
    }

    /// The name one level below, where `component` is put together from identifiers and so needs no check.
    pub(super) fn child_of_parts(&self, component: &str) -> Self {
        let mut components = self.components.clone();
        components.push(component.to_owned());
        Self { components }
    }

    /// The components from the top down.
    #[must_use]
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// The absolute path below the cgroup file system's mount point.
    #[must_use]
    pub fn path(&self, driver: CgroupDriver) -> String {
        match driver {
            CgroupDriver::Cgroupfs => format!("/{}", self.components.join("/")),
            CgroupDriver::Systemd => {
                let slices: Vec<_> = (1..=self.components.len()).map(|n| self.slice(n)).collect();
                format!("/{}", slices.join("/"))
            }
        }
    }

    /// systemd's name of the slice of the first `levels` components.
    pub(super) fn slice(&self, levels: usize) -> String {
        let escaped: Vec<_> = self.components[..levels]
            .iter()
            .map(|component| component.replace('-', "_"))
            .collect();
        format!("{}.slice", escaped.join("-"))
    }

    /// The name behind a path of that driver. For systemd only the last slice counts, since it names all levels.
    ///
    /// # Errors
    /// A component cannot be part of a name.
    pub fn from_path(path: &str, driver: CgroupDriver) -> Result<Self, CgroupNameError> {
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Ok(Self::default());
        }
        match driver {
            CgroupDriver::Cgroupfs => Self::new(path.split('/')),
            CgroupDriver::Systemd => {
                let last = path.rsplit('/').next().unwrap_or(path);
                let unit = last.strip_suffix(".slice").unwrap_or(last);
                Self::new(unit.split('-').map(|component| component.replace('_', "-")))
            }
        }
    }
}

impl fmt::Display for CgroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path(CgroupDriver::Cgroupfs))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_would_be_read_back_as_others_are_refused() {
        for component in ["", ".", "..", "a/b", "a_b", "a b", "a\n"] {
            assert!(CgroupName::new(["kubepods", component]).is_err(), "{component:?}");
        }
    }

    #[test]
    fn the_top_is_the_mount_point() {
        assert_eq!(CgroupName::default().path(CgroupDriver::Systemd), "/");
        assert_eq!(CgroupName::default().path(CgroupDriver::Cgroupfs), "/");
    }

    proptest! {
        #[test]
        fn both_forms_are_read_back(components in proptest::collection::vec("[a-z0-9][a-z0-9.-]{0,12}", 0..5)) {
            let name = CgroupName::new(&components).unwrap();
            for driver in [CgroupDriver::Cgroupfs, CgroupDriver::Systemd] {
                prop_assert_eq!(CgroupName::from_path(&name.path(driver), driver), Ok(name.clone()));
            }
        }
    }
}
