//! What is written, what is only told, and what is refused.

use std::collections::BTreeMap;

use super::{KubeletFacts, Only, Spot, covers, rule};
use crate::model::{
    CgroupPath, Channel, ControlFile, Enforcement, FileKind, KnobValue, Level, OomScoreAdj, Owner, Switch,
    Switches,
};

/// What to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An interface file.
    Knob(ControlFile, KnobValue),
    /// `oom_score_adj` of all processes in the cgroup.
    Score(OomScoreAdj),
}

impl Target {
    /// The kind of the file; none of a file that nobody sets.
    #[must_use]
    pub const fn kind(&self) -> Option<FileKind> {
        match self {
            Self::Knob(file, _) => FileKind::of(*file),
            Self::Score(_) => Some(FileKind::OomScoreAdj),
        }
    }

    const fn file(&self) -> Option<ControlFile> {
        match self {
            Self::Knob(file, _) => Some(*file),
            Self::Score(_) => None,
        }
    }

    fn is_shown_by(&self, read: &str) -> bool {
        match self {
            Self::Knob(_, value) => value.accepts(read),
            Self::Score(score) => read.trim() == score.to_string(),
        }
    }
}

/// A value that an enforcement wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The cgroup.
    pub path: CgroupPath,
    /// What it is.
    pub spot: Spot,
    /// What to set.
    pub target: Target,
    /// On whose behalf.
    pub enforcement: Enforcement,
    /// What the file holds; none when it was not read.
    pub now: Option<String>,
}

/// A wish that may be done, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The wish.
    pub wish: Wish,
    /// By what.
    pub channel: Channel,
}

/// Why a wish may not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The file is somebody else's.
    #[error("it is for {owner} to set, {only}: {source_text}")]
    Theirs {
        /// Whose.
        owner: Owner,
        /// Under what.
        only: Only,
        /// Why, and where to read it.
        source_text: &'static str,
    },
    /// A cgroup of that level has no such file.
    #[error("there is no such file at the level {0}")]
    NoSuchFile(Level),
    /// The enforcement has nothing to do with it.
    #[error("{0} does not cover it")]
    NotCovered(Enforcement),
    /// Another enforcement sets the file already, to another value.
    #[error("{0} sets it to another value")]
    Contradicts(Enforcement),
}

/// What becomes of wishes. Each is in one of the lists or counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// To be written.
    pub writes: Vec<Write>,
    /// Would be written, were the switch on enforce.
    pub observed: Vec<Write>,
    /// May not be written, whatever the switch.
    pub refused: Vec<(Wish, Refusal)>,
    /// How many hold already, or were wished more than once.
    pub in_place: usize,
    /// How many are of enforcements that are off.
    pub off: usize,
}

/// Holds wishes against the table and the switches. Of two wishes for one file the enforcement that comes first has it.
#[must_use]
pub fn judge(wishes: impl IntoIterator<Item = Wish>, kubelet: &KubeletFacts, switches: &Switches) -> Judged {
    let mut wishes: Vec<Wish> = wishes.into_iter().collect();
    wishes.sort_by_key(|wish| wish.enforcement);
    let mut judged = Judged::default();
    // What is written and what is told are apart: a wish that is only told must not keep another from being written.
    let mut taken: BTreeMap<_, (Enforcement, Target)> = BTreeMap::new();
    for wish in wishes {
        let switch = switches.of(wish.enforcement);
        if switch == Switch::Off {
            judged.off += 1;
            continue;
        }
        let channel = match channel(&wish, kubelet) {
            Ok(channel) => channel,
            Err(refusal) => {
                judged.refused.push((wish, refusal));
                continue;
            }
        };
        let place = (switch == Switch::Enforce, wish.path.clone(), wish.target.file());
        match taken.get(&place) {
            Some((_, target)) if *target == wish.target => {
                judged.in_place += 1;
                continue;
            }
            Some((first, _)) => {
                let refusal = Refusal::Contradicts(*first);
                judged.refused.push((wish, refusal));
                continue;
            }
            None => taken.insert(place, (wish.enforcement, wish.target.clone())),
        };
        if wish
            .now
            .as_deref()
            .is_some_and(|now| wish.target.is_shown_by(now))
        {
            judged.in_place += 1;
        } else if switch == Switch::Enforce {
            judged.writes.push(Write { wish, channel });
        } else {
            judged.observed.push(Write { wish, channel });
        }
    }
    judged
}

fn channel(wish: &Wish, kubelet: &KubeletFacts) -> Result<Channel, Refusal> {
    let not_covered = Refusal::NotCovered(wish.enforcement);
    let kind = wish.target.kind().ok_or(not_covered)?;
    let rule = rule(kind, wish.spot, kubelet).ok_or(Refusal::NoSuchFile(wish.spot.level))?;
    let theirs = Refusal::Theirs {
        owner: rule.owner,
        only: rule.only,
        source_text: rule.source,
    };
    let channel = rule.channel.ok_or(theirs)?;
    if covers(wish.enforcement, kind, wish.spot) {
        Ok(channel)
    } else {
        Err(not_covered)
    }
}
