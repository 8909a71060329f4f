//! What every cgroup uses.
//!
//! [`walk`] collects it in one pass over all cgroups, [`memory`] is the memory part of a pass, [`switch`] counts CPU
//! time and waits at context switches in between, in [`totals`] that [`collect`] adds up.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "an eBPF program"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod collect;
#[cfg(target_arch = "bpf")]
mod memory;
#[cfg(target_arch = "bpf")]
mod switch;
#[cfg(target_arch = "bpf")]
mod totals;
#[cfg(target_arch = "bpf")]
mod walk;

#[cfg(target_arch = "bpf")]
plimsoll_ebpf::object!(plimsoll_ebpf::facts::Usage);
