//! How CPUs and memory of one pod are brought together: policy, scope and options of the topology manager.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::load;
use crate::model::NumaMask;

/// Kubelet takes no smaller limit than its default.
const LEAST_LIMIT: usize = 8;

/// How much alignment a pod needs to be let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TopologyPolicy {
    /// No alignment at all.
    #[default]
    None,
    /// The best there is.
    BestEffort,
    /// Only sets that all resources prefer.
    Restricted,
    /// Only one node.
    SingleNumaNode,
}

/// What is placed as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TopologyScope {
    /// Each container by itself, in order.
    #[default]
    Container,
    /// All containers of a pod on the same nodes.
    Pod,
}

/// What can be chosen beside policy and scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TopologyOptions {
    /// Of sets with as many nodes, the ones closest together.
    #[serde(rename = "prefer-closest-numa-nodes", deserialize_with = "load::switch")]
    pub prefer_closest: bool,
    /// On a machine with more NUMA nodes nothing is aligned. Kubelet's limit is 8 unless told otherwise, because of what
    /// merging costs it; here it is as many as there can be.
    #[serde(rename = "max-allowable-numa-nodes", deserialize_with = "limit")]
    pub most_nodes: usize,
}

impl Default for TopologyOptions {
    fn default() -> Self {
        Self {
            prefer_closest: false,
            most_nodes: NumaMask::MOST_NODES,
        }
    }
}

fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let text = String::deserialize(deserializer)?;
    let limit = text.parse().ok().filter(|&limit: &usize| limit >= LEAST_LIMIT);
    limit.ok_or_else(|| {
        let problem = format!("max-allowable-numa-nodes is {text:?}: it must be a number from {LEAST_LIMIT}");
        serde::de::Error::custom(problem)
    })
}
