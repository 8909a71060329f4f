//! A machine's files in one text, to be read instead of a machine.
//!
//! **Format.** One file a line, `path: content`, as `grep -r . DIRECTORY` prints files of one line. Paths that do not begin with `/` are below
//! `/sys/devices/system`. `[list]` in a path stands for one file for each number of the list, all with this content:
//! `cpu/cpu[0-3,8]/topology/die_id: 0`. Empty lines and lines that begin with `#` are not files.
//!
//! # Properties
//! - No text makes it panic; the number of files is bounded.

use std::collections::BTreeMap;

use crate::kernel::node_facts::Machine;
use crate::model::CpuSet;

const RELATIVE_TO: &str = "/sys/devices/system";
/// More files than 8 192 CPUs have that anyone reads here.
const MOST_FILES: usize = 1 << 19;

/// Why a text is no machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// A line is not `path: content`.
    #[error("line {line} is not `path: content`, such as `cpu/online: 0-3`")]
    NoFile {
        /// Counted from 1.
        line: usize,
    },
    /// What stands between brackets is no list of numbers.
    #[error(
        "line {line}: between [ and ] there must be a list of numbers below 8192, such as `cpu/cpu[0-3,8]/…`"
    )]
    List {
        /// Counted from 1.
        line: usize,
    },
    /// There are too many files.
    #[error("line {line}: there are more than {MOST_FILES} files")]
    TooMany {
        /// Counted from 1.
        line: usize,
    },
}

/// The machine that a text describes.
///
/// # Errors
/// A line is not as it should be, or there are too many files.
pub fn machine(text: &str) -> Result<Machine, CaptureError> {
    files(text).map(Machine::captured)
}

/// The files that a text describes, contents by absolute path. Of a path that comes twice the last one counts.
pub(super) fn files(text: &str) -> Result<BTreeMap<String, String>, CaptureError> {
    let mut files = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let no_file = CaptureError::NoFile { line: number };
        let (path, content) = line.split_once(':').ok_or_else(|| no_file.clone())?;
        if path.is_empty() || path.contains(char::is_whitespace) {
            return Err(no_file);
        }
        for path in expand(path).ok_or(CaptureError::List { line: number })? {
            let path = if path.starts_with('/') {
                path
            } else {
                format!("{RELATIVE_TO}/{path}")
            };
            files.insert(path, content.trim().to_owned());
            if files.len() > MOST_FILES {
                return Err(CaptureError::TooMany { line: number });
            }
        }
    }
    Ok(files)
}

/// A path for each number of the list between brackets; the path itself if there are none.
fn expand(path: &str) -> Option<Vec<String>> {
    let Some((before, rest)) = path.split_once('[') else {
        return Some(vec![path.to_owned()]);
    };
    let (list, after) = rest.split_once(']')?;
    let numbers = CpuSet::parse(list).ok().filter(|numbers| !numbers.is_empty())?;
    Some(numbers.iter().map(|n| format!("{before}{n}{after}")).collect())
}
