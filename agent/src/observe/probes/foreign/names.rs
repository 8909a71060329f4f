//! Names of kernel threads that can become labels: without numbers, few, and never gone again.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::KernelThreadTimes;

/// Names that are told apart. A machine has some forty kinds of kernel threads, most of which never run for long.
const MOST: usize = 48;

/// What a kernel thread does, by its name.
///
/// The kernel appends what tells apart threads that do the same: `kworker/3:1-events`, `ksoftirqd/3`,
/// `jbd2/sda1-8`, `kswapd0`, `vhost-1234`. For a thread that handles a device's interrupt the device is kept:
/// `irq/24-nvme0q1` becomes `irq/nvme0q`.
pub(super) fn thread_name(comm: &[u8]) -> String {
    let end = comm.iter().position(|b| *b == 0).unwrap_or(comm.len());
    let name: String = comm[..end]
        .iter()
        .map(|b| char::from(*b))
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-.:+/".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let short = match name.split_once('/') {
        Some(("irq", rest)) => match rest.split_once('-') {
            Some((_, device)) if !without_number(device).is_empty() => {
                format!("irq/{}", without_number(device))
            }
            _ => "irq".to_owned(),
        },
        Some((kind, _)) => kind.to_owned(),
        None => without_number(&name).to_owned(),
    };
    if short.is_empty() {
        "unnamed".to_owned()
    } else {
        short
    }
}

fn without_number(name: &str) -> &str {
    let without = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if without.len() == name.len() {
        name
    } else {
        without.trim_end_matches(['-', '_', ':', '.'])
    }
}

/// The names so far, with the most that was told of each.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<String, u64>,
    others: u64,
}

impl Names {
    /// Takes in nanoseconds by name and in all. While there is room, new names are taken in, those with the most time
    /// first; later ones are among the others for good, so that no figure falls.
    pub(super) fn take(&mut self, times: &BTreeMap<String, u64>, total: u64) -> KernelThreadTimes {
        let mut new: Vec<_> = times
            .iter()
            .filter(|(name, _)| !self.known.contains_key(*name))
            .collect();
        new.sort_by_key(|(_, nsec)| Reverse(**nsec));
        let room = MOST.saturating_sub(self.known.len());
        self.known
            .extend(new.into_iter().take(room).map(|(name, _)| (name.clone(), 0)));
        for (name, most) in &mut self.known {
            *most = (*most).max(times.get(name).copied().unwrap_or_default());
        }
        let named: u64 = self.known.values().sum();
        self.others = self.others.max(total.saturating_sub(named));
        KernelThreadTimes {
            named: self
                .known
                .iter()
                .map(|(name, nsec)| (name.clone(), Duration::from_nanos(*nsec)))
                .collect(),
            others: Duration::from_nanos(self.others),
        }
    }
}
