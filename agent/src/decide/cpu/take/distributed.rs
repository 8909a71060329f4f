//! The distributed algorithm: as few NUMA nodes as can hold the request, each giving as much as the others.
//!
//! **Terms.** CPUs are handed out in *groups* of a size that divides the request. With `k` nodes each gives at least its
//! *share*, the request over `k` rounded down to groups; what is missing then, the *rest*, is fewer than `k` groups, and
//! goes to some of the nodes again. *Balance* is how even the nodes' free CPUs are afterwards.
//!
//! **How.** The smallest `k` for which some `k` nodes can give their share and the rest is used; the `k` nodes with the
//! most free can if any can. Which `k` nodes it is, and which give the rest, [`balance`] decides. Where no `k` will do,
//! or the request is no multiple of the group, it is packed instead, as in kubelet.

use super::balance::{self, Node, Split};
use super::taking::Taking;
use super::{NotEnough, Strategy, Taken, order, packed};
use crate::model::{CpuSet, Topology};

/// Takes `count` of the CPUs that are `available`, in groups of `group` CPUs, evenly from as few NUMA nodes as can
/// hold them (kubelet's `distribute-cpus-across-numa`).
///
/// # Errors
/// Fewer than `count` are available on this machine.
pub fn distributed(
    topology: &Topology,
    available: &CpuSet,
    count: usize,
    group: usize,
    strategy: Strategy,
) -> Result<Taken, NotEnough> {
    let mut taking = Taking::start(topology, available, count)?;
    let group = group.max(1);
    let found = if count.is_multiple_of(group) {
        find(topology, &taking.free, count, group)
    } else {
        None
    };
    let Some((split, nodes)) = found else {
        return packed(topology, available, count, strategy, false);
    };
    for (position, node) in nodes.iter().enumerate() {
        let Some(more) = split.more_of(position) else {
            continue;
        };
        // First the share and then group by group: that is where a whole core or node is kept together, or not.
        for part in std::iter::once(split.share).chain(std::iter::repeat_n(group, more)) {
            let of_node = &taking.free & &topology.numa_nodes()[*node].cpus;
            taking.take_all(packed(topology, &of_node, part, strategy, false)?);
        }
    }
    Ok(taking.finish())
}

/// The best split among the nodes with free CPUs, whose indices it gives in the order of its positions.
fn find(topology: &Topology, free: &CpuSet, count: usize, group: usize) -> Option<(Split, Vec<usize>)> {
    let order = order::numa_nodes(topology, free);
    let nodes: Vec<_> = order
        .iter()
        .map(|index| Node {
            free: topology.numa_nodes()[*index].cpus.common(free),
        })
        .collect();
    let groups = count / group;
    let mut by_free: Vec<_> = nodes.iter().map(|node| node.free).collect();
    by_free.sort_unstable_by(|a, b| b.cmp(a));
    let enough = |k: &usize| {
        let share = groups / k * group;
        let rest = groups % k;
        let most = &by_free[..*k];
        most.iter().all(|free| *free >= share)
            && most.iter().map(|free| (free - share) / group).sum::<usize>() >= rest
    };
    let k = (1..=nodes.len().min(groups)).find(enough)?;
    let split = balance::split(&nodes, k, groups, group)?;
    Some((split, order))
}
