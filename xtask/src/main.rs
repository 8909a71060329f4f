//! `cargo xtask`: the project's own commands, one module each.
//!
//! Nothing here is needed to build, test or lint the workspace with plain cargo. These commands fetch the tools of
//! the eBPF build, boot the virtual machines that the kernel tests need, and string both into `demo` and `test`.
//! Everything fetched or built stays below `target/`.

mod bench;
mod build_ebpf;
mod cargo;
mod cgroup;
mod conformance;
mod demo;
mod exec;
mod image;
mod paths;
mod setup;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Plimsoll's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch what the other commands need: Rust's sources, bpf-linker, QEMU, kernels. A second run does nothing
    Setup(setup::Options),
    /// Build the eBPF programs into target/bpf, from where `cargo build` embeds them
    BuildEbpf(build_ebpf::Options),
    /// Run a command in a virtual machine with a kernel of choice
    Vm(vm::cli::Options),
    /// Run every test: here, as root, and in a virtual machine on each kernel
    Test(test::Options),
    /// Run the conformance vectors
    Conformance(conformance::Options),
    /// Show the main job on example pods
    Demo(demo::Options),
    /// Make an OCI image archive of the agent, without a Docker daemon
    Image(image::Options),
    /// Measure, and print a table of the figures
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(options) => setup::run(&options),
        Command::BuildEbpf(options) => build_ebpf::run(&options),
        Command::Vm(options) => vm::cli::run(options),
        Command::Test(options) => test::run(&options),
        Command::Conformance(options) => conformance::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Image(options) => image::run(&options),
        Command::Bench(options) => bench::run(&options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
