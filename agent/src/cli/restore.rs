//! `plimsoll restore`: what was put back, what was left, and what could not be.
//!
//! # Properties
//! - Every change that was written down has one line.

use super::table::lay_out;
use super::words::NOTHING;
use crate::model::Shown;
use crate::runtime::{RestoreReport, Restored};

/// For people.
pub(super) fn show(report: &RestoreReport) -> String {
    let mut text = String::new();
    for note in &report.notes {
        text.push_str(&format!("{}\n", Shown(note)));
    }
    if report.changes.is_empty() {
        text.push_str("There is nothing to put back.\n");
        return text;
    }
    let heading = ["RESULT", "FILE", "CGROUP", "BEFORE", "NOW"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heading.to_vec())
        .chain(report.changes.iter().map(|(change, restored)| {
            let ours = || change.ours.last().cloned().unwrap_or_default();
            let (result, now) = match restored {
                Restored::PutBack => ("put back", change.before.clone()),
                Restored::WouldBePutBack => ("would be put back", ours()),
                Restored::AlreadyThere => ("was so already", change.before.clone()),
                Restored::Left(now) => ("left, not the agent's", now.clone()),
                Restored::Gone => ("gone", NOTHING.to_owned()),
                Restored::Failed(_) => ("FAILED", ours()),
            };
            let cgroup = format!("/{}", change.cgroup);
            let filled = |text: String| {
                if text.is_empty() {
                    "(empty)".to_owned()
                } else {
                    text
                }
            };
            let file = change.file.to_string();
            vec![
                result.to_owned(),
                file,
                cgroup,
                filled(change.before.clone()),
                filled(now),
            ]
        }))
        .collect();
    text.push_str(&lay_out(&rows, &[]));
    for (change, restored) in &report.changes {
        if let Restored::Failed(why) = restored {
            let line = format!("{} of /{}: {why}", change.file, change.cgroup);
            text.push_str(&format!("{}\n", Shown(&line)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CgroupId, CgroupPath, ChangedValue, Channel, ControlFile};

    #[test]
    fn every_change_has_a_line_and_names_are_escaped() {
        let change = |name: &str, before: &str| ChangedValue {
            cgroup: CgroupPath::parse(name).unwrap(),
            id: CgroupId(1),
            file: ControlFile::CpusetCpus,
            channel: Channel::File,
            before: before.to_owned(),
            ours: vec!["0-3".to_owned()],
        };
        let report = RestoreReport {
            changes: vec![
                (change("kubepods/a", ""), Restored::PutBack),
                (
                    change("kubepods/\u{202e}b", "1"),
                    Restored::Failed("denied".to_owned()),
                ),
                (change("kubepods/c", "1"), Restored::Left("7\x1b[31m".to_owned())),
            ],
            notes: vec!["1 lines are damaged".to_owned()],
            partly_unknown: true,
        };
        let expected = "\
1 lines are damaged
RESULT                 FILE         CGROUP               BEFORE   NOW
put back               cpuset.cpus  /kubepods/a          (empty)  (empty)
FAILED                 cpuset.cpus  /kubepods/\\u{202e}b  1        0-3
left, not the agent's  cpuset.cpus  /kubepods/c          1        7\\u{1b}[31m
cpuset.cpus of /kubepods/\\u{202e}b: denied
";
        assert_eq!(show(&report), expected);
        assert_eq!(show(&RestoreReport::default()), "There is nothing to put back.\n");
    }
}
