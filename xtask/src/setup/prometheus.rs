//! A real Prometheus for the tests of `/metrics`: Debian's package, unpacked and not installed, so that its service
//! never starts.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::apt::{self, Apt};
use super::{Done, Need, Step, skipped};
use crate::paths;

const PACKAGE: &str = "prometheus";

/// Where its programs are; the tests look there first.
pub(crate) fn programs() -> PathBuf {
    paths::lab().join("prometheus/usr/bin")
}

/// Whether both programs are there.
pub(crate) fn is_there() -> bool {
    ["prometheus", "promtool"]
        .iter()
        .all(|name| programs().join(name).is_file())
}

/// Forgets that it could not be had.
pub(super) fn forget_skipped() -> Result<()> {
    skipped::forget(PACKAGE)
}

pub(super) fn step() -> Step {
    Step {
        need: Need::Host,
        name: "Prometheus".to_owned(),
        why: "Debian's package, unpacked and not installed, for the tests that scrape the agent",
        found: Box::new(|| {
            if is_there() {
                return Ok(Some(Done::Already(programs().display().to_string())));
            }
            Ok(skipped::why_not(PACKAGE).map(Done::Skipped))
        }),
        fetch: Box::new(|| fetch().or_else(|error| note_skipped(&error))),
    }
}

/// Without it its tests say that they were skipped; the others run.
fn note_skipped(error: &anyhow::Error) -> Result<Done> {
    skipped::note(PACKAGE, error)
}

fn fetch() -> Result<Done> {
    let apt = Apt::open()?;
    let candidates = apt.candidates(PACKAGE, |name| name == PACKAGE)?;
    // The oldest on offer is the least likely to need a newer C library than this machine's.
    let package = apt::oldest(candidates).context("no package prometheus on the mirror")?;
    apt.unpack(&package, &["./usr/bin/*"], &paths::lab().join("prometheus"))?;
    anyhow::ensure!(
        is_there(),
        "the package has no prometheus or no promtool in usr/bin"
    );
    Ok(Done::Now(format!(
        "{} in {}",
        package.version,
        programs().display()
    )))
}
