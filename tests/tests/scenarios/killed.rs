//! The agent is killed between any two steps of giving CPUs and taking them back, and started again.
//!
//! # What always holds
//! - No two containers run on a CPU that one of them has to itself: looked at after each write and each start.
//! - A container that runs on its own CPUs runs on, on the same ones, unless it was told otherwise.
//! - In the end each has as many as it asks for, and those that share have all the others.

use std::collections::BTreeMap;

use plimsoll::model::{ControlFile, CpuSet};
use plimsoll_tests::node::{FakeNode, STATIC, TWO_NODES};
use proptest::prelude::*;

/// Pods; the last two share.
const PODS: usize = 5;
const ALONE: usize = 3;

#[derive(Debug, Clone)]
enum Event {
    /// A pod comes or changes: how many CPUs it asks for.
    Ask(usize, u32),
    Go(usize),
    Exit(usize),
    /// The next writes of some cgroup's list are refused.
    Refuse(&'static str, usize),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (0..PODS, 1_u32..6).prop_map(|(pod, cpus)| Event::Ask(pod, cpus)),
        2 => (0..PODS).prop_map(Event::Go),
        1 => (0..PODS).prop_map(Event::Exit),
        2 => (prop::sample::select(vec!["burstable", "poduid-web3", "poduid-own0", "main"]), 1_usize..9)
            .prop_map(|(at, times)| Event::Refuse(at, times)),
        1 => (1_u64..20).prop_map(Event::Wait),
    ]
}

fn name(pod: usize) -> String {
    if pod < ALONE {
        format!("own{pod}")
    } else {
        format!("web{pod}")
    }
}

fn path(pod: usize) -> String {
    match pod {
        _ if pod < ALONE => format!("poduid-own{pod}/main"),
        // One that shares is Guaranteed, the others are not.
        ALONE => format!("poduid-web{pod}/main"),
        _ => format!("burstable/poduid-web{pod}/main"),
    }
}

fn spec(pod: usize, cpus: u32) -> String {
    let resources = match pod {
        _ if pod < ALONE => format!("limits: {{cpu: {cpus}, memory: 64Mi}}"),
        ALONE => format!("limits: {{cpu: {cpus}50m, memory: 64Mi}}"),
        _ => format!("requests: {{cpu: {cpus}0m}}"),
    };
    format!(
        "terminationGracePeriodSeconds: 1, containers: [{{name: main, command: [sleep], resources: {{{resources}}}}}]"
    )
}

fn happen(node: &mut FakeNode, event: &Event) {
    match event {
        Event::Ask(pod, cpus) => node.add(&name(*pod), &spec(*pod, *cpus)),
        Event::Go(pod) if node.pods().join(format!("{}.yaml", name(*pod))).exists() => {
            node.remove(&name(*pod));
        }
        Event::Exit(pod) => {
            let running = node.machine.running();
            let process = running.iter().find(|(_, at)| at.to_string() == path(*pod));
            if let Some((process, _)) = process {
                node.machine.end(*process, plimsoll::model::ExitStatus::Code(1));
                node.hear();
            }
        }
        Event::Go(_) => {}
        Event::Refuse(at, times) => {
            node.machine.refuse(at, ControlFile::CpusetCpus, 16, *times);
        }
        Event::Wait(seconds) => node.seconds(*seconds),
    }
}

fn has(node: &FakeNode, pod: usize) -> Option<CpuSet> {
    let running = node.machine.running();
    running.iter().find(|(_, at)| at.to_string() == path(pod))?;
    CpuSet::parse(&node.read(&path(pod), ControlFile::CpusetCpusEffective)).ok()
}

proptest! {
    // At least as many runs as are asked for; each kills once and more.
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whenever_it_is_killed_no_container_has_lost_or_doubled_a_cpu(
        before in prop::collection::vec(event(), 0..5),
        killing in prop::collection::vec((event(), 0_usize..60), 1..4),
    ) {
        let mut node = FakeNode::of(STATIC, TWO_NODES);
        let mut asked: BTreeMap<usize, u32> = BTreeMap::new();
        let mut note = |event: &Event| match event {
            Event::Ask(pod, cpus) => _ = asked.insert(*pod, *cpus),
            Event::Go(pod) => _ = asked.remove(pod),
            Event::Exit(_) | Event::Refuse(..) | Event::Wait(_) => {}
        };
        for event in &before {
            note(event);
            happen(&mut node, event);
        }
        for (event, nth) in &killing {
            note(event);
            let about = match event {
                Event::Ask(pod, _) | Event::Go(pod) | Event::Exit(pod) => Some(*pod),
                Event::Refuse(..) | Event::Wait(_) => None,
            };
            let had: Vec<_> = (0..ALONE).map(|pod| has(&node, pod)).collect();
            if node.killed_in(*nth, |node| happen(node, event)) {
                // Dead while it recovers, too.
                if !node.killed_in(nth / 2, FakeNode::start_agent) {
                    node.kill_agent();
                }
                node.start_agent();
            }
            for (pod, had) in had.iter().enumerate().filter(|(pod, _)| about != Some(*pod)) {
                if let (Some(had), Some(has)) = (had, has(&node, pod)) {
                    prop_assert!(has.is_subset(had) || had.is_subset(&has), "{}: {had} became {has}", name(pod));
                }
            }
            prop_assert_eq!(node.machine.together(), Vec::<String>::new());
        }
        node.machine.refuse_nothing();
        node.seconds(310);
        prop_assert_eq!(node.machine.together(), Vec::<String>::new());
        let mut pool = CpuSet::parse("0-15").unwrap();
        for pod in 0..ALONE {
            let Some(cpus) = asked.get(&pod) else {
                prop_assert_eq!(has(&node, pod), None);
                continue;
            };
            let report = node.pod(&name(pod));
            let own = has(&node, pod);
            if report.reason.is_none() {
                prop_assert_eq!(own.as_ref().map(CpuSet::len), Some(*cpus as usize), "{:#?}", report);
            }
            pool = &pool - &own.unwrap_or_default();
        }
        for pod in ALONE..PODS {
            prop_assert!(!asked.contains_key(&pod) || has(&node, pod).as_ref() == Some(&pool), "{}", name(pod));
        }
    }
}
