//! Where things are. Fetched tools are shared between worktrees when `PLIMSOLL_LAB_DIR` names one place for them.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Where `build-ebpf` leaves the objects that the agent's build script embeds.
pub(crate) fn bpf_objects() -> PathBuf {
    root().join("target/bpf")
}

/// Where fetched tools, sources and kernels live.
pub(crate) fn lab() -> PathBuf {
    std::env::var_os("PLIMSOLL_LAB_DIR").map_or_else(|| root().join("target/lab"), |dir| root().join(dir))
}

/// Flags by which the compiler leaves out of what it builds where this machine has the sources, cargo's and rustup's home, so that
/// the same sources give the same bytes anywhere.
pub(crate) fn remapped() -> impl Iterator<Item = String> {
    let home = |variable: &str, default: &str| {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        std::env::var_os(variable).map_or_else(|| home.join(default), PathBuf::from)
    };
    let places = [
        (root().to_owned(), "/plimsoll"),
        (home("CARGO_HOME", ".cargo"), "/cargo"),
        (home("RUSTUP_HOME", ".rustup"), "/rustup"),
    ];
    places
        .into_iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
}

/// Makes a directory with its parents.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))
}

/// Holds `dir/.lock` until dropped, so that two commands that fetch or build there take turns.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    make_dir(dir)?;
    let path = dir.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another command that uses {}", dir.display());
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// Writes `bytes` to `path` unless it holds them already, so that a timestamp changes only with the content.
///
/// Returns whether it wrote.
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}
