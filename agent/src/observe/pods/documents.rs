//! A file's documents, and the pods in them.
//!
//! Documents are split before they are read, so that one that is broken does not take the others with it: YAML
//! allows a line that begins with `---` nowhere but between documents. A document is a `v1` `Pod`, or a `v1` `List`
//! or `PodList` of them. A document without content (comments only) is none.

use super::error::{ManifestError, Position};
use super::field::{FieldPath, Problems};
use super::node::{Node, Value};

/// Documents that one file may have; what follows them is refused unread.
const MAX_DOCUMENTS: usize = 1000;

/// One document of a file.
pub(super) struct Document {
    /// From 1.
    pub(super) number: usize,
    pub(super) root: Node,
}

/// One pod's place in a document.
pub(super) struct Object<'a> {
    pub(super) node: &'a Node,
    pub(super) path: FieldPath,
}

/// The documents of `text`, each read or refused for itself.
pub(super) fn documents(file: &str, text: &str) -> Vec<Result<Document, Box<ManifestError>>> {
    let mut number = 0;
    split(text)
        .into_iter()
        .filter(|(_, text)| has_content(text))
        .filter_map(|(first_line, text)| {
            number += 1;
            if number > MAX_DOCUMENTS {
                return (number == MAX_DOCUMENTS + 1).then(|| {
                    let problem = format!("has more than {MAX_DOCUMENTS} documents");
                    Err(Box::new(ManifestError::of_file(file, problem, "split the file")))
                });
            }
            let down = |at: Position| Position {
                line: at.line + first_line - 1,
                ..at
            };
            match Node::read(text) {
                Ok(root) if root.value == Value::Null => None,
                Ok(mut root) => {
                    root.shift(first_line - 1);
                    Some(Ok(Document { number, root }))
                }
                Err(error) => Some(Err(Box::new(ManifestError {
                    file: file.to_owned(),
                    document: Some(number),
                    field: String::new(),
                    at: error.at.map(down),
                    problem: format!("is not YAML or JSON that can be used: {}", error.message),
                    advice: "correct the text at that place",
                }))),
            }
        })
        .collect()
}

/// The pods of a document, with their own fields not yet looked at.
pub(super) fn objects<'a>(root: &'a Node, problems: &Problems) -> Vec<Object<'a>> {
    let path = FieldPath::default();
    let of = |node: &'a Node, field| match node.get(field) {
        Some(Node {
            value: Value::Text(text),
            ..
        }) => Some(text.as_str()),
        _ => None,
    };
    let advice = "write apiVersion: v1 and kind: Pod; the agent runs pods only, or a v1 List of them";
    if !matches!(root.value, Value::Map(_)) {
        problems.add(&path, format!("is {}, not a pod", root.kind()), advice);
        return Vec::new();
    }
    match (of(root, "apiVersion"), of(root, "kind")) {
        (Some("v1"), Some("Pod")) => vec![Object { node: root, path }],
        (Some("v1"), Some(list @ ("List" | "PodList"))) => {
            let path = path.key("items");
            let items = match root.get("items").map(|items| &items.value) {
                Some(Value::List(items)) => items.as_slice(),
                None => &[],
                Some(_) => {
                    problems.add(&path, "is not a list", "write one pod a '-'");
                    &[]
                }
            };
            let mut found = Vec::new();
            for (index, node) in items.iter().enumerate() {
                let path = path.index(index);
                match (of(node, "apiVersion"), of(node, "kind")) {
                    (Some("v1"), Some("Pod")) => found.push(Object { node, path }),
                    (None, None) if list == "PodList" => found.push(Object { node, path }),
                    (version, kind) => problems.add(&path, not_a_pod(version, kind), advice),
                }
            }
            found
        }
        (version @ (None | Some("v1")), kind) => {
            let field = if version.is_none() { "apiVersion" } else { "kind" };
            problems.add(&path.key(field), not_a_pod(version, kind), advice);
            Vec::new()
        }
        (version, kind) => {
            problems.add(&path.key("apiVersion"), not_a_pod(version, kind), advice);
            Vec::new()
        }
    }
}

fn not_a_pod(version: Option<&str>, kind: Option<&str>) -> String {
    let shown = |part: Option<&str>, what| {
        part.map_or_else(|| format!("no {what}"), |part| format!("{what} {part:?}"))
    };
    format!("has {} and {}", shown(version, "apiVersion"), shown(kind, "kind"))
}

/// The parts between separator lines, each with the number of its first line. A separator belongs to the part
/// that it begins.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let separates = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if separates && offset > start {
            parts.push((first_line, &text[start..offset]));
            (start, first_line) = (offset, index + 1);
        }
        offset += line.len();
    }
    parts.push((first_line, &text[start..]));
    parts
}

/// Whether there is more than comments, blank lines and a separator.
fn has_content(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        !line.is_empty() && !line.starts_with('#') && line != "..."
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_at_separator_lines_and_know_their_lines() {
        let parts = split("a: 1\n---\nb: 2\n--- # c\n- |\n ---\n  ----\n");
        assert_eq!(
            parts,
            [
                (1, "a: 1\n"),
                (2, "---\nb: 2\n"),
                (4, "--- # c\n- |\n ---\n  ----\n")
            ]
        );
        assert_eq!(split("---\na: 1"), [(1, "---\na: 1")]);
        assert_eq!(split(""), [(1, "")]);
    }

    #[test]
    fn a_broken_document_leaves_the_others_and_its_line_counts_from_the_files_start() {
        let found = documents("f", "a: 1\n---\n# nothing\n---\nb: [\n---\nc: 3\n");
        assert_eq!(found.len(), 3);
        let broken = found[1].as_ref().err().unwrap();
        assert_eq!(broken.document, Some(2));
        assert!((5..=6).contains(&broken.at.unwrap().line), "{broken}");
        let last = found[2].as_ref().unwrap();
        assert_eq!(last.root.get("c").unwrap().at, Position { line: 7, column: 4 });
    }
}
