//! Reading the conformance vectors (`tests/vectors/README.md`), for the test target that holds our answers against them
//! and for the benchmark that asks the same questions.

pub mod cpu;
pub mod node;

use std::path::PathBuf;

use plimsoll::model::CpuSet;
use serde_json::{Map, Value};

const OWN_COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");

/// One line of a file.
pub type Row = Map<String, Value>;

/// Where the files are, and whether that is the project's own copy.
#[must_use]
pub fn directory() -> (PathBuf, bool) {
    std::env::var_os("PLIMSOLL_VECTORS").map_or_else(|| (OWN_COPY.into(), true), |path| (path.into(), false))
}

/// The rows of a file's text.
///
/// # Errors
/// A line is no JSON object.
pub fn rows(text: &str) -> Result<Vec<Row>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).map_err(|error| error.to_string()))
        .collect()
}

/// A field.
///
/// # Errors
/// There is none of that name.
pub fn field<'a>(row: &'a Row, name: &str) -> Result<&'a Value, String> {
    row.get(name).ok_or_else(|| format!("there is no {name}"))
}

/// A field that is text.
///
/// # Errors
/// There is none of that name, or it is something else.
pub fn text<'a>(row: &'a Row, name: &str) -> Result<&'a str, String> {
    field(row, name)?
        .as_str()
        .ok_or_else(|| format!("{name} is no text"))
}

/// A field that is a list of CPUs.
///
/// # Errors
/// There is none of that name, or it is something else.
pub fn set(row: &Row, name: &str) -> Result<CpuSet, String> {
    CpuSet::parse(text(row, name)?).map_err(|error| error.to_string())
}

/// A field that is a count.
///
/// # Errors
/// There is none of that name, or it is something else.
pub fn number(row: &Row, name: &str) -> Result<usize, String> {
    let number = field(row, name)?.as_u64().and_then(|n| usize::try_from(n).ok());
    number.ok_or_else(|| format!("{name} is no count"))
}
