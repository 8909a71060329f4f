//! The unit for systemd.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use crate::files::{configuration, deploy, is_accepted, names, read, values_of};

const UNIT: &str = "plimsoll.service";
const SLICE: &str = "plimsoll.slice";
/// The longest reconcilePeriod, in seconds.
const LONGEST_PERIOD: u32 = 60;

fn text() -> String {
    read(&deploy().join("systemd").join(UNIT))
}

/// The settings of a unit, in order.
fn settings(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter(|line| !line.starts_with(['#', '[']));
    lines.filter_map(|line| line.split_once('=')).collect()
}

/// All values of a setting, lists taken apart.
pub(crate) fn values<'t>(text: &'t str, setting: &str) -> Vec<&'t str> {
    let of_it = settings(text).into_iter().filter(|(name, _)| *name == setting);
    of_it
        .flat_map(|(_, value)| value.split_ascii_whitespace())
        .collect()
}

/// The only value of a setting.
fn value<'t>(text: &'t str, setting: &str) -> &'t str {
    let [value] = values(text, setting)[..] else {
        panic!("{setting} has not one value: {:?}", values(text, setting));
    };
    value
}

/// What the unit may do, by name and in order.
pub(crate) fn capabilities() -> Vec<String> {
    let text = text();
    let bounding = values(&text, "CapabilityBoundingSet");
    bounding.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_directory_has_these_files() {
    let there = names(&deploy().join("systemd"));
    assert_eq!(there, [UNIT, SLICE, "plimsoll.yaml"].map(str::to_owned).into());
    assert_eq!(value(&text(), "Slice"), SLICE);
}

#[test]
fn it_starts_the_agent_as_the_agent_can_be_started() {
    let text = text();
    let words = values(&text, "ExecStart");
    assert!(words[0].ends_with("/plimsoll"), "{words:?}");
    assert!(is_accepted(words[1..].iter().copied()), "{words:?}");
    assert_eq!(words[1], "run");
    assert_eq!(
        values_of(&words, "--config"),
        ["/etc/plimsoll/plimsoll.yaml"],
        "ConfigurationDirectory, and the file that is shipped beside the unit"
    );
    // 64 is what the agent ends with for a wrong command line or configuration.
    assert_eq!(value(&text, "RestartPreventExitStatus"), "64");
    assert_eq!(value(&text, "Restart"), "always");
}

#[test]
fn systemd_hears_what_the_agent_tells_and_waits_long_enough_for_it() {
    let text = text();
    assert_eq!(value(&text, "Type"), "notify");
    let minutes = value(&text, "WatchdogSec").strip_suffix("min").unwrap();
    let seconds = 60 * minutes.parse::<u32>().unwrap();
    assert!(seconds >= 2 * LONGEST_PERIOD, "one pass may be late");
    let too_long = format!("reconcilePeriod: {}s\n", LONGEST_PERIOD + 1);
    assert!(
        plimsoll::config::parse(&too_long, "long.yaml").is_err(),
        "longer periods are refused"
    );
}

#[test]
fn the_agents_directories_are_made_for_it_and_outlive_it_as_the_pods_do() {
    let text = text();
    let config = configuration(&deploy().join("systemd/plimsoll.yaml"));
    let socket: &Path = &config.admin_socket;
    for (setting, base, place) in [
        ("RuntimeDirectory", "/run", &*config.state_dir),
        ("RuntimeDirectory", "/run", socket),
        ("StateDirectory", "/var/lib", &*config.journal_dir),
        ("LogsDirectory", "/var/log", &*config.log_dir),
        ("ConfigurationDirectory", "/etc", &*config.static_pod_path),
    ] {
        let made = values(&text, setting);
        let made = made.iter().map(|name| Path::new(base).join(name));
        assert!(
            made.into_iter().any(|directory| place.starts_with(directory)),
            "{setting}= does not make {place:?}"
        );
    }
    assert_eq!(value(&text, "RuntimeDirectoryPreserve"), "yes");
    assert_eq!(value(&text, "KillMode"), "process");
}

#[test]
fn the_unit_protects_the_agent_where_the_agent_does_not_protect_itself() {
    let text = text();
    let config = configuration(&deploy().join("systemd/plimsoll.yaml"));
    assert!(!config.agent.own_cgroup);
    assert_eq!(value(&text, "OOMScoreAdjust"), "-999");
    assert_eq!(value(&text, "Delegate"), "yes");
    let slice = read(&deploy().join("systemd").join(SLICE));
    let kept = value(&text, "MemoryMin");
    assert_eq!(value(&slice, "MemoryMin"), kept, "protection ends at the slice");
    assert_eq!(config.agent.memory_min.0.0, 32 << 20);
    assert_eq!(kept, "32M");
}

#[test]
fn nothing_is_forbidden_that_the_agent_or_its_pods_live_by() {
    let text = text();
    let set: BTreeSet<_> = settings(&text).into_iter().map(|(name, _)| name).collect();
    for breaks in [
        "RestrictNamespaces",
        "RestrictRealtime",
        "MemoryDenyWriteExecute",
        "PrivateTmp",
        "PrivateUsers",
        "ProtectProc",
        "ProcSubset",
        "AmbientCapabilities",
    ] {
        assert!(!set.contains(breaks), "{breaks}=");
    }
    assert_eq!(value(&text, "ProtectControlGroups"), "no");
    assert_eq!(value(&text, "ProtectSystem"), "full");
    assert_eq!(value(&text, "NoNewPrivileges"), "yes");
}

#[test]
fn each_capability_stands_alone_with_its_reason() {
    let text = text();
    let lines: Vec<_> = text.lines().collect();
    let mut count = 0;
    for (at, line) in lines.iter().enumerate() {
        if let Some(names) = line.strip_prefix("CapabilityBoundingSet=") {
            assert_eq!(names.split_ascii_whitespace().count(), 1, "{line}");
            assert!(lines[at - 1].starts_with("# "), "no reason for {names}");
            count += 1;
        }
    }
    assert_eq!(count, capabilities().len());
}

#[test]
fn systemd_itself_finds_no_fault() {
    let directory = tempfile::tempdir().unwrap();
    // The agent is not installed here; any program that is there stands in.
    let program = env::current_exe().unwrap();
    let text = text().replace("/usr/local/bin/plimsoll", program.to_str().unwrap());
    let unit = directory.path().join(UNIT);
    fs::write(&unit, text).unwrap();
    fs::copy(deploy().join("systemd").join(SLICE), directory.path().join(SLICE)).unwrap();
    let verify = |unit: &Path| {
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no"]).arg(unit).output().ok()
    };
    let Some(output) = verify(&unit) else {
        eprintln!("SKIPPED: no systemd-analyze");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains(UNIT), "{said}");

    let wrong = directory.path().join("wrong.service");
    fs::write(&wrong, "[Service]\nExecStart=/no/such/program\nNoSuchSetting=1\n").unwrap();
    let said = verify(&wrong).unwrap();
    assert!(
        String::from_utf8_lossy(&said.stderr).contains("NoSuchSetting"),
        "it would not have told of a fault"
    );
}
