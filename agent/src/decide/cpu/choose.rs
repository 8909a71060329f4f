//! The choice of one container's CPUs under the policy's options, with its explanation.

use super::explain::{Algorithm, Explanation};
use super::hints::Offer;
use super::policy::StaticPolicy;
use super::refusal::CpuRefusal;
use super::take::{NotEnough, Step, Strategy};
use crate::model::{CpuSet, NumaMask};

impl StaticPolicy {
    /// Whether so many CPUs can be given where only whole cores may.
    ///
    /// # Errors
    /// They make no whole cores, or too few are free beside reserved CPUs.
    pub(super) fn check_cores(&self, shared: &CpuSet, wanted: usize) -> Result<(), CpuRefusal> {
        if !self.options().full_pcpus_only {
            return Ok(());
        }
        self.check_multiple(wanted)?;
        let free = self.free_beside_reserved(shared);
        if wanted > free {
            return Err(CpuRefusal::TooFewWholeCores { wanted, free });
        }
        Ok(())
    }

    /// Whether so many CPUs are whole cores, where only these may be given.
    ///
    /// # Errors
    /// They are not.
    pub(super) fn check_multiple(&self, wanted: usize) -> Result<(), CpuRefusal> {
        let threads = self.group();
        if wanted.is_multiple_of(threads) {
            Ok(())
        } else {
            Err(CpuRefusal::NoWholeCores { wanted, threads })
        }
    }

    /// Chooses `count` CPUs, those aligned to `nodes` first.
    ///
    /// # Errors
    /// There are fewer, or cores would have to be split that must not be.
    pub(super) fn choose(
        &self,
        offer: Offer<'_>,
        count: usize,
        nodes: Option<NumaMask>,
    ) -> Result<(CpuSet, Explanation), CpuRefusal> {
        let available = offer.free | offer.again;
        let aligned_to = nodes.map(|nodes| self.aligned(nodes));
        let mut steps = self.take_aligned(&available, aligned_to.as_ref(), count)?;
        let mut cpus = union(&steps);
        let whole_cores_only = self.must_be_whole() && self.whole_cores(&cpus) != cpus;
        if whole_cores_only {
            steps = self.take_whole_cores(&available, aligned_to.as_ref(), count)?;
            cpus = union(&steps);
        }
        let why = Explanation::Chosen {
            algorithm: self.algorithm(),
            free: self.by_node(&available),
            again: offer.again.len(),
            nodes,
            aligned: aligned_to.map_or(count, |aligned| aligned.common(&cpus)),
            whole_cores_only,
            steps,
        };
        Ok((cpus, why))
    }

    /// Takes whole cores, the largest first: a core of one thread is only needed where those of two do not come out even.
    fn take_whole_cores(
        &self,
        available: &CpuSet,
        aligned: Option<&CpuSet>,
        count: usize,
    ) -> Result<Vec<Step>, CpuRefusal> {
        let whole = self.whole_cores(available);
        let large = self.largest_cores(&whole);
        let split = CpuRefusal::SplitCores {
            wanted: count,
            free: whole.len(),
        };
        let of_large = count.min(large.len());
        let mut steps = self.take_aligned(&large, aligned, of_large)?;
        let rest = self.take_aligned(&(&whole - &large), aligned, count - of_large);
        steps.extend(rest.map_err(|_| split)?);
        let cpus = union(&steps);
        if self.whole_cores(&cpus) == cpus {
            Ok(steps)
        } else {
            Err(split)
        }
    }

    /// Takes CPUs, those of `aligned` first.
    fn take_aligned(
        &self,
        available: &CpuSet,
        aligned: Option<&CpuSet>,
        count: usize,
    ) -> Result<Vec<Step>, CpuRefusal> {
        let free = available.len();
        if count > free {
            return Err(NotEnough { wanted: count, free }.into());
        }
        let Some(aligned) = aligned.map(|aligned| aligned & available) else {
            return Ok(self.take(available, count)?.steps);
        };
        let near = count.min(aligned.len());
        let taken = self.take(&aligned, near)?;
        let mut steps = taken.steps;
        if near < count {
            let left = available - &taken.cpus;
            steps.extend(self.take(&left, count - near)?.steps);
        }
        Ok(steps)
    }

    /// The algorithm that the options choose.
    pub(super) fn algorithm(&self) -> Algorithm {
        let options = self.options();
        if options.distribute_cpus_across_numa {
            let group = self.group();
            Algorithm::Distributed { group }
        } else if self.strategy() == Strategy::Spread {
            Algorithm::Spread
        } else if options.prefer_align_cpus_by_uncorecache {
            Algorithm::ByCache
        } else {
            Algorithm::Packed
        }
    }
}

fn union(steps: &[Step]) -> CpuSet {
    let mut cpus = CpuSet::EMPTY;
    steps.iter().for_each(|step| cpus |= &step.cpus);
    cpus
}
