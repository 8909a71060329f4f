//! `cargo xtask conformance`: the vectors against the pure stages.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::test::summary::{End, Summary};
use crate::test::{TESTS, cargo_test};
use crate::{cargo, paths};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The directory with the vectors, instead of the project's own
    #[arg(long, value_name = "DIR")]
    vectors: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let vectors = match &options.vectors {
        Some(dir) => dir
            .canonicalize()
            .with_context(|| format!("no directory {}", dir.display()))?,
        None => paths::root().join("tests/vectors"),
    };
    let mut summary = Summary::default();
    summary.step("conformance", || {
        if !cargo::has(TESTS, "test", "conformance")? {
            return Ok(End::Skipped("the tests have no target `conformance`".to_owned()));
        }
        cargo_test(|test| {
            test.args(["--package", TESTS, "--test", "conformance", "--", "--nocapture"]);
            test.env("PLIMSOLL_VECTORS", &vectors);
        })
    });
    Ok(summary.close())
}
