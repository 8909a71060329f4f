//! What this machine's cgroup v2 can do, for choosing between it and a virtual machine.

use std::path::{Path, PathBuf};

/// Where the hierarchy is mounted, if it is.
pub(crate) fn mount() -> Option<PathBuf> {
    parse_mounts(&std::fs::read_to_string("/proc/self/mounts").ok()?)
}

/// Controllers that the hierarchy at `mount` offers.
pub(crate) fn controllers(mount: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn parse_mounts(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_second_version_counts() {
        let text = "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(parse_mounts(text), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(parse_mounts("cgroup2 /x cgroup rw 0 0\n"), None);
    }
}
