//! The eBPF programs; on any other target an empty program, so that the workspace builds without BPF tools.
fn main() {}
