//! What is wrong with manifests is told, and no running pod is disturbed by it.

use std::fs;

use super::{Host, find, lives, manifest, process, until};

const SLEEPER: &str = "containers: [{name: main, command: [sleep, '1000']}]";
/// A file that no manifest needs to be as large as.
const LARGE: usize = 50 << 20;

/// File name, content, and what the error says beside the file's name.
fn bad() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let container = |rest: &str| format!("containers: [{{name: main, command: [sleep, '1000']{rest}}}]");
    let resources = |text: &str| container(&format!(", resources: {{{text}}}"));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let before = format!("*a{}, ", n - 1).repeat(10);
        bomb.push_str(&format!("a{n}: &a{n} [{before}]\n"));
    }
    let mut large = b"# ".to_vec();
    large.resize(LARGE, b'x');
    let twice = "containers: [{name: main, command: [sleep]}, {name: main, command: [sleep]}]";
    let texts = [
        ("not-yaml.yaml", "kind: Pod\nmetadata: [".to_owned(), "line"),
        (
            "kind.yaml",
            manifest("kind", SLEEPER).replace("Pod", "Deployment"),
            "kind",
        ),
        (
            "version.yaml",
            manifest("version", SLEEPER).replace("v1", "v2"),
            "apiVersion",
        ),
        ("twin.yaml", manifest("web", SLEEPER), "web"),
        ("empty.yaml", manifest("empty", "containers: []"), "containers"),
        ("twice.yaml", manifest("twice", twice), "name"),
        (
            "quantity.yaml",
            manifest("quantity", &resources("limits: {memory: 1.5x}")),
            "1.5x",
        ),
        (
            "negative.yaml",
            manifest("negative", &resources("limits: {cpu: '-1'}")),
            "cpu",
        ),
        (
            "below.yaml",
            manifest("below", &resources("requests: {cpu: '2'}, limits: {cpu: '1'}")),
            "cpu",
        ),
        ("dots.yaml", manifest("'../..'", SLEEPER), "name"),
        ("long.yaml", manifest(&"a".repeat(300), SLEEPER), "name"),
        (
            "uid.yaml",
            manifest("uid", SLEEPER).replace("uid-uid", "'../../etc'"),
            "uid",
        ),
        ("nul.yaml", manifest("\"n\\0l\"", SLEEPER), "name"),
        ("bomb.yaml", bomb, ""),
    ];
    let mut all: Vec<_> = texts
        .into_iter()
        .map(|(file, text, says)| (file, text.into_bytes(), says))
        .collect();
    all.push(("large.yaml", large, ""));
    all
}

#[test]
#[ignore = "needs a machine of its own"]
fn bad_manifests_of_every_kind_leave_the_others_running() {
    let host = Host::running();
    let web = host.start("web", SLEEPER);
    let bad = bad();
    for (file, content, _) in &bad {
        fs::write(host.agent.pods().join(file), content).unwrap();
    }
    std::os::unix::fs::symlink("/nowhere", host.agent.pods().join("dangling.yaml")).unwrap();
    let names: Vec<_> = bad
        .iter()
        .map(|(file, ..)| *file)
        .chain(["dangling.yaml"])
        .collect();
    let told = |report: &plimsoll::model::NodeReport, file: &str, says: &str| {
        let mut errors = report.manifest_errors.iter();
        errors.any(|error| error.contains(file) && error.contains(says))
    };
    let report = host.wait(|report| names.iter().all(|file| told(report, file, "")));
    for (file, _, says) in &bad {
        assert!(
            told(&report, file, says),
            "{file} {says:?}: {:#?}",
            report.manifest_errors
        );
    }
    assert_eq!(report.pods.len(), 1, "{:?}", report.pods);
    assert_eq!(process(&report, "web"), web);

    // A good one comes all the same, and one whose program is not there is that container's matter alone.
    host.start("late", SLEEPER);
    host.add(
        "typo",
        "containers: [{name: main, command: [slep]}, {name: other, command: [sleep, '1000']}]",
    );
    let report = host.wait(|report| {
        find(report, "typo").is_some_and(|pod| format!("{:?}", pod.containers[0].phase).contains("slep"))
    });
    assert!(format!("{:?}", find(&report, "typo").unwrap().containers[1].phase).contains("Running"));
    for file in names {
        fs::remove_file(host.agent.pods().join(file)).unwrap();
    }
    host.remove("typo");
    let report = host.wait(|report| report.manifest_errors.is_empty() && report.pods.len() == 2);
    assert_eq!(process(&report, "web"), web);
    assert!(lives(web) && find(&report, "web").unwrap().containers[0].restarts == 0);
    until("nothing of it is left", || {
        !host.cgroup("besteffort/poduid-typo").exists()
    });
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_directory_that_goes_away_and_comes_back_stops_nothing() {
    let host = Host::running();
    let web = host.start("web", SLEEPER);
    fs::remove_dir_all(host.agent.pods()).unwrap();
    host.wait(|report| !report.manifest_errors.is_empty());
    assert!(lives(web));
    fs::create_dir(host.agent.pods()).unwrap();
    host.add("web", SLEEPER);
    let report = host.wait(|report| report.manifest_errors.is_empty());
    assert_eq!(process(&report, "web"), web);
    host.start("late", SLEEPER);
    host.remove("late");
    let report = host.wait(|report| find(report, "late").is_none());
    assert_eq!(process(&report, "web"), web);
    assert_eq!(host.members("besteffort/poduid-web/main"), [web.pid]);
}
