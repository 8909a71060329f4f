//! Where the programs of a real Prometheus are.
//!
//! They are Debian's, in `target/lab/prometheus` (`cargo xtask setup`) or on the `PATH`. Without them tests say so and
//! pass, unless `PLIMSOLL_REQUIRE_PROMETHEUS=1`.

use std::env;
use std::path::{Path, PathBuf};

/// One of them; none where tests may go without.
///
/// # Panics
/// Where they may not.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab/prometheus/usr/bin");
    let unpacked = env::var_os("PLIMSOLL_PROMETHEUS_DIR").map_or_else(default, PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(unpacked)
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        let required = env::var("PLIMSOLL_REQUIRE_PROMETHEUS").is_ok_and(|value| value == "1");
        assert!(
            !required,
            "{name} is neither in target/lab/prometheus nor on the PATH: run `cargo xtask setup`"
        );
        eprintln!("SKIPPED: no {name}; run `cargo xtask setup`");
    }
    found
}
