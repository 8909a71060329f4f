//! What is there now where the agent changed something.

use crate::kernel::cgroup_fs::{CgroupFs, Fault};
use crate::model::{ChangedValue, FoundValue};

/// Looks at the file of a change, below the mount point that `fs` shows. A cgroup that was made again under the same path
/// is another one.
#[must_use]
pub fn look(fs: &dyn CgroupFs, change: &ChangedValue) -> FoundValue {
    let read = fs.id(&change.cgroup).and_then(|id| {
        let same = id == change.id;
        same.then(|| fs.read(&change.cgroup, change.file)).transpose()
    });
    match read {
        Ok(Some(value)) => FoundValue::Value(value),
        Ok(None) => FoundValue::Gone,
        Err(error) if matches!(error.fault, Fault::Gone | Fault::NoSuchFile) => FoundValue::Gone,
        Err(error) => FoundValue::Unreadable(error.to_string()),
    }
}
