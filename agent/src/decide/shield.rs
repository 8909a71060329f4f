//! Which pods are never victims.
//!
//! # Properties
//! - An annotation shields only where the node's owner allows that; without that, only critical pods are shielded.

use super::oom_score_adj::CRITICAL_PRIORITY;
use crate::model::pressure::Shield;
use crate::model::{Namespace, PROTECTED_ANNOTATION, Pod};

/// Why `pod` is never a victim, if it is not; `protected` are the namespaces whose pods may ask for that
/// (`memoryPressure.protectedNamespaces`).
///
/// Source: kubelet never evicts pods of a priority from 2 000 000 000 on. It spares static ones too; here all pods are, so
/// that a static pod has to say by its priority that it is critical.
#[must_use]
pub fn shield(pod: &Pod, protected: &[Namespace]) -> Option<Shield> {
    if pod.priority >= CRITICAL_PRIORITY {
        return Some(if pod.is_static {
            Shield::StaticCritical
        } else {
            Shield::Critical
        });
    }
    let asks = pod
        .annotations
        .get(PROTECTED_ANNOTATION)
        .is_some_and(|value| value == "true");
    (asks && protected.contains(&pod.namespace)).then_some(Shield::Protected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixtures::simple;

    #[test]
    fn priority_shields_and_an_annotation_where_it_may() {
        let mut pod = simple("a", "", "");
        pod.is_static = true;
        let here = [pod.namespace.clone()];
        assert_eq!(shield(&pod, &here), None);
        pod.annotations
            .insert(PROTECTED_ANNOTATION.to_owned(), "true".to_owned());
        assert_eq!(shield(&pod, &here), Some(Shield::Protected));
        assert_eq!(shield(&pod, &[]), None);
        pod.annotations
            .insert(PROTECTED_ANNOTATION.to_owned(), "false".to_owned());
        assert_eq!(shield(&pod, &here), None);
        pod.priority = CRITICAL_PRIORITY;
        assert_eq!(shield(&pod, &[]), Some(Shield::StaticCritical));
        pod.is_static = false;
        assert_eq!(shield(&pod, &[]), Some(Shield::Critical));
        pod.priority -= 1;
        assert_eq!(shield(&pod, &here), None);
    }
}
