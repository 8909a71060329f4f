//! `cargo xtask image`: the agent as an OCI image in one archive, without a Docker daemon.
//!
//! **How.** The agent is built without shared libraries, so that the image needs nothing below it: one layer with the
//! program and its licences. The archive is an OCI image layout as a tar file, which `ctr image import`, `podman load` and
//! `skopeo` read.
//!
//! # Properties
//! - The same sources and compiler give the same bytes: no time, user name or directory of this machine is in there.

mod archive;
mod layer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::{build_ebpf, cargo, paths};
use archive::Image;
use layer::Entry;

/// Programs for this platform only: the eBPF objects are.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const AGENT: &str = "plimsoll";
/// The largest image that nodes should have to pull.
const LARGEST: u64 = 20 << 20;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The archive; target/image/plimsoll.tar unless named
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The image's name and tag in the archive. kubelet and containerd take a name without a place for one of a public
    /// registry's, and would look there
    #[arg(long, value_name = "NAME", default_value = concat!("localhost/plimsoll:", env!("CARGO_PKG_VERSION")))]
    name: String,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build_ebpf::build()?;
    let program = build()?;
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let licence = |name: &str| {
        let content = read(&paths::root().join(name))?;
        Ok::<_, anyhow::Error>(Entry::file(format!("licenses/{name}"), content))
    };
    let layer = layer::pack(vec![
        Entry::directory("licenses"),
        licence("LICENSE-APACHE")?,
        licence("LICENSE-MIT")?,
        Entry::program(AGENT, read(&program)?),
    ])?;
    let image = Image {
        name: options.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        entrypoint: format!("/{AGENT}"),
        layer,
    };
    let written = archive::write(&image)?;
    let size = u64::try_from(written.bytes.len())?;
    let output = options
        .output
        .clone()
        .unwrap_or_else(|| directory().join("plimsoll.tar"));
    if let Some(parent) = output.parent() {
        paths::make_dir(parent)?;
    }
    paths::write_if_changed(&output, &written.bytes)?;
    println!("{}", output.display());
    println!("image  {} sha256:{}", options.name, written.manifest);
    println!("size   {size} bytes, {:.1} MiB", size as f64 / f64::from(1 << 20));
    ensure!(size <= LARGEST, "the image is larger than {} MiB", LARGEST >> 20);
    Ok(ExitCode::SUCCESS)
}

fn directory() -> PathBuf {
    paths::target().join("image")
}

/// Builds the agent with everything that it needs in it, and without a word of where it was built.
fn build() -> Result<PathBuf> {
    // Unit separators: a directory's name may have spaces.
    let flags = std::iter::once("-Ctarget-feature=+crt-static".to_owned())
        .chain(paths::remapped())
        .collect::<Vec<_>>()
        .join("\u{1f}");
    let target_dir = directory().join("build");
    let target_dir = target_dir
        .to_str()
        .context("the target directory's name is not UTF-8")?;
    let arguments = [
        "build",
        "--locked",
        "--release",
        "--package",
        AGENT,
        "--bin",
        AGENT,
        "--target",
        TARGET,
        "--target-dir",
        target_dir,
    ];
    cargo::build_one_with(&arguments, &[("CARGO_ENCODED_RUSTFLAGS", &flags)], AGENT)
}
