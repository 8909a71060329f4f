//! What a pod claims about its own end: that it is critical, and how the OOM killer may take it.
//!
//! **Problem.** A pod that calls itself critical is never evicted, and an annotation that nobody understands leaves its
//! author with something else than what was written. **How.** As the API server has it, only pods in `kube-system` may have
//! one of the two system priority classes or a priority above what users may give (admission plug-in `Priority`,
//! `HighestUserDefinablePriority`), and a priority beside a system class must be the class's. Annotations that the agent
//! reads must say `true` or `false`, and name a container of the pod where they are about one.
//!
//! # Properties
//! - A pod that passes is critical by its priority only in `kube-system`.

use super::defaults::SYSTEM_CLASSES;
use super::field::{FieldPath, Problems};
use crate::model::{OOM_GROUP_ANNOTATION, PROTECTED_ANNOTATION, Pod};

/// Where critical pods live.
const SYSTEM_NAMESPACE: &str = "kube-system";
/// The highest priority that is not the system's own.
const HIGHEST_FOR_USERS: i32 = 1_000_000_000;
/// Checks a pod after defaulting; `path` is its place in the document.
pub(super) fn check(pod: &Pod, path: &FieldPath, problems: &Problems) {
    priority(pod, &path.key("spec"), problems);
    let annotations = path.key("metadata").key("annotations");
    for (key, value) in &pod.annotations {
        let container = key
            .strip_prefix(OOM_GROUP_ANNOTATION)
            .and_then(|rest| rest.strip_prefix('.'));
        if container.is_none() && key != OOM_GROUP_ANNOTATION && key != PROTECTED_ANNOTATION {
            continue;
        }
        let path = annotations.key(key);
        if !matches!(value.as_str(), "true" | "false") {
            problems.add(
                &path,
                format!("{value:?} is neither true nor false"),
                "write \"true\" or \"false\", in quotes",
            );
        }
        if container.is_some_and(|wanted| pod.all_containers().all(|c| c.name.as_str() != wanted)) {
            problems.add(
                &path,
                "names no container of the pod",
                "write a container's name after oom-group and a dot",
            );
        }
    }
}

fn priority(pod: &Pod, spec: &FieldPath, problems: &Problems) {
    let class = pod.priority_class_name.as_deref();
    let system = SYSTEM_CLASSES.iter().find(|(name, _)| Some(*name) == class);
    let at_home = pod.namespace.as_str() == SYSTEM_NAMESPACE;
    let class_path = spec.key("priorityClassName");
    if let Some((name, priority)) = system {
        if !at_home {
            problems.add(
                &class_path,
                format!(
                    "{name} is for pods in {SYSTEM_NAMESPACE}, and this one is in {}",
                    pod.namespace
                ),
                "move the pod to kube-system, or give it a priority class of your own",
            );
        } else if pod.priority != *priority {
            problems.add(
                &spec.key("priority"),
                format!(
                    "{} is not the priority of {name}, which is {priority}",
                    pod.priority
                ),
                "leave the priority out",
            );
        }
    } else if pod.priority > HIGHEST_FOR_USERS && !at_home {
        problems.add(
            &spec.key("priority"),
            format!(
                "{} is a priority of the system, for pods in {SYSTEM_NAMESPACE}",
                pod.priority
            ),
            "write 1000000000 or less",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GOOD, read, shown};

    fn errors(metadata: &str, spec: &str) -> String {
        let text = GOOD
            .replace("  name: web", &format!("  name: web\n{metadata}"))
            .replace("spec:", &format!("spec:\n{spec}"));
        shown(&read(&text).errors)
    }

    #[test]
    fn only_kube_system_may_call_its_pods_critical() {
        let home = "  namespace: kube-system";
        let class = "  priorityClassName: system-cluster-critical";
        assert_eq!(errors(home, class), "");
        assert_eq!(errors(home, "  priority: 2000001000"), "");
        assert_eq!(errors("", "  priority: 1000000000"), "");
        assert_eq!(errors("", "  priorityClassName: mine"), "");
        let error = errors("  namespace: shop", class);
        assert!(
            error.contains("line 7, column") && error.contains("spec.priorityClassName"),
            "{error}"
        );
        assert!(
            error.contains("for pods in kube-system, and this one is in shop; move"),
            "{error}"
        );
        let error = errors("", "  priority: 1000000001");
        assert!(
            error.contains("spec.priority: 1000000001 is a priority of the system"),
            "{error}"
        );
        let error = errors(home, &format!("{class}\n  priority: 5"));
        assert!(
            error.contains("5 is not the priority of system-cluster-critical"),
            "{error}"
        );
    }

    #[test]
    fn annotations_with_nonsense_are_refused_at_their_line() {
        let annotated = |text: &str| errors(&format!("  annotations:\n    {text}"), "  priority: 0");
        for good in [
            "plimsoll.dev/oom-group: 'true'",
            "plimsoll.dev/oom-group.app: 'false'",
            "plimsoll.dev/protected: 'true'",
            "plimsoll.dev/other: maybe",
            "example.com/oom-group: maybe",
        ] {
            assert_eq!(annotated(good), "", "{good}");
        }
        for (wrong, part) in [
            (
                "plimsoll.dev/oom-group: maybe",
                "\"maybe\" is neither true nor false",
            ),
            ("plimsoll.dev/oom-group.app: 'yes'", "\"yes\" is neither"),
            (
                "plimsoll.dev/oom-group.web: 'true'",
                "names no container of the pod",
            ),
            ("plimsoll.dev/oom-group.: 'true'", "names no container of the pod"),
            ("plimsoll.dev/protected: \"\\e[31m\"", "neither true nor false"),
        ] {
            let error = annotated(wrong);
            assert!(
                error.contains("line 6") && error.contains(part),
                "{wrong}: {error}"
            );
            assert!(!error.contains('\u{1b}'));
        }
    }
}
