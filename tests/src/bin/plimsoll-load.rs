//! A process that uses memory in one of the ways in which nodes get into trouble: `plimsoll-load KIND [NAME=VALUE…]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll_tests::load::main()
}
