//! What is remembered of the pods' memory between two looks at it.

use serde::{Deserialize, Serialize};

/// How fast a charge grows, and how sure that is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Growth {
    /// Bytes a second; less than nothing when the charge falls.
    pub bytes_per_second: f64,
    /// From 0, a guess, to 1.
    pub confidence: f64,
}
