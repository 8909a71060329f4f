//! Which sets of nodes can come out when one set is taken of each of several lists and only shared nodes are kept.
//!
//! **Problem.** Lists of all 2ⁿ − 1 sets, p of them, have (2ⁿ − 1)ᵖ combinations, but at most 2ⁿ results. **How**, up to 8
//! nodes: two lists are joined at once by counting. If aᵣ sets of the one list and bᵣ of the other contain the set r,
//! then aᵣ·bᵣ combinations keep at least r; taking away those that keep more leaves the number that keep exactly r. Both
//! steps cost n·2ⁿ additions. Above 8 nodes, sets that are in every list go first, as they serve every resource; if
//! there is none, lists are joined one after the other, and of each only the best [`KEPT`] sets are kept.
//!
//! # Properties
//! - Up to 8 nodes the result is the best of all combinations; above, it is one of them.
//! - Joining two lists costs at most 8·2⁸ additions or [`KEPT`]² intersections, and their sorting.

use crate::model::NumaMask;

/// Up to so many nodes every set has its place in a table.
pub(super) const TABLED_NODES: usize = 8;
const TABLE: usize = 1 << TABLED_NODES;
/// How many sets of a list are joined with how many of the next, above [`TABLED_NODES`] nodes.
const KEPT: usize = 256;

/// The set with the least key, nodes in it, that comes out of one set of each list; `nodes` is their number.
///
/// Of no list, all nodes come out. No set may have nodes from `nodes` on.
pub(super) fn best<K: Ord>(
    nodes: usize,
    lists: &[Vec<NumaMask>],
    key: impl Fn(NumaMask) -> K,
) -> Option<NumaMask> {
    let reached = if nodes <= TABLED_NODES {
        all(nodes, lists)
    } else {
        let common = common(lists);
        if common.is_empty() {
            likely(nodes, lists, &key)
        } else {
            common
        }
    };
    let with_nodes = reached.into_iter().filter(|mask| !mask.is_empty());
    with_nodes.min_by_key(|&mask| key(mask))
}

/// Every set that can come out.
fn all(nodes: usize, lists: &[Vec<NumaMask>]) -> Vec<NumaMask> {
    let size = 1 << nodes;
    let mut reached = [0_u32; TABLE];
    reached[size - 1] = 1;
    for list in lists {
        let mut joined = [0_u32; TABLE];
        for place in list.iter().filter_map(|&mask| place(mask)) {
            joined[place] = 1;
        }
        sum_supersets(&mut reached[..size], u32::wrapping_add);
        sum_supersets(&mut joined[..size], u32::wrapping_add);
        // At most 256 sets contain one, so that no product overflows.
        for (r, j) in reached.iter_mut().zip(joined) {
            *r *= j;
        }
        sum_supersets(&mut reached[..size], u32::wrapping_sub);
        reached.iter_mut().for_each(|r| *r = u32::from(*r > 0));
    }
    let hit = reached.iter().zip(0_u64..).filter(|(r, _)| **r > 0);
    hit.map(|(_, bits)| NumaMask::from_bits(bits)).collect()
}

fn place(mask: NumaMask) -> Option<usize> {
    usize::try_from(mask.bits()).ok().filter(|&place| place < TABLE)
}

/// Adds to each set the values of all sets that contain it; with subtraction, takes them away again.
fn sum_supersets(table: &mut [u32], with: fn(u32, u32) -> u32) {
    let mut bit = 1;
    while bit < table.len() {
        for set in 0..table.len() {
            if set & bit == 0 {
                table[set] = with(table[set], table[set | bit]);
            }
        }
        bit <<= 1;
    }
}

/// Sets that are in every list.
fn common(lists: &[Vec<NumaMask>]) -> Vec<NumaMask> {
    let sorted = lists.iter().map(|list| {
        let mut list = list.clone();
        list.sort_unstable();
        list.dedup();
        list
    });
    let shared = sorted.reduce(|mut kept, next| {
        kept.retain(|mask| next.binary_search(mask).is_ok());
        kept
    });
    shared.unwrap_or_default()
}

/// Sets that come out of the best of each list.
fn likely<K: Ord>(nodes: usize, lists: &[Vec<NumaMask>], key: &impl Fn(NumaMask) -> K) -> Vec<NumaMask> {
    let keep_best = |mut list: Vec<NumaMask>| {
        list.sort_unstable();
        list.dedup();
        list.sort_by_cached_key(|&mask| key(mask));
        list.truncate(KEPT);
        list
    };
    lists.iter().fold(vec![NumaMask::first(nodes)], |reached, list| {
        let list = keep_best(list.clone());
        let pairs = reached.iter().flat_map(|&a| list.iter().map(move |&b| a.and(b)));
        keep_best(pairs.filter(|mask| !mask.is_empty()).collect())
    })
}
