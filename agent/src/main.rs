//! The `plimsoll` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(plimsoll::cli::main(std::env::args_os()))
}
