//! The `bpf(2)` calls that aya does not make: an iterator over one cgroup, a batch of a map's entries, an array
//! mapped into memory.
#![expect(unsafe_code, reason = "bpf(2) takes untyped memory, and so does mmap(2)")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use aya::Pod;
use rustix::mm::{MapFlags, ProtFlags};

const MAP_DELETE_ELEM: libc::c_long = 3;
const MAP_LOOKUP_BATCH: libc::c_long = 24;
const LINK_CREATE: libc::c_long = 28;
const ITER_CREATE: libc::c_long = 33;
/// `BPF_TRACE_ITER` of `enum bpf_attach_type`.
const TRACE_ITER: u32 = 28;
/// `BPF_CGROUP_ITER_SELF_ONLY` of `enum bpf_cgroup_iter_order`.
const SELF_ONLY: u32 = 1;

/// Makes the call with an attribute of 8-byte words; the kernel takes a shorter attribute than its own as ended by
/// zeros.
///
/// # Safety
/// Every pointer among the words is valid for what the command does with it.
unsafe fn bpf<const N: usize>(command: libc::c_long, words: &mut [u64; N]) -> io::Result<libc::c_long> {
    // SAFETY: the attribute is valid for its size, what it points to by the caller.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, words.as_mut_ptr(), size_of_val(words)) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from_ne_bytes(if cfg!(target_endian = "little") {
        (u64::from(low) | u64::from(high) << 32).to_ne_bytes()
    } else {
        (u64::from(high) | u64::from(low) << 32).to_ne_bytes()
    })
}

/// The first of the two numbers in a word.
fn low(word: u64) -> usize {
    let [a, b, c, d, ..] = word.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d]) as usize
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Links an `iter/cgroup` program to one cgroup, given by its directory. The link keeps the cgroup's structure in
/// memory.
pub(super) fn link_cgroup(program: BorrowedFd<'_>, directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let info = [pair(SELF_ONLY, number(directory)), 0];
    let address = info.as_ptr() as u64;
    let mut words = [
        pair(number(program), 0),
        pair(TRACE_ITER, 0),
        address,
        size_of_val(&info) as u64,
    ];
    // SAFETY: `info` outlives the call.
    owned(unsafe { bpf(LINK_CREATE, &mut words) }?)
}

/// Runs the iterator of a link once, to its end.
pub(super) fn run_iterator(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut words = [pair(number(link), 0)];
    // SAFETY: no pointers.
    let iterator = owned(unsafe { bpf(ITER_CREATE, &mut words) }?)?;
    let mut buffer = [0_u8; 64];
    while rustix::io::read(&iterator, &mut buffer)? > 0 {}
    Ok(())
}

/// Where a run of [`lookup_batch`] goes on: a position in a hash map.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BatchPosition(Option<u32>);

/// Copies entries of a hash map, as many as fit. `values` holds `value_bytes` a key.
///
/// Gives how many were copied, and whether these were the last.
pub(super) fn lookup_batch(
    map: BorrowedFd<'_>,
    position: &mut BatchPosition,
    keys: &mut [u64],
    values: &mut [u8],
    value_bytes: usize,
) -> io::Result<(usize, bool)> {
    let room = keys.len().min(values.len() / value_bytes.max(1));
    let from = position.0;
    let mut to = 0_u32;
    let mut words = [
        from.as_ref().map_or(0, |from| from as *const u32 as u64),
        &raw mut to as u64,
        keys.as_mut_ptr() as u64,
        values.as_mut_ptr() as u64,
        pair(u32::try_from(room).unwrap_or(u32::MAX), number(map)),
        0,
        0,
    ];
    // SAFETY: the positions are 4 bytes, as a hash map's are; keys and values have room for that many entries, the
    // map's keys being 8 bytes (checked when it was opened).
    let result = unsafe { bpf(MAP_LOOKUP_BATCH, &mut words) };
    let copied = low(words[4]).min(room);
    position.0 = Some(to);
    match result {
        Ok(_) => Ok((copied, false)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((copied, true)),
        Err(error) => Err(error),
    }
}

/// Removes an entry; no error when it is not there.
pub(super) fn delete(map: BorrowedFd<'_>, key: u64) -> io::Result<()> {
    let mut words = [pair(number(map), 0), &raw const key as u64, 0, 0];
    // SAFETY: the key is 8 bytes, as the map's keys.
    match unsafe { bpf(MAP_DELETE_ELEM, &mut words) } {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The first values of an array map of the kernel, mapped into memory.
pub(super) struct MappedArray<T: Pod> {
    start: NonNull<T>,
    values: usize,
}

// SAFETY: the mapping belongs to the value alone.
unsafe impl<T: Pod> Send for MappedArray<T> {}

impl<T: Pod> MappedArray<T> {
    /// Maps the first `values` of an array that was made mappable, of values of this type.
    pub(super) fn new(map: impl AsFd, values: usize) -> io::Result<Self> {
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                Self::bytes(values),
                flags,
                MapFlags::SHARED,
                map,
                0,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Self { start, values })
    }

    /// How many values are mapped.
    pub(super) fn len(&self) -> usize {
        self.values
    }

    /// What is mapped: whole pages. An array's values lie without gaps when their size is a multiple of 8.
    fn bytes(values: usize) -> usize {
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 8) };
        (values * size_of::<T>()).next_multiple_of(rustix::param::page_size())
    }

    /// A value as it is now, read whole although a program may be writing it.
    pub(super) fn read(&self, index: usize) -> Option<T> {
        // SAFETY: within the mapping, which any bytes make a value of.
        (index < self.values).then(|| unsafe { self.start.add(index).read_volatile() })
    }

    /// The values. No program that writes them may run while they are borrowed.
    pub(super) fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: mapped for as long as the value lives, any bytes make a value; the only program that writes is
        // run by the borrower.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.values) }
    }
}

impl<T: Pod> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`; the slices of it are gone. It can fail for bad arguments only.
        _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), Self::bytes(self.values)) };
    }
}
