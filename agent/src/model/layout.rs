//! Where things go below the agent's root: kubelet's hierarchy by QoS class, with a level for containers.
//!
//! ```text
//! <root>/agent                           the agent itself
//! <root>/pod<uid>/<container>            Guaranteed
//! <root>/burstable/pod<uid>/<container>
//! <root>/besteffort/pod<uid>/<container>
//! ```
//!
//! Under the systemd naming every level above a container is a slice that repeats its parents' names, and a
//! container is a scope named after pod and container, since scope names are unique on a machine.
//!
//! A container's name is a DNS label. It has no dot, and the kernel's interface files all have one, so that the
//! two cannot collide.
//!
//! # Properties
//! - `place` finds back what `pod` and `container` were given.
//! - Two different pods or containers never share a path.

use super::cgroup_name::CgroupName;
use super::cgroup_path::CgroupPath;
use super::ids::{ContainerName, PodUid};
use super::qos::QosClass;

const AGENT: &str = "agent";

/// What a cgroup below the agent's root is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The agent's root.
    Root,
    /// The agent's own cgroup.
    Agent,
    /// The level of a QoS class; Guaranteed has none.
    Qos(QosClass),
    /// A pod.
    Pod(QosClass, PodUid),
    /// A container of a pod.
    Container(QosClass, PodUid, ContainerName),
}

/// The naming of the agent's cgroups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Layout {
    /// Plain directories, the same below any root.
    #[default]
    Cgroupfs,
    /// Slices below the root of this name, and scopes in them.
    Systemd(CgroupName),
}

impl Layout {
    /// The agent's own cgroup.
    #[must_use]
    pub fn agent(&self) -> CgroupPath {
        self.level(&[AGENT])
    }

    /// The level of a class, which for Guaranteed is the root.
    #[must_use]
    pub fn qos(&self, class: QosClass) -> CgroupPath {
        class_component(class).map_or(CgroupPath::ROOT, |component| self.level(&[component]))
    }

    /// A pod's cgroup.
    #[must_use]
    pub fn pod(&self, class: QosClass, uid: &PodUid) -> CgroupPath {
        let pod = format!("pod{uid}");
        match class_component(class) {
            Some(component) => self.level(&[component, &pod]),
            None => self.level(&[&pod]),
        }
    }

    /// A container's cgroup.
    #[must_use]
    pub fn container(&self, class: QosClass, uid: &PodUid, container: &ContainerName) -> CgroupPath {
        let pod = self.pod(class, uid);
        match self {
            Self::Cgroupfs => pod.child_of_parts(container.as_str()),
            Self::Systemd(root) => pod.child_of_parts(&scope(root, uid, container.as_str())),
        }
    }

    /// What the cgroup at `path` is; none when it is not the agent's.
    #[must_use]
    pub fn place(&self, path: &CgroupPath) -> Option<Place> {
        let (class, rest) = match path.components() {
            [] => return Some(Place::Root),
            [first, rest @ ..] => match self.class_of_level(first) {
                Some(class) if rest.is_empty() => return Some(Place::Qos(class)),
                Some(class) => (class, rest),
                None => (QosClass::Guaranteed, path.components()),
            },
        };
        if *path == self.agent() {
            return Some(Place::Agent);
        }
        let [pod, rest @ ..] = rest else { return None };
        let uid = match self {
            Self::Cgroupfs => pod.strip_prefix("pod")?.to_owned(),
            Self::Systemd(_) => {
                let unit = pod.strip_suffix(".slice")?;
                unit.rsplit('-').next()?.strip_prefix("pod")?.replace('_', "-")
            }
        };
        let uid = PodUid::parse(&uid).ok()?;
        let pod_path = self.pod(class, &uid);
        match rest {
            [] => (*path == pod_path).then_some(Place::Pod(class, uid)),
            [container] => {
                let name = match self {
                    Self::Cgroupfs => container.as_str(),
                    Self::Systemd(root) => {
                        let prefix = scope(root, &uid, "");
                        let prefix = prefix.strip_suffix(".scope")?;
                        container.strip_prefix(prefix)?.strip_suffix(".scope")?
                    }
                };
                let name = ContainerName::parse(name).ok()?;
                let found = self.container(class, &uid, &name);
                (found == *path).then_some(Place::Container(class, uid, name))
            }
            _ => None,
        }
    }

    fn class_of_level(&self, component: &str) -> Option<QosClass> {
        QosClass::ALL
            .into_iter()
            .find(|class| *class != QosClass::Guaranteed && self.qos(*class).name() == Some(component))
    }

    /// The path of levels below the root, each a directory or a slice.
    fn level(&self, components: &[&str]) -> CgroupPath {
        match self {
            Self::Cgroupfs => components
                .iter()
                .fold(CgroupPath::ROOT, |path, c| path.child_of_parts(c)),
            Self::Systemd(root) => {
                let above = root.components().len();
                let mut name = root.clone();
                let mut path = CgroupPath::ROOT;
                for (n, component) in components.iter().enumerate() {
                    name = name.child_of_parts(component);
                    path = path.child_of_parts(&name.slice(above + n + 1));
                }
                path
            }
        }
    }
}

/// systemd's name of a container, unique on the machine as scopes' names must be.
fn scope(root: &CgroupName, uid: &PodUid, container: &str) -> String {
    let root = root.components().join("-").replace('-', "_");
    let uid = uid.as_str().replace('-', "_");
    format!("{root}-pod{uid}-{container}.scope")
}

const fn class_component(class: QosClass) -> Option<&'static str> {
    match class {
        QosClass::Guaranteed => None,
        QosClass::Burstable => Some("burstable"),
        QosClass::BestEffort => Some("besteffort"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layouts() -> [Layout; 2] {
        let root = CgroupName::new(["edge", "plimsoll-a"]).unwrap();
        [Layout::Cgroupfs, Layout::Systemd(root)]
    }

    #[test]
    fn the_systemd_naming_repeats_the_levels_above() {
        let [_, systemd] = layouts();
        let uid = PodUid::parse("1f2e-3d").unwrap();
        assert_eq!(
            systemd.pod(QosClass::Burstable, &uid).to_string(),
            "edge-plimsoll_a-burstable.slice/edge-plimsoll_a-burstable-pod1f2e_3d.slice"
        );
    }

    #[test]
    fn what_is_not_ours_has_no_place() {
        for layout in layouts() {
            for text in [
                "x",
                "burstable/x",
                "pod",
                "pod-",
                "podu/c/deeper",
                "agent/x",
                "burstable/podu/A.b",
            ] {
                assert_eq!(layout.place(&CgroupPath::parse(text).unwrap()), None, "{text}");
            }
            assert_eq!(layout.place(&layout.agent()), Some(Place::Agent));
            assert_eq!(layout.place(&layout.qos(QosClass::Guaranteed)), Some(Place::Root));
            assert_eq!(
                layout.place(&layout.qos(QosClass::BestEffort)),
                Some(Place::Qos(QosClass::BestEffort))
            );
        }
    }

    proptest! {
        #[test]
        fn a_place_is_found_back(
            class in prop::sample::select(&QosClass::ALL[..]),
            uid in "[a-zA-Z0-9]([a-zA-Z0-9-]{0,40}[a-z0-9])?",
            name in "[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?",
        ) {
            let uid = PodUid::parse(&uid).unwrap();
            let name = ContainerName::parse(&name).unwrap();
            for layout in layouts() {
                let pod = layout.pod(class, &uid);
                let container = layout.container(class, &uid, &name);
                prop_assert_eq!(pod.parent(), Some(layout.qos(class)));
                prop_assert_eq!(container.parent(), Some(pod.clone()));
                prop_assert_eq!(layout.place(&pod), Some(Place::Pod(class, uid.clone())));
                prop_assert_eq!(layout.place(&container), Some(Place::Container(class, uid.clone(), name.clone())));
            }
        }
    }
}
