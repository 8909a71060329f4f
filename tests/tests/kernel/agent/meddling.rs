//! Values that others change: put right at once, and told with the name of who it was.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::{Host, until};

const SLEEPER: &str =
    "containers: [{name: main, command: [sleep, '1000'], resources: {limits: {cpu: 500m, memory: 64Mi}}}]";
const POD: &str = "poduid-web";
/// A container with a CPU of its own, which is its pod's list; it has no list itself.
const OWNER: &str =
    "containers: [{name: main, command: [sleep, '1000'], resources: {limits: {cpu: 1, memory: 64Mi}}}]";
const EXCLUSIVE: &str = "poduid-own";
/// Passes so far apart that only the probe can be why something was noticed. The others take seconds to load under
/// emulation.
const PROBE_ONLY: &str = "reconcilePeriod: 1m\ncpuManagerPolicy: static\nsystemReserved: {cpu: 100m}\n\
    probes: {cpu: false, usage: false, stalls: false, oom: false, lifecycle: false, foreign: false}\n";

/// Writes as somebody else does; the process that it was.
fn meddle(file: &Path, value: &str) -> u32 {
    let script = format!("echo '{value}' > {}", file.display());
    let mut child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    assert!(child.wait().unwrap().success(), "{script}");
    child.id()
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_changed_value_is_put_right_at_once_and_the_log_names_who_it_was() {
    let mut host = Host::new(PROBE_ONLY);
    host.agent.start().unwrap();
    let web = host.start("web", SLEEPER);
    host.start("own", OWNER);
    host.wait(|report| {
        let mut probes = report.probes.iter();
        probes.any(|probe| probe.name == "writes" && probe.attached)
    });
    for (path, file, value, event) in [
        (POD.to_owned(), "cpu.max", "max 100000", "changed a value"),
        (format!("{POD}/main"), "memory.max", "max", "changed a value"),
        (EXCLUSIVE.to_owned(), "cpuset.cpus", "0-1", "changed a value"),
        (
            POD.to_owned(),
            "cgroup.subtree_control",
            "-pids",
            "took controllers away",
        ),
    ] {
        let before = host.read(&path, file);
        let written = Instant::now();
        let pid = meddle(&host.cgroup(&path).join(file), value);
        until("it is put right", || host.read(&path, file) == before);
        println!("{file}: put right after {:?}", written.elapsed());
        until("it is told", || {
            let who = format!("somebody (pid {pid}, sh) {event}");
            host.log_since(0)
                .lines()
                .any(|line| line.contains(&who) && line.contains(&path))
        });
        let drift = format!("plimsoll_drift_total{{file=\"{file}\"}} 1");
        let metrics = host.agent.get("/metrics").unwrap();
        assert!(metrics.contains(&drift), "{metrics}");
    }
    assert_eq!(host.members(&format!("{POD}/main")), [web.pid]);
}
