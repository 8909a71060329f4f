//! What the agent is about to kill, where it survives the agent.
//!
//! **Problem.** An agent that dies between the signal and the memory's return must, started again, see that kill to its end
//! and not begin another. Writing a file may wait for memory, which is what there is none of. **How.** A page of a file is
//! mapped beforehand, and writing to it is a copy. On a tmpfs (`/run`) it never waits; it is lost at a reboot, when the
//! victim is gone too. There are two places, used in turn, each with its number and a checksum: an end in the middle of a
//! write leaves the one before.

#![expect(unsafe_code, reason = "mmap(2)")]

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags};

use crate::model::{BootTime, Bytes, CgroupId};

/// Names the format: another version's file is no evidence.
const MAGIC: u64 = u64::from_le_bytes(*b"plmskil1");
const WORDS: usize = 12;
const PLACES: usize = 2;
const MAPPED: usize = 4096;
/// Where the kernel tells this boot from others.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A kill under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The decision's number.
    pub decision: u64,
    /// The victim.
    pub cgroup: CgroupId,
    /// When the agent woke.
    pub woken: BootTime,
    /// When it was decided.
    pub decided: BootTime,
    /// When the signal was sent; none while it may or may not have been.
    pub signalled: Option<BootTime>,
    /// What the victim had.
    pub charge: Bytes,
    /// What is to come free.
    pub predicted: Bytes,
}

/// Why evidence cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct EvidenceError {
    /// What was tried.
    pub operation: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// The kernel's answer.
    pub source: io::Error,
}

/// The file, mapped.
#[derive(Debug)]
pub struct EvidenceFile {
    page: NonNull<[u64; WORDS]>,
    boot: [u64; 2],
    sequence: u64,
}

// SAFETY: the mapping belongs to the value alone.
unsafe impl Send for EvidenceFile {}

impl EvidenceFile {
    /// Opens or makes the file, and maps it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(path: &Path) -> Result<Self, EvidenceError> {
        let failed = |operation| {
            move |source: io::Error| EvidenceError {
                operation,
                path: path.to_owned(),
                source,
            }
        };
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed("open"))?;
        // The space is there before it is needed: a full file system would otherwise end the agent at a write.
        let whole = MAPPED as u64;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, whole)
            .map_err(|errno| failed("make room in")(errno.into()))?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let page = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                MAPPED,
                access,
                MapFlags::SHARED | MapFlags::POPULATE,
                &file,
                0,
            )
        };
        let page = page.map_err(|errno| failed("map")(errno.into()))?;
        let boot = boot_id().map_err(|source| EvidenceError {
            operation: "read",
            path: BOOT_ID.into(),
            source,
        })?;
        let page = NonNull::new(page.cast())
            .ok_or_else(|| failed("map")(io::Error::other("mapped at address zero")))?;
        let mut opened = Self {
            page,
            boot,
            sequence: 0,
        };
        opened.sequence = (0..PLACES)
            .filter_map(|place| Some(decode(&opened.load(place), opened.boot)?.0))
            .max()
            .unwrap_or_default();
        Ok(opened)
    }

    /// The kill that was under way when this was written last; none when it was cleared, or of another boot.
    #[must_use]
    pub fn read(&self) -> Option<Evidence> {
        (0..PLACES)
            .filter_map(|place| decode(&self.load(place), self.boot))
            .max_by_key(|(sequence, _)| *sequence)
            .and_then(|(_, evidence)| evidence)
    }

    /// Writes it. Allocates nothing and makes no system call.
    pub fn write(&mut self, evidence: &Evidence) {
        self.store(Some(evidence));
    }

    /// The kill is over.
    pub fn clear(&mut self) {
        self.store(None);
    }

    fn store(&mut self, evidence: Option<&Evidence>) {
        self.sequence += 1;
        let words = encode(self.sequence, self.boot, evidence);
        let place = usize::from(self.sequence % PLACES as u64 == 1);
        // SAFETY: within the mapping, which is a page and holds more than two places.
        unsafe { self.page.add(place).write_volatile(words) };
    }

    fn load(&self, place: usize) -> [u64; WORDS] {
        // SAFETY: within the mapping; any bytes are words.
        unsafe { self.page.add(place.min(PLACES - 1)).read_volatile() }
    }
}

impl Drop for EvidenceFile {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `open`, to which nobody else has a reference. It can fail for bad arguments only.
        _ = unsafe { rustix::mm::munmap(self.page.as_ptr().cast(), MAPPED) };
    }
}

const _: () = assert!(PLACES * WORDS * 8 <= MAPPED);

fn boot_id() -> io::Result<[u64; 2]> {
    let text = std::fs::read_to_string(BOOT_ID)?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).map_err(io::Error::other)?;
    let bytes = number.to_le_bytes();
    let (low, high) = bytes.split_at(8);
    let word = |half: &[u8]| half.try_into().map_or(0, u64::from_le_bytes);
    Ok([word(low), word(high)])
}

fn nanos(time: BootTime) -> u64 {
    u64::try_from(time.0.as_nanos()).unwrap_or(u64::MAX)
}

fn encode(sequence: u64, boot: [u64; 2], evidence: Option<&Evidence>) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    words[..4].copy_from_slice(&[MAGIC, sequence, boot[0], boot[1]]);
    if let Some(evidence) = evidence {
        words[4..11].copy_from_slice(&[
            evidence.decision,
            evidence.cgroup.0,
            nanos(evidence.woken),
            nanos(evidence.decided),
            evidence.signalled.map_or(0, nanos),
            evidence.charge.0,
            evidence.predicted.0,
        ]);
    }
    words[11] = checksum(&words);
    words
}

/// The sequence number, and the evidence if it was not cleared.
fn decode(words: &[u64; WORDS], boot: [u64; 2]) -> Option<(u64, Option<Evidence>)> {
    let whole = words[0] == MAGIC && words[2..4] == boot && words[11] == checksum(words);
    let time = |word| BootTime(Duration::from_nanos(word));
    whole.then(|| {
        let evidence = (words[5] != 0).then(|| Evidence {
            decision: words[4],
            cgroup: CgroupId(words[5]),
            woken: time(words[6]),
            decided: time(words[7]),
            signalled: (words[8] != 0).then(|| time(words[8])),
            charge: Bytes(words[9]),
            predicted: Bytes(words[10]),
        });
        (words[1], evidence)
    })
}

/// Of all words but the last.
fn checksum(words: &[u64; WORDS]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    for word in &words[..WORDS - 1] {
        hasher.update(&word.to_le_bytes());
    }
    u64::from(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn evidence(decision: u64) -> Evidence {
        Evidence {
            decision,
            cgroup: CgroupId(77),
            woken: BootTime(Duration::from_millis(5)),
            decided: BootTime(Duration::from_millis(6)),
            signalled: None,
            charge: Bytes::mib(512),
            predicted: Bytes::mib(500),
        }
    }

    #[test]
    fn evidence_outlives_the_one_who_wrote_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kill");
        let mut file = EvidenceFile::open(&path).unwrap();
        assert_eq!(file.read(), None);
        file.write(&evidence(1));
        let signalled = Evidence {
            signalled: Some(BootTime(Duration::from_millis(7))),
            ..evidence(1)
        };
        file.write(&signalled);
        // Killed: nothing is closed in an orderly way.
        std::mem::forget(file);
        let mut again = EvidenceFile::open(&path).unwrap();
        assert_eq!(again.read(), Some(signalled));
        again.clear();
        drop(again);
        assert_eq!(EvidenceFile::open(&path).unwrap().read(), None);
    }

    #[test]
    fn an_end_in_the_middle_of_a_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kill");
        let mut file = EvidenceFile::open(&path).unwrap();
        file.write(&evidence(1));
        file.write(&evidence(2));
        drop(file);
        let whole = std::fs::read(&path).unwrap();
        // The third write goes to the place of the first; half of it arrives.
        // The checksum's last four bytes are zero, before and after.
        for cut in 0..WORDS * 8 - 4 {
            let mut torn = whole.clone();
            let third: Vec<u8> = encode(3, boot_id().unwrap(), Some(&evidence(3)))
                .iter()
                .flat_map(|word| word.to_ne_bytes())
                .collect();
            let at = WORDS * 8;
            torn[at..at + cut].copy_from_slice(&third[..cut]);
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(
                EvidenceFile::open(&path).unwrap().read(),
                Some(evidence(2)),
                "{cut}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_evidence_of_another_boot(words in any::<[u64; WORDS]>(), boot in any::<[u64; 2]>()) {
            let mut words = words;
            words[0] = MAGIC;
            prop_assert!(decode(&words, boot).is_none());
            let written = encode(1, boot, Some(&evidence(9)));
            prop_assert_eq!(decode(&written, boot), Some((1, Some(evidence(9)))));
            prop_assert_eq!(decode(&written, [boot[0].wrapping_add(1), boot[1]]), None);
        }
    }
}
