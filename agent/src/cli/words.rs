//! Times, shares and CPU lists as a person reads them.

use std::time::Duration;

use crate::model::{CgroupReport, ContainerCpus, CpuSet, ForeignReport};

/// What stands where there is nothing to show.
pub(super) const NOTHING: &str = "-";

/// The first second that the library of dates has no name for: the year 10000.
const END_OF_DATES: Duration = Duration::from_secs(253_402_300_800);

/// A value, or that there is none.
pub(super) fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

/// A length of time: `1.2ms`, `600.0s`.
pub(super) fn span(time: Duration) -> String {
    if time.is_zero() {
        "0s".to_owned()
    } else {
        format!("{time:.1?}")
    }
}

/// A time since the Unix epoch as a date; one of zero is not known.
pub(super) fn moment(since_epoch: Duration) -> String {
    if since_epoch.is_zero() || since_epoch >= END_OF_DATES {
        return "not known".to_owned();
    }
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since_epoch)
}

/// A part of a window in percent, with two digits; what is less but not nothing shows as such.
fn share(part: Duration, window: Duration) -> String {
    let percent = 100.0 * part.as_secs_f64() / window.as_secs_f64();
    if part.is_zero() {
        "0%".to_owned()
    } else if percent < 0.01 {
        "<0.01%".to_owned()
    } else {
        format!("{percent:.2}%")
    }
}

/// What others used of exclusive CPUs: the share of other tasks, then with a `k` that of the kernel's threads and
/// interrupts, as in `0.02%+0.10%k`.
pub(super) fn foreign(time: &ForeignReport) -> String {
    if time.window.is_zero() {
        return NOTHING.to_owned();
    }
    let tasks = time.pods.saturating_add(time.system);
    let interrupts = time.irq.saturating_add(time.softirq);
    let kernel = time.kernel_threads.saturating_add(interrupts);
    format!("{}+{}k", share(tasks, time.window), share(kernel, time.window))
}

/// NUMA nodes as a list.
pub(super) fn nodes(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(",")
}

/// CPUs of a container's own that the kernel does not show as such, with those that it shows.
pub(super) fn astray<'c>(cpus: &'c ContainerCpus, cgroup: &CgroupReport) -> Option<(&'c CpuSet, &'c CpuSet)> {
    // Without a cgroup there is nobody who could run anywhere.
    cgroup.id?;
    match (&cpus.own, &cpus.has) {
        (Some(own), Some(has)) if own != has => Some((own, has)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_time_is_short_and_never_rounds_to_nothing() {
        let time = |tasks: u64, kernel: u64| ForeignReport {
            window: Duration::from_secs(1000),
            system: Duration::from_micros(tasks),
            softirq: Duration::from_micros(kernel),
            ..ForeignReport::default()
        };
        assert_eq!(foreign(&time(200_000, 1_000_000)), "0.02%+0.10%k");
        assert_eq!(foreign(&time(0, 1)), "0%+<0.01%k");
        assert_eq!(foreign(&time(1_000_000_000, 0)), "100.00%+0%k");
        assert_eq!(foreign(&ForeignReport::default()), NOTHING);
        let most = ForeignReport {
            window: Duration::from_secs(1),
            pods: Duration::MAX,
            system: Duration::MAX,
            irq: Duration::MAX,
            softirq: Duration::MAX,
            kernel_threads: Duration::MAX,
        };
        assert!(foreign(&most).ends_with("%k"));
    }

    #[test]
    fn times_have_one_digit_and_dates_an_end() {
        assert_eq!(span(Duration::from_micros(1234)), "1.2ms");
        assert_eq!(span(Duration::ZERO), "0s");
        assert_eq!(
            moment(Duration::from_secs(1_600_000_000)),
            "Sun, 13 Sep 2020 12:26:40 GMT"
        );
        for time in [Duration::ZERO, END_OF_DATES, Duration::MAX] {
            assert_eq!(moment(time), "not known");
        }
        assert!(moment(END_OF_DATES - Duration::from_secs(1)).contains("9999"));
    }
}
