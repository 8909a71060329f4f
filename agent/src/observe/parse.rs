//! The formats of cgroup v2's interface files: single values, flat-keyed, nested-keyed.
//!
//! **Terms.** *Flat-keyed*: a line is `KEY VALUE` (`cpu.stat`). *Nested-keyed*: a line is `KEY SUB=VALUE …`
//! (`memory.pressure`). Source: `Documentation/admin-guide/cgroup-v2.rst`, "Format". **How.** Iterators over the text
//! that was read; nothing is copied. What does not have the format is left out, so that a line that a later kernel adds
//! disturbs nothing.
//!
//! # Properties
//! - No parser panics, whatever the text.
//! - What the kernel writes is read back number for number.

use std::time::Duration;

use crate::model::{Bytes, Controller, CpuPeriod, CpuQuota, Limit};

/// Content of an interface file as text; one that is not UTF-8 counts as empty.
#[must_use]
pub fn text(content: &[u8]) -> &str {
    std::str::from_utf8(content).unwrap_or_default()
}

/// The `KEY VALUE` lines.
pub fn flat_keyed(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.parse().ok()?))
    })
}

/// The value of one key of a flat-keyed file.
#[must_use]
pub fn key(text: &str, wanted: &str) -> Option<u64> {
    flat_keyed(text).find_map(|(key, value)| (key == wanted).then_some(value))
}

/// A single number.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// A single number of bytes.
#[must_use]
pub fn bytes(text: &str) -> Option<Bytes> {
    number(text).map(Bytes)
}

/// A single number or `max`.
#[must_use]
pub fn limit(text: &str) -> Option<Limit<u64>> {
    match text.trim_end() {
        "max" => Some(Limit::Max),
        number => number.parse().ok().map(Limit::At),
    }
}

/// A number of bytes or `max`.
#[must_use]
pub fn bytes_limit(text: &str) -> Option<Limit<Bytes>> {
    limit(text).map(|limit| match limit {
        Limit::At(n) => Limit::At(Bytes(n)),
        Limit::Max => Limit::Max,
    })
}

/// `cpu.max`: quota or `max`, and period, in microseconds.
#[must_use]
pub fn cpu_max(text: &str) -> Option<(Limit<CpuQuota>, CpuPeriod)> {
    let (quota, period) = text.trim_end().split_once(' ')?;
    let quota = match limit(quota)? {
        Limit::At(n) => Limit::At(CpuQuota(n)),
        Limit::Max => Limit::Max,
    };
    Some((quota, CpuPeriod(period.parse().ok()?)))
}

/// A list of controllers; those that the agent does not know are left out.
pub fn controllers(text: &str) -> impl Iterator<Item = Controller> {
    text.split_whitespace().filter_map(Controller::from_name)
}

/// `cgroup.procs`: the process ids; 0 stands for processes outside the agent's pid namespace.
pub fn pids(text: &str) -> impl Iterator<Item = u32> {
    text.lines().filter_map(|line| line.parse().ok())
}

/// `cgroup.events`: whether there are processes in the cgroup or below.
#[must_use]
pub fn populated(text: &str) -> Option<bool> {
    key(text, "populated").map(|value| value != 0)
}

/// One line of a pressure file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PressureLine {
    /// Share of time in per cent, running average over 10 s.
    pub avg10: f64,
    /// The same over 60 s.
    pub avg60: f64,
    /// The same over 300 s.
    pub avg300: f64,
    /// Time since the cgroup was made.
    pub total: Duration,
}

/// A pressure file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Some task waited.
    pub some: Option<PressureLine>,
    /// All tasks waited at once; absent for CPU before Linux 5.13.
    pub full: Option<PressureLine>,
}

/// A `*.pressure` file.
#[must_use]
pub fn pressure(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("some", rest)) => pressure.some = pressure_line(rest),
            Some(("full", rest)) => pressure.full = pressure_line(rest),
            _ => {}
        }
    }
    pressure
}

fn pressure_line(text: &str) -> Option<PressureLine> {
    let mut line = PressureLine::default();
    let mut total = None;
    for (key, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
        match key {
            "avg10" => line.avg10 = value.parse().ok()?,
            "avg60" => line.avg60 = value.parse().ok()?,
            "avg300" => line.avg300 = value.parse().ok()?,
            "total" => total = value.parse().ok().map(Duration::from_micros),
            _ => {}
        }
    }
    line.total = total?;
    Some(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pressure_file_of_linux_6_1_is_read() {
        let file = "some avg10=1.53 avg60=0.42 avg300=0.09 total=1234567\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=89\n";
        let read = pressure(file);
        let some = read.some.unwrap();
        assert_eq!((some.avg10, some.avg60, some.avg300), (1.53, 0.42, 0.09));
        assert_eq!(some.total, Duration::from_micros(1_234_567));
        assert_eq!(read.full.unwrap().total, Duration::from_micros(89));
        assert_eq!(
            pressure("some avg10=0.00 total=7\n").full,
            None,
            "cpu.pressure before Linux 5.13"
        );
        assert_eq!(
            pressure("some avg10=0.00 avg60=0.00\n").some,
            None,
            "no total is no line"
        );
    }

    #[test]
    fn lists_and_flags_are_read() {
        let known: Vec<_> = controllers("cpuset cpu io memory hugetlb pids rdma misc\n").collect();
        assert_eq!(known.len(), 6);
        assert_eq!(pids("1\n0\n4194303\n").collect::<Vec<_>>(), [1, 0, 4_194_303]);
        assert_eq!(populated("populated 1\nfrozen 0\n"), Some(true));
        assert_eq!(populated("frozen 0\n"), None);
        assert_eq!(cpu_max("max 100000\n"), Some((Limit::Max, CpuPeriod::DEFAULT)));
    }

    proptest! {
        #[test]
        fn no_parser_panics(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = text(&content);
            let _read = (number(text), limit(text), cpu_max(text), pressure(text), populated(text));
            prop_assert!(flat_keyed(text).count() <= text.lines().count());
            prop_assert!(pids(text).count() <= text.lines().count());
        }

        #[test]
        fn nearly_right_text_does_not_panic_either(text in "(some|full|max|[0-9]{0,21}|avg10=|total=|[ \n=.-]){0,24}") {
            let _read = (number(&text), limit(&text), cpu_max(&text), pressure(&text), key(&text, "max"));
            prop_assert!(flat_keyed(&text).count() <= text.lines().count());
        }

        #[test]
        fn what_the_kernel_writes_is_read_back(values in prop::collection::btree_map("[a-z_]{1,12}", any::<u64>(), 0..12)) {
            let file: String = values.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
            let read: Vec<_> = flat_keyed(&file).map(|(key, value)| (key.to_owned(), value)).collect();
            prop_assert_eq!(read, values.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn limits_are_read_back(quota in any::<u64>(), period in any::<u64>()) {
            prop_assert_eq!(limit(&format!("{quota}\n")), Some(Limit::At(quota)));
            let read = cpu_max(&format!("{quota} {period}\n"));
            prop_assert_eq!(read, Some((Limit::At(CpuQuota(quota)), CpuPeriod(period))));
        }
    }
}
