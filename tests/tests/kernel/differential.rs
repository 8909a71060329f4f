//! cgroups-rs against our own writes.
