//! An interface file kept open: a read is one `pread`, about a fifth of what open, read and close cost.

use std::os::fd::OwnedFd;

use super::CgroupError;
use crate::model::{CgroupPath, ControlFile};

/// An open interface file of one cgroup for as long as that cgroup lives: one made again under the same name is
/// another file, and reads of this one then answer [`Fault::Gone`](super::Fault::Gone).
#[derive(Debug)]
pub struct KeptFile {
    path: CgroupPath,
    file: ControlFile,
    fd: OwnedFd,
}

impl KeptFile {
    pub(super) const fn new(path: CgroupPath, file: ControlFile, fd: OwnedFd) -> Self {
        Self { path, file, fd }
    }

    /// Reads the content into `buffer`, which keeps its capacity from call to call.
    ///
    /// # Errors
    /// The kernel's refusal; [`Fault::Gone`](super::Fault::Gone) once the cgroup was removed.
    pub fn read<'a>(&self, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], CgroupError> {
        const SMALLEST: usize = 4096;
        let mut filled = 0;
        if buffer.len() < SMALLEST {
            buffer.resize(SMALLEST, 0);
        }
        loop {
            let read = rustix::io::retry_on_intr(|| {
                rustix::io::pread(&self.fd, &mut buffer[filled..], filled as u64)
            });
            match read {
                // The kernel fills the buffer as long as there is content: less than asked is the end.
                Ok(n) if filled + n < buffer.len() => return Ok(&buffer[..filled + n]),
                Ok(n) => {
                    filled += n;
                    buffer.resize(buffer.len() * 2, 0);
                }
                Err(errno) => {
                    return Err(CgroupError::of_file(
                        &self.path,
                        self.file,
                        None,
                        errno.into(),
                        || false,
                    ));
                }
            }
        }
    }
}
