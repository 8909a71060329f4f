//! What a container's first process is started with, and how it ended.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::units::{Bytes, OomScoreAdj};

/// All that is needed to start a container's first process. Everything is expanded and checked already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchSpec {
    /// Program and arguments; never empty. A program without `/` is looked for in the environment's `PATH`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Directory to start in; `/` when absent.
    pub working_dir: Option<PathBuf>,
    /// User to run as.
    pub user: Option<u32>,
    /// Group to run as.
    pub group: Option<u32>,
    /// Set before the program starts, so that whatever it forks inherits it.
    pub oom_score_adj: OomScoreAdj,
    /// Where standard output and error go; the parent directories are made.
    pub log_path: PathBuf,
    /// How large the log file may grow before it is cut.
    pub log_cap: Bytes,
}

/// What happened to a process that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It ended with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It is gone and nobody saw how: it was not our child.
    Unknown,
}
