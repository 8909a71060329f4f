//! Memory runs out on a real kernel: as root, in a virtual machine of the lab that nothing else uses
//! (`cargo xtask test`, or `cargo xtask vm --with-tests pressure`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test target: a failure is the message"
)]

mod kernel_alone;
mod scenarios;

use plimsoll_tests::race::Places;

fn places() -> Places {
    // Nothing that is short of memory may take the test itself.
    std::fs::write("/proc/self/oom_score_adj", "-1000").unwrap();
    Places {
        mount: "/sys/fs/cgroup".into(),
        agent: "/bin/plimsoll".into(),
        load: "/bin/plimsoll-load".into(),
        directory: std::env::temp_dir().join("plimsoll-pressure"),
    }
}
