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

use super::error::ManifestError;
use super::{ManifestPod, Manifests};
use crate::model::{Namespace, Pod, PodName, PodUid};

/// A pod and where it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcedPod {
    /// The pod.
    pub pod: Pod,
    /// Name of its file in the manifest directory.
    pub file: String,
    /// Its document in that file, from 1.
    pub document: usize,
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
pub(super) fn succeed(before: &[ManifestPod], read: Manifests) -> Manifests {
    if read.errors.is_empty() {
        return read;
    }
    let mut pods = read.pods;
    let names: BTreeSet<_> = pods.iter().map(|found| name_of(&found.pod)).collect();
    let uids: BTreeSet<_> = pods.iter().map(|found| found.pod.uid.clone()).collect();
    let keeps = |old: &&ManifestPod| !uids.contains(&old.pod.uid) && !names.contains(&name_of(&old.pod));
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
        candidates.extend(
            manifests
                .pods
                .iter()
                .map(|found| (rank(file, &found.pod), file, found)),
        );
    }
    // Stable: within a rank the order of files and documents stays.
    candidates.sort_by_key(|(rank, ..)| *rank);
    let mut names: BTreeMap<(Namespace, PodName), PodUid> = BTreeMap::new();
    for (_, file, found) in candidates {
        let ManifestPod { pod, document, at } = found;
        let name = name_of(pod);
        let by_name = names.get(&name).and_then(|uid| set.pods.get(uid));
        let twice = match (by_name, set.pods.get(&pod.uid)) {
            (Some(other), _) => Some(("metadata.name", other)),
            (None, Some(other)) => Some(("metadata.uid", other)),
            (None, None) => None,
        };
        if let Some((field, other)) = twice {
            let problem = format!(
                "pod {}/{} with UID {} is there twice: document {} of {:?} has pod {}/{} with UID {}",
                name.0,
                name.1,
                pod.uid,
                other.document,
                other.file,
                other.pod.namespace,
                other.pod.name,
                other.pod.uid
            );
            set.errors.push(ManifestError {
                file: file.clone(),
                document: Some(*document),
                field: field.to_owned(),
                at: Some(*at),
                problem,
                advice: "give this pod another name and UID, or remove one of the two",
            });
            continue;
        }
        names.insert(name, pod.uid.clone());
        let sourced = SourcedPod {
            pod: pod.clone(),
            file: file.clone(),
            document: *document,
        };
        set.pods.insert(pod.uid.clone(), sourced);
    }
    set.complete = set.errors.is_empty();
    set
}

fn name_of(pod: &Pod) -> (Namespace, PodName) {
    (pod.namespace.clone(), pod.name.clone())
}
