//! Fixture trees: what is missing, cut off, too long or nonsense.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::pressure::Charge;
use crate::model::{Bytes, Limit};

const STAT: &str = "anon 1000\nfile 900\nkernel_stack 10\npagetables 20\nsock 30\nshmem 300\nfile_dirty 40\n\
                    file_writeback 50\ninactive_file 600\nslab_reclaimable 70\nslab_unreclaimable 80\nslab 150\nnew_key 1\n";

/// A machine and its cgroups in a directory.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let meminfo = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nInactive(file): 200 kB\n\
                       SwapTotal: 50 kB\nSwapFree: 20 kB\n";
        fixture.write("proc/meminfo", meminfo);
        fixture.write("proc/loadavg", "0.00 0.00 0.00 1/234 5678\n");
        fixture.write("proc/pressure/memory", &pressure(7, 3));
        fixture.write("proc/sys/kernel/pid_max", "4000\n");
        fixture.write("proc/sys/kernel/threads-max", "3000\n");
        fixture.write("root/cgroup.events", "populated 1\nfrozen 0\n");
        fixture.write("root/memory.current", "5000\n");
        fixture.write("root/memory.stat", STAT);
        fixture.write("root/memory.high", "max\n");
        fixture.write("root/memory.max", "8192\n");
        fixture.write("root/memory.pressure", &pressure(9, 4));
        fixture
    }

    fn write(&self, name: &str, content: &str) {
        self.bytes(name, content.as_bytes());
    }

    fn bytes(&self, name: &str, content: &[u8]) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn cgroup(&self, name: &str) -> Arc<MemoryCgroup> {
        let path: PathBuf = self.dir.path().join(name);
        let dir = OwnedFd::from(fs::File::open(path).unwrap());
        Arc::new(MemoryCgroup::new(dir).unwrap())
    }

    /// A pod with all files, that uses so much.
    fn pod(&self, name: &str, current: u64) -> Arc<MemoryCgroup> {
        self.write(&format!("{name}/cgroup.events"), "populated 1\nfrozen 0\n");
        self.write(&format!("{name}/memory.current"), &format!("{current}\n"));
        self.write(&format!("{name}/memory.events"), "low 0\nhigh 5\nmax 6\noom 0\n");
        self.write(&format!("{name}/memory.stat"), STAT);
        self.write(&format!("{name}/memory.swap.current"), "128\n");
        self.write(&format!("{name}/memory.pressure"), &pressure(2, 1));
        self.write(&format!("{name}/pids.current"), "11\n");
        self.write(&format!("{name}/cpu.stat"), "usage_usec 1000\nuser_usec 1\n");
        self.cgroup(name)
    }

    fn reader(&self, pods: &[Arc<MemoryCgroup>]) -> FiguresReader {
        let place = Some(self.dir.path());
        let root = self.cgroup("root");
        let mut reader = FiguresReader::new(&self.dir.path().join("proc"), &root, place, None).unwrap();
        reader.set_pods(pods);
        reader
    }
}

fn pressure(some: u64, full: u64) -> String {
    format!(
        "some avg10=0.00 avg60=0.00 avg300=0.00 total={some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={full}\n"
    )
}

fn read(reader: &mut FiguresReader, sweep: Sweep) -> (NodeFigures, Vec<PodFigures>) {
    let (mut node, mut pods) = (NodeFigures::default(), Vec::new());
    reader.read(sweep, &mut node, &mut pods).unwrap();
    (node, pods)
}

fn whole_pod() -> PodFigures {
    PodFigures {
        current: Bytes(5000),
        charge: Some(Charge {
            anon: Bytes(1000),
            swap: Bytes(128),
            shmem: Bytes(300),
            slab_unreclaimable: Bytes(80),
            page_tables: Bytes(20),
            kernel_stack: Bytes(10),
            sock: Bytes(30),
        }),
        reclaimable: Bytes(900 - 300 - 40 - 50 + 70),
        working_set: Bytes(4400),
        tasks: 11,
        stalled: Duration::from_micros(1),
        high_events: 5,
        max_events: 6,
        populated: true,
        ..PodFigures::default()
    }
}

#[test]
fn every_figure_is_the_files() {
    let fixture = Fixture::new();
    let pod = fixture.pod("pod", 5000);
    let mut reader = fixture.reader(&[pod]);
    assert_eq!(reader.descriptors(), 8);
    let (node, pods) = read(&mut reader, Sweep::Full);
    assert_eq!(pods, [whole_pod()]);
    let kib = |n: u64| Bytes(n << 10);
    let micros = Duration::from_micros;
    assert!(
        node.nodefs
            .is_some_and(|fs| fs.capacity > fs.available && fs.inodes >= fs.inodes_free)
    );
    let expected = NodeFigures {
        at: node.at,
        capacity: kib(1000),
        available: kib(400),
        working_set: kib(700),
        swap: kib(50),
        swap_free: kib(20),
        root_current: Bytes(5000),
        root_reclaimable: Bytes(580),
        root_inactive_file: Bytes(600),
        root_high: Limit::Max,
        root_max: Limit::At(Bytes(8192)),
        some: micros(7),
        full: micros(3),
        root_some: micros(9),
        root_full: micros(4),
        tasks: 234,
        tasks_max: 3000,
        nodefs: node.nodefs,
        imagefs: None,
        kswapd_wakes: 0,
        direct_reclaims: 0,
    };
    assert_eq!(node, expected);
}

#[test]
fn what_is_missing_is_no_value_and_the_rest_is_read() {
    for missing in [
        "memory.current",
        "memory.events",
        "memory.stat",
        "memory.swap.current",
        "pids.current",
    ] {
        let fixture = Fixture::new();
        fixture.pod("pod", 5000);
        fs::remove_file(fixture.dir.path().join("pod").join(missing)).unwrap();
        let mut reader = fixture.reader(&[fixture.cgroup("pod")]);
        let (_, pods) = read(&mut reader, Sweep::Quick);
        let whole = whole_pod();
        let swapless = whole.charge.map(|charge| Charge {
            swap: Bytes(0),
            ..charge
        });
        let expected = match missing {
            "memory.current" => PodFigures {
                current: Bytes(0),
                charge: None,
                reclaimable: Bytes(0),
                working_set: Bytes(0),
                ..whole
            },
            "memory.events" => PodFigures {
                high_events: 0,
                max_events: 0,
                ..whole
            },
            "memory.stat" => PodFigures {
                charge: None,
                reclaimable: Bytes(0),
                working_set: Bytes(0),
                ..whole
            },
            "memory.swap.current" => PodFigures {
                charge: swapless,
                ..whole
            },
            _ => PodFigures { tasks: 0, ..whole },
        };
        assert_eq!(pods, [expected], "{missing}");
    }
}

#[test]
fn what_is_cut_off_too_long_or_no_text_is_no_charge() {
    let fixture = Fixture::new();
    let pod = fixture.pod("pod", 5000);
    let mut reader = fixture.reader(&[pod]);
    let long = format!("{STAT}{}", "x 1\n".repeat(BUFFER));
    let cut = &STAT.as_bytes()[..STAT.find("inactive_file").unwrap() + 16];
    for content in [
        b"".as_slice(),
        b"\xff\xfe\x00\n",
        cut,
        long.as_bytes(),
        b"anon max\n",
    ] {
        fixture.bytes("pod/memory.stat", content);
        let (_, pods) = read(&mut reader, Sweep::Quick);
        assert_eq!(pods[0].charge, None, "{content:.40?}");
        assert_eq!(pods[0].current, Bytes(5000));
    }
    fixture.write("pod/memory.stat", STAT);
    assert!(
        read(&mut reader, Sweep::Quick).1[0].charge.is_some(),
        "read again when it is whole"
    );
    fixture.write("pod/memory.current", "50");
    assert_eq!(
        read(&mut reader, Sweep::Quick).1[0].current,
        Bytes(0),
        "half a number"
    );
}

#[test]
fn without_the_machines_memory_there_is_no_snapshot() {
    let fixture = Fixture::new();
    let mut reader = fixture.reader(&[]);
    for content in ["", "MemTotal: 5 kB\n", "MemTotal: 5 kB\nMemAvailable: 5"] {
        fixture.write("proc/meminfo", content);
        let error = reader.read(Sweep::Quick, &mut NodeFigures::default(), &mut Vec::new());
        assert_eq!(error.unwrap_err().file, "meminfo");
    }
}

#[test]
fn the_large_and_those_that_grow_are_read_in_full() {
    let fixture = Fixture::new();
    let pods: Vec<_> = (0..60_u64)
        .map(|n| fixture.pod(&format!("pod{n}"), 1000 + n * 100))
        .collect();
    let mut reader = fixture.reader(&pods);
    // At first everybody has grown from nothing.
    read(&mut reader, Sweep::Full);
    let charged = |reader: &mut FiguresReader| -> Vec<usize> {
        let (_, figures) = read(reader, Sweep::Quick);
        assert!(
            figures
                .iter()
                .zip(0..)
                .all(|(pod, n)| n == 3 || pod.current == Bytes(1000 + n * 100))
        );
        let charged = figures.iter().enumerate().filter(|(_, pod)| pod.charge.is_some());
        charged.map(|(at, _)| at).collect()
    };
    assert_eq!(charged(&mut reader), (44..60).collect::<Vec<_>>());
    fixture.write("pod3/memory.current", "1301\n");
    let mut expected: Vec<_> = (44..60).collect();
    expected.insert(0, 3);
    assert_eq!(charged(&mut reader), expected);
    assert_eq!(charged(&mut reader), expected[1..], "it grows no more");
}

#[test]
fn pods_keep_their_descriptors_and_their_order() {
    let fixture = Fixture::new();
    let pods: Vec<_> = (0..3_u64).map(|n| fixture.pod(&format!("pod{n}"), n)).collect();
    let mut reader = fixture.reader(&pods);
    let changed = [pods[2].clone(), fixture.pod("new", 9), pods[0].clone()];
    // Only descriptors that are open already can tell.
    fs::remove_file(fixture.dir.path().join("pod2/memory.current")).unwrap();
    reader.set_pods(&changed);
    let (_, figures) = read(&mut reader, Sweep::Quick);
    let current: Vec<_> = figures.iter().map(|pod| pod.current.0).collect();
    assert_eq!(current, [2, 9, 0]);
    assert!(!reader.is_gone(0) && reader.is_gone(3));
    assert_eq!(reader.read_pod(1).map(|pod| pod.current), Some(Bytes(9)));
    assert_eq!(reader.read_pod(3), None);
    reader.set_largest_process(1, Bytes(77));
    reader.set_largest_process(3, Bytes(78));
    let largest = |figures: &[PodFigures]| {
        figures
            .iter()
            .map(|pod| pod.largest_process.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(largest(&read(&mut reader, Sweep::Quick).1), [0, 77, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_content_is_another_pods_or_stops_the_reading(
        content in prop::collection::vec(any::<u8>(), 0..300),
        file in prop::sample::select(vec![
            "memory.current", "memory.events", "memory.stat", "memory.pressure", "cgroup.events", "cpu.stat",
        ]),
    ) {
        let fixture = Fixture::new();
        let pods = [fixture.pod("a", 5000), fixture.pod("pod", 5000)];
        fixture.bytes(&format!("a/{file}"), &content);
        let mut reader = fixture.reader(&pods);
        let (_, figures) = read(&mut reader, Sweep::Full);
        prop_assert_eq!(figures[1], whole_pod());
        prop_assert_eq!(figures.len(), 2);
    }
}

#[test]
fn a_directory_that_is_not_made_yet_is_on_the_file_system_of_the_nearest_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let there = filesystem_at(dir.path()).unwrap();
    let missing = dir.path().join("logs/pods");
    let to_be = filesystem_of(&missing).unwrap();
    assert!(there.capacity > Bytes(0));
    assert_eq!((to_be.capacity, to_be.inodes), (there.capacity, there.inodes));
    assert_eq!(
        filesystem_at(&missing).unwrap_err().kind(),
        std::io::ErrorKind::NotFound
    );
}
