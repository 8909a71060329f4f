//! What of the agent's changes is put back.
//!
//! **Problem.** Between the change and its undoing others were at work too: kubelet resized the pod, systemd was reloaded,
//! somebody tried something by hand. To put back over that would undo their work. **How.** A value is put back only where
//! one of the agent's is still there. The last change goes first, so that of files that depend on each other, such as CPUs
//! and the partition made of them, each is put back in the state in which it was set.
//!
//! # Properties
//! - What is put back is what was there before, by the way it was changed, and only over a value of the agent's.
//! - Each change has one answer, and every two are in the reverse order.

use crate::model::{Bytes, ChangedValue, ControlFile, CpuSet, FoundValue, KnobValue, Limit};

/// What becomes of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undoing {
    /// It is put back.
    PutBack,
    /// What was there before is there.
    Undone,
    /// Somebody else wrote this since: it stays.
    Theirs(String),
    /// The cgroup or its file is gone.
    Gone,
    /// It cannot be told, for that reason.
    Unknown(String),
}

/// Answers for changes, in the order in which they were made, with what is found of each; the last one first.
#[must_use]
pub fn undo(found: impl IntoIterator<Item = (ChangedValue, FoundValue)>) -> Vec<(ChangedValue, Undoing)> {
    let answered = found.into_iter().map(|(change, found)| {
        let answer = answer(&change, found);
        (change, answer)
    });
    let mut answers: Vec<_> = answered.collect();
    answers.reverse();
    answers
}

fn answer(change: &ChangedValue, found: FoundValue) -> Undoing {
    let now = match found {
        FoundValue::Value(now) => now,
        FoundValue::Gone => return Undoing::Gone,
        FoundValue::Unreadable(why) => return Undoing::Unknown(why),
    };
    // Before anything else: of a value that was announced and never written there is nothing to undo.
    if shows(change.file, &change.before, &now) {
        Undoing::Undone
    } else if change.ours.iter().any(|ours| shows(change.file, ours, &now)) {
        Undoing::PutBack
    } else {
        Undoing::Theirs(now.trim_end().to_owned())
    }
}

/// Whether `read` is what the kernel shows of `written`: the same, or what it makes of it.
#[must_use]
pub fn shows(file: ControlFile, written: &str, read: &str) -> bool {
    let (written, read) = (written.trim(), read.trim());
    if written.split_whitespace().eq(read.split_whitespace()) {
        return true;
    }
    match file {
        ControlFile::MemoryMin
        | ControlFile::MemoryLow
        | ControlFile::MemoryHigh
        | ControlFile::MemoryMax
        | ControlFile::MemorySwapMax
        | ControlFile::HugetlbMax(_)
        | ControlFile::HugetlbRsvdMax(_) => {
            let limit = match written {
                "max" => Some(Limit::Max),
                number => number.parse().ok().map(|bytes| Limit::At(Bytes(bytes))),
            };
            limit.is_some_and(|limit| KnobValue::Memory(limit).accepts(read))
        }
        ControlFile::CpusetCpus | ControlFile::CpusetCpusExclusive | ControlFile::CpusetMems => {
            CpuSet::parse(written).is_ok_and(|list| CpuSet::parse(read).is_ok_and(|read| read == list))
        }
        // The kernel adds why it does not keep a partition: `root invalid (…)`.
        ControlFile::CpusetPartition => {
            let word = |text: &str| text.split_whitespace().next().map(str::to_owned);
            word(written).is_some() && word(written) == word(read)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{CgroupId, CgroupPath, Channel};

    fn change(file: ControlFile, before: &str, ours: &[&str]) -> ChangedValue {
        ChangedValue {
            cgroup: CgroupPath::parse("kubepods/pod1").unwrap(),
            id: CgroupId(7),
            file,
            channel: Channel::File,
            before: before.to_owned(),
            ours: ours.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    #[test]
    fn only_a_value_of_ours_is_put_over() {
        use ControlFile::{CpuMax, CpusetCpus, CpusetPartition, MemoryLow};
        let theirs = |text: &str| Undoing::Theirs(text.to_owned());
        for (change, now, expected) in [
            (change(MemoryLow, "0", &["5000"]), "5000\n", Undoing::PutBack),
            (change(MemoryLow, "0", &["5000"]), "4096\n", Undoing::PutBack),
            (change(MemoryLow, "0", &["5000"]), "8192\n", theirs("8192")),
            (change(MemoryLow, "0", &["5000"]), "0\n", Undoing::Undone),
            // Announced twice, and killed before or after the second write.
            (
                change(MemoryLow, "0", &["4096", "8192"]),
                "4096\n",
                Undoing::PutBack,
            ),
            (
                change(MemoryLow, "0", &["4096", "8192"]),
                "8192\n",
                Undoing::PutBack,
            ),
            (change(CpusetCpus, "", &["3,2,1,0"]), "0-3\n", Undoing::PutBack),
            (change(CpusetCpus, "", &["0-3"]), "\n", Undoing::Undone),
            (
                change(CpuMax, "max 100000", &["5000 100000"]),
                "max 100000\n",
                Undoing::Undone,
            ),
            (
                change(CpusetPartition, "member", &["isolated"]),
                "isolated invalid (Cpu list in cpuset.cpus not exclusive)\n",
                Undoing::PutBack,
            ),
        ] {
            let answers = undo([(change.clone(), FoundValue::Value(now.to_owned()))]);
            assert_eq!(answers, [(change, expected)]);
        }
        let change = change(MemoryLow, "0", &["1"]);
        let found = |found| undo([(change.clone(), found)])[0].1.clone();
        assert_eq!(found(FoundValue::Gone), Undoing::Gone);
        let why = "denied".to_owned();
        assert_eq!(found(FoundValue::Unreadable(why.clone())), Undoing::Unknown(why));
    }

    proptest! {
        #[test]
        fn a_value_that_neither_was_there_nor_is_ours_stays(
            changes in prop::collection::vec((0..4_u8, prop::collection::vec(0..4_u8, 0..4), 0..5_u8), 0..20),
        ) {
            let pages = |n: u8| (u64::from(n) * 4096).to_string();
            let found: Vec<_> = changes
                .iter()
                .map(|(before, ours, now)| {
                    let ours: Vec<_> = ours.iter().map(|n| pages(*n)).collect();
                    let ours: Vec<_> = ours.iter().map(String::as_str).collect();
                    let change = change(ControlFile::MemoryLow, &pages(*before), &ours);
                    (change, FoundValue::Value(pages(*now)))
                })
                .collect();
            let answers = undo(found.clone());
            prop_assert_eq!(answers.len(), found.len());
            for ((change, answer), (asked, now)) in answers.iter().zip(found.iter().rev()) {
                prop_assert_eq!(change, asked);
                let FoundValue::Value(now) = now else { unreachable!() };
                let expected = if *now == change.before {
                    Undoing::Undone
                } else if change.ours.contains(now) {
                    Undoing::PutBack
                } else {
                    Undoing::Theirs(now.clone())
                };
                prop_assert_eq!(answer, &expected);
            }
        }
    }
}
