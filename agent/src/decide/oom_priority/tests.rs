//! Which values processes should have, one rule at a time.

use super::*;
use crate::decide::badness::kernel_choice;
use crate::decide::rank::Profile;
use crate::decide::rank::fixtures::{TestPod, ranked, short_of};
use crate::model::pressure::{Charge, NodeFigures, Shield};
use crate::model::{ProcessIdentity, QosClass};

/// Pods at a common limit, and their processes.
struct Demo {
    pods: Vec<TestPod>,
    processes: Vec<ProcessFigures>,
    total: Bytes,
}

/// The first pod of each demonstration is the one to blame.
const A: usize = 0;
const B: usize = 1;

fn processes(pod: usize, adj: i16, count: usize, mib: u64) -> impl Iterator<Item = ProcessFigures> {
    let one = move |n: usize| ProcessFigures {
        process: ProcessIdentity {
            pid: u32::try_from(100 * (pod + 1) + n).unwrap(),
            start_ticks: 1,
        },
        owner: Some(Owner { pod, container: 0 }),
        rss: Bytes::mib(mib),
        swap: Bytes(0),
        page_tables: Bytes(0),
        oom_score_adj: OomScoreAdj(adj),
        start: OomScoreAdj(adj),
        exempt: false,
    };
    (0..count).map(one)
}

impl Demo {
    fn new(total: u64, pods: [TestPod; 2], processes: impl Iterator<Item = ProcessFigures>) -> Self {
        Self {
            pods: pods.into(),
            processes: processes.collect(),
            total: Bytes::mib(total),
        }
    }

    fn order(&self) -> (Vec<PodFacts>, Vec<Ranked>) {
        let need = short_of(Bytes::mib(64));
        ranked(&self.pods, &NodeFigures::default(), &need, Profile::Plimsoll)
    }

    /// Whom the kernel takes, one after the other, until nobody is left.
    fn kills(&self) -> Vec<usize> {
        let mut left = self.processes.clone();
        let mut killed = Vec::new();
        while let Some(chosen) = kernel_choice(&left, self.total) {
            killed.push(left.remove(chosen).owner.unwrap().pod);
        }
        killed
    }

    /// Steers, and gives the values of the processes that were written.
    fn steer(&mut self, mode: Mode) -> Vec<(usize, i16, Why)> {
        let (roster, order) = self.order();
        let mut steering = Steering::default();
        let writes = steering.steer(&Inputs {
            roster: &roster,
            order: &order,
            processes: &self.processes,
            total: self.total,
            mode,
            front: None,
        });
        apply(writes, &mut self.processes);
        writes.iter().map(|w| (w.owner.pod, w.to.0, w.why)).collect()
    }

    fn agreement(&self) -> Agreement {
        agreement(&self.order().1, &self.processes, self.total)
    }

    fn first(&self) -> usize {
        self.order().1[0].pod
    }
}

pub(super) fn apply(writes: &[Write], processes: &mut [ProcessFigures]) {
    for write in writes {
        let written: Vec<_> = targets(write, processes).map(|p| p.process).collect();
        for process in processes.iter_mut().filter(|p| written.contains(&p.process)) {
            process.oom_score_adj = write.to;
        }
    }
}

/// 19 processes of 10 MiB beside one of 60.
fn many_small() -> Demo {
    let pods = [TestPod::requesting(A, 32, 190), TestPod::requesting(B, 64, 60)];
    Demo::new(
        256,
        pods,
        processes(A, 900, 19, 10).chain(processes(B, 900, 1, 60)),
    )
}

/// 239 MiB in a tmpfs beside a process of 60.
fn tmpfs() -> Demo {
    let hog = TestPod {
        charge: Charge {
            anon: Bytes::mib(1),
            shmem: Bytes::mib(239),
            ..Charge::default()
        },
        ..TestPod::requesting(A, 32, 0)
    };
    let pods = [hog, TestPod::requesting(B, 64, 60)];
    Demo::new(320, pods, processes(A, 900, 1, 1).chain(processes(B, 900, 1, 60)))
}

/// A Burstable pod far over its request beside a small BestEffort one.
fn burstable() -> Demo {
    let pods = [TestPod::requesting(A, 64, 240), TestPod::new(B, 5)];
    Demo::new(
        256,
        pods,
        processes(A, 500, 1, 240).chain(processes(B, 1000, 1, 5)),
    )
}

/// A Guaranteed pod over its request beside a small BestEffort one.
fn guaranteed() -> Demo {
    let hog = TestPod {
        class: Some(QosClass::Guaranteed),
        ..TestPod::requesting(A, 200, 240)
    };
    Demo::new(
        256,
        [hog, TestPod::new(B, 5)],
        processes(A, -997, 1, 240).chain(processes(B, 1000, 1, 5)),
    )
}

#[test]
fn many_small_processes_hide_from_the_kernel_until_steered() {
    for (mode, a, b) in [(Mode::Bands, 999, 792), (Mode::Ranked, 1000, 793)] {
        let mut demo = many_small();
        assert_eq!(demo.first(), A);
        assert_eq!(demo.kills()[0], B);
        assert_eq!(demo.agreement(), Agreement::Other(Some(B)));
        assert_eq!(demo.steer(mode), [(A, a, Why::First), (B, b, Why::Behind)]);
        assert_eq!(demo.agreement(), Agreement::Same);
        assert_eq!(
            demo.kills()[..19],
            [A; 19],
            "{mode:?}: the innocent one is the last"
        );
    }
}

#[test]
fn a_tmpfs_hides_from_the_kernel_until_steered() {
    for mode in [Mode::Bands, Mode::Ranked] {
        let mut demo = tmpfs();
        assert_eq!(demo.first(), A);
        assert_eq!(demo.kills(), [B, A]);
        assert_eq!(demo.steer(mode).len(), 2);
        assert_eq!(demo.kills(), [A, B]);
    }
    let first = tmpfs().order().1[0];
    assert_eq!(
        (first.freeable, first.freed_by_kill),
        (Bytes::mib(240), Bytes::mib(1)),
        "and killing it would free next to nothing: it has to be evicted with its volumes"
    );
}

#[test]
fn where_the_kernel_is_right_nothing_is_written() {
    for mode in [Mode::Bands, Mode::Ranked] {
        let mut demo = burstable();
        assert_eq!(demo.first(), A);
        assert_eq!(demo.agreement(), Agreement::Same);
        assert_eq!(demo.steer(mode), []);
        assert_eq!(demo.kills(), [A, B]);
    }
}

#[test]
fn a_guaranteed_hog_is_out_of_reach_for_bands() {
    let mut demo = guaranteed();
    assert_eq!(demo.first(), A);
    assert_eq!(demo.kills(), [B, A]);
    assert_eq!(demo.steer(Mode::Bands), []);
    assert_eq!(demo.agreement(), Agreement::Other(Some(B)));
    assert_eq!(demo.steer(Mode::Ranked), [(A, 1000, Why::First)]);
    assert_eq!(demo.kills(), [A, B]);
}

#[test]
fn a_fork_is_written_once_it_is_seen_with_what_its_container_has() {
    let mut demo = many_small();
    demo.steer(Mode::Ranked);
    let fork = ProcessFigures {
        process: ProcessIdentity {
            pid: 199,
            start_ticks: 9,
        },
        ..demo.processes[0]
    };
    demo.processes.push(fork);
    assert_eq!(
        demo.steer(Mode::Ranked),
        [],
        "it has inherited the value and the start"
    );
    demo.processes.last_mut().unwrap().oom_score_adj = OomScoreAdj(900);
    assert_eq!(demo.steer(Mode::Ranked), [(A, 1000, Why::First)]);
}

#[test]
fn when_another_pod_is_first_the_former_one_gets_its_value_back() {
    let mut demo = many_small();
    demo.steer(Mode::Bands);
    demo.pods[A] = TestPod::requesting(A, 200, 190);
    demo.pods[B] = TestPod::requesting(B, 64, 160);
    demo.processes[19].rss = Bytes::mib(160);
    assert_eq!(demo.first(), B);
    assert_eq!(
        demo.steer(Mode::Bands),
        [(A, 900, Why::Restored), (B, 900, Why::Restored)]
    );
    assert_eq!(demo.agreement(), Agreement::Same, "by its size");
}

#[test]
fn what_bands_cannot_bring_behind_they_leave() {
    let mut demo = many_small();
    demo.pods[B].class = Some(QosClass::BestEffort);
    demo.processes[19].start = OomScoreAdj(1000);
    demo.processes[19].oom_score_adj = OomScoreAdj(1000);
    assert_eq!(demo.steer(Mode::Bands), [(A, 999, Why::First)]);
    assert_eq!(demo.agreement(), Agreement::Other(Some(B)));
    demo.pods[B].shield = Some(Shield::Critical);
    assert_eq!(
        demo.steer(Mode::Ranked),
        [(A, 1000, Why::First), (B, 793, Why::Behind)],
        "a shielded pod may be lowered"
    );
    assert_eq!(demo.agreement(), Agreement::Same);
}

#[test]
fn a_process_outside_the_pods_is_told_and_not_written() {
    let mut demo = burstable();
    demo.processes.push(ProcessFigures {
        owner: None,
        ..processes(7, 1000, 1, 250).next().unwrap()
    });
    demo.steer(Mode::Ranked);
    assert_eq!(demo.agreement(), Agreement::Other(None));
    assert_eq!(demo.processes[2].oom_score_adj, OomScoreAdj(1000));
}

#[test]
fn a_write_says_why() {
    let demo = many_small();
    let (roster, order) = demo.order();
    let mut steering = Steering::with_capacity(20);
    let writes = steering.steer(&Inputs {
        roster: &roster,
        order: &order,
        processes: &demo.processes,
        total: demo.total,
        mode: Mode::Bands,
        front: None,
    });
    assert_eq!(targets(&writes[0], &demo.processes).count(), 19);
    assert_eq!(
        writes[0].to_string(),
        "oom_score_adj 900 to 999: the pod is the first victim, and its smallest process has a badness of 61060 pages \
         beside 73860 of another's"
    );
    assert_eq!(
        writes[1].to_string(),
        "oom_score_adj 900 to 792: its largest process has a badness of 73860 pages beside 67495 of the first victim's \
         smallest"
    );
}

/// A pod to blame and an innocent one whose only processes are of the same size and value.
fn alike(adj: i16) -> Demo {
    let pods = [TestPod::requesting(A, 32, 100), TestPod::requesting(B, 100, 100)];
    Demo::new(
        256,
        pods,
        processes(A, adj, 1, 100).chain(processes(B, adj, 1, 100)),
    )
}

#[test]
fn a_tie_is_not_left_to_chance() {
    assert_eq!(alike(900).steer(Mode::Bands), [(A, 999, Why::First)]);
    // Where the first can go no higher, the other goes below by one point, and ten to spare.
    assert_eq!(alike(999).steer(Mode::Bands), [(B, 988, Why::Behind)]);
}

#[test]
fn a_value_of_the_free_mode_does_not_outlive_it() {
    let mut demo = many_small();
    demo.steer(Mode::Ranked);
    assert_eq!(demo.steer(Mode::Bands), [(A, 999, Why::First)]);
    assert_eq!(demo.agreement(), Agreement::Same);
}

#[test]
fn bands_write_neither_shielded_pods_nor_values_of_another_class_nor_in_vain() {
    let mut shielded = many_small();
    shielded.pods[B].shield = Some(Shield::Critical);
    assert_eq!(shielded.steer(Mode::Bands), [(A, 999, Why::First)]);

    let mut odd = many_small();
    for process in &mut odd.processes[..19] {
        (process.start, process.oom_score_adj) = (OomScoreAdj(-10), OomScoreAdj(-10));
    }
    assert_eq!(odd.steer(Mode::Bands), []);

    let mut guaranteed = guaranteed();
    guaranteed.pods[B] = TestPod::requesting(B, 10, 5);
    (
        guaranteed.processes[1].start,
        guaranteed.processes[1].oom_score_adj,
    ) = (OomScoreAdj(900), OomScoreAdj(900));
    assert_eq!(guaranteed.steer(Mode::Bands), []);
}
