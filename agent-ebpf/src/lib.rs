//! The contract between the eBPF programs and the agent: record layouts, map names and sizes.
#![no_std]
