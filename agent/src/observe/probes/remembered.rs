//! Which counters in the kernel belong to cgroups that are gone and can be freed.
//!
//! A removed cgroup's counters are kept until the second sweep after the removal: a process that has ended may still
//! be switched out for the last time, and would make the entry anew. Counters of cgroups that the passes do not see
//! (outside the root, or removed unseen) are left alone until they are many.

use crate::model::CgroupId;

/// Unknown counters that are left alone.
const MANY: usize = 4096;

/// Removed cgroups whose counters are still there.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    fresh: Vec<u64>,
    ripe: Vec<u64>,
}

impl Remembered {
    /// A cgroup was removed.
    pub(super) fn removed(&mut self, id: CgroupId) {
        self.fresh.push(id.0);
    }

    /// At a sweep: counters to free now, given those that belong to no cgroup of the last pass.
    pub(super) fn sweep(&mut self, unknown: &[u64]) -> Vec<u64> {
        let mut gone = std::mem::replace(&mut self.ripe, std::mem::take(&mut self.fresh));
        if unknown.len() > MANY {
            gone.extend(unknown.iter().filter(|id| !self.ripe.contains(id)));
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_freed_at_the_second_sweep_after_the_removal() {
        let mut remembered = Remembered::default();
        remembered.removed(CgroupId(5));
        assert!(remembered.sweep(&[5]).is_empty());
        assert_eq!(remembered.sweep(&[5]), [5]);
        assert!(remembered.sweep(&[]).is_empty());
    }

    #[test]
    fn unknown_counters_are_freed_only_when_they_are_many() {
        let mut remembered = Remembered::default();
        let ids: Vec<u64> = (0..=MANY as u64).collect();
        assert!(remembered.sweep(&ids[1..]).is_empty());
        assert_eq!(remembered.sweep(&ids).len(), ids.len());
    }
}
