//! Memory by NUMA node: the memory manager's policy, and what is kept on each node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::load;
use crate::model::Quantity;

/// Whose memory is bound to NUMA nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MemoryManagerPolicy {
    /// Nobody's.
    #[default]
    None,
    /// That of Guaranteed pods.
    Static,
}

/// What is kept from pods on one NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemoryReservation {
    /// The kernel's number of the node.
    pub numa_node: u32,
    /// How much.
    pub limits: ReservedOnNode,
}

/// Amounts kept on a NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReservedOnNode {
    /// Memory in normal pages: `512Mi`.
    #[serde(deserialize_with = "load::amount")]
    #[schemars(with = "String")]
    pub memory: Quantity,
}
