//! Whom the kernel's OOM killer would take.
//!
//! **Problem.** The kernel chooses a process by its own formula, in which neither requests nor priorities occur. To know
//! beforehand whom it would take is to know whether it has to be led elsewhere. **How.** The formula of `mm/oom_kill.c`
//! (`oom_badness`, `oom_evaluate_task`, read in Linux 6.6) in its own integers: pages of resident memory, swap
//! and page tables, and `oom_score_adj` times a thousandth of the domain's pages, where the division comes first. −1 000
//! is never taken. Of equals the one looked at last is taken. **Domain.** All processes of the machine, against
//! [`machine_total`]; or, when a cgroup is at its own limit, those in it, against [`cgroup_total`].
//!
//! Pages are taken to have 4 KiB.
//!
//! # Properties
//! - More memory or a higher value never makes a process less bad.
//! - What is chosen may be killed, and nothing that may be killed is worse.

use crate::model::pressure::{NodeFigures, ProcessFigures};
use crate::model::{Bytes, Limit, OomScoreAdj};

const PAGE: u64 = 4096;

/// The value at which a process is never killed.
pub const NEVER: OomScoreAdj = OomScoreAdj(-1000);

/// What the kernel divides by a thousand when the whole machine is out of memory.
#[must_use]
pub fn machine_total(node: &NodeFigures) -> Bytes {
    node.capacity.saturating_add(node.swap)
}

/// The same when a cgroup is at its limit: `memory.max`, and what it may have in swap of the `swap` that there is.
#[must_use]
pub fn cgroup_total(memory_max: Bytes, swap_max: Limit<Bytes>, swap: Bytes) -> Bytes {
    memory_max.saturating_add(swap_max.at().map_or(swap, |max| max.min(swap)))
}

/// Pages in one point of `oom_score_adj`.
#[must_use]
pub fn point(total: Bytes) -> i64 {
    pages(total) / 1000
}

/// Pages that a process has, by which it is judged.
#[must_use]
pub fn size(process: &ProcessFigures) -> i64 {
    pages(process.rss)
        .saturating_add(pages(process.swap))
        .saturating_add(pages(process.page_tables))
}

/// How bad a process would be with that value, in pages; below zero too. None: it is never taken.
#[must_use]
pub fn badness_at(process: &ProcessFigures, value: OomScoreAdj, total: Bytes) -> Option<i64> {
    let may_be_killed = !process.exempt && value != NEVER;
    may_be_killed.then(|| size(process).saturating_add(i64::from(value.0).saturating_mul(point(total))))
}

/// How bad a process is now, in pages.
#[must_use]
pub fn badness(process: &ProcessFigures, total: Bytes) -> Option<i64> {
    badness_at(process, process.oom_score_adj, total)
}

/// The process that the kernel would take now, by its place in `processes`, which are in the order in which the kernel
/// looks at them: as they were started, or, for a cgroup's limit, one cgroup below it after the other. Another order
/// matters only where two are equally bad.
#[must_use]
pub fn kernel_choice(processes: &[ProcessFigures], total: Bytes) -> Option<usize> {
    let candidates = processes
        .iter()
        .enumerate()
        .filter_map(|(n, process)| Some((n, badness(process, total)?)));
    candidates.max_by_key(|(_, badness)| *badness).map(|(n, _)| n)
}

fn pages(bytes: Bytes) -> i64 {
    i64::try_from(bytes.0 / PAGE).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ProcessIdentity;

    fn process(rss: u64, adj: i16) -> ProcessFigures {
        ProcessFigures {
            process: ProcessIdentity {
                pid: 1,
                start_ticks: 1,
            },
            owner: None,
            rss: Bytes(rss * PAGE),
            swap: Bytes(0),
            page_tables: Bytes(0),
            oom_score_adj: OomScoreAdj(adj),
            start: OomScoreAdj(adj),
            exempt: false,
        }
    }

    #[test]
    fn the_division_comes_before_the_multiplication() {
        // 65 999 pages: a point is 65 of them, not 65.999.
        let total = Bytes(65_999 * PAGE);
        assert_eq!(badness(&process(10, 1000), total), Some(65_010));
        assert_eq!(badness(&process(10, -997), total), Some(10 - 997 * 65));
        assert_eq!(badness(&process(10, 1000), Bytes(999 * PAGE)), Some(10));
    }

    #[test]
    fn swap_and_page_tables_count_and_parts_of_pages_do_not() {
        let all = ProcessFigures {
            swap: Bytes(5 * PAGE + 4095),
            page_tables: Bytes(3 * PAGE),
            ..process(7, 0)
        };
        assert_eq!(badness(&all, Bytes::mib(256)), Some(15));
    }

    #[test]
    fn of_equals_the_last_is_taken() {
        let total = Bytes::mib(256);
        let processes = [process(5, 0), process(9, 0), process(9, 0), process(8, 0)];
        assert_eq!(kernel_choice(&processes, total), Some(2));
    }

    #[test]
    fn who_is_never_taken() {
        let total = Bytes::mib(256);
        let exempt = ProcessFigures {
            exempt: true,
            ..process(900, 1000)
        };
        assert_eq!(kernel_choice(&[process(900, -1000), exempt], total), None);
        assert_eq!(
            kernel_choice(&[process(900, -1000), process(0, -999), exempt], total),
            Some(1)
        );
    }

    #[test]
    fn a_domain_has_the_swap_that_it_may_use() {
        let node = NodeFigures {
            capacity: Bytes::mib(1000),
            swap: Bytes::mib(500),
            ..NodeFigures::default()
        };
        assert_eq!(machine_total(&node), Bytes::mib(1500));
        let total = |max| cgroup_total(Bytes::mib(100), max, node.swap);
        assert_eq!(total(Limit::At(Bytes(0))), Bytes::mib(100));
        assert_eq!(total(Limit::At(Bytes::mib(70))), Bytes::mib(170));
        assert_eq!(total(Limit::Max), Bytes::mib(600));
    }

    fn some_process() -> impl Strategy<Value = ProcessFigures> {
        (0_u64..1 << 20, -1000_i16..=1000, 0_u8..8).prop_map(|(rss, adj, exempt)| ProcessFigures {
            exempt: exempt == 0,
            ..process(rss, adj)
        })
    }

    proptest! {
        #[test]
        fn more_is_never_less_bad(one in some_process(), more in 0_u64..1 << 30, raise in 0_i16..2000, total in 0_u64..1 << 40) {
            let total = Bytes(total);
            let larger = ProcessFigures { swap: Bytes(more), ..one };
            prop_assert!(badness(&larger, total) >= badness(&one, total));
            let raised = OomScoreAdj(one.oom_score_adj.0.saturating_add(raise).min(1000));
            prop_assert!(badness_at(&one, raised, total) >= badness(&one, total));
        }

        #[test]
        fn nothing_is_worse_than_the_choice(
            processes in prop::collection::vec(some_process(), 0..20), total in 0_u64..1 << 40
        ) {
            let total = Bytes(total);
            let worst = processes.iter().filter_map(|p| badness(p, total)).max();
            let chosen = kernel_choice(&processes, total);
            prop_assert_eq!(chosen.and_then(|n| badness(&processes[n], total)), worst);
            prop_assert_eq!(chosen.is_some(), worst.is_some());
        }
    }
}
