//! Plimsoll's figures: `plimsoll-bench [--json FILE] [--cgroup-mount DIR] [--plimsoll PROGRAM] [GROUP…]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll_tests::bench::main()
}
