//! Plimsoll's main job, shown on the machine it runs on: `plimsoll-demo --cgroup-mount DIR [--plimsoll PROGRAM]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll_tests::demo::main()
}
