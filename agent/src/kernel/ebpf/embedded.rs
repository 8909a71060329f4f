//! The objects that were there when the agent was built.

include!(concat!(env!("OUT_DIR"), "/ebpf_objects.rs"));
