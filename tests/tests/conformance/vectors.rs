//! Reading vector files, and comparing answers with what they expect.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use plimsoll_tests::vectors::Row;
use serde_json::Value;

/// From a row to the fields that we would put there; fields of the row that are not answered are input.
pub(crate) type Answer = fn(&Row) -> Result<Row, String>;

/// What is wrong with our answer to a row, where more than one is right.
pub(crate) type Judge = fn(&Row) -> Result<(), Vec<String>>;

/// How a file went.
pub(crate) enum Outcome {
    /// There is no such file.
    Absent,
    /// How many rows were right, and what was wrong with the others.
    Ran { right: usize, wrong: Vec<String> },
}

/// Holds every row of the file at `path` against what `check` makes of it.
pub(crate) fn run(path: &Path, check: impl Fn(&Row) -> Result<(), Vec<String>>) -> Outcome {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Outcome::Absent,
        Err(error) => {
            return Outcome::Ran {
                right: 0,
                wrong: vec![format!(" cannot be read: {error}")],
            };
        }
    };
    let mut right = 0;
    let mut wrong = Vec::new();
    let rows = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    for (n, line) in rows {
        let row = serde_json::from_str(line).map_err(|error| vec![format!("is no JSON object: {error}")]);
        match row.and_then(|row| check(&row)) {
            Ok(()) => right += 1,
            Err(differences) => wrong.push(format!("{}: {}", n + 1, differences.join("; "))),
        }
    }
    Outcome::Ran { right, wrong }
}

/// Holds our answer to `row` against the one in it.
pub(crate) fn compare(row: &Row, answer: Answer) -> Result<(), Vec<String>> {
    let refused = row.get("error").is_some_and(|error| error != &Value::Bool(false));
    let got = match (answer(row), refused) {
        (Err(_), true) => return Ok(()),
        (Ok(got), true) => return Err(vec![format!("expected a refusal, got {}", Value::Object(got))]),
        (Err(error), false) => return Err(vec![format!("expected an answer, got the refusal {error:?}")]),
        (Ok(got), false) => got,
    };
    let mut differences = Vec::new();
    for (field, got) in got {
        differ(&field, row.get(&field), &got, &mut differences);
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(differences)
    }
}

/// Adds what differs at and below `field`.
fn differ(field: &str, expected: Option<&Value>, got: &Value, differences: &mut Vec<String>) {
    match (expected, got) {
        (Some(expected), got) if expected == got => {}
        (Some(Value::Object(expected)), Value::Object(got)) => {
            for (key, expected) in expected {
                let got = got.get(key).unwrap_or(&Value::Null);
                differ(&format!("{field}.{key}"), Some(expected), got, differences);
            }
            for (key, got) in got.iter().filter(|(key, _)| !expected.contains_key(*key)) {
                differ(&format!("{field}.{key}"), None, got, differences);
            }
        }
        (Some(expected), got) => differences.push(format!("{field}: expected {expected}, got {got}")),
        (None, got) => differences.push(format!("{field}: expected nothing, got {got}")),
    }
}
