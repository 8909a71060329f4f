//! Foreign time: what runs on CPUs that belong to one container, and is not that container.
//!
//! The books of each CPU are [`plimsoll_ebpf::foreign`]'s; [`events`] keeps them, [`task`] tells whose a task is. A CPU
//! without owner costs each program one look into its books.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "an eBPF program"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod events;
#[cfg(target_arch = "bpf")]
mod task;

#[cfg(target_arch = "bpf")]
plimsoll_ebpf::object!(plimsoll_ebpf::facts::Foreign);
