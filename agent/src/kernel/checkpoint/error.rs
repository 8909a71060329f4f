//! What a checkpoint may turn out to be, and what may go wrong with it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What was found where the checkpoint should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<T> {
    /// Nothing.
    Missing,
    /// A file that cannot be used.
    Unusable(Unusable),
    /// The content.
    Usable(T),
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The kernel refused to read it.
    #[error("it cannot be read: {0}")]
    Unreadable(Errno),
    /// It is not what was written.
    #[error("it is corrupt: {0}")]
    Corrupt(String),
    /// An earlier agent wrote it, in a format that is not read any more.
    #[error("its format {version} is older than {ours}")]
    Older {
        /// The file's.
        version: u32,
        /// This agent's.
        ours: u32,
    },
    /// A later agent wrote it.
    #[error("its format {version} is newer than {ours}")]
    Newer {
        /// The file's.
        version: u32,
        /// This agent's.
        ours: u32,
    },
}

impl<T> Found<T> {
    /// What was found, in one word for a metric.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unusable(unusable) => unusable.suffix(),
            Self::Usable(_) => "usable",
        }
    }
}

impl Unusable {
    /// What it is put aside as.
    pub(super) const fn suffix(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Corrupt(_) => "corrupt",
            Self::Older { .. } => "older",
            Self::Newer { .. } => "newer",
        }
    }
}

/// A checkpoint that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another process has the state directory.
    #[error("another agent runs already: it keeps its state in {path:?}")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The kernel's refusal.
    #[error("cannot {operation} {path:?}: {source}")]
    Refused {
        /// What was being done, as a verb.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl CheckpointError {
    pub(super) fn refused(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Refused {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}
