//! `plimsoll cpu import`: what was taken over from kubelet, and what was not.

use super::table::lay_out;
use crate::runtime::ImportReport;

/// What came of it, for people.
pub(super) fn show(report: &ImportReport, dry_run: bool) -> String {
    let mut text = String::new();
    if !report.taken.is_empty() {
        let mut rows = vec![["POD", "CONTAINER", "CPUS"].map(str::to_owned).to_vec()];
        rows.extend(report.taken.iter().map(|row| row.to_vec()));
        text += &lay_out(&rows, &[]);
        text.push('\n');
    }
    for (heading, lines) in [("Not taken over:", &report.left_out), ("Note:", &report.notes)] {
        if !lines.is_empty() {
            text += heading;
            lines.iter().for_each(|line| text += &format!("\n  {line}"));
            text += "\n\n";
        }
    }
    let path = report.path.display();
    text += &match (dry_run, report.written) {
        (true, _) => format!("Nothing was written; without --dry-run it would be {path}.\n"),
        (false, true) => format!("{path} is written: the agent starts from it.\n"),
        (false, false) => format!("{path} has this already.\n"),
    };
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use crate::cli::{DONE, FAILED, USAGE, main};
    use crate::kernel::checkpoint::{CPUS, CheckpointFile, Found};

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/observe/kubelet_cpus/fixtures");
    const MACHINE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/observe/cpu_topology/fixtures/two-socket-smt.sysfs"
    );

    struct Node(TempDir);

    impl Node {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn state(&self) -> PathBuf {
            self.0.path().join("state")
        }

        /// The status of an import of `file` under these lines of configuration.
        fn import(&self, file: &Path, config: &str, more: &[&str]) -> u8 {
            let path = self.0.path().join("config.yaml");
            let state = self.state();
            let text = format!(
                "stateDir: {}\ncgroupRoot: no-such-cgroup\n{config}",
                state.display()
            );
            fs::write(&path, text).unwrap();
            let mut words: Vec<OsString> = ["plimsoll", "cpu", "import"].map(Into::into).to_vec();
            words.extend([
                file.into(),
                "-c".into(),
                path.into(),
                "--topology".into(),
                MACHINE.into(),
            ]);
            words.extend(more.iter().map(Into::into));
            main(words)
        }

        fn found(&self) -> Found<serde_json::Value> {
            CheckpointFile::open(&self.state(), CPUS).unwrap().load().found
        }
    }

    const STATIC: &str = "cpuManagerPolicy: static\nreservedSystemCPUs: \"0\"\n";

    fn fixture(name: &str) -> PathBuf {
        Path::new(FIXTURES).join(name)
    }

    #[test]
    fn what_is_taken_over_is_what_the_agent_will_find() {
        let node = Node::new();
        assert_eq!(node.import(&fixture("v2.json"), STATIC, &["--dry-run"]), DONE);
        assert!(!node.state().exists());
        assert_eq!(node.import(&fixture("v2.json"), STATIC, &[]), DONE);
        let Found::Usable(content) = node.found() else {
            panic!("{:?}", node.found());
        };
        let pods = &content["pods"];
        assert_eq!(
            pods["0b1f7c52-93d4-4a6e-8a55-1d2c3b4a5e6f"]["app"]["cpus"],
            "2-3,10"
        );
        assert_eq!(pods["c0ffee00-0000-4000-8000-00000000000a"]["db"]["cpus"], "4,12");
        // Again is nothing new, another file would overwrite it.
        assert_eq!(node.import(&fixture("v2.json"), STATIC, &[]), DONE);
        assert_eq!(node.import(&fixture("v3.json"), STATIC, &[]), FAILED);
        assert_eq!(node.found(), Found::Usable(content));
    }

    #[test]
    fn while_an_agent_runs_nothing_is_written() {
        let node = Node::new();
        let _agent = CheckpointFile::open(&node.state(), CPUS).unwrap();
        assert_eq!(node.import(&fixture("v2.json"), STATIC, &[]), FAILED);
        assert!(!node.state().join(CPUS).exists());
    }

    #[test]
    fn what_cannot_be_taken_over_fails_and_says_so_by_its_status() {
        let node = Node::new();
        // By container ids: nothing to map them with.
        assert_eq!(node.import(&fixture("v1.json"), STATIC, &["--dry-run"]), FAILED);
        assert_eq!(
            node.import(&fixture("v2.json"), "", &[]),
            FAILED,
            "the policy is none"
        );
        assert_eq!(node.import(&fixture("absent.json"), STATIC, &[]), USAGE);
        assert_eq!(node.import(Path::new("/dev/zero"), STATIC, &[]), USAGE);
        let file = node.0.path().join("state.json");
        fs::write(&file, "{\"policyName\":\"none\",\"defaultCpuSet\":\"\"}").unwrap();
        assert_eq!(node.import(&file, STATIC, &[]), FAILED);
        assert!(!node.state().exists());
    }
}
