//! A process that writes a journal is killed again and again.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;

/// Tells the process that is to be killed where the journal is.
const JOURNAL: &str = "PLIMSOLL_TEST_JOURNAL";
/// Enough for all records, so that none goes for want of room.
const ROOM: Bytes = Bytes::mib(256);
const KILLS: u64 = 24;
/// Of one journal, which goes on each time.
const KILLS_OF_ONE: u64 = 6;
/// So far the writer runs ahead of the disk.
const AHEAD: u64 = 64;

/// Records have a number, and lengths from a few bytes to some thousand.
fn record(number: u64) -> String {
    let length = usize::try_from(number * 7919 % 1500).unwrap();
    format!("{number}:{}", "x".repeat(length))
}

fn numbers(path: &Path) -> Vec<u64> {
    let text = read_journal(path).unwrap();
    assert_eq!(text.damaged, 0, "half a record may be at the end alone");
    let number = |json: &Vec<u8>| {
        let text: String = serde_json::from_slice(json).unwrap();
        let number = text.split(':').next().unwrap().parse().unwrap();
        assert_eq!(text, record(number));
        number
    };
    text.records.iter().map(number).collect()
}

#[test]
#[ignore = "the other process of the test below"]
fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(JOURNAL).map(PathBuf::from) else {
        return;
    };
    let (journal, found) = Journal::open(&path, ROOM, 1).unwrap();
    let last = found.latest.last().map_or(0, |json| {
        let text: String = serde_json::from_slice(json).unwrap();
        text.split(':').next().unwrap().parse().unwrap()
    });
    let worker = JournalWorker::start(journal, |error| panic!("{error}")).unwrap();
    let (mut next, mut told) = (last + 1, last);
    let mut out = std::io::stdout().lock();
    loop {
        if next > told + AHEAD {
            std::thread::yield_now();
        } else if worker.hand_over(record(next)) == Handed::Taken {
            next += 1;
        }
        let written = last + worker.counted().written();
        if written > told {
            told = written;
            writeln!(out, "acknowledged {told}").unwrap();
        }
    }
}

#[test]
fn what_was_acknowledged_outlives_sigkill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        if kill % KILLS_OF_ONE == 0 {
            acknowledged = 0;
        }
        let path = dir.path().join(format!("journal{}", kill / KILLS_OF_ONE));
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "--quiet"])
            .arg("kernel::journal::killed::writes_until_it_is_killed")
            .env(JOURNAL, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // After so many words of it, wherever the worker is by then; then what it said until it was dead.
        let mut wait = 1 + kill * 31 % 37;
        let mut heard = 0;
        for line in lines {
            // Its last line may be half of one.
            let number = line.unwrap().strip_prefix("acknowledged ").map(str::parse::<u64>);
            let Some(Ok(number)) = number else { continue };
            if wait > 0 {
                acknowledged = number;
                wait -= 1;
                if wait == 0 {
                    writer.kill().unwrap();
                }
            } else {
                // A number that was cut off is only smaller.
                acknowledged = acknowledged.max(number);
            }
            heard += 1;
        }
        writer.wait().unwrap();
        assert!(heard > 0, "kill {kill}: it wrote nothing");
        let numbers = numbers(&path);
        let count = u64::try_from(numbers.len()).unwrap();
        assert!(count >= acknowledged, "kill {kill}: {count} of {acknowledged}");
        assert!(
            numbers.iter().copied().eq(1..=count),
            "kill {kill}: in their order, none twice"
        );
    }
}
