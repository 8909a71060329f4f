//! Which objects can work on this kernel: facts in, plan out.

use std::collections::BTreeMap;

use plimsoll_ebpf::Object;
use plimsoll_ebpf::facts::{REQUIRED, RUN_TIME};

use crate::kernel::ebpf::Survey;

/// What is to be done with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Load it and attach its programs.
    Attach {
        /// What each program attaches to; programs not listed stay off.
        targets: BTreeMap<&'static str, &'static str>,
        /// Parts that are off, each with what is missing.
        without: Vec<String>,
    },
    /// Leave it, for this reason.
    Skip(String),
}

/// The plan for every object.
pub type ProbePlan = BTreeMap<Object, Plan>;

const CGROUP_EVENTS: [&str; 3] = ["cgroup_mkdir", "cgroup_rmdir", "cgroup_notify_populated"];
const PROCESS_EVENTS: [&str; 2] = ["sched_process_exec", "sched_process_exit"];
const RUN_EVENTS: [&str; 2] = ["sched_switch", "sched_process_exit"];
const USE_EVENTS: [&str; 5] = [
    "sched_switch",
    "irq_handler_entry",
    "irq_handler_exit",
    "softirq_entry",
    "softirq_exit",
];
const RECLAIM_EVENTS: [&str; 4] = [
    "mm_vmscan_memcg_reclaim_begin",
    "mm_vmscan_memcg_reclaim_end",
    "mm_vmscan_direct_reclaim_begin",
    "mm_vmscan_direct_reclaim_end",
];

const SHORTAGE_EVENTS: [&str; 3] = [
    "mm_vmscan_wakeup_kswapd",
    "mm_vmscan_direct_reclaim_begin",
    "mm_vmscan_memcg_reclaim_begin",
];

/// Decides for every object.
#[must_use]
pub fn plan(survey: &Survey) -> ProbePlan {
    Object::ALL
        .into_iter()
        .map(|object| {
            let plan = targets(object, survey).map_or_else(Plan::Skip, |targets| Plan::Attach {
                targets,
                without: without(object, survey),
            });
            (object, plan)
        })
        .collect()
}

/// What the object's programs attach to, or why they cannot.
fn targets(object: Object, survey: &Survey) -> Result<BTreeMap<&'static str, &'static str>, String> {
    if !survey.capable {
        return Err("needs CAP_BPF and CAP_PERFMON".to_owned());
    }
    let missing = survey.facts.get(&object).map(|facts| &facts.missing);
    if let Some(name) = missing.and_then(|missing| missing.get(REQUIRED)) {
        return Err(format!("this kernel has no {name}"));
    }
    let lacks = |group: &str| missing.is_some_and(|missing| missing.contains_key(group));
    let same = |names: &[&'static str]| names.iter().map(|name| (*name, *name)).collect();
    match object {
        // The programs of a pass are run, not attached.
        Object::Usage if lacks(RUN_TIME) => Ok(BTreeMap::new()),
        Object::Usage => Ok(same(&RUN_EVENTS)),
        Object::Life if lacks("processes") => Ok(same(&CGROUP_EVENTS)),
        Object::Life => Ok(same(&[CGROUP_EVENTS.as_slice(), &PROCESS_EVENTS].concat())),
        Object::Oom => match survey.mark_victim.as_deref().map(<[String]>::first) {
            Some(Some(first)) if first == "task_struct" => Ok(same(&["mark_victim"])),
            Some(_) => Err("this kernel's mark_victim does not tell the victim".to_owned()),
            None => Err("this kernel has no tracepoint mark_victim".to_owned()),
        },
        Object::Oomx if survey.oom_kill_process => Ok(same(&["oom_kill_process"])),
        Object::Oomx => Err("this kernel has no function oom_kill_process".to_owned()),
        Object::Writes if survey.cgroup_file_write => Ok(same(&["cgroup_file_write"])),
        Object::Writes => Err("this kernel has no function cgroup_file_write".to_owned()),
        Object::Reclaim => Ok(same(&RECLAIM_EVENTS)),
        Object::Shortage if survey.kswapd_wakes => Ok(same(&SHORTAGE_EVENTS)),
        // The later of the two moments is better than none.
        Object::Shortage => Ok(same(&SHORTAGE_EVENTS[1..])),
        Object::Reclaimx => {
            let function = survey
                .over_high
                .ok_or("this kernel has no function mem_cgroup_handle_over_high")?;
            Ok(BTreeMap::from([
                ("over_high_begin", function),
                ("over_high_end", function),
            ]))
        }
        Object::Foreign => Ok(same(&[USE_EVENTS.as_slice(), &survey.interrupts].concat())),
    }
}

fn without(object: Object, survey: &Survey) -> Vec<String> {
    let missing = survey.facts.get(&object).map(|facts| &facts.missing);
    missing
        .into_iter()
        .flatten()
        .map(|(group, name)| format!("{group} (no {name})"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::btf::Resolved;

    /// A kernel and a process that can do all.
    fn capable_host() -> Survey {
        let whole = Resolved {
            numbers: vec![8],
            missing: BTreeMap::new(),
        };
        Survey {
            facts: Object::ALL
                .into_iter()
                .map(|object| (object, whole.clone()))
                .collect(),
            capable: true,
            mark_victim: Some(vec!["task_struct".to_owned(), "uid_t".to_owned()]),
            over_high: Some("__mem_cgroup_handle_over_high"),
            oom_kill_process: true,
            interrupts: vec!["local_timer_entry", "local_timer_exit"],
            cgroup_file_write: true,
            kswapd_wakes: true,
        }
    }

    /// The plan after one change to the capable host.
    fn with(change: impl FnOnce(&mut Survey)) -> ProbePlan {
        let mut survey = capable_host();
        change(&mut survey);
        plan(&survey)
    }

    fn lacking(object: Object, group: &'static str) -> ProbePlan {
        with(|host| {
            host.facts
                .get_mut(&object)
                .unwrap()
                .missing
                .insert(group, "some.field");
        })
    }

    fn skipped(plan: &ProbePlan) -> Vec<Object> {
        plan.iter()
            .filter(|(_, plan)| matches!(plan, Plan::Skip(_)))
            .map(|(object, _)| *object)
            .collect()
    }

    #[test]
    fn a_capable_host_gets_everything() {
        let plan = with(|_| ());
        assert_eq!(skipped(&plan), []);
        assert_eq!(plan.len(), Object::ALL.len());
        for plan in plan.values() {
            assert!(matches!(plan, Plan::Attach { without, .. } if without.is_empty()));
        }
    }

    #[test]
    fn each_lack_costs_only_what_needs_it() {
        assert_eq!(
            skipped(&with(|host| host.capable = false)).len(),
            Object::ALL.len()
        );
        assert_eq!(skipped(&with(|host| host.mark_victim = None)), [Object::Oom]);
        assert_eq!(
            skipped(&with(|host| host.oom_kill_process = false)),
            [Object::Oomx]
        );
        assert_eq!(
            skipped(&with(|host| host.cgroup_file_write = false)),
            [Object::Writes]
        );
        assert_eq!(skipped(&with(|host| host.over_high = None)), [Object::Reclaimx]);
        for object in Object::ALL {
            assert_eq!(skipped(&lacking(object, REQUIRED)), [object]);
        }
    }

    #[test]
    fn without_the_first_sign_of_shortage_the_second_is_taken() {
        let plan = with(|host| host.kswapd_wakes = false);
        let Some(Plan::Attach { targets, .. }) = plan.get(&Object::Shortage) else {
            panic!("not attached");
        };
        assert_eq!(
            targets.keys().collect::<Vec<_>>(),
            [
                &"mm_vmscan_direct_reclaim_begin",
                &"mm_vmscan_memcg_reclaim_begin"
            ]
        );
    }

    #[test]
    fn a_victim_told_by_number_only_is_no_victim() {
        let plan = with(|host| host.mark_victim = Some(vec!["int".to_owned()]));
        assert_eq!(skipped(&plan), [Object::Oom]);
    }

    #[test]
    fn a_lacking_part_is_named_and_the_rest_stays() {
        let plan = lacking(Object::Usage, "swap");
        assert_eq!(skipped(&plan), []);
        let Some(Plan::Attach { without, .. }) = plan.get(&Object::Usage) else {
            panic!("not attached");
        };
        assert_eq!(without, &["swap (no some.field)"]);
    }

    #[test]
    fn without_process_fields_only_cgroups_are_watched() {
        let plan = lacking(Object::Life, "processes");
        let Some(Plan::Attach { targets, .. }) = plan.get(&Object::Life) else {
            panic!("not attached");
        };
        assert_eq!(targets.len(), CGROUP_EVENTS.len());
        assert!(!targets.contains_key("sched_process_exit"));
    }

    #[test]
    fn without_task_fields_switches_are_not_counted_and_the_pass_stays() {
        let plan = lacking(Object::Usage, RUN_TIME);
        let Some(Plan::Attach { targets, without }) = plan.get(&Object::Usage) else {
            panic!("not attached");
        };
        assert!(targets.is_empty());
        assert_eq!(without, &["run time (no some.field)"]);
    }

    #[test]
    fn interrupts_that_the_kernel_does_not_tell_of_are_left_out() {
        let events = |plan: &ProbePlan| match plan.get(&Object::Foreign) {
            Some(Plan::Attach { targets, .. }) => targets.len(),
            _ => panic!("not attached"),
        };
        assert_eq!(events(&with(|_| ())), USE_EVENTS.len() + 2);
        assert_eq!(events(&with(|host| host.interrupts.clear())), USE_EVENTS.len());
    }

    #[test]
    fn the_function_is_attached_under_this_kernels_name() {
        let plan = with(|host| host.over_high = Some("mem_cgroup_handle_over_high"));
        let Some(Plan::Attach { targets, .. }) = plan.get(&Object::Reclaimx) else {
            panic!("not attached");
        };
        assert_eq!(targets["over_high_end"], "mem_cgroup_handle_over_high");
    }
}
