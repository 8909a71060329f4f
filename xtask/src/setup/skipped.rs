//! What could not be had, written down so that it is not tried again each time.

use std::path::PathBuf;

use anyhow::Result;

use super::Done;
use crate::paths;

fn marker(what: &str) -> PathBuf {
    paths::lab().join(format!("{what}.skipped"))
}

/// Why it could not be had, if that was so.
pub(super) fn why_not(what: &str) -> Option<String> {
    std::fs::read_to_string(marker(what)).ok()
}

/// Forgets that it could not be had.
pub(super) fn forget(what: &str) -> Result<()> {
    if marker(what).exists() {
        std::fs::remove_file(marker(what))?;
    }
    Ok(())
}

/// It cannot be had, and what needs it does without.
pub(super) fn note(what: &str, error: &anyhow::Error) -> Result<Done> {
    let why = format!("{error:#}; `cargo xtask setup --again` retries");
    std::fs::write(marker(what), &why)?;
    Ok(Done::Skipped(why))
}
