//! Which containers want CPUs of their own, how many, and why the others do not.

use crate::decide::qos::qos_class;
use crate::model::{Container, ContainerKind, MilliCpu, Pod, QosClass};

/// What a container wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// So many CPUs to itself, at least one.
    Exclusive(usize),
    /// The shared pool.
    Shared(WhyShared),
}

/// Why a container runs in the shared pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WhyShared {
    /// The pod's class is not Guaranteed.
    #[error("the pod is {}, only Guaranteed pods get exclusive CPUs", .0.as_str())]
    Class(QosClass),
    /// CPU is requested for the pod and not for its containers.
    #[error("the pod has pod-level resources")]
    PodLevel,
    /// The container asks for no CPU.
    #[error("it requests no CPU")]
    Zero,
    /// The container asks for part of a CPU.
    #[error("it requests {}m CPU, which is no whole number of CPUs", .0.0)]
    Fraction(MilliCpu),
}

impl Wish {
    /// How many CPUs of its own; 0 for the shared pool.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Exclusive(count) => count,
            Self::Shared(_) => 0,
        }
    }
}

/// The wishes of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    by_container: Vec<Wish>,
    at_once: usize,
}

impl Wishes {
    /// The wishes of `pod`'s containers. With `mixed` it is the container that must be as in a Guaranteed pod, whatever
    /// the pod's class is and whether it has resources of its own.
    #[must_use]
    pub fn of(pod: &Pod, mixed: bool) -> Self {
        let class = qos_class(pod);
        let shared = if class != QosClass::Guaranteed {
            Some(WhyShared::Class(class))
        } else if pod.resources.is_some() {
            Some(WhyShared::PodLevel)
        } else {
            None
        };
        let wish = |container: &Container| match shared {
            Some(_) if mixed && is_guaranteed(container) => wish(container),
            Some(why) => Wish::Shared(why),
            None => wish(container),
        };
        let by_container: Vec<_> = pod.all_containers().map(wish).collect();
        Self {
            at_once: at_once(pod, &by_container),
            by_container,
        }
    }

    /// What the container at this place of the manifest wants, initialisation containers first.
    #[must_use]
    pub fn container(&self, index: usize) -> Wish {
        let wish = self.by_container.get(index).copied();
        wish.unwrap_or(Wish::Shared(WhyShared::Zero))
    }

    /// CPUs that the pod holds at most at a time: init containers run one after another, sidecars stay.
    #[must_use]
    pub const fn at_once(&self) -> usize {
        self.at_once
    }
}

/// Whether CPU and memory are limited to what is requested.
fn is_guaranteed(container: &Container) -> bool {
    ["cpu", "memory"].iter().all(|name| {
        let limit = container.resources.limits.get(*name);
        limit.is_some_and(|limit| limit.is_positive()) && limit == container.resources.requests.get(*name)
    })
}

fn wish(container: &Container) -> Wish {
    let request = container
        .resources
        .requests
        .get("cpu")
        .copied()
        .unwrap_or_default();
    let milli = u64::try_from(request.milli_value()).unwrap_or(0);
    match usize::try_from(milli / 1000) {
        _ if milli == 0 => Wish::Shared(WhyShared::Zero),
        Ok(count) if milli.is_multiple_of(1000) => Wish::Exclusive(count),
        _ => Wish::Shared(WhyShared::Fraction(MilliCpu(milli))),
    }
}

fn at_once(pod: &Pod, wishes: &[Wish]) -> usize {
    let (mut staying, mut most) = (0_usize, 0);
    for (container, wish) in pod.all_containers().zip(wishes) {
        let count = wish.count();
        match container.kind {
            ContainerKind::Init => most = most.max(staying.saturating_add(count)),
            ContainerKind::Sidecar | ContainerKind::App => staying = staying.saturating_add(count),
        }
    }
    most.max(staying)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixtures::{container, init, pod, resources, simple};

    fn of(cpu: &str) -> Wish {
        let all = format!("cpu={cpu} memory=1Gi");
        Wishes::of(&simple("p", &all, &all), false).container(0)
    }

    #[test]
    fn whole_cpus_of_guaranteed_pods_are_exclusive() {
        assert_eq!(of("2"), Wish::Exclusive(2));
        assert_eq!(of("2000m"), Wish::Exclusive(2));
        assert_eq!(of("1500m"), Wish::Shared(WhyShared::Fraction(MilliCpu(1500))));
        let burstable = Wishes::of(&simple("p", "cpu=2", "cpu=2"), true).container(0);
        assert_eq!(burstable, Wish::Shared(WhyShared::Class(QosClass::Burstable)));
        let mut own = simple("p", "cpu=2", "cpu=2");
        own.resources = Some(resources("cpu=2 memory=1Gi", "cpu=2 memory=1Gi"));
        assert_eq!(
            Wishes::of(&own, false).container(0),
            Wish::Shared(WhyShared::PodLevel)
        );
    }

    #[test]
    fn in_a_mixed_pod_each_container_is_judged_by_itself() {
        let whole = "cpu=2 memory=1Gi";
        let mixed = pod(
            "p",
            vec![
                container("a", whole, whole),
                container("b", "cpu=2 memory=1Gi", "cpu=3 memory=1Gi"),
                container("c", "cpu=1500m memory=1Gi", "cpu=1500m memory=1Gi"),
            ],
        );
        let of = |mixed_pods| {
            let wishes = Wishes::of(&mixed, mixed_pods);
            [0, 1, 2].map(|n| wishes.container(n))
        };
        let burstable = Wish::Shared(WhyShared::Class(QosClass::Burstable));
        let fraction = Wish::Shared(WhyShared::Fraction(MilliCpu(1500)));
        assert_eq!(of(true), [Wish::Exclusive(2), burstable, fraction]);
        assert_eq!(of(false), [burstable; 3]);
    }

    #[test]
    fn a_pod_holds_what_runs_at_a_time() {
        let cpus = |n: u32| format!("cpu={n} memory=1Gi");
        let mut many = pod(
            "p",
            vec![
                container("a", &cpus(2), &cpus(2)),
                container("b", &cpus(1), &cpus(1)),
            ],
        );
        many.init_containers = vec![
            init("early", ContainerKind::Init, &cpus(4), &cpus(4)),
            init("side", ContainerKind::Sidecar, &cpus(2), &cpus(2)),
            init("late", ContainerKind::Init, &cpus(4), &cpus(4)),
        ];
        assert_eq!(Wishes::of(&many, false).at_once(), 6);
        many.init_containers[0] = init("early", ContainerKind::Init, &cpus(9), &cpus(9));
        assert_eq!(Wishes::of(&many, false).at_once(), 9);
        many.init_containers.clear();
        assert_eq!(Wishes::of(&many, false).at_once(), 3);
    }
}
