//! What is told of memory pressure: figures, thresholds, the order of victims, what is in force, what was decided.
//!
//! The order is made when somebody asks, from what the guard saw last (a second ago at most), by the functions that the
//! guard itself decides with.

use super::Guarded;
use super::steerer::Choice;
use crate::decide::eviction::OomPriority;
use crate::decide::pressure::{Outlook, outlook};
use crate::decide::rank::{Profile, terms};
use crate::model::pressure::{
    Exhaustion, KernelChoice, PodFacts, PressureReport, Ranked, RankedPod, Rung, RungInForce, Snapshot,
    TermReport,
};
use crate::model::{BootTime, CgroupId, Namespace, PodName, PodUid, QosClass};
use crate::runtime::guard::thread::View;
use crate::state::pressure::{Growth, PressureState};

impl Guarded {
    /// The report of this moment.
    pub(in crate::runtime) fn report(&self, now: BootTime) -> PressureReport {
        let view = self.thread.view();
        let report = PressureReport {
            profile: match self.policy.profile {
                Profile::Plimsoll => "plimsoll",
                Profile::Kubelet => "kubelet",
            }
            .to_owned(),
            oom_priority: match self.policy.oom_priority {
                OomPriority::Off => "off",
                OomPriority::Bands => "bands",
                OomPriority::Ranked => "ranked",
            }
            .to_owned(),
            dry_run: self.policy.dry_run,
            conditions: self.conditions(view.as_ref(), now),
            kernel: self.kernel_choice(view.as_ref()),
            decisions: self.records.latest(),
            journal: self.records.journal(),
            ..PressureReport::default()
        };
        match &*view {
            Some(view) => self.seen(view, report, now),
            None => report,
        }
    }

    /// Whom the kernel would take, as the last look had it; not known when that pod is gone since.
    fn kernel_choice(&self, view: Option<&View>) -> Option<KernelChoice> {
        let Choice { pod, told } = self.steerer.as_ref()?.choice()?;
        let is_there = |pod| view.is_some_and(|view| view.roster.iter().any(|facts| facts.cgroup == pod));
        pod.is_none_or(is_there).then_some(told)
    }

    fn seen(&self, view: &View, report: PressureReport, now: BootTime) -> PressureReport {
        let View {
            roster,
            snapshot,
            state,
            alarms,
            ..
        } = view;
        let Outlook {
            need,
            order,
            thresholds,
        } = outlook(roster, snapshot, &self.policy, state, now);
        let node = &snapshot.node;
        let by_class = QosClass::ALL.map(|class| {
            let after = state.level_exhausted_in(roster, class, node);
            (class, exhaustion(after, state.level_growth(roster, class)))
        });
        let alarms = u64::try_from(*alarms).unwrap_or(u64::MAX);
        PressureReport {
            figures: *node,
            need,
            exhaustion: exhaustion(state.node_exhausted_in(node), state.node_growth()),
            exhaustion_by_class: by_class.to_vec(),
            thresholds,
            order: order
                .iter()
                .filter_map(|ranked| ranked_pod(ranked, roster, snapshot, state))
                .collect(),
            in_force: in_force(state, roster, &self.policy),
            alarms: vec![("all".to_owned(), alarms)],
            ..report
        }
    }
}

fn exhaustion(after: Option<std::time::Duration>, growth: Growth) -> Exhaustion {
    Exhaustion {
        after,
        confidence: growth.confidence,
    }
}

fn ranked_pod(
    ranked: &Ranked,
    roster: &[PodFacts],
    snapshot: &Snapshot,
    state: &PressureState,
) -> Option<RankedPod> {
    let facts = roster.get(ranked.pod)?;
    let figures = snapshot.pods.get(ranked.pod).copied().unwrap_or_default();
    let growth = Growth {
        bytes_per_second: ranked.growth,
        confidence: ranked.confidence,
    };
    Some(RankedPod {
        uid: facts.uid.clone(),
        namespace: facts.namespace.clone(),
        name: facts.name.clone(),
        class: facts.class,
        priority: facts.priority,
        request: facts.request,
        charge: ranked.charge,
        freeable: ranked.freeable,
        barred: ranked.barred,
        exhaustion: exhaustion(state.pod_exhausted_in(ranked.pod, facts, &figures), growth),
        terms: terms(ranked, roster).map(TermReport::from).collect(),
    })
}

/// What the ladder has in force, and since when as far as its end tells.
fn in_force(
    state: &PressureState,
    roster: &[PodFacts],
    policy: &crate::decide::eviction::EvictionPolicy,
) -> Vec<RungInForce> {
    let named = |cgroup: CgroupId| -> Option<(PodUid, Namespace, PodName)> {
        let pod = roster.iter().find(|pod| pod.cgroup == cgroup)?;
        Some((pod.uid.clone(), pod.namespace.clone(), pod.name.clone()))
    };
    let since =
        |rung: Rung, until: BootTime| BootTime(until.0.saturating_sub(policy.rungs.of(rung).deadline));
    let held = |rung, pod, until| RungInForce {
        rung,
        pod,
        since: since(rung, until),
    };
    let throttled = state.in_force.throttled.iter();
    let throttled = throttled.map(|throttle| held(Rung::Throttle, named(throttle.cgroup), throttle.until));
    let reclaim = state.in_force.reclaim.iter();
    let reclaim = reclaim.map(|reclaim| held(Rung::Reclaim, named(reclaim.cgroup), reclaim.until));
    let cpu = state.in_force.cpu.iter();
    let cpu = cpu.map(|held_cpu| held(Rung::SuppressCpu, None, held_cpu.until));
    throttled.chain(reclaim).chain(cpu).collect()
}
