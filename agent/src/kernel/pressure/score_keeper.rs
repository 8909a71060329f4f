//! What steered processes had before, kept where the next agent finds it.
//!
//! **Problem.** An agent that is killed while it steers leaves processes with values that are not theirs. What they should
//! have could be worked out again, by kubelet's formula for their container; but a process may have chosen its own value,
//! and that is nowhere but in the process. **How.** A value is given to a process only after it was written down for which
//! start it stands in the container ([`Announced`]); the next agent reads that, and so knows what each process had, those
//! that forked meanwhile too. It is one small file that is replaced as a whole, not synced: it means nothing after the
//! machine's next start, and carries that start's id.
//!
//! # Properties
//! - What cannot be written down is not given.
//! - After an end at any instruction every process that has a value of the agent's has it with its start on disk.
//! - Nothing stays written down about containers that are gone.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::MemoryCgroup;
use super::killer::each_cgroup;
use super::scores::{Announced, Scored, Scores};
use crate::kernel::checkpoint::{CheckpointError, CheckpointFile, Found, Unusable};
use crate::kernel::node_facts::boot_id;
use crate::model::{CgroupId, OomScoreAdj};

/// The file, in a directory of its own.
const FILE: &str = "scores.json";

/// What was steered before cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The file.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// The machine or its cgroups cannot be read.
    #[error("cannot read {what}: {source}")]
    Read {
        /// What.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    boot: String,
    announced: Vec<Announced>,
}

/// The values given to processes, and the file.
#[derive(Debug)]
pub struct ScoreKeeper {
    scores: Scores,
    file: CheckpointFile,
    boot: String,
    /// Below it are all containers.
    root: MemoryCgroup,
    unusable: Option<Unusable>,
}

impl ScoreKeeper {
    /// Opens the file in a directory, which is made if it is missing and nobody else may have open, and takes over what an
    /// agent before this one had steered below `root`.
    ///
    /// # Errors
    /// The kernel's refusal. A file that cannot be used is put aside, and is none.
    pub fn open(directory: &Path, root: MemoryCgroup) -> Result<Self, KeeperError> {
        let read = |what| move |source| KeeperError::Read { what, source };
        let boot = boot_id().map_err(read("the boot's id"))?;
        let mut file = CheckpointFile::open(directory, FILE)?.for_this_boot();
        let (announced, unusable) = match file.load::<Content>().found {
            Found::Usable(content) if content.boot == boot => (content.announced, None),
            Found::Usable(_) | Found::Missing => (Vec::new(), None),
            Found::Unusable(why) => (Vec::new(), Some(why)),
        };
        let mut keeper = Self {
            scores: Scores::resume(announced),
            file,
            boot,
            root,
            unusable,
        };
        keeper.tidy()?;
        Ok(keeper)
    }

    /// Why what an agent before this one had steered is not known.
    #[must_use]
    pub const fn unusable(&self) -> Option<&Unusable> {
        self.unusable.as_ref()
    }

    /// What processes had before.
    pub const fn scores(&mut self) -> &mut Scores {
        &mut self.scores
    }

    /// Whether nobody has another value than at its start.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// Writes down what is about to be given: container, start, value.
    ///
    /// # Errors
    /// The kernel's refusal: then none of it may be given.
    pub fn announce(
        &mut self,
        coming: impl IntoIterator<Item = (CgroupId, OomScoreAdj, OomScoreAdj)>,
    ) -> Result<(), KeeperError> {
        let before = self.scores.clone();
        for (container, start, value) in coming {
            // One that stands for another start is refused when it is given.
            self.scores.announce(container, start, value);
        }
        let saved = self.save();
        if saved.is_err() {
            self.scores = before;
        }
        saved
    }

    /// See [`Scores::write`].
    ///
    /// # Errors
    /// Its errors.
    pub fn write(
        &mut self,
        container: &MemoryCgroup,
        start: OomScoreAdj,
        to: OomScoreAdj,
    ) -> Result<Scored, i32> {
        self.scores.write(container, start, to)
    }

    /// Forgets what was put back, and containers that are gone.
    ///
    /// # Errors
    /// The kernel's refusal: more than there is stays written down, which does no harm.
    pub fn tidy(&mut self) -> Result<(), KeeperError> {
        if !self.scores.is_empty() {
            let mut there = BTreeSet::new();
            let listed = each_cgroup(self.root.as_fd(), &mut |dir| {
                there.insert(CgroupId(rustix::fs::fstat(dir)?.st_ino));
                Ok(())
            });
            listed.map_err(|errno: Errno| KeeperError::Read {
                what: "the cgroups of pods",
                source: errno.into(),
            })?;
            self.scores.keep(&there);
        }
        self.save()
    }

    fn save(&mut self) -> Result<(), KeeperError> {
        let content = Content {
            boot: self.boot.clone(),
            announced: self.scores.announced().collect(),
        };
        self.file.save(&content)?;
        Ok(())
    }
}
