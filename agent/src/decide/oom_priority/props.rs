//! The properties of steering, over pods and processes of all kinds.

use proptest::prelude::*;

use super::tests::apply;
use super::*;
use crate::decide::badness::NEVER;
use crate::decide::rank::fixtures::{TestPod, in_line};
use crate::model::pressure::{Barred, Shield};
use crate::model::{ProcessIdentity, QosClass};

/// The domain's memory: more than all processes have, so that the model's numbers could be real.
const TOTAL: Bytes = Bytes(4 << 30);

#[derive(Debug, Clone)]
struct Scene {
    roster: Vec<PodFacts>,
    order: Vec<Ranked>,
    processes: Vec<ProcessFigures>,
}

impl Scene {
    fn inputs(&self, mode: Mode) -> Inputs<'_> {
        Inputs {
            roster: &self.roster,
            order: &self.order,
            processes: &self.processes,
            total: TOTAL,
            mode,
            front: None,
        }
    }

    fn steer(&mut self, mode: Mode) -> Vec<Write> {
        let mut steering = Steering::default();
        let writes = steering.steer(&self.inputs(mode)).to_vec();
        apply(&writes, &mut self.processes);
        writes
    }

    fn top(&self) -> Option<usize> {
        eligible(&self.order, &self.processes).next()
    }
}

type TestProcess = (u64, u8, u8, usize, i16);

fn pod() -> impl Strategy<Value = (QosClass, i16, bool, bool, Vec<TestProcess>)> {
    let class = prop_oneof![
        Just((QosClass::Guaranteed, -997_i16..=-997)),
        Just((QosClass::Burstable, 3..=999)),
        Just((QosClass::BestEffort, 1000..=1000)),
    ];
    let class = class.prop_flat_map(|(class, band)| (Just(class), band));
    let flags = (0..5_u8, 0..4_u8).prop_map(|(shielded, barred)| (shielded == 0, barred == 0));
    // Pages, what is odd about it, its container, and what it was written to before.
    let process = (0_u64..20_000, 0..12_u8, 0..9_u8, 0..2_usize, -999..=1000_i16);
    (class, flags, prop::collection::vec(process, 0..5))
        .prop_map(|((class, adj), (shielded, barred), processes)| (class, adj, shielded, barred, processes))
}

/// Pods in their order, as they started, or in the midst of what was steered before when `written`.
fn scene(written: bool) -> impl Strategy<Value = Scene> {
    let outside = prop::collection::vec((0_u64..200_000, -999..=0_i16), 0..3);
    (prop::collection::vec(pod(), 1..6), outside).prop_map(move |(pods, outside)| {
        let mut scene = Scene {
            roster: Vec::new(),
            order: Vec::new(),
            processes: Vec::new(),
        };
        let process = |pages: u64, adj: i16| ProcessFigures {
            process: ProcessIdentity {
                pid: 0,
                start_ticks: 0,
            },
            owner: None,
            rss: Bytes(pages * 4096),
            swap: Bytes(0),
            page_tables: Bytes(0),
            oom_score_adj: OomScoreAdj(adj),
            start: OomScoreAdj(adj),
            exempt: false,
        };
        for (number, (class, adj, shielded, barred, processes)) in pods.into_iter().enumerate() {
            let test = TestPod {
                class: Some(class),
                shield: shielded.then_some(Shield::Protected),
                ..TestPod::new(number, 1)
            };
            scene.roster.push(test.facts());
            let why = if shielded { Barred::Shielded } else { Barred::Spent };
            scene
                .order
                .push(in_line(number, (shielded || barred).then_some(why)));
            scene
                .processes
                .extend(processes.into_iter().map(|(pages, odd, other, container, now)| {
                    let own = match odd {
                        0 => NEVER.0,
                        // It chose a value itself.
                        1 => 20,
                        _ => adj,
                    };
                    let now = if written && own != NEVER.0 && other > 3 {
                        now
                    } else {
                        own
                    };
                    ProcessFigures {
                        owner: Some(Owner {
                            pod: number,
                            container,
                        }),
                        oom_score_adj: OomScoreAdj(now),
                        exempt: odd == 2,
                        ..process(pages, own)
                    }
                }));
        }
        scene
            .processes
            .extend(outside.into_iter().map(|(pages, adj)| process(pages, adj)));
        for (n, process) in scene.processes.iter_mut().enumerate() {
            process.process.pid = u32::try_from(n).unwrap();
        }
        scene.order.sort_by_key(|ranked| ranked.barred.is_some());
        scene
    })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![Mode::Bands, Mode::Ranked])
}

proptest! {
    #[test]
    fn ranked_makes_the_kernel_take_the_top_pod(mut scene in scene(true)) {
        scene.steer(Mode::Ranked);
        if scene.top().is_some() {
            prop_assert_eq!(agreement(&scene.order, &scene.processes, TOTAL), Agreement::Same);
        }
    }

    #[test]
    fn ranked_puts_every_process_of_the_top_pod_before_all_of_others(mut scene in scene(true)) {
        scene.steer(Mode::Ranked);
        let Some(top) = scene.top() else { return Ok(()) };
        let of_top = |p: &&ProcessFigures| p.owner.is_some_and(|owner| owner.pod == top);
        let (tops, others): (Vec<_>, Vec<_>) = scene.processes.iter().partition(of_top);
        let least = tops.iter().filter_map(|p| badness(p, TOTAL)).min();
        let most = others.iter().filter_map(|p| badness(p, TOTAL)).max();
        prop_assert!(most < least, "{most:?} {least:?}");
    }

    #[test]
    fn a_shielded_pod_is_never_made_more_likely(mut scene in scene(false), mode in mode()) {
        for write in scene.steer(mode) {
            if scene.roster[write.owner.pod].shield.is_some() {
                prop_assert!(write.to <= write.start);
                prop_assert_eq!(mode, Mode::Ranked);
            }
        }
    }

    #[test]
    fn bands_are_not_left(mut scene in scene(true)) {
        for write in scene.steer(Mode::Bands) {
            let facts = &scene.roster[write.owner.pod];
            let moved = write.to != write.start;
            prop_assert!(!moved || facts.class == QosClass::Burstable && (3..=999).contains(&write.to.0));
        }
    }

    #[test]
    fn nothing_is_written_twice(mut scene in scene(true), mode in mode()) {
        scene.steer(mode);
        prop_assert_eq!(scene.steer(mode), []);
    }

    #[test]
    fn nothing_is_written_where_the_top_pod_comes_first(mut scene in scene(false), mode in mode()) {
        let top = scene.top();
        let (tops, others): (Vec<_>, Vec<_>) =
            scene.processes.iter().partition(|p| p.owner.is_some_and(|owner| Some(owner.pod) == top));
        let least = tops.iter().filter_map(|p| badness(p, TOTAL)).min();
        let most = others.iter().filter_map(|p| badness(p, TOTAL)).max();
        if top.is_none() || most < least {
            prop_assert_eq!(scene.steer(mode), []);
        } else if mode == Mode::Ranked {
            prop_assert_ne!(scene.steer(mode), []);
        }
    }

    #[test]
    fn a_write_is_for_somebody_who_has_another_value(mut scene in scene(true), mode in mode()) {
        let before = scene.clone();
        for write in scene.steer(mode) {
            prop_assert_ne!(write.from, Some(write.to));
            prop_assert!(targets(&write, &before.processes).any(|p| p.oom_score_adj != write.to));
            prop_assert!(write.to != NEVER);
        }
    }

    #[test]
    fn a_value_stands_for_one_start_in_a_container(mut scene in scene(false), mode in mode()) {
        scene.steer(mode);
        let steered: Vec<_> = scene.processes.iter().filter(|p| p.owner.is_some() && steerable(p)).collect();
        for (n, one) in steered.iter().enumerate() {
            for other in steered[n..].iter().filter(|other| other.owner == one.owner) {
                prop_assert_eq!(one.start == other.start, one.oom_score_adj == other.oom_score_adj);
            }
        }
    }

    #[test]
    fn restoring_gives_back_exactly_the_start(first in scene(false), modes in prop::collection::vec(mode(), 1..4)) {
        let mut scene = first.clone();
        for (n, mode) in modes.into_iter().enumerate() {
            // Another pod is first each time.
            let turns = n % scene.order.len();
            scene.order.rotate_left(turns);
            scene.steer(mode);
        }
        let mut steering = Steering::default();
        let writes = steering.restore(&scene.processes).to_vec();
        apply(&writes, &mut scene.processes);
        prop_assert_eq!(&scene.processes, &first.processes);
        prop_assert_eq!(steering.restore(&scene.processes), &[]);
    }
}
