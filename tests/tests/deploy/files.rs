//! Where the files are, and the two judges of them: the agent's own command line and its own configuration.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use plimsoll::cli;
use plimsoll::config::{self, Config};

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

pub(crate) fn deploy() -> PathBuf {
    repository().join("config/deploy")
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of what is in a directory.
pub(crate) fn names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// A shipped configuration, as the agent reads it.
pub(crate) fn configuration(path: &Path) -> Config {
    config::parse(&read(path), &path.display().to_string()).unwrap()
}

/// Whether the agent's command line takes these arguments. Nothing is run: asking for help comes last, when the arguments before
/// it have been judged.
pub(crate) fn is_accepted<'a>(arguments: impl IntoIterator<Item = &'a str>) -> bool {
    let arguments = std::iter::once("plimsoll").chain(arguments).chain(["--help"]);
    cli::main(arguments.map(OsString::from)) == 0
}

/// The values of an option, written as `--name=value` or as two words.
pub(crate) fn values_of<'a>(arguments: &[&'a str], option: &str) -> Vec<&'a str> {
    let apart = arguments
        .windows(2)
        .filter(|pair| pair[0] == option)
        .map(|pair| pair[1]);
    let joined = arguments
        .iter()
        .filter_map(|word| word.strip_prefix(option)?.strip_prefix('='));
    apart.chain(joined).collect()
}

#[test]
fn the_judge_of_arguments_refuses_what_the_agent_would() {
    assert!(is_accepted(["run", "--config", "x", "--log-format", "json"]));
    for wrong in [
        ["run", "--no-such-option"],
        ["run", "--log-format=xml"],
        ["start", "--dry-run"],
    ] {
        assert!(!is_accepted(wrong), "{wrong:?}");
    }
}
