//! Other killers that the benchmark `pressure` races against: Debian's packages, unpacked and not installed, so that
//! no service of theirs starts here.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::apt::{self, Apt};
use super::{Done, Need, Step, skipped};
use crate::paths;

const NAME: &str = "rivals";
/// The programs, which are named like their packages.
pub(crate) const PROGRAMS: [&str; 2] = ["earlyoom", "oomd"];
/// What oomd needs and a Debian system does not have anyway.
const LIBRARY: &str = "libjsoncpp";

/// What was unpacked, laid out as the root of a file system.
pub(crate) fn root() -> PathBuf {
    paths::lab().join(NAME)
}

/// Where the libraries among it are.
pub(crate) fn libraries() -> PathBuf {
    root().join("usr/lib/x86_64-linux-gnu")
}

/// A rival's program on this host.
pub(crate) fn program(name: &str) -> PathBuf {
    root().join("usr/bin").join(name)
}

fn is_there() -> bool {
    PROGRAMS.iter().all(|name| program(name).is_file()) && root().join("versions").is_file()
}

/// Why they could not be had, if that was so.
pub(crate) fn why_not() -> Option<String> {
    skipped::why_not(NAME)
}

/// Forgets that they could not be had.
pub(super) fn forget_skipped() -> Result<()> {
    skipped::forget(NAME)
}

pub(super) fn step() -> Step {
    Step {
        need: Need::Rivals,
        name: "oomd and earlyoom".to_owned(),
        why: "Debian's packages, unpacked and not installed, for the benchmark that races them",
        found: Box::new(|| {
            if is_there() {
                return Ok(Some(Done::Already(std::fs::read_to_string(
                    root().join("versions"),
                )?)));
            }
            Ok(why_not().map(Done::Skipped))
        }),
        fetch: Box::new(|| fetch().or_else(|error| note_skipped(&error))),
    }
}

/// Without them the benchmark measures the others and says so.
fn note_skipped(error: &anyhow::Error) -> Result<Done> {
    skipped::note(NAME, error)
}

fn fetch() -> Result<Done> {
    let apt = Apt::open()?;
    let mut versions = Vec::new();
    // The oldest oomd on offer is least likely to need a newer C++ library than this machine's; the library goes by it.
    let oomd = apt::oldest(apt.candidates("oomd", |name| name == "oomd")?);
    let library = apt::oldest(apt.candidates(LIBRARY, is_library)?);
    let earlyoom = apt::newest(apt.candidates("earlyoom", |name| name == "earlyoom")?);
    for (package, patterns) in [
        (oomd, ["./usr/bin/*", "./etc/oomd/*"].as_slice()),
        (library, &["./usr/lib/*"]),
        (earlyoom, &["./usr/bin/*"]),
    ] {
        let package = package.context("the mirror has not all of oomd, libjsoncpp and earlyoom")?;
        apt.unpack(&package, patterns, &root())?;
        versions.push(format!("{} {}", package.package, package.version));
    }
    let versions = versions.join(", ");
    std::fs::write(root().join("versions"), &versions)?;
    ensure!(is_there(), "the packages have no programs in usr/bin");
    Ok(Done::Now(versions))
}

/// The library itself, whose name ends in its number, and neither its headers nor its documentation.
fn is_library(name: &str) -> bool {
    name.strip_prefix(LIBRARY)
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_library_itself_is_fetched() {
        assert!(is_library("libjsoncpp25"));
        assert!(!is_library("libjsoncpp-dev") && !is_library("libjsoncpp") && !is_library("libjsonrpc5"));
    }
}
