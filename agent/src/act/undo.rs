//! Putting back what was there before the agent changed it.

use crate::decide::undo::shows;
use crate::kernel::cgroup_fs::{CgroupFs, Fault};
use crate::model::{ChangedValue, Channel, ControlFile};

/// What came of putting a value back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutBack {
    /// It is there again, as read back.
    Done,
    /// The cgroup or its file is gone.
    Gone,
    /// It was set by another way than its file, and a write into the file would not last.
    NotByFile(Channel),
    /// The kernel's refusal.
    Refused(String),
    /// The kernel shows something else than was written.
    Differs(String),
}

/// Writes what was there before, and reads it back. The caller has seen that it is still the same cgroup with a value of
/// the agent's.
#[must_use]
pub fn put_back(fs: &dyn CgroupFs, change: &ChangedValue) -> PutBack {
    if change.channel != Channel::File {
        return PutBack::NotByFile(change.channel);
    }
    let (cgroup, file) = (&change.cgroup, change.file);
    let written = fs.write(cgroup, file, value(change));
    match written.and_then(|()| fs.read(cgroup, file)) {
        Ok(now) if shows(file, &change.before, &now) => PutBack::Done,
        Ok(now) => PutBack::Differs(now.trim_end().to_owned()),
        Err(error) if matches!(error.fault, Fault::Gone | Fault::NoSuchFile) => PutBack::Gone,
        Err(error) => PutBack::Refused(error.to_string()),
    }
}

/// What to write: of a partition the kernel also showed why it did not keep it.
fn value(change: &ChangedValue) -> &str {
    match change.file {
        ControlFile::CpusetPartition => change.before.split_whitespace().next().unwrap_or_default(),
        _ => &change.before,
    }
}
