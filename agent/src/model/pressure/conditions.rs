//! What a node says of itself while it is short of something.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Signal;

/// The conditions of a node, by Kubernetes' names: `MemoryPressure`, `DiskPressure`, `PIDPressure`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conditions {
    /// A threshold of memory is met.
    pub memory: bool,
    /// One of a file system.
    pub disk: bool,
    /// One of process ids.
    pub pid: bool,
}

impl Conditions {
    /// Whether there is none.
    #[must_use]
    pub fn is_fine(self) -> bool {
        self == Self::default()
    }
}

/// From the signals whose thresholds are met.
impl FromIterator<Signal> for Conditions {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        let mut conditions = Self::default();
        for signal in signals {
            match signal {
                Signal::PidAvailable => conditions.pid = true,
                signal if signal.is_memory() => conditions.memory = true,
                _ => conditions.disk = true,
            }
        }
        conditions
    }
}

/// Their names, with a space between them.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.memory, "MemoryPressure"),
            (self.disk, "DiskPressure"),
            (self.pid, "PIDPressure"),
        ];
        let names = all.iter().filter(|(there, _)| *there).map(|(_, name)| name);
        for (n, name) in names.enumerate() {
            let gap = if n > 0 { " " } else { "" };
            write!(f, "{gap}{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_of_one_condition() {
        for signal in Signal::ALL {
            let names = Conditions::from_iter([signal]).to_string();
            let expected = match signal.name().split('.').next() {
                Some("nodefs" | "imagefs") => "DiskPressure",
                Some("pid") => "PIDPressure",
                _ => "MemoryPressure",
            };
            assert_eq!(names, expected, "{signal}");
        }
        let all: Conditions = Signal::ALL.into_iter().collect();
        assert_eq!(all.to_string(), "MemoryPressure DiskPressure PIDPressure");
        assert!(!all.is_fine() && Conditions::from_iter([]).is_fine());
    }
}
