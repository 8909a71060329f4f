//! What a cgroup is, by its name and by what its parent is.
//!
//! **Problem.** Kubelet names levels and pods, the runtime names containers, each by its driver: plain directories under
//! *cgroupfs*, slices and scopes that repeat the levels above under *systemd*. A kubelet inside a container (kind) or one
//! with a cgroup root of its own has its `kubepods` further down. **How.** One step at a time from the mount point down:
//! [`Kind::below`]. The driver is seen at the root's name; below it only names of that driver count.
//!
//! # Properties
//! - Every name that kubelet gives to a pod is read back as its class and UID, for both drivers and at any root.
//! - Whatever is in a pod is the pod's: no name there makes a root, a class or another pod of it.

use crate::model::{CgroupDriver, ContainerId, ContainerRole, ContainerRuntime, PodUid, QosClass};

/// What a cgroup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing of Kubernetes; there may be a root below.
    Outside,
    /// Below it are pods of class Guaranteed, and the other classes.
    Root(Root),
    /// Below it are pods of this class.
    Class(Root, QosClass),
    /// A pod, and who makes cgroups in it.
    Pod {
        uid: PodUid,
        qos: QosClass,
        driver: CgroupDriver,
    },
    /// A container of a pod.
    Container {
        id: ContainerId,
        runtime: Option<ContainerRuntime>,
        /// None where the name does not tell work from sandbox.
        role: Option<ContainerRole>,
    },
    /// Something of what is above it: a cgroup that a container made, or crun's inner one.
    Part,
}

/// How names below a root look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    driver: CgroupDriver,
    /// What slices' names begin with: those of all levels above. Empty under cgroupfs.
    prefix: String,
}

const ROOT: &str = "kubepods";
const SLICE: &str = ".slice";
const SCOPE: &str = ".scope";
const MONITOR: &str = "crio-conmon-";

impl Kind {
    /// What the cgroup `name` in this one is.
    pub(super) fn below(&self, name: &str) -> Self {
        match self {
            Self::Outside => Root::named(name).map_or(Self::Outside, Self::Root),
            Self::Root(root) => match root.component(name).as_deref() {
                Some("burstable") => Self::Class(root.child("burstable"), QosClass::Burstable),
                Some("besteffort") => Self::Class(root.child("besteffort"), QosClass::BestEffort),
                Some(component) => pod(component, QosClass::Guaranteed, root.driver),
                None => Self::Part,
            },
            Self::Class(root, qos) => root
                .component(name)
                .map_or(Self::Part, |component| pod(&component, *qos, root.driver)),
            Self::Pod { driver, .. } => container(name, *driver).unwrap_or(Self::Part),
            Self::Container { .. } | Self::Part => Self::Part,
        }
    }
}

impl Root {
    /// The root that a name tells of: `kubepods`, or a slice whose last component is that.
    fn named(name: &str) -> Option<Self> {
        if name == ROOT {
            return Some(Self {
                driver: CgroupDriver::Cgroupfs,
                prefix: String::new(),
            });
        }
        let unit = name.strip_suffix(SLICE)?;
        let last = unit.rsplit('-').next()?;
        (last == ROOT).then(|| Self {
            driver: CgroupDriver::Systemd,
            prefix: format!("{unit}-"),
        })
    }

    pub(super) const fn driver(&self) -> CgroupDriver {
        self.driver
    }

    /// The last component of a name, as Kubernetes has it.
    fn component(&self, name: &str) -> Option<String> {
        match self.driver {
            CgroupDriver::Cgroupfs => Some(name.to_owned()),
            CgroupDriver::Systemd => {
                let component = name.strip_suffix(SLICE)?.strip_prefix(&self.prefix)?;
                // A '-' would be one more level, which has its slice in this one's.
                (!component.contains('-')).then(|| component.replace('_', "-"))
            }
        }
    }

    /// How names look below the class `component`.
    fn child(&self, component: &str) -> Self {
        let prefix = match self.driver {
            CgroupDriver::Cgroupfs => String::new(),
            CgroupDriver::Systemd => format!("{}{component}-", self.prefix),
        };
        Self {
            driver: self.driver,
            prefix,
        }
    }
}

fn pod(component: &str, qos: QosClass, driver: CgroupDriver) -> Kind {
    let uid = component.strip_prefix("pod").map(PodUid::parse);
    match uid {
        Some(Ok(uid)) => Kind::Pod { uid, qos, driver },
        _ => Kind::Part,
    }
}

/// A runtime's name of a container's cgroup.
fn container(name: &str, driver: CgroupDriver) -> Option<Kind> {
    let scope = name.strip_suffix(SCOPE);
    let stem = scope.unwrap_or(name);
    let kind = |id: &str, runtime, role| {
        let id = ContainerId::parse(id).ok()?;
        Some(Kind::Container { id, runtime, role })
    };
    if let Some(id) = stem.strip_prefix(MONITOR) {
        return kind(id, Some(ContainerRuntime::CriO), Some(ContainerRole::Monitor));
    }
    let named = ContainerRuntime::ALL
        .into_iter()
        .find_map(|runtime| Some((runtime, stem.strip_prefix(runtime.prefix())?)));
    match (driver, named, scope) {
        // CRI-O makes the sandbox's cgroup by itself, without systemd; all others are scopes.
        (CgroupDriver::Systemd, Some((ContainerRuntime::CriO, id)), scope) => {
            let role = match scope {
                Some(_) => ContainerRole::Work,
                None => ContainerRole::Sandbox,
            };
            kind(id, Some(ContainerRuntime::CriO), Some(role))
        }
        (CgroupDriver::Systemd, Some((runtime, id)), Some(_)) => kind(id, Some(runtime), None),
        (CgroupDriver::Cgroupfs, Some((ContainerRuntime::CriO, id)), None) => {
            kind(id, Some(ContainerRuntime::CriO), None)
        }
        (CgroupDriver::Cgroupfs, None, None) => kind(name, None, None),
        _ => None,
    }
}
