//! bpf-linker, pinned: the release that links with the LLVM inside the pinned compiler.

use std::path::PathBuf;

use anyhow::Result;

use super::{Done, Need, Step};
use crate::{cargo, exec, paths};

// Later releases expect a newer LLVM than rustc 1.95 carries.
const VERSION: &str = "0.10.4";

fn root() -> PathBuf {
    paths::lab().join(format!("bpf-linker-{VERSION}"))
}

pub(crate) fn path() -> PathBuf {
    root().join("bin/bpf-linker")
}

pub(super) fn step() -> Step {
    Step {
        need: Need::Ebpf,
        name: format!("bpf-linker {VERSION}"),
        why: "links the eBPF programs and writes their type information; about a minute to build",
        found: Box::new(|| {
            Ok(path()
                .is_file()
                .then(|| Done::Already(path().display().to_string())))
        }),
        fetch: Box::new(fetch),
    }
}

fn fetch() -> Result<Done> {
    let mut install = cargo::command();
    install.args([
        "install",
        "bpf-linker",
        "--locked",
        "--quiet",
        "--version",
        &format!("={VERSION}"),
    ]);
    install
        .arg("--root")
        .arg(root())
        .arg("--target-dir")
        .arg(root().join("build"));
    exec::run(&mut install)?;
    std::fs::remove_dir_all(root().join("build"))?;
    Ok(Done::Now(path().display().to_string()))
}
