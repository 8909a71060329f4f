//! Workloads of one process.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::mman::{MlockAllFlags, mlockall};

use super::options::{Kind, Options};
use super::{keep, wait_for_start};

const PAGE: usize = 4096;
/// Memory is taken in pieces of this size.
const PIECE: usize = 256 << 10;
/// Pieces that a workload at work gives back and takes again at once.
const TURN: usize = 8;

/// Waits so that pieces come at a pace. Time lost is not made up for: a process that was held up does not run faster
/// afterwards.
struct Pace {
    next: Instant,
    step: Duration,
}

impl Pace {
    fn new(bytes_per_second: f64) -> Self {
        Self {
            next: Instant::now(),
            step: Duration::from_secs_f64(PIECE as f64 / bytes_per_second.max(1.0)),
        }
    }

    fn wait(&mut self) {
        let now = Instant::now();
        if self.next > now {
            thread::sleep(self.next - now);
        }
        self.next = self.next.max(now) + self.step;
    }
}

/// Takes anonymous memory.
pub(super) fn anon(options: &Options) -> io::Result<()> {
    if options.kind == Kind::Lock {
        mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)?;
    }
    let mut pieces = Vec::with_capacity(options.size / PIECE);
    let first = options.first.min(options.size) / PIECE;
    pieces.resize_with(first, piece);
    wait_for_start(options)?;
    let mut pace = Pace::new(options.pace);
    for _ in first..options.size / PIECE {
        pace.wait();
        pieces.push(piece());
    }
    if let Some(rest) = options.keep {
        thread::sleep(options.hold);
        pieces.truncate(rest / PIECE);
    }
    match options.kind {
        Kind::Work => loop {
            // Enough that the allocator gives it back to the kernel.
            pieces.truncate(pieces.len().saturating_sub(TURN));
            pieces.resize_with(pieces.len() + TURN, piece);
            thread::sleep(options.every);
        },
        Kind::Spin => loop {
            // Something to do that needs the memory, lest it be swapped out.
            for piece in &mut pieces {
                piece[0] = piece[0].wrapping_add(1);
            }
        },
        _ => {}
    }
    black_box(&pieces);
    keep()
}

/// Memory of which every page is there: it is enough to write one byte of each.
fn piece() -> Vec<u8> {
    let mut piece = vec![0; PIECE];
    for page in piece.chunks_mut(PAGE) {
        page[0] = 1;
    }
    piece
}

/// Reads a file again and again, after writing it.
pub(super) fn cache(options: &Options) -> io::Result<()> {
    let mut piece = piece();
    if fs::metadata(&options.file).is_ok_and(|file| file.len() == options.size as u64) {
        println!("{} is there", options.file.display());
    } else {
        let mut file = File::create(&options.file)?;
        for _ in 0..options.size / PIECE {
            file.write_all(&piece)?;
        }
        file.sync_all()?;
    }
    let mut pace = Pace::new(options.pace);
    loop {
        let mut file = File::open(&options.file)?;
        for _ in 0..options.size / PIECE {
            pace.wait();
            file.read_exact(&mut piece)?;
        }
    }
}

/// Fills a file, which is memory where the file system is a tmpfs.
pub(super) fn tmpfs(options: &Options) -> io::Result<()> {
    let mut file = File::create(&options.file)?;
    let piece = piece();
    let mut pace = Pace::new(options.pace);
    for _ in 0..options.size / PIECE {
        pace.wait();
        match file.write_all(&piece) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
            written => written?,
        }
    }
    keep()
}
