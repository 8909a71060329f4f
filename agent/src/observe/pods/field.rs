//! Reading fields out of a document: each look-up knows its path, and what does not fit becomes a problem.

use std::cell::RefCell;
use std::fmt;

use super::error::{ManifestError, Position};
use super::node::{Node, Value};

/// Problems of one document that are reported; the rest would say little more.
const MAX_PROBLEMS: usize = 16;

/// The way from a document's root to a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl FieldPath {
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Where the field is; where it is missing, its closest ancestor that is there.
    pub(super) fn locate(&self, root: &Node) -> Position {
        let mut node = root;
        for step in &self.0 {
            let child = match (step, &node.value) {
                (Step::Key(key), Value::Map(entries)) => entries
                    .iter()
                    .find(|(name, _)| name == key)
                    .map(|(_, child)| child),
                (Step::Index(index), Value::List(items)) => items.get(*index),
                _ => None,
            };
            let Some(child) = child else { break };
            node = child;
        }
        node.at
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if key.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-') => {
                    write!(f, "[{key:?}]")?;
                }
                Step::Key(key) if depth == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// What is wrong with one object, by field.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

#[derive(Debug)]
struct Problem {
    path: FieldPath,
    problem: String,
    advice: &'static str,
}

impl Problems {
    pub(super) fn add(&self, path: &FieldPath, problem: impl Into<String>, advice: &'static str) {
        let mut list = self.0.borrow_mut();
        if list.len() < MAX_PROBLEMS {
            list.push(Problem {
                path: path.clone(),
                problem: problem.into(),
                advice,
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The problems as errors of a document of a file, with their positions in it.
    pub(super) fn into_errors(self, file: &str, document: usize, root: &Node) -> Vec<ManifestError> {
        self.0
            .into_inner()
            .into_iter()
            .map(|problem| ManifestError {
                file: file.to_owned(),
                document: Some(document),
                field: problem.path.to_string(),
                at: Some(problem.path.locate(root)),
                problem: problem.problem,
                advice: problem.advice,
            })
            .collect()
    }
}

/// A field that may or may not be there.
pub(super) struct Field<'a> {
    node: Option<&'a Node>,
    pub(super) path: FieldPath,
    problems: &'a Problems,
}

impl<'a> Field<'a> {
    /// An object as a whole, at `path` in its document.
    pub(super) fn new(node: &'a Node, path: FieldPath, problems: &'a Problems) -> Self {
        Self {
            node: Some(node),
            path,
            problems,
        }
    }

    pub(super) fn is_present(&self) -> bool {
        self.node.is_some()
    }

    pub(super) fn problem(&self, problem: impl Into<String>, advice: &'static str) {
        self.problems.add(&self.path, problem, advice);
    }

    /// A field of this mapping.
    pub(super) fn field(&self, key: &str) -> Self {
        Self {
            node: self.node.and_then(|node| node.get(key)),
            path: self.path.key(key),
            problems: self.problems,
        }
    }

    /// Notes a mapping that is none, and whose fields would all seem absent.
    pub(super) fn expect_mapping(&self) -> bool {
        match self.node {
            Some(node) if !matches!(node.value, Value::Map(_)) => {
                self.wrong(node, "a mapping", "write its fields as key: value");
                false
            }
            _ => true,
        }
    }

    /// The entries of a mapping.
    pub(super) fn entries(&self) -> Vec<(&'a str, Self)> {
        let Some(node) = self.node else { return Vec::new() };
        let Value::Map(entries) = &node.value else {
            self.wrong(node, "a mapping", "write its fields as key: value");
            return Vec::new();
        };
        entries
            .iter()
            .filter(|(_, value)| value.value != Value::Null)
            .map(|(key, value)| {
                let entry = Self {
                    node: Some(value),
                    path: self.path.key(key),
                    problems: self.problems,
                };
                (key.as_str(), entry)
            })
            .collect()
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Vec<Self> {
        let Some(node) = self.node else { return Vec::new() };
        let Value::List(items) = &node.value else {
            self.wrong(node, "a list", "write one item a line, each after a '-'");
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| Self {
                node: Some(item),
                path: self.path.index(index),
                problems: self.problems,
            })
            .collect()
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        let node = self.node?;
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        self.wrong(node, "a text", "put it in quotes");
        None
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.items()
            .iter()
            .filter_map(|item| item.text().map(str::to_owned))
            .collect()
    }

    /// A text, or a number as its text.
    pub(super) fn text_or_number(&self) -> Option<&'a str> {
        let node = self.node?;
        match &node.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            _ => {
                self.wrong(
                    node,
                    "a quantity",
                    "write a number with an optional unit, such as 500m or 64Mi",
                );
                None
            }
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let node = self.node?;
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        self.wrong(node, "true or false", "write one of the two, without quotes");
        None
    }

    /// A whole number between two bounds.
    pub(super) fn integer(&self, min: i64, max: i64) -> Option<i64> {
        let node = self.node?;
        let Value::Number(text) = &node.value else {
            self.wrong(node, "a whole number", "write it without quotes");
            return None;
        };
        match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Some(number),
            _ => {
                self.problem(
                    format!("{text} is no whole number between {min} and {max}"),
                    "write one in that range",
                );
                None
            }
        }
    }

    fn wrong(&self, node: &Node, wanted: &str, advice: &'static str) {
        self.problem(format!("is {}, not {wanted}", node.kind()), advice);
    }
}
