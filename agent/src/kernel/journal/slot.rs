//! One record of what is under way, for who comes after a stop in the middle of it.
//!
//! **Problem.** Who kills writes down first whom and why, must not allocate or wait, and must be able to say afterwards
//! that it is done. **How.** A file of one page. A record is written into a buffer of that size, which is there from the
//! start, and goes to the kernel in one write of one page; what the kernel has outlives the agent. It is not synced: after
//! a power cut nobody runs who could still be killed.
//!
//! # Properties
//! - What is read was put there whole, or nothing is read.
//! - Putting and clearing allocate nothing, as long as the record's own way of writing itself does not.

use std::fs::File;
use std::io::{self, Cursor, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{JournalError, refused};

const PAGE: usize = 4096;
/// Checksum and length, in hexadecimal digits, and a space.
const HEAD: usize = 13;

/// The file.
#[derive(Debug)]
pub struct Slot {
    path: PathBuf,
    file: File,
    page: Box<[u8; PAGE]>,
}

impl Slot {
    /// Opens the slot, which is made if it is missing.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(file.map_err(|errno| refused("open", path)(errno.into()))?);
        if file.metadata().map_err(refused("find", path))?.len() != PAGE as u64 {
            // The blocks are taken now, not when memory is short.
            file.write_all_at(&[b' '; PAGE], 0)
                .map_err(refused("write", path))?;
            file.set_len(PAGE as u64).map_err(refused("cut", path))?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            page: Box::new([b' '; PAGE]),
        })
    }

    /// Puts a record there, in place of the one before.
    ///
    /// # Errors
    /// The kernel's refusal, or a record of more than a page; there may be none then.
    pub fn put<T: Serialize>(&mut self, record: &T) -> Result<(), JournalError> {
        self.page.fill(b' ');
        let (head, body) = self.page.split_at_mut(HEAD);
        let mut body = Cursor::new(body);
        let made = serde_json::to_writer(&mut body, record);
        let length = usize::try_from(body.position()).unwrap_or(PAGE);
        let sum = crc32fast::hash(&body.into_inner()[..length]);
        let written = made
            .map_err(io::Error::from)
            .and_then(|()| write!(Cursor::new(head), "{sum:08x}{length:04x} "))
            .and_then(|()| self.file.write_all_at(&*self.page, 0));
        if written.is_err() {
            // Half a record would read as none, and the one before is not what is under way.
            self.page.fill(b' ');
            self.file
                .write_all_at(&*self.page, 0)
                .map_err(refused("clear", &self.path))?;
        }
        written.map_err(refused("write", &self.path))
    }

    /// Takes the record away: what it told of is done.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn clear(&mut self) -> Result<(), JournalError> {
        self.page.fill(b' ');
        self.file
            .write_all_at(&*self.page, 0)
            .map_err(refused("clear", &self.path))
    }

    /// The record that is there; none where none is, or what is there is none.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn get<T: DeserializeOwned>(&self) -> Result<Option<T>, JournalError> {
        let mut page = [0; PAGE];
        self.file
            .read_exact_at(&mut page, 0)
            .map_err(refused("read", &self.path))?;
        Ok(record(&page))
    }
}

fn record<T: DeserializeOwned>(page: &[u8]) -> Option<T> {
    let (head, body) = page.split_at_checked(HEAD)?;
    let head = std::str::from_utf8(head).ok()?;
    let sum = u32::from_str_radix(head.get(..8)?, 16).ok()?;
    let length = usize::from_str_radix(head.get(8..12)?, 16).ok()?;
    let json = body.get(..length)?;
    (crc32fast::hash(json) == sum).then(|| serde_json::from_slice(json).ok())?
}
