//! Properties of reading CPUs: made-up machines read back, and no content makes it panic.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::Shape;

/// The files of a machine as the kernel would write them.
fn written(topology: &Topology) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut put = |path: String, content: String| {
        files.insert(format!("/sys/devices/system/{path}"), content + "\n");
    };
    put("cpu/online".to_owned(), topology.cpus().to_string());
    for record in topology.records() {
        let place = topology.place(record.cpu).unwrap();
        let cpu = format!("cpu/cpu{}", record.cpu);
        put(
            format!("{cpu}/topology/physical_package_id"),
            record.socket.to_string(),
        );
        put(format!("{cpu}/topology/die_id"), record.die.to_string());
        let siblings = &topology.cores()[place.core].cpus;
        put(format!("{cpu}/topology/core_cpus_list"), siblings.to_string());
        put(format!("{cpu}/cache/index0/level"), "1".to_owned());
        put(format!("{cpu}/cache/index9/level"), "3".to_owned());
        put(format!("{cpu}/cache/index9/id"), record.l3.to_string());
        let sharing = &topology.l3s()[place.l3].cpus;
        put(format!("{cpu}/cache/index9/shared_cpu_list"), sharing.to_string());
    }
    for (index, node) in topology.numa_nodes().iter().enumerate() {
        put(format!("node/node{}/cpulist", node.id), node.cpus.to_string());
        let distances = (0..topology.numa_nodes().len()).map(|to| topology.distance(index, to).to_string());
        let distances: Vec<_> = distances.collect();
        put(format!("node/node{}/distance", node.id), distances.join(" "));
    }
    files
}

fn any_shape() -> impl Strategy<Value = Shape> {
    (1_u32..3, 1_u32..4, 1_u32..3, 1_u32..5, 1_u32..3).prop_map(|(sockets, nodes, caches, cores, threads)| {
        Shape {
            sockets,
            nodes,
            l3s: caches,
            cores,
            threads,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_machine_written_out_reads_back(shape in any_shape()) {
        let topology = shape.build();
        let cpus = read(&Machine::captured(written(&topology))).unwrap();
        prop_assert_eq!(cpus.topology, topology);
    }

    #[test]
    fn any_one_file_may_be_missing_or_hold_anything(
        shape in any_shape(),
        which: prop::sample::Index,
        content in prop::option::of(prop_oneof!["[-0-9, ]{0,12}", "\\PC{0,20}"]),
    ) {
        let topology = shape.build();
        let mut files = written(&topology);
        let path = which.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
        match content {
            Some(content) => files.insert(path, content),
            None => files.remove(&path),
        };
        let online = files.get(ONLINE).cloned().unwrap_or_default();
        match read(&Machine::captured(files)) {
            Ok(cpus) => prop_assert_eq!(cpus.topology.cpus(), &CpuSet::parse(&online).unwrap()),
            Err(error) => prop_assert!(error.to_string().contains("/sys/devices/system"), "{}", error),
        }
    }

    #[test]
    fn any_text_is_a_capture_or_an_error(text in "(cpu/|node/|\\[|\\]|:|[0-9]|-|,|\n|\\PC){0,60}") {
        if let Ok(machine) = capture::machine(&text) {
            // Whatever it says, it is a machine or an error.
            drop(read(&machine));
        }
    }
}
