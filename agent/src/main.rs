//! The `plimsoll` program; everything is in the library.

use std::process;

fn main() -> process::ExitCode {
    process::ExitCode::from(plimsoll::cli::main(std::env::args_os()))
}
