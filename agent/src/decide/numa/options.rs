//! The topology manager of a machine, as the options have it.

use super::{NumaNodes, TopologyManager, TopologyOptions, TopologyPolicy, TopologyScope};
use crate::model::Topology;

/// The machine has more NUMA nodes than are allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the machine has {nodes} NUMA nodes, option max-allowable-numa-nodes allows {most}: raise it, or set the policy \
     to none"
)]
pub struct TooManyNodes {
    /// NUMA nodes of the machine.
    pub nodes: usize,
    /// The most that are allowed.
    pub most: usize,
}

impl TopologyOptions {
    /// The topology manager of a machine.
    ///
    /// # Errors
    /// The machine has more NUMA nodes than the options allow and the policy looks at them.
    pub fn manager(
        self,
        policy: TopologyPolicy,
        scope: TopologyScope,
        topology: &Topology,
    ) -> Result<TopologyManager, TooManyNodes> {
        let nodes = NumaNodes::of(topology);
        if policy != TopologyPolicy::None && nodes.count() > self.most_nodes {
            return Err(TooManyNodes {
                nodes: nodes.count(),
                most: self.most_nodes,
            });
        }
        Ok(TopologyManager {
            policy,
            scope,
            prefer_closest: self.prefer_closest,
            nodes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Shape;

    #[test]
    fn a_machine_with_too_many_nodes_is_refused_unless_nobody_looks() {
        let shape = Shape {
            sockets: 4,
            nodes: 4,
            l3s: 1,
            cores: 1,
            threads: 1,
        };
        let topology = shape.build();
        let options = TopologyOptions {
            most_nodes: 8,
            ..TopologyOptions::default()
        };
        let manager = |options: TopologyOptions, policy| {
            let made = options.manager(policy, TopologyScope::Pod, &topology);
            made.map(|manager| manager.nodes.count())
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            manager(options, TopologyPolicy::Restricted).unwrap_err(),
            "the machine has 16 NUMA nodes, option max-allowable-numa-nodes allows 8: raise it, or set the policy to none"
        );
        assert_eq!(manager(options, TopologyPolicy::None), Ok(16));
        assert_eq!(
            manager(TopologyOptions::default(), TopologyPolicy::Restricted),
            Ok(16)
        );
    }
}
