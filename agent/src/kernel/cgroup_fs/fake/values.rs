//! What the kernel makes of a value written into an interface file: refused, or kept in the kernel's own form.
//!
//! Sources: `kernel/sched/core.c` (cpu_weight_write_u64, cpu_max_write, tg_set_cfs_bandwidth), `mm/page_counter.c`
//! (page_counter_memparse), `kernel/cgroup/pids.c`, `mm/hugetlb_cgroup.c`; held against the kernel by the contract suite.

use rustix::io::Errno;

use crate::model::ControlFile;

const PAGE: u64 = 4096;
/// `PAGE_COUNTER_MAX`: as many pages mean "no limit".
const MOST_PAGES: u64 = i64::MAX.unsigned_abs() / PAGE;
/// `PIDS_MAX`: one above the highest pid that 64-bit Linux can give.
const PIDS_MAX: u64 = 4 * 1024 * 1024 + 1;

/// What reading `file` gives after `value` was written while `current` stood there.
pub(super) fn accept(file: ControlFile, value: &str, current: &str) -> Result<String, Errno> {
    let value = value.trim();
    let line = match file {
        ControlFile::CpuWeight => match number(value)? {
            weight @ 1..=10_000 => weight.to_string(),
            _ => return Err(Errno::RANGE),
        },
        ControlFile::CpuMax => cpu_max(value, current)?,
        ControlFile::MemoryMin
        | ControlFile::MemoryLow
        | ControlFile::MemoryHigh
        | ControlFile::MemoryMax
        | ControlFile::MemorySwapMax => memory(value, PAGE)?,
        ControlFile::HugetlbMax(size) | ControlFile::HugetlbRsvdMax(size) => memory(value, size.0)?,
        ControlFile::MemoryOomGroup => match value {
            "0" | "1" => value.to_owned(),
            _ => return Err(Errno::INVAL),
        },
        ControlFile::PidsMax => match value {
            "max" => value.to_owned(),
            _ => match number(value)? {
                count if count < PIDS_MAX => count.to_string(),
                _ => return Err(Errno::INVAL),
            },
        },
        _ => return Err(Errno::INVAL),
    };
    Ok(line + "\n")
}

/// What a fresh cgroup's file reads.
pub(super) fn initial(file: ControlFile) -> &'static str {
    match file {
        ControlFile::CpuWeight => "100\n",
        ControlFile::CpuMax => "max 100000\n",
        ControlFile::MemoryHigh
        | ControlFile::MemoryMax
        | ControlFile::MemorySwapMax
        | ControlFile::HugetlbMax(_)
        | ControlFile::HugetlbRsvdMax(_)
        | ControlFile::PidsMax => "max\n",
        ControlFile::Type => "domain\n",
        ControlFile::CpuStat => "usage_usec 0\nuser_usec 0\nsystem_usec 0\n",
        ControlFile::Stat => "nr_descendants 0\nnr_dying_descendants 0\n",
        ControlFile::MemoryStat => "anon 0\nfile 0\ninactive_file 0\n",
        ControlFile::MemoryEvents | ControlFile::MemoryEventsLocal => {
            "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"
        }
        ControlFile::CpuPressure | ControlFile::MemoryPressure | ControlFile::IoPressure => {
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
        }
        _ => "0\n",
    }
}

fn number(text: &str) -> Result<u64, Errno> {
    text.parse().map_err(|_| Errno::INVAL)
}

/// `QUOTA|max [PERIOD]` in microseconds; a period left out stays as it is.
fn cpu_max(value: &str, current: &str) -> Result<String, Errno> {
    let mut words = value.split_whitespace();
    let quota = words.next().ok_or(Errno::INVAL)?;
    let period = match words.next() {
        Some(period) => number(period)?,
        None => number(current.split_whitespace().nth(1).unwrap_or("100000"))?,
    };
    if !(1_000..=1_000_000).contains(&period) || words.next().is_some() {
        return Err(Errno::INVAL);
    }
    if quota != "max" && number(quota)? < 1_000 {
        return Err(Errno::INVAL);
    }
    Ok(format!("{quota} {period}"))
}

/// A number of bytes with an optional unit, rounded down to whole `pages`.
fn memory(value: &str, page: u64) -> Result<String, Errno> {
    if value == "max" {
        return Ok(value.to_owned());
    }
    let (digits, shift) = match value.as_bytes().last() {
        Some(b'K' | b'k') => (&value[..value.len() - 1], 10),
        Some(b'M' | b'm') => (&value[..value.len() - 1], 20),
        Some(b'G' | b'g') => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    let bytes = number(digits)?.saturating_mul(1 << shift);
    Ok(if bytes / PAGE >= MOST_PAGES {
        "max".to_owned()
    } else {
        (bytes / page * page).to_string()
    })
}
