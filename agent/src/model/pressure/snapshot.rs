//! All figures of one moment.

use serde::{Deserialize, Serialize};

use super::{NodeFigures, PodFigures};

/// What was read at one moment. It is filled again and again without an allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The machine's figures.
    pub node: NodeFigures,
    /// Those of each pod, in the order of the roster.
    pub pods: Vec<PodFigures>,
}

impl Snapshot {
    /// An empty one with room for so many pods.
    #[must_use]
    pub fn with_capacity(pods: usize) -> Self {
        Self {
            node: NodeFigures::default(),
            pods: Vec::with_capacity(pods),
        }
    }
}
