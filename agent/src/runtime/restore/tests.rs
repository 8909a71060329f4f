//! A node is put back as it was, from every state that an agent can leave it in.

use super::*;
use crate::kernel::cgroup_fs::FakeCgroupFs;
use crate::model::{CgroupPath, Channel, ControlFile, Controller};

const FILES: [ControlFile; 4] = [
    ControlFile::MemoryLow,
    ControlFile::MemoryHigh,
    ControlFile::CpuWeight,
    ControlFile::CpusetCpus,
];

fn path(name: &str) -> CgroupPath {
    CgroupPath::parse(name).unwrap()
}

/// A node with two pods that kubelet made.
fn node() -> FakeCgroupFs {
    let fs = FakeCgroupFs::new(Controller::ALL);
    let enable = |at: &CgroupPath| {
        fs.write(at, ControlFile::SubtreeControl, "+cpu +memory +cpuset")
            .unwrap();
    };
    enable(&CgroupPath::ROOT);
    fs.create(&path("kubepods")).unwrap();
    enable(&path("kubepods"));
    for (pod, weight) in [("kubepods/pod1", "39"), ("kubepods/pod2", "79")] {
        fs.create(&path(pod)).unwrap();
        fs.write(&path(pod), ControlFile::CpuWeight, weight).unwrap();
    }
    fs
}

fn values(fs: &FakeCgroupFs) -> Vec<String> {
    let mut values = Vec::new();
    for pod in ["kubepods/pod1", "kubepods/pod2"].map(path) {
        values.extend(FILES.map(|file| fs.read(&pod, file).unwrap_or_else(|_| "gone".to_owned())));
    }
    values
}

/// What the agent does: announce, write, settle. Stops where the kernel does.
fn enforce(fs: &FakeCgroupFs, journal: &mut UndoJournal) {
    for round in 1..3_u64 {
        for pod in ["kubepods/pod1", "kubepods/pod2"].map(path) {
            let (low, high) = ((round * 4097).to_string(), (round << 30).to_string());
            let weight = (100 * round).to_string();
            for (file, value) in FILES.into_iter().zip([low.as_str(), &high, &weight, "1-2"]) {
                let Ok(id) = fs.id(&pod) else { return };
                let Ok(before) = fs.read(&pod, file) else { return };
                journal
                    .announce(&pod, id, file, Channel::File, &before, value)
                    .unwrap();
                if fs.write(&pod, file, value).is_err() {
                    return;
                }
                journal.settle(id, file, &fs.read(&pod, file).unwrap()).unwrap();
            }
        }
    }
}

fn kinds(restored: &[(ChangedValue, Restored)]) -> Vec<&Restored> {
    restored.iter().map(|(_, restored)| restored).collect()
}

#[test]
fn all_is_as_before_and_nothing_is_left_of_the_agent() {
    let (fs, dir) = (node(), tempfile::tempdir().unwrap());
    let before = values(&fs);
    let (mut journal, _) = UndoJournal::open(dir.path()).unwrap();
    enforce(&fs, &mut journal);
    assert_ne!(values(&fs), before);
    let rehearsed = rehearse(&fs, journal.changes());
    assert_eq!(kinds(&rehearsed), [&Restored::WouldBePutBack; 8]);
    assert_eq!(
        kinds(&put_all_back(&fs, &mut journal).unwrap()),
        [&Restored::PutBack; 8]
    );
    assert_eq!(values(&fs), before);
    assert!(journal.remove_if_empty().unwrap());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn of_an_agent_that_changed_nothing_nothing_is_left_and_what_cannot_be_read_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let left = || std::fs::read_dir(dir.path()).unwrap().count();
    assert!(restore(dir.path(), false).unwrap().is_complete());
    assert_eq!(left(), 0);
    let (journal, _) = UndoJournal::open(dir.path()).unwrap();
    let refused = restore(dir.path(), false).unwrap_err().to_string();
    assert!(refused.starts_with("an agent is at work"), "{refused}");
    assert!(restore(dir.path(), true).unwrap().is_complete());
    let file = journal.path();
    drop(journal);
    assert_eq!(left(), 1, "a rehearsal changes nothing");
    std::fs::write(&file, "nonsense\n").unwrap();
    let report = restore(dir.path(), false).unwrap();
    assert!(!report.is_complete());
    assert_eq!(
        report.notes[0],
        "what was written down cannot be used: it has no first line"
    );
    assert!(file.exists());
    std::fs::remove_file(&file).unwrap();
    drop(UndoJournal::open(dir.path()).unwrap());
    assert!(restore(dir.path(), false).unwrap().is_complete());
    assert_eq!(left(), 0);
}

#[test]
fn what_others_wrote_since_stays_and_what_is_gone_is_gone() {
    let (fs, dir) = (node(), tempfile::tempdir().unwrap());
    let (mut journal, _) = UndoJournal::open(dir.path()).unwrap();
    enforce(&fs, &mut journal);
    fs.write(&path("kubepods/pod1"), ControlFile::CpuWeight, "55")
        .unwrap();
    fs.write(&path("kubepods/pod1"), ControlFile::MemoryLow, "0")
        .unwrap();
    // Made again under the same name.
    fs.vanish(&path("kubepods/pod2"));
    fs.create(&path("kubepods/pod2")).unwrap();
    fs.write(&path("kubepods/pod2"), ControlFile::CpuWeight, "200")
        .unwrap();
    let restored = put_all_back(&fs, &mut journal).unwrap();
    let (gone, left) = (Restored::Gone, Restored::Left("55".to_owned()));
    let (back, already) = (Restored::PutBack, Restored::AlreadyThere);
    assert_eq!(
        kinds(&restored),
        [&gone, &gone, &gone, &gone, &back, &left, &back, &already]
    );
    let weight = |pod: &str| fs.read(&path(pod), ControlFile::CpuWeight).unwrap();
    assert_eq!(
        (weight("kubepods/pod1"), weight("kubepods/pod2")),
        ("55\n".into(), "200\n".into())
    );
    assert!(journal.changes().is_empty());
}

#[test]
fn a_refusal_and_another_way_are_told_and_kept_for_the_next_time() {
    let (fs, dir) = (node(), tempfile::tempdir().unwrap());
    let (mut journal, _) = UndoJournal::open(dir.path()).unwrap();
    let pod = path("kubepods/pod1");
    let id = fs.id(&pod).unwrap();
    for (file, channel, before, value) in [
        (ControlFile::MemoryLow, Channel::SystemdProperty, "0", "4096"),
        (ControlFile::CpuWeight, Channel::File, "39", "100"),
    ] {
        journal.announce(&pod, id, file, channel, before, value).unwrap();
        fs.write(&pod, file, value).unwrap();
    }
    fs.fail_at(0, rustix::io::Errno::ACCESS.raw_os_error());
    let restored = put_all_back(&fs, &mut journal).unwrap();
    let said: Vec<_> = restored
        .iter()
        .map(|(_, restored)| match restored {
            Restored::Failed(why) => why.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        said[0].starts_with("cannot write \"39\" to cpu.weight of kubepods/pod1"),
        "{said:?}"
    );
    assert_eq!(said[1], "it was set by systemd property, not by its file");
    let report = RestoreReport {
        changes: restored,
        ..RestoreReport::default()
    };
    assert!(!report.is_complete());
    assert_eq!(journal.changes().len(), 2);
    let again = put_all_back(&fs, &mut journal).unwrap();
    assert_eq!(again[0].1, Restored::PutBack);
    assert!(!journal.remove_if_empty().unwrap());
}

#[test]
fn after_an_end_at_any_write_of_the_agent_or_of_the_restore_all_is_put_back() {
    let count = {
        let (fs, dir) = (node(), tempfile::tempdir().unwrap());
        let (mut journal, _) = UndoJournal::open(dir.path()).unwrap();
        let start = fs.journal().len();
        enforce(&fs, &mut journal);
        fs.journal().len() - start
    };
    assert_eq!(count, 16);
    for last in 0..count {
        for last_of_restore in 0..9 {
            let (fs, dir) = (node(), tempfile::tempdir().unwrap());
            let before = values(&fs);
            let (mut journal, _) = UndoJournal::open(dir.path()).unwrap();
            fs.crash_at(last);
            enforce(&fs, &mut journal);
            fs.restart();
            drop(journal);
            let (mut journal, _) = UndoJournal::open(dir.path()).unwrap();
            fs.crash_at(last_of_restore);
            drop(put_all_back(&fs, &mut journal));
            fs.restart();
            drop(journal);
            let (mut journal, found) = UndoJournal::open(dir.path()).unwrap();
            let restored = put_all_back(&fs, &mut journal).unwrap();
            assert_eq!(restored.len(), found.changes.len());
            assert_eq!(values(&fs), before, "{last}, {last_of_restore}");
            assert!(journal.changes().is_empty());
        }
    }
}
