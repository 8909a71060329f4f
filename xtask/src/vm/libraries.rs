//! What a program needs to start inside the machine: the dynamic loader and the shared libraries, at their own paths.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::exec;
use crate::setup::rivals;

/// Whether a file is an ELF program or library.
pub(super) fn is_elf(path: &Path) -> Result<bool> {
    let mut magic = [0; 4];
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(file.read_exact(&mut magic).is_ok() && &magic == b"\x7fELF")
}

/// The loader and every library that `program` asks for, directly or not; none for a static program. Libraries that this
/// host has not installed are looked for among the unpacked packages.
pub(super) fn of(program: &Path) -> Result<Vec<PathBuf>> {
    let mut ldd = Command::new("ldd");
    ldd.env("LD_LIBRARY_PATH", rivals::libraries()).arg(program);
    match exec::output(&mut ldd) {
        Ok(text) => parse(&text).with_context(|| format!("{} misses a library", program.display())),
        // ldd fails with these words for a static program.
        Err(error) if error.to_string().contains("not a dynamic executable") => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Where a library goes in the machine: to its own path, that of an unpacked package where its installation would put it.
pub(super) fn place(library: &Path) -> PathBuf {
    match library.strip_prefix(rivals::root()) {
        Ok(relative) => Path::new("/").join(relative),
        Err(_) => library.to_owned(),
    }
}

/// Lines `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader; the kernel's own vdso has no path.
fn parse(text: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in text.lines() {
        anyhow::ensure!(!line.contains("not found"), "{}", line.trim());
        let place = line.split_once("=>").map_or(line, |(_, place)| place);
        let path = place.split_whitespace().next().unwrap_or_default();
        if path.starts_with('/') {
            libraries.push(PathBuf::from(path));
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_and_the_libraries_are_found() {
        let text = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)\n\t/lib64/ld.so.2 (0x7f)\n";
        assert_eq!(
            parse(text).unwrap(),
            [PathBuf::from("/lib/x/libc.so.6"), PathBuf::from("/lib64/ld.so.2")]
        );
        assert_eq!(parse("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
        assert!(parse("\tlibx.so.1 => not found\n").is_err());
    }

    #[test]
    fn an_unpacked_library_goes_where_it_would_be_installed() {
        let unpacked = rivals::libraries().join("libx.so.1");
        assert_eq!(place(&unpacked), Path::new("/usr/lib/x86_64-linux-gnu/libx.so.1"));
        assert_eq!(place(Path::new("/lib/libc.so.6")), Path::new("/lib/libc.so.6"));
    }

    #[test]
    fn this_very_program_has_a_loader() {
        let libraries = of(&std::env::current_exe().unwrap()).unwrap();
        assert!(
            libraries
                .iter()
                .any(|path| path.to_string_lossy().contains("ld-")),
            "{libraries:?}"
        );
    }
}
