//! From text to a configuration, or to an error that says where and what to do.

use serde::{Deserialize, Deserializer};
use serde_saphyr::Error as YamlError;

use super::Config;
use super::check::{Conflict, check};
use crate::model::Quantity;

/// Why a configuration file cannot be used. Line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {problem}")]
pub struct ConfigError {
    /// The file's name, for the message only.
    pub file: String,
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
    /// What is wrong with it, and what to write instead.
    pub problem: String,
}

/// Reads a whole configuration; what the text does not mention has its default.
///
/// # Errors
/// [`ConfigError`] with the first place that is wrong.
pub fn parse(text: &str, file: &str) -> Result<Config, ConfigError> {
    let error = |line, column, problem| ConfigError {
        file: file.to_owned(),
        line,
        column,
        problem,
    };
    // A file of comments only has no YAML document in it, but it is the natural way to say "all defaults".
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(Config::default());
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
    };
    let config: Config = serde_saphyr::from_str_with_options(text, options).map_err(|yaml| {
        let (line, column) = yaml.location().map_or((1, 1), |at| (at.line(), at.column()));
        error(line, column, explain(&yaml))
    })?;
    check(&config).map_err(|Conflict { at, problem }| {
        let (line, column) = place(text, &at).unwrap_or((1, 1));
        error(line, column, problem)
    })?;
    Ok(config)
}

/// Line and column of where a field or option is set; one of a map is named as `field/key`.
fn place(text: &str, path: &str) -> Option<(u64, u64)> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut line, mut from) = (0, 0);
    let mut found = None;
    for name in path.split('/') {
        while line < lines.len() {
            found = key(lines[line], from, name);
            if found.is_some() {
                break;
            }
            (line, from) = (line + 1, 0);
        }
        from = found? + name.len();
    }
    let column = lines.get(line)?.get(..found?)?.chars().count();
    Some((u64::try_from(line).ok()? + 1, u64::try_from(column).ok()? + 1))
}

/// Where in a line, not before `from`, a key begins.
fn key(line: &str, from: usize, name: &str) -> Option<usize> {
    let starts = line.match_indices(name).map(|(at, _)| at);
    starts.filter(|at| *at >= from).find(|at| {
        let after = line[at + name.len()..].trim_start_matches(['"', '\'', ' ']);
        let alone = !line[..*at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '-'));
        alone && after.starts_with(':') && !line[..*at].contains('#')
    })
}

/// The JSON schema of the configuration, for editors and reviews.
#[must_use]
pub fn schema() -> String {
    format!("{:#}", schemars::schema_for!(Config).as_value())
}

/// A quantity that is not negative; a plain number is read like its text.
pub(super) fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
    let text = String::deserialize(deserializer)?;
    let quantity = Quantity::parse(&text).map_err(serde::de::Error::custom)?;
    if quantity < Quantity::default() {
        return Err(serde::de::Error::custom(format!("{text:?} must not be negative")));
    }
    Ok(quantity)
}

/// A switch, which kubelet writes as text; `true` and `"true"` are the same.
pub(super) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| serde::de::Error::custom(format!("{text:?} must be true or false")))
}

fn explain(error: &YamlError) -> String {
    match error.without_snippet() {
        YamlError::SerdeUnknownField { field, expected, .. } => unknown("field", field, expected),
        YamlError::SerdeUnknownVariant {
            variant, expected, ..
        } => unknown("value", variant, expected),
        YamlError::Message { msg, .. } => msg.clone(),
        other => {
            // The library puts the place in front or behind; it is in ours already.
            let text = other.to_string();
            text.split(" at line ").next().unwrap_or(&text).to_owned()
        }
    }
}

/// How alike two names must be to take one for a slip of the other.
const ALIKE: f64 = 0.8;

fn unknown(what: &str, found: &str, expected: &[&str]) -> String {
    let close = expected
        .iter()
        .map(|name| {
            (
                strsim::jaro_winkler(&name.to_lowercase(), &found.to_lowercase()),
                name,
            )
        })
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match close {
        Some((_, name)) => format!("unknown {what} {found:?}; did you mean `{name}`?"),
        None => format!("unknown {what} {found:?}; there is: {}", expected.join(", ")),
    }
}
