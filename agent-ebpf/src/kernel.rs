//! What the programs share: reading kernel memory, and the frame of an object. Built for the BPF target only.
#![expect(
    unsafe_code,
    reason = "a program reads the kernel's memory; the verifier checks what it may"
)]

use core::ptr;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

use crate::facts::ABSENT;

/// A mask for levels: nobody nests cgroups deeper, and a root that did would be taken for another, which its id tells.
pub const MOST_LEVELS: usize = 0xffff;

/// Whether the kernel has this fact.
#[inline(always)]
#[must_use]
pub fn known(fact: usize) -> bool {
    fact != ABSENT as usize
}

/// A fact as a number. Volatile, or the compiler would take the value that it has in the source.
#[inline(always)]
#[must_use]
pub fn fact(value: &u32) -> usize {
    // SAFETY: a reference is readable.
    unsafe { ptr::read_volatile(value) as usize }
}

/// Loads a field through a pointer whose type the verifier knows. The result is typed again, and no helper is called.
///
/// # Safety
/// `base` is a pointer that the verifier tracks as a kernel structure, and `T` the width of the field at `offset`.
#[inline(always)]
#[must_use]
pub unsafe fn field<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: the verifier rejects the program unless this load stays within the structure.
    unsafe { ptr::read_volatile(base.wrapping_add(offset).cast()) }
}

/// Copies from any kernel address; zero where nothing is mapped.
#[inline(always)]
#[must_use]
pub fn peek<T: Copy + Default>(base: u64, offset: usize) -> T {
    let mut value = T::default();
    // SAFETY: the destination is a live value of that size; the helper checks the source.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            (base + offset as u64) as *const _,
        );
    }
    value
}

/// Copies `bytes` from a kernel address to `to`.
///
/// # Safety
/// `to` points to at least `bytes` writable bytes.
#[inline(always)]
pub unsafe fn copy<T>(to: *mut T, bytes: usize, base: u64, offset: usize) -> bool {
    // SAFETY: by the caller; the helper checks the source.
    unsafe { bpf_probe_read_kernel(to.cast(), bytes as u32, (base + offset as u64) as *const _) == 0 }
}

/// Sets a value that is made of words to zero. Word by word: `memset` goes byte by byte, and the verifier along with it.
///
/// # Safety
/// `to` points to a writable value of whole words that may all be zero.
#[inline(always)]
pub unsafe fn clear<T>(to: *mut T) {
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: by the caller. Volatile, or the compiler would make it a `memset`.
        unsafe { ptr::write_volatile(to.cast::<u64>().add(word), 0) };
    }
}

/// The frame of an object: its facts, its licence (the helpers ask for one compatible with the GPL), and the panic
/// handler that the compiler asks for and the verifier proves unreachable.
#[macro_export]
macro_rules! object {
    ($facts:ty) => {
        #[unsafe(export_name = "FACTS_V1")]
        static FACTS: $facts = <$facts>::UNKNOWN;

        #[unsafe(link_section = "license")]
        #[unsafe(no_mangle)]
        static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            loop {}
        }
    };
}

/// A fact of the object, as a number: `fact!(name)`.
#[macro_export]
macro_rules! fact {
    ($name:ident) => {
        $crate::kernel::fact(&FACTS.$name)
    };
}

/// The object's events in a ring, [`crate::maps::EVENTS`], and `dropped()`, which counts one that finds no room there in
/// [`crate::maps::DROPPED`].
#[macro_export]
macro_rules! events {
    ($bytes:expr) => {
        #[aya_ebpf::macros::map]
        static EVENTS: aya_ebpf::maps::RingBuf = aya_ebpf::maps::RingBuf::with_byte_size($bytes, 0);
        #[aya_ebpf::macros::map]
        static DROPPED: aya_ebpf::maps::PerCpuArray<u64> =
            aya_ebpf::maps::PerCpuArray::with_max_entries(1, 0);

        fn dropped() -> i32 {
            if let Some(count) = DROPPED.get_ptr_mut(0) {
                // SAFETY: this CPU's own counter.
                unsafe { *count += 1 };
            }
            0
        }
    };
}

/// The map [`crate::maps::ROOT`] of the object, and `below_root`: whether the cgroup at an address is below the root, or
/// is it. All are when the root is not known. Needs the group of facts `root`, and of ids.
#[macro_export]
macro_rules! below_root {
    () => {
        #[aya_ebpf::macros::map]
        static ROOT: aya_ebpf::maps::Array<$crate::wire::Root> =
            aya_ebpf::maps::Array::with_max_entries(1, 0);

        #[inline(always)]
        fn below_root(cgroup: u64) -> bool {
            let ancestors = $crate::fact!(cgroup_ancestors);
            let Some(root) = ROOT
                .get(0)
                .filter(|root| root.id != 0 && $crate::kernel::known(ancestors))
            else {
                return true;
            };
            let level: u32 = $crate::kernel::peek(cgroup, $crate::fact!(cgroup_level));
            if u64::from(level) < root.level {
                return false;
            }
            // Up to 6.1 the verifier wants a bound on what is added to a kernel pointer.
            let level = root.level as usize & $crate::kernel::MOST_LEVELS;
            let ancestor: u64 = $crate::kernel::peek(cgroup, ancestors + 8 * level);
            let node: u64 = $crate::kernel::peek(ancestor, $crate::fact!(cgroup_node));
            $crate::kernel::peek::<u64>(node, $crate::fact!(node_id)) == root.id
        }
    };
}

/// `begin` and `end` of a stall of the current task, timed in the map [`crate::maps::STALLS`] of the object.
#[macro_export]
macro_rules! stopwatch {
    () => {
        #[aya_ebpf::macros::map]
        static STARTS: aya_ebpf::maps::LruHashMap<u32, u64> =
            aya_ebpf::maps::LruHashMap::with_max_entries($crate::maps::MAX_STALLED, 0);
        #[aya_ebpf::macros::map]
        static STALLS: aya_ebpf::maps::PerCpuHashMap<u64, $crate::wire::Stall> =
            aya_ebpf::maps::PerCpuHashMap::with_max_entries(
                $crate::maps::MAX_CGROUPS,
                aya_ebpf::bindings::BPF_F_NO_PREALLOC,
            );

        #[aya_ebpf::macros::map]
        static STALLED: aya_ebpf::maps::Array<u64> =
            aya_ebpf::maps::Array::with_max_entries(1, aya_ebpf::bindings::BPF_F_MMAPABLE);

        fn begin() -> i32 {
            let thread = aya_ebpf::helpers::bpf_get_current_pid_tgid() as u32;
            // SAFETY: takes no arguments.
            let now = unsafe { aya_ebpf::helpers::generated::bpf_ktime_get_ns() };
            // A full map loses this stall, and nothing else can be done here.
            _ = STARTS.insert(thread, now, 0);
            0
        }

        fn end() -> i32 {
            let thread = aya_ebpf::helpers::bpf_get_current_pid_tgid() as u32;
            // SAFETY: the entry is this thread's own.
            let Some(start) = (unsafe { STARTS.get(thread).copied() }) else {
                return 0;
            };
            _ = STARTS.remove(thread);
            // SAFETY: take no arguments.
            let (now, cgroup) = unsafe {
                (
                    aya_ebpf::helpers::generated::bpf_ktime_get_ns(),
                    aya_ebpf::helpers::generated::bpf_get_current_cgroup_id(),
                )
            };
            let total = STALLS.get_ptr_mut(cgroup).or_else(|| {
                // Another CPU may have been first: then its value is there, and the insertion changes nothing.
                _ = STALLS.insert(cgroup, $crate::wire::Stall { count: 0, nsec: 0 }, 1);
                STALLS.get_ptr_mut(cgroup)
            });
            if let Some(total) = total {
                // SAFETY: this CPU's own value.
                unsafe {
                    (*total).count += 1;
                    (*total).nsec += now.saturating_sub(start);
                }
            }
            if let Some(stalled) = STALLED.get_ptr_mut(0) {
                // SAFETY: a map value. Two CPUs at once may add one only, which still changes it.
                unsafe { *stalled += 1 };
            }
            0
        }
    };
}
