//! From what each file says to one set of pods, and from one set to the next.
//!
//! Two rules keep a wrong file from disturbing pods that run. *Keep*: while a file has an error, its pods of before
//! stay, unless one of its valid documents takes their place; a file takes pods away only when all of it is valid.
//! *First come*: of two pods with the same UID, or the same namespace and name, the one that is there already
//! stays; among new ones, file names and then documents decide. The other is an error, and takes over once the
//! first is gone.
//!
//! # Properties
//! - No UID and no name is in a set twice.
//! - A pod of the previous set whose file still gives it is in the next set.
//! - The changes between two sets turn the first into the second.

use std::collections::{BTreeMap, BTreeSet};

use super::Manifests;
use super::error::ManifestError;
use crate::model::{Namespace, Pod, PodName, PodUid};

/// A pod and where it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcedPod {
    /// The pod.
    pub pod: Pod,
    /// Name of its file in the manifest directory.
    pub file: String,
}

/// All pods of a directory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodSet {
    /// The pods that should run.
    pub pods: BTreeMap<PodUid, SourcedPod>,
    /// What could not be used, by file name and document.
    pub errors: Vec<ManifestError>,
    /// Whether all of the directory could be read and used. While it is not, a pod that runs but is not in the set
    /// may well be in what could not be read: it is not to be stopped.
    pub complete: bool,
}

/// One step from a set to the next.
#[derive(Debug, Clone, PartialEq)]
pub enum PodChange {
    /// A pod that was not there.
    Added(SourcedPod),
    /// The same UID with another content: only a pod with a UID of its own in the manifest can change so.
    Updated(SourcedPod),
    /// A pod that is not there any more.
    Removed(PodUid),
}

/// The steps from `before` to `after`, removals first, so that a name is free before it is used again.
#[must_use]
pub fn diff(before: &PodSet, after: &PodSet) -> Vec<PodChange> {
    let gone = before.pods.keys().filter(|uid| !after.pods.contains_key(uid));
    let kept = after
        .pods
        .iter()
        .filter_map(|(uid, now)| match before.pods.get(uid) {
            None => Some(PodChange::Added(now.clone())),
            // Which file a pod is in does not matter to it.
            Some(old) if old.pod != now.pod => Some(PodChange::Updated(now.clone())),
            Some(_) => None,
        });
    gone.cloned().map(PodChange::Removed).chain(kept).collect()
}

/// A file's pods after it was read again: rule *keep*.
pub(super) fn succeed(before: &[Pod], read: Manifests) -> Manifests {
    if read.errors.is_empty() {
        return read;
    }
    let mut pods = read.pods;
    let replaced: BTreeSet<_> = pods.iter().map(name_of).collect();
    let uids: BTreeSet<_> = pods.iter().map(|pod| pod.uid.clone()).collect();
    let keeps = |pod: &&Pod| !uids.contains(&pod.uid) && !replaced.contains(&name_of(pod));
    pods.extend(before.iter().filter(keeps).cloned());
    Manifests {
        pods,
        errors: read.errors,
    }
}

/// One set of all files: rule *first come*.
pub(super) fn merge<'a>(
    previous: &PodSet,
    files: impl IntoIterator<Item = (&'a String, &'a Manifests)>,
) -> PodSet {
    let owners: BTreeMap<_, _> = previous
        .pods
        .values()
        .map(|sourced| (name_of(&sourced.pod), sourced.file.as_str()))
        .collect();
    let rank = |file: &str, pod: &Pod| {
        let stays = previous.pods.get(&pod.uid).is_some_and(|old| old.file == file);
        let succeeds = owners.get(&name_of(pod)) == Some(&file);
        match (stays, succeeds) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        }
    };
    let mut set = PodSet::default();
    let mut candidates = Vec::new();
    for (file, manifests) in files {
        set.errors.extend(manifests.errors.iter().cloned());
        candidates.extend(manifests.pods.iter().map(|pod| (rank(file, pod), file, pod)));
    }
    // Stable: within a rank the order of files and documents stays.
    candidates.sort_by_key(|(rank, ..)| *rank);
    let mut names: BTreeMap<(Namespace, PodName), &str> = BTreeMap::new();
    for (_, file, pod) in candidates {
        let name = name_of(pod);
        let same_uid = set.pods.get(&pod.uid).map(|other| other.file.clone());
        let same_name = names.get(&name).map(|&file| file.to_owned());
        let (what, other) = match (same_name, same_uid) {
            (Some(other), _) => (format!("the name {}/{}", name.0, name.1), other),
            (None, Some(other)) => (format!("the UID {}", pod.uid), other),
            (None, None) => {
                names.insert(name, file);
                let sourced = SourcedPod {
                    pod: pod.clone(),
                    file: file.clone(),
                };
                set.pods.insert(pod.uid.clone(), sourced);
                continue;
            }
        };
        set.errors.push(ManifestError::of_file(
            file,
            format!(
                "pod {}/{} is there twice: {what} belongs to a pod in {other:?}",
                pod.namespace, pod.name
            ),
            "give this pod another name and UID, or remove one of the two",
        ));
    }
    set.complete = set.errors.is_empty();
    set
}

fn name_of(pod: &Pod) -> (Namespace, PodName) {
    (pod.namespace.clone(), pod.name.clone())
}
