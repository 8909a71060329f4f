//! Which new pods are kept out while the node is short of something.
//!
//! **Problem.** Where something was just taken for want of memory, the next pod would take what that gave back, or be
//! the next victim. **Rules**, kubelet's: critical pods always come in. While only memory is short, so does every pod that
//! requests something or tolerates the taint of it; while disk or process ids are short, nobody else does.
//!
//! As everywhere here a pod is critical by its priority, not by being static, since all are. A pod that is kept out has the
//! phase and reason that kubelet gives it; it comes in when the node is fine, for nobody else would make it anew.
//!
//! # Properties
//! - A critical pod is never kept out, and nobody is while nothing is short.
//! - Who is kept out by some conditions is kept out by more of them.

use super::oom_score_adj::CRITICAL_PRIORITY;
use super::qos::qos_class;
use crate::model::pressure::Conditions;
use crate::model::{Pod, PodRefusal, QosClass};

/// Why a pod that does not run yet is kept out, if it is.
///
/// Source: kubelet, the eviction manager's `Admit`.
#[must_use]
pub fn kept_out(pod: &Pod, conditions: Conditions) -> Option<PodRefusal> {
    if conditions.is_fine() || pod.priority >= CRITICAL_PRIORITY {
        return None;
    }
    let only_memory = !conditions.disk && !conditions.pid;
    if only_memory && (qos_class(pod) != QosClass::BestEffort || pod.tolerates_memory_pressure) {
        return None;
    }
    Some(PodRefusal {
        reason: "Evicted".to_owned(),
        container: None,
        message: format!("The node had condition: [{conditions}]."),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::fixtures::simple;

    const MEMORY: Conditions = Conditions {
        memory: true,
        disk: false,
        pid: false,
    };

    #[test]
    fn memory_keeps_best_effort_out_and_disk_everybody() {
        let (best_effort, burstable) = (simple("a", "", ""), simple("b", "cpu=100m", ""));
        assert_eq!(kept_out(&burstable, MEMORY), None);
        let refusal = kept_out(&best_effort, MEMORY).unwrap();
        assert_eq!(refusal.reason, "Evicted");
        assert_eq!(refusal.message, "The node had condition: [MemoryPressure].");
        let tolerating = Pod {
            tolerates_memory_pressure: true,
            ..best_effort.clone()
        };
        assert_eq!(kept_out(&tolerating, MEMORY), None);
        for (disk, pid) in [(true, false), (false, true)] {
            for memory in [false, true] {
                let conditions = Conditions { memory, disk, pid };
                for pod in [&best_effort, &burstable, &tolerating] {
                    assert!(kept_out(pod, conditions).is_some(), "{conditions}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn more_conditions_keep_nobody_in(memory: bool, disk: bool, pid: bool, more: u8, critical: bool, requests: bool, tolerates: bool) {
            let mut pod = simple("a", if requests { "memory=1Mi" } else { "" }, "");
            pod.tolerates_memory_pressure = tolerates;
            pod.priority = if critical { CRITICAL_PRIORITY } else { CRITICAL_PRIORITY - 1 };
            let fewer = Conditions { memory, disk, pid };
            let more = Conditions { memory: memory || more & 1 > 0, disk: disk || more & 2 > 0, pid: pid || more & 4 > 0 };
            prop_assert!(kept_out(&pod, fewer).is_none() || kept_out(&pod, more).is_some());
            prop_assert!(!critical || kept_out(&pod, more).is_none());
            prop_assert!(kept_out(&pod, Conditions::default()).is_none());
        }
    }
}
