//! The kernel's text formats, read from bytes without an allocation.
//!
//! **How.** Only whole lines count: one that the end of the buffer, or of a file that was cut off, has shortened could
//! hold the first digits of a number. A line that does not have its format is left out.
//!
//! # Properties
//! - No bytes make a parser panic.
//! - A line without its end is no line.

use std::time::Duration;

use crate::model::{Bytes, Limit};

/// The lines that are whole.
pub(super) fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_suffix(b"\n"))
}

/// A decimal number and nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(())?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The first line as a number.
pub(super) fn number(content: &[u8]) -> Option<u64> {
    lines(content).next().and_then(decimal)
}

/// The first line as a number of bytes or `max`.
pub(super) fn limit(content: &[u8]) -> Option<Limit<Bytes>> {
    match lines(content).next()? {
        b"max" => Some(Limit::Max),
        text => decimal(text).map(|n| Limit::At(Bytes(n))),
    }
}

/// The `KEY VALUE` lines.
pub(super) fn flat_keyed(content: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    lines(content).filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b' ')?;
        Some((&line[..at], decimal(&line[at + 1..])?))
    })
}

/// The value of one key.
pub(super) fn key(content: &[u8], wanted: &[u8]) -> Option<u64> {
    flat_keyed(content).find_map(|(key, value)| (key == wanted).then_some(value))
}

/// Both totals of a pressure file: of `some` and of `full`.
pub(super) fn stalls(content: &[u8]) -> (Option<Duration>, Option<Duration>) {
    let total = |kind: &[u8]| {
        let line = lines(content).find(|line| line.starts_with(kind))?;
        let word = line
            .split(|byte| *byte == b' ')
            .find_map(|word| word.strip_prefix(b"total="))?;
        decimal(word).map(Duration::from_micros)
    };
    (total(b"some "), total(b"full "))
}

/// Values of `/proc/meminfo` by their names, in bytes.
pub(super) fn meminfo<const N: usize>(content: &[u8], names: [&[u8]; N]) -> [Option<Bytes>; N] {
    let mut found = [None; N];
    for line in lines(content) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let Some(at) = names.iter().position(|name| *name == &line[..colon]) else {
            continue;
        };
        let value = line[colon + 1..].trim_ascii();
        let kib = value
            .strip_suffix(b" kB")
            .and_then(|value| decimal(value.trim_ascii()));
        found[at] = kib.and_then(|kib| kib.checked_mul(1024)).map(Bytes);
    }
    found
}

/// The tasks of the machine: in `/proc/loadavg`, the fourth word is those running, a slash, all.
pub(super) fn tasks(content: &[u8]) -> Option<u64> {
    let line = lines(content).next()?;
    let word = line.split(|byte| *byte == b' ').nth(3)?;
    let slash = word.iter().position(|byte| *byte == b'/')?;
    decimal(&word[slash + 1..])
}

/// Process ids, one a line; 0, a process outside our pid namespace, is left out.
pub(super) fn pids(content: &[u8]) -> impl Iterator<Item = i32> {
    lines(content)
        .filter_map(decimal)
        .filter_map(|pid| i32::try_from(pid).ok().filter(|pid| *pid > 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_a_number_is_no_number() {
        assert_eq!(number(b"1234567\n"), Some(1_234_567));
        for content in [
            &b"1234567"[..],
            b"",
            b"\n",
            b"-1\n",
            b"12 \n",
            b"max\n",
            b"18446744073709551616\n",
        ] {
            assert_eq!(number(content), None, "{content:?}");
        }
        assert_eq!(key(b"anon 12\nfile 34", b"file"), None);
        assert_eq!(key(b"anon 12\nfile 34\n", b"file"), Some(34));
        assert_eq!(key(b"anon_thp 1\nanon 12\n", b"anon"), Some(12));
    }

    #[test]
    fn limits_and_totals_are_read() {
        assert_eq!(limit(b"max\n"), Some(Limit::Max));
        assert_eq!(limit(b"4096\n"), Some(Limit::At(Bytes(4096))));
        assert_eq!(limit(b"maximum\n"), None);
        let file = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=17\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        let micros = |n| Some(Duration::from_micros(n));
        assert_eq!(stalls(file), (micros(17), micros(5)));
        assert_eq!(stalls(&file[..file.len() - 2]), (micros(17), None), "cut off");
    }

    #[test]
    fn the_machines_files_are_read() {
        let file =
            b"MemTotal:       16384 kB\nMemFree:  x kB\nMemAvailable:    8192 kB\nHugePages_Total:       0\n";
        let read = meminfo(file, [b"MemAvailable", b"MemTotal", b"MemFree", b"SwapFree"]);
        assert_eq!(read, [Some(Bytes::mib(8)), Some(Bytes::mib(16)), None, None]);
        assert_eq!(tasks(b"0.10 0.20 0.30 2/345 6789\n"), Some(345));
        assert_eq!(tasks(b"0.10 0.20\n"), None);
        assert_eq!(pids(b"1\n0\n4194303\nx\n77").collect::<Vec<_>>(), [1, 4_194_303]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let _read = (number(&content), limit(&content), stalls(&content), tasks(&content));
            prop_assert!(flat_keyed(&content).count() <= lines(&content).count());
            prop_assert!(pids(&content).count() <= lines(&content).count());
            prop_assert_eq!(meminfo(&content, [b"MemTotal"]).len(), 1);
        }

        #[test]
        fn what_is_cut_off_reads_as_part_of_the_whole(
            values in prop::collection::btree_map("[a-z_]{1,8}", any::<u64>(), 1..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let file: String = values.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
            let part = &file.as_bytes()[..cut.index(file.len())];
            for (key, value) in flat_keyed(part) {
                prop_assert_eq!(values.get(std::str::from_utf8(key).unwrap()), Some(&value));
            }
            prop_assert_eq!(flat_keyed(file.as_bytes()).count(), values.len());
        }
    }
}
