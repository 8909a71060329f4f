//! Pods and containers as the kernel alone knows them: by their cgroups.
//!
//! **Problem.** On a node that kubelet runs, cgroups of pods are there before anybody tells of the pods, and stay while
//! the API server is away. **Terms.** *Root*: the cgroup below which a kubelet keeps its pods, `kubepods`. *Sandbox*: the
//! container that holds a pod's namespaces and does nothing else, also called pause.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CgroupDriver, CgroupId, CgroupPath, PodUid, QosClass};

/// A container's id as its runtime gives it: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// Why a text is no container's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a container's id has 64 digits, each of 0-9 and a-f")]
pub struct ContainerIdError;

impl ContainerId {
    /// Digits of an id.
    const DIGITS: usize = 64;

    /// Checks `text` and keeps it.
    ///
    /// # Errors
    /// It is not 64 digits of 0-9 and a-f.
    pub fn parse(text: &str) -> Result<Self, ContainerIdError> {
        let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == Self::DIGITS && text.bytes().all(digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ContainerIdError)
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = ContainerIdError;
    fn try_from(text: String) -> Result<Self, ContainerIdError> {
        Self::parse(&text)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> String {
        id.0
    }
}

/// Who made a container's cgroup, as far as its name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerRuntime {
    /// containerd, by its CRI plugin.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker, by cri-dockerd.
    Docker,
    /// Podman.
    Podman,
}

impl ContainerRuntime {
    /// Every runtime.
    pub const ALL: [Self; 4] = [Self::Containerd, Self::CriO, Self::Docker, Self::Podman];

    /// What stands before the id in the name of a container's scope.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Containerd => "cri-containerd-",
            Self::CriO => "crio-",
            Self::Docker => "docker-",
            Self::Podman => "libpod-",
        }
    }
}

impl fmt::Display for ContainerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Docker => "docker",
            Self::Podman => "podman",
        })
    }
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerRole {
    /// The pod's work.
    Work,
    /// It holds the pod's namespaces.
    Sandbox,
    /// It watches over a container for CRI-O (conmon).
    Monitor,
}

impl fmt::Display for ContainerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Work => "work",
            Self::Sandbox => "sandbox",
            Self::Monitor => "monitor",
        })
    }
}

/// A container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveredContainer {
    /// The runtime's id of it.
    pub id: ContainerId,
    /// Who made it; the cgroupfs driver's names do not tell.
    pub runtime: Option<ContainerRuntime>,
    /// What it is for.
    pub role: ContainerRole,
    /// Below the cgroup file system's mount point.
    pub cgroup: CgroupPath,
    /// Identity of the cgroup.
    pub cgroup_id: CgroupId,
}

/// A pod's cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveredPod {
    /// The pod's UID; of a static pod the hash that kubelet made of its manifest.
    pub uid: PodUid,
    /// The class, by the level at which it is.
    pub qos: QosClass,
    /// Below the cgroup file system's mount point.
    pub cgroup: CgroupPath,
    /// Identity of the cgroup.
    pub cgroup_id: CgroupId,
    /// Its containers, in the order of their cgroups' names.
    pub containers: Vec<DiscoveredContainer>,
}

/// A root with the pods below it, in the order of their cgroups' names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveredRoot {
    /// Below the cgroup file system's mount point.
    pub cgroup: CgroupPath,
    /// Who makes cgroups there.
    pub driver: CgroupDriver,
    /// Pods of all classes.
    pub pods: Vec<DiscoveredPod>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_is_64_hexadecimal_digits_and_nothing_else(text in "[0-9a-f]{63,65}|[0-9a-fA-Fg/.]{64}") {
            let plain = text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
            prop_assert_eq!(ContainerId::parse(&text).is_ok(), plain);
        }
    }
}
