//! Counters per cgroup, one value a CPU: read all at once, added up.

use std::io;
use std::os::fd::AsFd;

use aya::maps::MapData;

use super::load::{LoadError, Loaded};
use crate::kernel::bpf_sys::{self, BatchPosition};

/// Entries copied by one call. Larger than the longest chain of a hash bucket is ever likely to be, which a call
/// takes whole.
const BATCH: usize = 512;

/// A per-CPU hash map from cgroup id to words of which each is a sum.
#[derive(Debug)]
pub(super) struct Totals<const WORDS: usize> {
    map: MapData,
    cpus: usize,
}

impl<const WORDS: usize> Totals<WORDS> {
    /// Takes the map of that name out of an object.
    ///
    /// # Errors
    /// [`LoadError::Map`] when it is not there or has other sizes, [`LoadError::Call`] when the number of CPUs is
    /// not known.
    pub(super) fn new(loaded: &mut Loaded, name: &'static str) -> Result<Self, LoadError> {
        let object = loaded.object;
        let map = loaded.take_data(name)?;
        let call = |what, source| LoadError::Call { object, what, source };
        let info = map
            .info()
            .map_err(|e| call("ask for a map", io::Error::other(e)))?;
        if info.key_size() != 8 || info.value_size() as usize != 8 * WORDS {
            return Err(call(
                "use a map",
                io::Error::other("it has other sizes than expected"),
            ));
        }
        let cpus = aya::util::nr_cpus().map_err(|(_, e)| call("count the CPUs", e))?;
        Ok(Self { map, cpus })
    }

    /// Hands each cgroup's id and sums to `each`, in no order.
    ///
    /// # Errors
    /// The kernel's; what came before the error has been handed over.
    pub(super) fn read(&self, mut each: impl FnMut(u64, [u64; WORDS])) -> io::Result<()> {
        let value_bytes = 8 * WORDS * self.cpus;
        let (mut keys, mut values) = (vec![0; BATCH], vec![0; BATCH * value_bytes]);
        let mut position = BatchPosition::default();
        loop {
            let (copied, last) = bpf_sys::lookup_batch(
                self.map.fd().as_fd(),
                &mut position,
                &mut keys,
                &mut values,
                value_bytes,
            )?;
            for (key, value) in keys.iter().zip(values.chunks_exact(value_bytes)).take(copied) {
                each(*key, sum(value));
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Forgets a cgroup.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn forget(&self, cgroup: u64) -> io::Result<()> {
        bpf_sys::delete(self.map.fd().as_fd(), cgroup)
    }
}

/// Adds up the values of all CPUs, word by word.
fn sum<const WORDS: usize>(values: &[u8]) -> [u64; WORDS] {
    let mut total = [0_u64; WORDS];
    for value in values.chunks_exact(8 * WORDS) {
        for (sum, word) in total.iter_mut().zip(value.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_added_up_over_cpus() {
        let bytes: Vec<u8> = [1_u64, 2, 10, 20, 100, 200]
            .iter()
            .flat_map(|w| w.to_ne_bytes())
            .collect();
        assert_eq!(sum::<2>(&bytes), [111, 222]);
        assert_eq!(sum::<2>(&bytes[..16]), [1, 2]);
        assert_eq!(sum::<2>(&[]), [0, 0]);
    }
}
