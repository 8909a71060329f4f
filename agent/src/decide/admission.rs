//! Which pods get a place: those whose requests fit what is allocatable.
//!
//! **How.** Pods that run keep their place whatever changed around them. The others are taken one by one, higher
//! priority first, then by namespace and name, and a pod that does not fit is passed over, so that a large pod
//! keeps no smaller one out. One that fits must still be given the CPUs and memory that it wants to itself; that is for
//! [`super::allotment`] to say. The reasons are kubelet's: `OutOfpods`, `OutOfcpu`, `OutOfmemory`,
//! `OutOfhugepages-2Mi`…, the first that applies.
//!
//! # Properties
//! - A running pod is not refused for what it requests.
//! - What is admitted beside the running pods fits: the sums never exceed what is allocatable.
//! - The answer does not depend on the order of the candidates.
//! - A refusal is true: requested plus used exceeds the capacity that it names.
//! - A running pod's change that only lowers requests never waits, and one that does not wait keeps the sums within.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::{HugePageSize, Pod, PodRefusal, PodUid};

use super::allocatable::Allocatable;
use super::resources::{cpu, huge_pages, memory, pod_requests};

/// What does not fit, in thousandths of a CPU, bytes, or pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The resource.
    pub resource: Resource,
    /// What the pod requests.
    pub requested: u64,
    /// What the pods before it request together.
    pub used: u64,
    /// What is allocatable.
    pub capacity: u64,
}

impl Refusal {
    /// The pod's status reason: `OutOfcpu`…
    #[must_use]
    pub fn reason(&self) -> String {
        format!("OutOf{}", self.resource)
    }

    /// The reason with its numbers, as kubelet words it.
    #[must_use]
    pub fn message(&self) -> String {
        format!(
            "Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}",
            self.resource, self.requested, self.used, self.capacity
        )
    }
}

impl From<Refusal> for PodRefusal {
    fn from(refusal: Refusal) -> Self {
        Self {
            reason: refusal.reason(),
            container: None,
            message: refusal.message(),
        }
    }
}

/// Decides on `candidates`, of which `running` have processes already; `allot` gives those that fit what they want to
/// themselves. One answer a candidate, running ones first, then in the order in which they were decided upon.
#[must_use]
pub fn admit<T, R: From<Refusal>>(
    candidates: &[&Pod],
    running: &BTreeSet<PodUid>,
    allocatable: &Allocatable,
    mut allot: impl FnMut(&Pod) -> Result<T, R>,
) -> Vec<(PodUid, Result<T, R>)> {
    let mut taken = Taken::of(allocatable);
    in_order(candidates, running)
        .into_iter()
        .map(|pod| {
            let runs = running.contains(&pod.uid);
            let answer = match taken.refusal(pod).filter(|_| !runs) {
                Some(refusal) => Err(refusal.into()),
                None => allot(pod),
            };
            if runs || answer.is_ok() {
                taken.add(pod);
            }
            (pod.uid.clone(), answer)
        })
        .collect()
}

/// The order in which pods are decided on.
fn in_order<'p>(candidates: &[&'p Pod], running: &BTreeSet<PodUid>) -> Vec<&'p Pod> {
    let mut order = candidates.to_vec();
    order.sort_by_key(|pod| {
        (
            !running.contains(&pod.uid),
            Reverse(pod.priority),
            pod.namespace.clone(),
            pod.name.clone(),
            pod.uid.clone(),
        )
    });
    order
}

/// What pods with a place request together of what is allocatable.
#[derive(Debug)]
struct Taken<'a> {
    allocatable: &'a Allocatable,
    used: Demand,
}

impl<'a> Taken<'a> {
    /// No pod has a place.
    fn of(allocatable: &'a Allocatable) -> Self {
        Self {
            allocatable,
            used: Demand::new(),
        }
    }

    /// Why `pod` does not fit beside the others, if so.
    fn refusal(&self, pod: &Pod) -> Option<Refusal> {
        refusal(&demand(pod), &self.used, self.allocatable)
    }

    /// `pod` has a place from now on.
    fn add(&mut self, pod: &Pod) {
        for (resource, amount) in demand(pod) {
            let sum = self.used.entry(resource).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
}

/// Whether a running pod's change from `old` to `new` is to wait: what it would request more of does not fit beside
/// `others`, the pods that have a place.
#[must_use]
pub fn defer_update(old: &Pod, new: &Pod, others: &[&Pod], allocatable: &Allocatable) -> Option<Refusal> {
    let mut used = Demand::new();
    for (resource, amount) in others.iter().flat_map(|pod| demand(pod)) {
        let sum = used.entry(resource).or_default();
        *sum = sum.saturating_add(amount);
    }
    let before = demand(old);
    let mut grown = demand(new);
    grown.retain(|resource, amount| *amount > before.get(resource).copied().unwrap_or(0));
    refusal(&grown, &used, allocatable)
}

/// Amounts by resource, in the order in which they are checked.
type Demand = BTreeMap<Resource, u64>;

/// What pods request and the node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Places for pods.
    Pods,
    /// CPU time.
    Cpu,
    /// Memory.
    Memory,
    /// Huge pages of one size.
    HugePages(HugePageSize),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Pods => f.write_str("pods"),
            Self::Cpu => f.write_str("cpu"),
            Self::Memory => f.write_str("memory"),
            Self::HugePages(HugePageSize(n)) if n % (1 << 30) == 0 => write!(f, "hugepages-{}Gi", n >> 30),
            Self::HugePages(HugePageSize(n)) if n % (1 << 20) == 0 => write!(f, "hugepages-{}Mi", n >> 20),
            Self::HugePages(HugePageSize(n)) => write!(f, "hugepages-{}Ki", n >> 10),
        }
    }
}

impl Resource {
    fn capacity(self, allocatable: &Allocatable) -> u64 {
        match self {
            Self::Pods => allocatable.pods,
            Self::Cpu => allocatable.cpu.0,
            Self::Memory => allocatable.memory.0,
            Self::HugePages(size) => allocatable.huge_pages.get(&size).map_or(0, |amount| amount.0),
        }
    }
}

fn demand(pod: &Pod) -> Demand {
    let requests = pod_requests(pod);
    let mut demand: Demand = huge_pages(&requests)
        .map(|(size, amount)| (Resource::HugePages(size), amount.0))
        .collect();
    demand.insert(Resource::Pods, 1);
    demand.insert(Resource::Cpu, cpu(&requests).0);
    demand.insert(Resource::Memory, memory(&requests).0);
    demand
}

fn refusal(demand: &Demand, used: &Demand, allocatable: &Allocatable) -> Option<Refusal> {
    demand.iter().find_map(|(resource, &requested)| {
        let used = used.get(resource).copied().unwrap_or(0);
        let capacity = resource.capacity(allocatable);
        let fits = requested == 0 || used.checked_add(requested).is_some_and(|sum| sum <= capacity);
        (!fits).then_some(Refusal {
            resource: *resource,
            requested,
            used,
            capacity,
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::allocatable::allocatable;
    use crate::decide::fixtures::{node, simple, valid_pods};
    use crate::decide::policy::PlacementPolicy;

    fn decide(pods: &[Pod], running: &[&str]) -> BTreeMap<String, Result<(), Refusal>> {
        let running = running.iter().map(|uid| PodUid::parse(uid).unwrap()).collect();
        let left = allocatable(&node(), &PlacementPolicy::default());
        let answers = admit(&pods.iter().collect::<Vec<_>>(), &running, &left, |_| Ok(()));
        answers
            .into_iter()
            .map(|(uid, answer)| (uid.to_string(), answer))
            .collect()
    }

    #[test]
    fn a_pod_that_does_not_fit_is_refused_with_the_numbers_and_others_run_on() {
        let pods = [
            simple("a", "cpu=1500m", ""),
            simple("b", "cpu=3000m", ""),
            simple("c", "cpu=2500m memory=1Gi", ""),
        ];
        let answers = decide(&pods, &[]);
        assert_eq!(answers["uid-a"], Ok(()));
        assert_eq!(answers["uid-c"], Ok(()));
        let refusal = answers["uid-b"].as_ref().unwrap_err();
        assert_eq!(refusal.reason(), "OutOfcpu");
        assert_eq!(
            refusal.message(),
            "Node didn't have enough resource: cpu, requested: 3000, used: 1500, capacity: 4000"
        );
    }

    proptest! {
        #[test]
        fn a_change_that_does_not_wait_fits_or_only_gives_back(
            old in valid_pods(1), new in valid_pods(1), others in valid_pods(4),
        ) {
            let (Some(old), Some(new)) = (old.first(), new.first()) else { return Ok(()) };
            let left = allocatable(&node(), &PlacementPolicy::default());
            let others: Vec<_> = others.iter().collect();
            prop_assert_eq!(defer_update(old, old, &others, &left), None);
            let deferred = defer_update(old, new, &others, &left);
            let (before, after) = (demand(old), demand(new));
            for (resource, amount) in after {
                let used: u64 = others.iter().filter_map(|pod| demand(pod).get(&resource).copied()).sum();
                let grows = amount > before.get(&resource).copied().unwrap_or(0);
                if deferred.is_none() && grows {
                    prop_assert!(used + amount <= resource.capacity(&left), "{resource}");
                }
            }
            if let Some(refusal) = deferred {
                prop_assert!(refusal.requested + refusal.used > refusal.capacity);
            }
        }
    }

    #[test]
    fn a_running_pod_comes_before_one_of_higher_priority() {
        let mut important = simple("a", "memory=7Gi", "");
        important.priority = 1000;
        let pods = [important, simple("b", "memory=6Gi", "")];
        let answers = decide(&pods, &["uid-b"]);
        assert_eq!(answers["uid-b"], Ok(()));
        let refusal = answers["uid-a"].as_ref().unwrap_err();
        assert_eq!(refusal.reason(), "OutOfmemory");
    }

    #[test]
    fn huge_pages_that_are_not_there_are_named_by_size() {
        let pods = [
            simple("a", "hugepages-2Mi=66Mi", ""),
            simple("b", "hugepages-1Gi=1Gi", ""),
        ];
        let reasons: Vec<_> = decide(&pods, &[])
            .into_values()
            .map(|answer| answer.unwrap_err().reason())
            .collect();
        assert_eq!(reasons, ["OutOfhugepages-2Mi", "OutOfhugepages-1Gi"]);
    }

    proptest! {
        #[test]
        fn what_is_admitted_fits_and_the_order_does_not_matter(pods in valid_pods(8), kept in 0..9_usize, most in 0..8_u64) {
            let left = Allocatable { pods: most, ..allocatable(&node(), &PlacementPolicy::default()) };
            let running: BTreeSet<_> = pods.iter().take(kept).map(|p| p.uid.clone()).collect();
            let candidates: Vec<_> = pods.iter().collect();
            let decide = |candidates: &[&Pod]| admit(candidates, &running, &left, |_| Ok::<_, Refusal>(()));
            let answers = decide(&candidates);
            let reversed: Vec<_> = pods.iter().rev().collect();
            prop_assert_eq!(&answers, &decide(&reversed));

            let mut used = Demand::new();
            for (uid, answer) in answers {
                let pod = pods.iter().find(|p| p.uid == uid).unwrap();
                match answer {
                    Ok(()) => for (resource, amount) in demand(pod) {
                        let sum = used.entry(resource).or_default();
                        *sum += amount;
                        prop_assert!(
                            running.contains(&uid) || amount == 0 || *sum <= resource.capacity(&left)
                        );
                    },
                    Err(refusal) => {
                        prop_assert!(!running.contains(&uid));
                        prop_assert!(refusal.requested + refusal.used > refusal.capacity);
                    }
                }
            }
        }
    }
}
