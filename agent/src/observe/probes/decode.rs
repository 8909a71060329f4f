//! From the kernel's bytes to values.
//!
//! Records are read word by word, never cast: bytes of any length and content give values or nothing.

use std::time::Duration;

use plimsoll_ebpf::wire::{self, kind};

use super::event::{CgroupTotals, ProbeEvent};
use crate::model::{BootTime, Bytes, CgroupId, ExitStatus, Limit, RunDelay};

/// Reads a record's fields one after the other, in native byte order; zero past the end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = tail;
        head
    }

    fn word(&mut self) -> u64 {
        self.take(8).try_into().map_or(0, u64::from_ne_bytes)
    }

    fn half(&mut self) -> u32 {
        self.take(4).try_into().map_or(0, u32::from_ne_bytes)
    }

    fn time(&mut self) -> BootTime {
        BootTime(Duration::from_nanos(self.word()))
    }

    fn cgroup(&mut self) -> CgroupId {
        CgroupId(self.word())
    }
}

/// Time on the CPU and waits for it.
pub(super) fn run_time(counted: &wire::RunTime) -> (Duration, RunDelay) {
    let delay = RunDelay {
        total: Duration::from_nanos(counted.delay_nsec),
        histogram: counted.delays,
    };
    (Duration::from_nanos(counted.run_nsec), delay)
}

/// Pages as bytes, held at the largest amount.
pub(super) fn pages(count: u64, page: Bytes) -> Bytes {
    Bytes(count.saturating_mul(page.0))
}

/// A limit in pages. The kernel's `max` is more pages than can be addressed.
pub(super) fn limit(count: u64, page: Bytes) -> Limit<Bytes> {
    match count.checked_mul(page.0) {
        Some(bytes) if bytes < i64::MAX.cast_unsigned() - page.0 => Limit::At(Bytes(bytes)),
        _ => Limit::Max,
    }
}

/// An event out of a ring; none for bytes that are no event of this version.
pub(super) fn event(bytes: &[u8], page: Bytes) -> Option<ProbeEvent> {
    let mut fields = Fields(bytes);
    let kind = fields.half();
    let length = match kind {
        kind::CGROUP_MADE => size_of::<wire::CgroupMade>(),
        kind::CGROUP_REMOVED | kind::CGROUP_POPULATED => size_of::<wire::CgroupChanged>(),
        kind::EXEC | kind::EXIT => size_of::<wire::Process>(),
        kind::OOM_VICTIM => size_of::<wire::OomVictim>(),
        kind::OOM_DOMAIN => size_of::<wire::OomDomain>(),
        kind::FILE_WRITTEN => size_of::<wire::FileWritten>(),
        _ => return None,
    };
    if bytes.len() < length {
        return None;
    }
    Some(match kind {
        kind::CGROUP_MADE => {
            let (level, id, parent, at) = (fields.half(), fields.cgroup(), fields.cgroup(), fields.time());
            ProbeEvent::CgroupMade {
                at,
                id,
                parent,
                level,
                name: text(fields.take(wire::NAME_BYTES)),
            }
        }
        kind::CGROUP_REMOVED | kind::CGROUP_POPULATED => {
            let (populated, id, at) = (fields.half() != 0, fields.cgroup(), fields.time());
            if kind == kind::CGROUP_POPULATED {
                return Some(ProbeEvent::Populated { at, id, populated });
            }
            let memory_peak = known(fields.word()).map(|count| pages(count, page));
            let totals = CgroupTotals {
                memory_peak,
                ..CgroupTotals::default()
            };
            ProbeEvent::CgroupRemoved { at, id, totals }
        }
        kind::EXEC | kind::EXIT => {
            let (pid, cgroup, at) = (fields.half(), fields.cgroup(), fields.time());
            let (status, _reserved) = (exit_status(fields.half()), fields.half());
            let comm = text(fields.take(16));
            if kind == kind::EXEC {
                ProbeEvent::Exec {
                    at,
                    pid,
                    cgroup,
                    comm,
                }
            } else {
                ProbeEvent::Exit {
                    at,
                    pid,
                    cgroup,
                    status,
                    comm,
                }
            }
        }
        kind::OOM_VICTIM => oom_victim(fields, page),
        kind::FILE_WRITTEN => {
            let (pid, cgroup, at) = (fields.half(), fields.cgroup(), fields.time());
            let (comm, file) = (text(fields.take(16)), text(fields.take(wire::FILE_NAME_BYTES)));
            ProbeEvent::FileWritten {
                at,
                cgroup,
                file,
                pid,
                comm,
            }
        }
        _ => {
            let (pid, id, at) = (fields.half(), fields.cgroup(), fields.time());
            let (usage, max, points) = (fields.word(), fields.word(), fields.word());
            let cgroup = (id.0 != 0).then(|| (id, pages(usage, page), limit(max, page)));
            ProbeEvent::OomDomain {
                at,
                pid,
                cgroup,
                points,
            }
        }
    })
}

fn oom_victim(mut fields: Fields<'_>, page: Bytes) -> ProbeEvent {
    let (pid, cgroup, at) = (fields.half(), fields.cgroup(), fields.time());
    let (trigger_pid, oom_score_adj) = (fields.half(), fields.half().cast_signed());
    let trigger_cgroup = fields.cgroup();
    let (usage, max) = (known(fields.word()), known(fields.word()));
    let (comm, trigger_comm) = (text(fields.take(16)), text(fields.take(16)));
    ProbeEvent::OomVictim {
        at,
        pid,
        comm,
        cgroup,
        oom_score_adj,
        trigger_pid,
        trigger_comm,
        trigger_cgroup,
        usage: usage.map(|count| pages(count, page)),
        limit: max.map(|count| limit(count, page)),
    }
}

fn known(value: u64) -> Option<u64> {
    (value != u64::MAX).then_some(value)
}

/// How a process ended, from its status as `wait` gives it.
fn exit_status(status: u32) -> ExitStatus {
    let signal = status & 0x7f;
    if signal == 0 {
        ExitStatus::Code((status >> 8 & 0xff).cast_signed())
    } else {
        ExitStatus::Signal(signal.cast_signed())
    }
}

/// Text up to NUL. Names are chosen by whoever runs the process: only printable ASCII is kept.
pub(super) fn text(bytes: &[u8]) -> String {
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    name.iter()
        .map(|byte| {
            if byte.is_ascii_graphic() || *byte == b' ' {
                char::from(*byte)
            } else {
                '?'
            }
        })
        .collect()
}
