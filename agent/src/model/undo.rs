//! What the agent changed of a cgroup that is not its own, and what it finds there later.

use serde::{Deserialize, Serialize};

use super::cgroup_path::CgroupPath;
use super::control_file::ControlFile;
use super::ids::CgroupId;
use super::owner::Channel;

/// A file that the agent changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedValue {
    /// Below the cgroup file system's mount point.
    pub cgroup: CgroupPath,
    /// Which cgroup it was: one that was made again under the same path is another.
    pub id: CgroupId,
    /// The file.
    pub file: ControlFile,
    /// By what it was set, and so has to be put back.
    pub channel: Channel,
    /// What was there before the agent's first write, without the line end.
    pub before: String,
    /// What the agent wrote or was about to write, latest last: one of these is there unless somebody else wrote.
    pub ours: Vec<String>,
}

/// What is found where something was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundValue {
    /// The file's content.
    Value(String),
    /// Nothing: the cgroup is gone, or another is in its place, or it has no such file any more.
    Gone,
    /// It cannot be read, for that reason.
    Unreadable(String),
}
