//! CPUs of one's own, as the kernel and not the agent has them: given, taken back, defended, kept.

mod killed;
mod machine;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::sched_setaffinity;
use nix::unistd::Pid;
use plimsoll::model::{CpuSet, ForeignReport, NodeReport, ProcessIdentity};

use super::{Host, NO_PROBES, adopted, find, lives, process, until};
use crate::support::Unplugged;

const POLICY: &str = "cpuManagerPolicy: static\nreservedSystemCPUs: \"0\"\n";
const DB: &str = "poduid-db/main";
const WEB: &str = "besteffort/poduid-web/main";
const SHARING: &str = "containers: [{name: main, command: [sleep, '1000']}]";

fn configuration() -> String {
    format!("{POLICY}{NO_PROBES}")
}

/// A container with as many CPUs as `cpu` says, guaranteed.
fn guaranteed(cpu: &str) -> String {
    format!(
        "terminationGracePeriodSeconds: 1, containers: [{{name: main, command: [sleep, '1000'], \
         resources: {{limits: {{cpu: {cpu}, memory: 16Mi}}}}}}]"
    )
}

fn cpus(list: &str) -> CpuSet {
    CpuSet::parse(list).unwrap_or_else(|error| panic!("{list:?}: {error}"))
}

fn online() -> CpuSet {
    cpus(
        fs::read_to_string("/sys/devices/system/cpu/online")
            .unwrap()
            .trim(),
    )
}

impl Host {
    /// An agent that gives out CPUs, and runs.
    fn giving_cpus() -> Self {
        let mut host = Self::new(&configuration());
        host.agent.start().unwrap();
        host
    }

    /// The CPUs that a cgroup has.
    fn effective(&self, path: &str) -> CpuSet {
        cpus(&self.read(path, "cpuset.cpus.effective"))
    }

    /// The file that says who has which CPUs.
    fn checkpoint(&self) -> PathBuf {
        self.directory.join("state/cpus.json")
    }
}

/// The CPUs that a process may run on.
fn allowed(process: ProcessIdentity) -> CpuSet {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let mut lines = status.lines();
    cpus(
        lines
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap()
            .trim(),
    )
}

/// What the agent says that a pod's first container has to itself.
fn own(report: &NodeReport, pod: &str) -> Option<CpuSet> {
    let container = &find(report, pod)?.containers[0];
    container.cpus.as_ref()?.own.clone()
}

fn foreign(report: &NodeReport, pod: &str) -> Option<ForeignReport> {
    let container = &find(report, pod)?.containers[0];
    container.cpus.as_ref()?.grant.as_ref()?.foreign
}

/// A process outside the agent's tree that never rests, on these CPUs; gone at the end of the test.
struct Burner(Child);

impl Burner {
    fn on(cpus: &CpuSet) -> Self {
        let child = Command::new("/bin/sh")
            .args(["-c", "while :; do :; done"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let burner = Self(child);
        let mut set = nix::sched::CpuSet::new();
        cpus.iter().for_each(|cpu| set.set(cpu.index()).unwrap());
        sched_setaffinity(Pid::from_raw(burner.0.id().cast_signed()), &set).unwrap();
        burner
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("{error}");
        }
    }
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_container_starts_on_its_own_cpus_and_the_pool_grows_back() {
    const FRAC: &str = "poduid-frac/main";
    let host = Host::giving_cpus();
    let web = host.start("web", SHARING);
    let frac = host.start("frac", &guaranteed("500m"));
    let all = online();
    for path in [WEB, FRAC] {
        assert_eq!(host.effective(path), all, "{path}");
    }
    let db = host.start("db", &guaranteed("2"));
    let own = host.effective(DB);
    assert_eq!(own.len(), 2);
    assert!(!own.contains(cpus("0").first().unwrap()), "it is reserved");
    assert_eq!(allowed(db), own);
    let shared = &all - &own;
    for (path, process) in [(WEB, web), (FRAC, frac)] {
        assert_eq!(host.effective(path), shared, "{path}");
        assert_eq!(allowed(process), shared, "{path}");
    }
    for path in ["poduid-db", DB] {
        assert_eq!(host.read(path, "cpu.max"), "max 100000", "{path}");
    }
    for path in ["poduid-frac", FRAC] {
        assert_eq!(host.read(path, "cpu.max"), "50000 100000", "{path}");
    }
    host.remove("db");
    until("the pool has grown back", || {
        [WEB, FRAC].iter().all(|path| host.effective(path) == all)
    });
    for process in [web, frac] {
        assert_eq!(allowed(process), all);
        assert!(lives(process));
    }
}

#[test]
#[ignore = "needs a machine of its own"]
fn lists_that_somebody_writes_are_put_right() {
    let host = Host::giving_cpus();
    let web = host.start("web", SHARING);
    let db = host.start("db", &guaranteed("1"));
    let (own, shared) = (host.effective(DB), host.effective(WEB));
    let all = online();
    for (path, list) in [
        (DB, "0".to_owned()),
        (DB, all.to_string()),
        ("poduid-db", "0".to_owned()),
        ("poduid-db", all.to_string()),
        ("besteffort", all.to_string()),
        ("besteffort", own.to_string()),
    ] {
        let file = host.cgroup(path).join("cpuset.cpus");
        let before = host.log_since(0).len();
        let script = format!("echo {list} > {}", file.display());
        let status = Command::new("/bin/sh").args(["-c", &script]).status().unwrap();
        assert!(status.success(), "{script}");
        until(&format!("{script} is noticed"), || {
            let log = host.log_since(before);
            log.lines()
                .any(|line| line.contains("somebody changed a value") && line.contains("cpuset.cpus"))
        });
        until(&format!("{script} is put right"), || {
            let stands = host.read(path, "cpuset.cpus") == list;
            !stands && host.effective(DB) == own && host.effective(WEB) == shared
        });
        assert_eq!(
            (allowed(db), allowed(web)),
            (own.clone(), shared.clone()),
            "{script}"
        );
    }
    assert!(lives(db) && lives(web));
}

/// Kills the agent, does something to the file that says who has which CPUs, and starts it again: whoever runs keeps
/// its CPUs, and nobody else gets them.
fn cpus_are_kept(damage: impl FnOnce(&Host)) -> (Host, String) {
    let mut host = Host::giving_cpus();
    let web = host.start("web", SHARING);
    let db = host.start("db", &guaranteed("2"));
    let (own_before, shared) = (host.effective(DB), host.effective(WEB));
    host.agent.kill().unwrap();
    assert!(host.checkpoint().exists());
    damage(&host);
    let before = host.log_since(0).len();
    host.agent.start().unwrap();
    let report = host.wait_running(&["web", "db"]);
    assert!(adopted(&report, "db"));
    assert_eq!(own(&report, "db"), Some(own_before.clone()));
    assert!(lives(db) && lives(web));
    let late = host.start("late", &guaranteed("1"));
    assert_eq!(allowed(late).len(), 1);
    assert_eq!(allowed(db), own_before);
    assert_eq!(allowed(web), &shared - &allowed(late));
    assert!(allowed(late).is_disjoint(&own_before));
    assert!(host.checkpoint().exists());
    let log = host.log_since(before);
    (host, log)
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_killed_agent_comes_back_to_the_same_cpus() {
    let (_host, log) = cpus_are_kept(|_| {});
    assert!(!log.contains("unusable_checkpoint"), "{log}");
}

#[test]
#[ignore = "needs a machine of its own"]
fn without_the_checkpoint_the_kernel_tells_whose_cpus_are_whose() {
    cpus_are_kept(|host| fs::remove_file(host.checkpoint()).unwrap());
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_damaged_checkpoint_is_put_aside_and_changes_nothing() {
    let (host, log) = cpus_are_kept(|host| {
        let mut bytes = fs::read(host.checkpoint()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
        fs::write(host.checkpoint(), bytes).unwrap();
    });
    assert!(log.contains("unusable_checkpoint"), "{log}");
    let aside = fs::read_dir(host.directory.join("state")).unwrap();
    let aside = aside.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("cpus.json.")
    });
    assert_eq!(aside.count(), 1);
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_cpu_that_the_pool_loses_is_lost_to_nobody_else() {
    let host = Host::giving_cpus();
    host.start("web", SHARING);
    let db = host.start("db", &guaranteed("2"));
    let own = host.effective(DB);
    let pool = host.effective(WEB);
    let unplugged = Unplugged::default();
    let lost = pool.last().unwrap();
    unplugged.set_online(lost, false);
    until("it is gone", || !host.effective(WEB).contains(lost));
    // Through every pass that could have done something about it.
    host.start("late", SHARING);
    assert_eq!((host.effective(DB), allowed(db)), (own.clone(), own.clone()));
    assert!(host.effective("besteffort/poduid-late/main").is_disjoint(&own));
    unplugged.set_online(lost, true);
    host.start("later", SHARING);
    assert_eq!((host.effective(DB), allowed(db)), (own.clone(), own.clone()));
    assert!(host.effective("besteffort/poduid-later/main").is_disjoint(&own));
    assert!(lives(db));
    let report = host.agent.status().unwrap();
    assert_eq!(process(&report, "db"), db);
}

#[test]
#[ignore = "needs a machine of its own"]
fn what_others_take_of_a_containers_cpu_is_told() {
    let probes = NO_PROBES.replace("foreign: false", "foreign: true");
    let mut host = Host::new(&format!("{POLICY}{probes}"));
    host.agent.start().unwrap();
    host.wait(|report| {
        let mut probes = report.probes.iter();
        probes.any(|probe| probe.name == "foreign" && probe.attached)
    });
    host.start("db", &guaranteed("1"));
    let own = host.effective(DB);
    let counted =
        host.wait(|report| foreign(report, "db").is_some_and(|f| f.window > Duration::from_secs(1)));
    let quiet = foreign(&counted, "db").unwrap();
    let burner = Burner::on(&own);
    let taken = Duration::from_millis(500);
    let report = host.wait(|report| foreign(report, "db").is_some_and(|f| f.system > quiet.system + taken));
    let loud = foreign(&report, "db").unwrap();
    assert!(loud.window > loud.system, "{loud:?}");
    assert!(loud.pods < taken / 10, "it is in no pod: {loud:?}");
    drop(burner);
    let metrics = host.agent.get("/metrics").unwrap();
    let told = metrics.lines().find_map(|line| {
        let (labels, value) = line
            .strip_prefix("plimsoll_container_foreign_cpu_seconds_total{")?
            .split_once("} ")?;
        (labels.contains("kind=\"system\"") && labels.contains("pod=\"db\"")).then(|| value.parse().ok())?
    });
    assert!(told.is_some_and(|seconds: f64| seconds > 0.4), "{told:?}");
}
