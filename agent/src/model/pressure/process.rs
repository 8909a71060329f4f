//! A process as the kernel's OOM killer looks at it.

use serde::{Deserialize, Serialize};

use crate::model::{Bytes, OomScoreAdj, ProcessIdentity};

/// Whose a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The pod, by its place in the roster.
    pub pod: usize,
    /// The container, by its place among the pod's.
    pub container: usize,
}

/// What the kernel's choice of a victim rests on, for one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessFigures {
    /// Which.
    pub process: ProcessIdentity,
    /// Whose; none for one outside all pods.
    pub owner: Option<Owner>,
    /// Resident pages, those of files and shared memory included.
    pub rss: Bytes,
    /// Pages in swap.
    pub swap: Bytes,
    /// Its page tables.
    pub page_tables: Bytes,
    /// `oom_score_adj` now.
    pub oom_score_adj: OomScoreAdj,
    /// `oom_score_adj` before the agent ever wrote it: for one forked since, that of the process that it comes from; for
    /// one that the agent never wrote, what it has now.
    pub start: OomScoreAdj,
    /// Whether the kernel passes over it, whatever it uses: the first process, a kernel thread, one that is being
    /// killed and has given its memory back.
    pub exempt: bool,
}
