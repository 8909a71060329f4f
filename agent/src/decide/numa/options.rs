//! Options of the topology manager, by kubelet's names.

use std::collections::BTreeMap;

use super::{NumaNodes, TopologyManager, TopologyPolicy, TopologyScope};
use crate::model::{NumaMask, Topology};

const PREFER_CLOSEST: &str = "prefer-closest-numa-nodes";
const MOST_NODES: &str = "max-allowable-numa-nodes";
/// Kubelet takes no smaller limit than its default.
const LEAST_LIMIT: usize = 8;

/// What can be chosen beside policy and scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopologyOptions {
    /// Of sets with as many nodes, the ones closest together.
    pub prefer_closest: bool,
    /// On a machine with more NUMA nodes nothing is aligned. Kubelet's limit is 8 unless told otherwise, because of what
    /// merging costs it; here it is as many as there can be.
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

/// Options that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyOptionError {
    /// There is no such option.
    #[error("unknown topology manager option {name:?}: it is one of {PREFER_CLOSEST}, {MOST_NODES}")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// It has no such value.
    #[error("option {name} is {value:?}: it must be {expected}")]
    Value {
        /// Its name.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The machine has more NUMA nodes than are allowed.
    #[error(
        "the machine has {nodes} NUMA nodes, option {MOST_NODES} allows {most}: raise it, or set the policy to none"
    )]
    TooManyNodes {
        /// NUMA nodes of the machine.
        nodes: usize,
        /// The most that are allowed.
        most: usize,
    },
}

impl TopologyOptions {
    /// Options by their names.
    ///
    /// # Errors
    /// An option is not known, or its value is not.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Self, TopologyOptionError> {
        let mut parsed = Self::default();
        for (name, value) in options {
            let bad = |name, expected| TopologyOptionError::Value {
                name,
                value: value.clone(),
                expected,
            };
            match name.as_str() {
                PREFER_CLOSEST => {
                    let read = value.parse();
                    parsed.prefer_closest = read.map_err(|_| bad(PREFER_CLOSEST, "true or false"))?;
                }
                MOST_NODES => {
                    let read = value.parse().ok().filter(|&most: &usize| most >= LEAST_LIMIT);
                    parsed.most_nodes = read.ok_or_else(|| bad(MOST_NODES, "a number from 8"))?;
                }
                _ => return Err(TopologyOptionError::Unknown { name: name.clone() }),
            }
        }
        Ok(parsed)
    }

    /// The topology manager of a machine.
    ///
    /// # Errors
    /// The machine has more NUMA nodes than the options allow and the policy looks at them.
    pub fn manager(
        self,
        policy: TopologyPolicy,
        scope: TopologyScope,
        topology: &Topology,
    ) -> Result<TopologyManager, TopologyOptionError> {
        let nodes = NumaNodes::of(topology);
        if policy != TopologyPolicy::None && nodes.count() > self.most_nodes {
            return Err(TopologyOptionError::TooManyNodes {
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

    fn parse(options: &[(&str, &str)]) -> Result<TopologyOptions, String> {
        let named = options
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        TopologyOptions::parse(&named.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_have_kubelets_names_and_values() {
        assert_eq!(parse(&[]), Ok(TopologyOptions::default()));
        let both = parse(&[(PREFER_CLOSEST, "true"), (MOST_NODES, "16")]).unwrap();
        assert_eq!((both.prefer_closest, both.most_nodes), (true, 16));
        assert_eq!(
            parse(&[("prefer-closest", "true")]).unwrap_err(),
            "unknown topology manager option \"prefer-closest\": it is one of prefer-closest-numa-nodes, \
             max-allowable-numa-nodes"
        );
        assert_eq!(
            parse(&[(PREFER_CLOSEST, "yes")]).unwrap_err(),
            "option prefer-closest-numa-nodes is \"yes\": it must be true or false"
        );
        for value in ["7", "-1", "many"] {
            assert!(
                parse(&[(MOST_NODES, value)])
                    .unwrap_err()
                    .ends_with("a number from 8")
            );
        }
    }

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
        let options = parse(&[(MOST_NODES, "8")]).unwrap();
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
