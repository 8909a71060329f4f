//! One look at a directory of manifests, or at one file of them, without watching.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Manifests;
use super::directory::{MAX_FILE_BYTES, is_manifest_name, parse, unreadable};
use super::set::{PodSet, merge};
use crate::kernel::files::{self, FileError};

/// The pods of the directory or file `path`; a file may have any name. `node_name` enters the UIDs of pods that have
/// none.
///
/// # Errors
/// There is no such file, or the directory cannot be listed.
pub fn look(path: &Path, node_name: &str) -> Result<PodSet, FileError> {
    let read = |name: &str, path: &Path| {
        let content = files::read_bounded(path, MAX_FILE_BYTES);
        content.map(|(content, _)| parse(name, &content, node_name))
    };
    let mut found: BTreeMap<String, Manifests> = BTreeMap::new();
    if files::directory_id(path).is_ok() {
        for listed in files::list(path, is_manifest_name)? {
            let name = listed.name.to_string_lossy().into_owned();
            let file: PathBuf = path.join(&listed.name);
            let manifests = read(&name, &file).unwrap_or_else(|error| unreadable(&name, &error));
            found.insert(name, manifests);
        }
    } else {
        let name = path.to_string_lossy().into_owned();
        let manifests = read(&name, path)?;
        found.insert(name, manifests);
    }
    Ok(merge(&PodSet::default(), &found))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\n\
                       spec: {containers: [{name: main, command: [sleep, \"1\"]}]}\n";

    #[test]
    fn a_directory_or_a_file_is_read_and_what_is_wrong_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("a.yaml"), POD.replace("NAME", "a")).unwrap();
        fs::write(at("b.yaml"), POD.replace("NAME", "b").replace("Pod", "Job")).unwrap();
        fs::write(at("c.yaml"), POD.replace("NAME", "a")).unwrap();
        fs::write(at("notes"), POD.replace("NAME", "n")).unwrap();
        let set = look(directory.path(), "node").unwrap();
        let names = |set: &PodSet| -> Vec<String> {
            let pods = set.pods.values();
            pods.map(|sourced| sourced.pod.name.to_string()).collect()
        };
        assert_eq!(names(&set), ["a"]);
        let errors: Vec<String> = set.errors.iter().map(ToString::to_string).collect();
        assert!(
            errors.iter().any(|error| error.starts_with("b.yaml")),
            "{errors:?}"
        );
        assert!(
            errors.iter().any(|error| error.contains("is there twice")),
            "{errors:?}"
        );
        assert_eq!(names(&look(&at("notes"), "node").unwrap()), ["n"]);
        assert!(look(&at("absent"), "node").unwrap_err().is_missing());
    }
}
