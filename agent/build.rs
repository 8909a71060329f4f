//! Embeds the eBPF objects that `cargo xtask build-ebpf` left, or none.
//!
//! Looks in `PLIMSOLL_EBPF_DIR`, else in the workspace's `target/bpf`. The code it writes is included with
//! `include!(concat!(env!("OUT_DIR"), "/ebpf_objects.rs"))` and defines
//! `pub static OBJECTS: &[(&str, &[u8])]`: names such as `usage` with the ELF bytes, sorted by name, each aligned to
//! 8 bytes as the loader's parser wants. Without objects it is empty, so that no BPF tools are needed to build.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-env-changed=PLIMSOLL_EBPF_DIR");
    let dir = env::var_os("PLIMSOLL_EBPF_DIR").map_or_else(default_dir, |dir| Ok(PathBuf::from(dir)))?;
    println!("cargo:rerun-if-changed={}", dir.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut items = String::new();
    let mut entries = String::new();
    for (index, object) in objects(&dir)?.iter().enumerate() {
        let name = object.file_stem().unwrap_or_default().to_string_lossy();
        let copy = out.join(format!("{name}.o"));
        // A copy, so that what is compiled in has the length that is written here.
        let length = fs::copy(object, &copy)?;
        let bytes = copy.display().to_string();
        let item =
            format!("static OBJECT_{index}: Aligned<{length}> = Aligned(*include_bytes!({bytes:?}));\n");
        items += &item;
        writeln!(entries, "    ({name:?}, &OBJECT_{index}.0),").map_err(io::Error::other)?;
    }
    fs::write(out.join("ebpf_objects.rs"), code(&items, &entries))
}

/// Made if it is missing: a watched path that does not exist would make cargo build the agent every time.
fn default_dir() -> io::Result<PathBuf> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dir = manifest.join("../target/bpf");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn objects(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut objects = Vec::new();
    let entries =
        fs::read_dir(dir).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", dir.display())))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "o") {
            objects.push(path);
        }
    }
    objects.sort();
    Ok(objects)
}

fn code(items: &str, entries: &str) -> String {
    let aligned = if items.is_empty() {
        ""
    } else {
        "#[repr(C, align(8))]\nstruct Aligned<const N: usize>([u8; N]);\n"
    };
    format!(
        "/// The embedded eBPF objects: name and ELF bytes, 8-byte aligned, sorted by name; empty if none were built.\n\
         pub static OBJECTS: &[(&str, &[u8])] = &[\n{entries}];\n{aligned}{items}"
    )
}
