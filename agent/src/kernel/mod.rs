//! The only door to files, system calls and clocks.
//!
//! Everything above speaks to the machine through what is here, so that it can be replaced as a whole: by a fake
//! that follows the kernel's rules in unit tests, and by the kernel itself in the VM. Each such pair passes one
//! contract suite.

mod bpf_sys;
pub mod btf;
pub mod cgroup_fs;
pub mod checkpoint;
pub mod clock;
pub mod dir_watch;
pub mod ebpf;
pub mod fault;
pub mod files;
pub mod heap;
pub mod journal;
pub mod log;
pub mod net;
pub mod node_facts;
pub mod notify;
pub mod pressure;
pub mod process;
pub mod readiness;
pub mod running;
pub mod state_dir;
mod sys;
pub mod undo;
