//! The `newc` format of cpio, which the kernel unpacks into its first root directory.
//!
//! Each entry is a header of 110 ASCII bytes (a magic number and 13 fields of 8 hex digits), the name with its NUL,
//! and the content; name and content are each padded with NULs to a multiple of 4 bytes. An entry named
//! `TRAILER!!!` ends the archive. Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeSet;
use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// Writes an archive entry by entry; directories above an entry are added when they are missing.
pub(super) struct Archive<W: Write> {
    out: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W) -> Archive<W> {
        Archive {
            out,
            inode: 0,
            directories: BTreeSet::new(),
        }
    }

    /// Adds a directory and those above it; one that is there already stays as it is.
    pub(super) fn directory(&mut self, path: &str) -> io::Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.directories.insert(path.to_owned()) {
            return Ok(());
        }
        self.parent(path)?;
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    /// Adds a file with its permission bits.
    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.parent(path)?;
        self.entry(path, FILE | permissions, content)
    }

    /// Adds a symbolic link to `target`.
    pub(super) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.parent(path)?;
        self.entry(path, LINK | 0o777, target.as_bytes())
    }

    /// Ends the archive and returns what it was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn parent(&mut self, path: &str) -> io::Result<()> {
        path.trim_start_matches('/')
            .rsplit_once('/')
            .map_or(Ok(()), |(parent, _)| self.directory(parent))
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let name = path.trim_start_matches('/');
        let size =
            |len: usize| u32::try_from(len).map_err(|_| io::Error::other(format!("{path} is over 4 GiB")));
        self.inode += 1;
        let links = if mode & DIRECTORY == 0 { 1 } else { 2 };
        // inode, mode, owner, group, links, time, size, device and node numbers, length of the name, checksum
        let fields = [
            self.inode,
            mode,
            0,
            0,
            links,
            0,
            size(content.len())?,
            0,
            0,
            0,
            0,
            size(name.len() + 1)?,
            0,
        ];
        let mut header = String::from("070701");
        for field in fields {
            header += &format!("{field:08X}");
        }
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(name.as_bytes())?;
        self.out
            .write_all(&b"\0\0\0\0"[..1 + padding(header.len() + name.len() + 1)])?;
        self.out.write_all(content)?;
        self.out.write_all(&b"\0\0\0"[..padding(content.len())])
    }
}

/// How many bytes `len` lacks to a multiple of 4.
fn padding(len: usize) -> usize {
    len.wrapping_neg() % 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an archive back: mode, name and content of each entry.
    fn read(mut bytes: &[u8]) -> Vec<(u32, String, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            let field = |n: usize| {
                let digits = std::str::from_utf8(&bytes[6 + 8 * n..14 + 8 * n]).unwrap();
                u32::from_str_radix(digits, 16).unwrap()
            };
            assert_eq!(&bytes[..6], b"070701");
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            assert_eq!(bytes[110 + name_size - 1], 0);
            let start = (110 + name_size).next_multiple_of(4);
            let content = bytes[start..start + size].to_vec();
            bytes = &bytes[(start + size).next_multiple_of(4)..];
            if name == "TRAILER!!!" {
                assert!(bytes.is_empty());
                return entries;
            }
            entries.push((mode, name, content));
        }
    }

    #[test]
    fn what_is_written_is_read_back_whatever_its_length() {
        let mut archive = Archive::new(Vec::new());
        for len in 0..9 {
            archive
                .file(&"n".repeat(len + 1), 0o644, &vec![b'x'; len])
                .unwrap();
        }
        let entries = read(&archive.finish().unwrap());
        assert_eq!(entries.len(), 9);
        for (len, (mode, name, content)) in entries.into_iter().enumerate() {
            assert_eq!((mode, name.len(), content.len()), (0o100_644, len + 1, len));
        }
    }

    #[test]
    fn directories_come_once_and_before_what_they_hold() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/a/b/c", 0o755, b"1").unwrap();
        archive.link("/a/b/d", "c").unwrap();
        archive.directory("/a").unwrap();
        let entries = read(&archive.finish().unwrap());
        let brief: Vec<_> = entries
            .iter()
            .map(|(mode, name, _)| (*mode, name.as_str()))
            .collect();
        assert_eq!(
            brief,
            [
                (0o040_755, "a"),
                (0o040_755, "a/b"),
                (0o100_755, "a/b/c"),
                (0o120_777, "a/b/d")
            ]
        );
        assert_eq!(entries[3].2, b"c");
    }
}
