//! Pods from manifests.
//!
//! **Problem.** Anybody may have written a manifest, by hand, and it is read while others' pods run. What can be
//! used must be used exactly as Kubernetes means it; what cannot must be answered with file, document, field, line
//! and what to do, and touch nothing else. **How.** Text → [`documents`] → tree with positions ([`node`]) → fields
//! ([`manifest`]) → defaulting ([`defaults`]) → checks ([`validate`]) → [`Pod`]. [`directory`] watches a directory of such
//! files, [`look`](look()) reads one once, and [`set`] makes one set of pods of them.
//!
//! A pod keeps the name that its manifest gives it. (Kubelet appends the node's name to that of a static pod, to
//! tell apart nodes in the API server's list; there is no such list here.)
//!
//! # Properties
//! - Any text gives pods and errors, quickly; none makes the agent fail.
//! - Every error names its document, a field and a line, or says that it is about the whole file.
//! - A document that is wrong in any way gives no pod.

mod claims;
mod defaults;
pub mod directory;
mod documents;
mod error;
mod field;
mod look;
mod manifest;
mod node;
#[cfg(test)]
mod props;
#[cfg(test)]
mod refusals;
mod set;
#[cfg(test)]
mod tests;
mod uid;
mod validate;

pub use error::{ManifestError, Position};
pub use look::look;
pub use set::{PodChange, PodSet, SourcedPod, diff};

use crate::model::{IdError, Pod};
use documents::{Object, documents, objects};
use field::{Field, FieldPath, Problems};
use node::Node;

/// Errors that are reported of one file.
const MAX_ERRORS: usize = 50;

/// What one file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifests {
    /// The pods of its valid documents, in order.
    pub pods: Vec<ManifestPod>,
    /// What is wrong with the others.
    pub errors: Vec<ManifestError>,
}

/// A pod and where in its file it is.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestPod {
    /// The pod.
    pub pod: Pod,
    /// Its document, from 1.
    pub document: usize,
    /// Its name's place.
    pub at: Position,
}

/// Reads the manifests of a file, defaulted and checked. `file` is for the errors; `node_name` enters the UIDs of
/// pods that have none.
#[must_use]
pub fn read_manifests(file: &str, text: &str, node_name: &str) -> Manifests {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut read = Manifests::default();
    let found = documents(file, text);
    if found.is_empty() {
        let advice = "write a pod into it, or remove the file to remove its pods";
        read.errors.push(ManifestError::of_file(file, "is empty", advice));
    }
    for document in found {
        let document = match document {
            Ok(document) => document,
            Err(error) => {
                read.errors.push(*error);
                continue;
            }
        };
        let file_errors = |problems: Problems| problems.into_errors(file, document.number, &document.root);
        let problems = Problems::default();
        let objects = objects(&document.root, &problems);
        read.errors.extend(file_errors(problems));
        for object in objects {
            let problems = Problems::default();
            match pod(&object, node_name, &problems) {
                Some(pod) if problems.is_empty() => read.pods.push(ManifestPod {
                    pod,
                    document: document.number,
                    at: object.path.key("metadata").key("name").locate(&document.root),
                }),
                _ => read.errors.extend(file_errors(problems)),
            }
        }
    }
    let more = read.errors.len().saturating_sub(MAX_ERRORS);
    if more > 0 {
        read.errors.truncate(MAX_ERRORS);
        let problem = format!("has {more} more errors");
        read.errors.push(ManifestError::of_file(
            file,
            problem,
            "correct the first ones first",
        ));
    }
    read
}

/// One pod, defaulted and checked; it counts only without problems.
fn pod(object: &Object<'_>, node_name: &str, problems: &Problems) -> Option<Pod> {
    let root = Field::new(object.node, object.path.clone(), problems);
    let mut pod = manifest::pod(&root, || uid::derive(object.node, node_name))?;
    pod.is_static = true;
    defaults::apply(&mut pod);
    // What could not be read would be missed again.
    if problems.is_empty() {
        validate::validate(&pod, &object.path, problems);
    }
    Some(pod)
}

/// Reads one `v1.Pod` exactly as it stands, without defaulting and checking: for pods that an API server has
/// defaulted already, and for the conformance vectors.
///
/// # Errors
/// The text is not a readable pod with a UID; the first problem is given.
pub fn pod_as_it_stands(text: &str) -> Result<Pod, Box<ManifestError>> {
    let file = "the pod";
    let node = Node::read(text).map_err(|error| ManifestError {
        at: error.at,
        ..ManifestError::of_file(file, error.message, "correct the text at that place")
    })?;
    let problems = Problems::default();
    let pod = manifest::pod(&Field::new(&node, FieldPath::default(), &problems), || {
        Err(IdError::Empty)
    });
    match (pod, problems.into_errors(file, 1, &node).into_iter().next()) {
        (Some(pod), None) => Ok(pod),
        (_, Some(error)) => Err(Box::new(error)),
        (None, None) => {
            let error = ManifestError::of_file(file, "is no pod", "write metadata and spec");
            Err(Box::new(error))
        }
    }
}
