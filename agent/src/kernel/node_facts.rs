//! The machine's own description of itself: files of `/proc` and `/sys`, and what the agent costs.
//!
//! Everything is read below a root directory, `/` for the real machine, or out of files held in memory, so that a
//! captured tree can stand in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::{AgentCost, Bytes};

/// No file of interest is larger.
const LARGEST: u64 = 4 << 20;

/// The file that names the machine's start.
pub(crate) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A file that is there and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct FactError {
    /// Which one.
    pub path: PathBuf,
    /// The kernel's answer.
    pub source: io::Error,
}

/// The files of one machine.
#[derive(Debug, Clone)]
pub struct Machine {
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    /// Below this directory.
    Root(PathBuf),
    /// Contents by absolute path.
    Captured(BTreeMap<String, String>),
}

impl Default for Machine {
    fn default() -> Self {
        Self::at("/")
    }
}

impl Machine {
    /// A machine whose files are below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self {
            source: Source::Root(root.into()),
        }
    }

    /// A machine that has these files and no others: contents by absolute path.
    #[must_use]
    pub fn captured(files: BTreeMap<String, String>) -> Self {
        Self {
            source: Source::Captured(files),
        }
    }

    /// The content of a text file; none when there is no such file.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<String>, FactError> {
        let path = match &self.source {
            Source::Root(root) => below(root, path),
            Source::Captured(files) => return Ok(files.get(path).cloned()),
        };
        let read = || -> io::Result<String> {
            let mut text = String::new();
            File::open(&path)?.take(LARGEST).read_to_string(&mut text)?;
            Ok(text)
        };
        absent_is_none(read(), &path)
    }

    /// Names of a directory's entries, sorted; none when there is no such directory.
    ///
    /// # Errors
    /// The directory is there and cannot be read.
    pub fn names(&self, path: &str) -> Result<Option<Vec<String>>, FactError> {
        let path = match &self.source {
            Source::Root(root) => below(root, path),
            Source::Captured(files) => return Ok(entries(files, path)),
        };
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(&path)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Ok(names)
        };
        absent_is_none(list(), &path)
    }

    /// A file's size in bytes; none when there is no such file, or it cannot be seen.
    #[must_use]
    pub fn size(&self, path: &str) -> Option<u64> {
        match &self.source {
            Source::Root(root) => std::fs::metadata(below(root, path)).ok().map(|m| m.len()),
            Source::Captured(files) => u64::try_from(files.get(path)?.len()).ok(),
        }
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Names of what lies directly in `directory`; none when nothing lies below it.
fn entries(files: &BTreeMap<String, String>, directory: &str) -> Option<Vec<String>> {
    let prefix = format!("{}/", directory.trim_end_matches('/'));
    let inside = files.range(prefix.clone()..).map(|(path, _)| path);
    let inside = inside.map_while(|path| path.strip_prefix(&prefix));
    let names: BTreeSet<&str> = inside.filter_map(|rest| rest.split('/').next()).collect();
    (!names.is_empty()).then(|| names.into_iter().map(str::to_owned).collect())
}

fn absent_is_none<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, FactError> {
    match result {
        Ok(value) => Ok(Some(value)),
        // ENOTSUP is how a kernel says that pressure is compiled in and turned off.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Unsupported) => {
            Ok(None)
        }
        Err(source) => Err(FactError {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The whole content of a text file of moderate size, such as a configuration.
///
/// # Errors
/// It is absent, unreadable, too large, or not UTF-8.
pub fn read_text(path: &Path) -> Result<String, FactError> {
    let error = |source| FactError {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(error)?;
    let length = file.take(LARGEST + 1).read_to_string(&mut text).map_err(error)?;
    if u64::try_from(length).is_ok_and(|length| length <= LARGEST) {
        return Ok(text);
    }
    Err(error(io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("it has more than {}", Bytes(LARGEST)),
    )))
}

/// The size of a memory page.
#[must_use]
pub fn page_size() -> Bytes {
    Bytes(u64::try_from(rustix::param::page_size()).unwrap_or(4096))
}

/// The id of the machine's start, from [`BOOT_ID`].
///
/// # Errors
/// The kernel's.
pub(crate) fn boot_id() -> io::Result<String> {
    std::fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned())
}

/// The effective user is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What this process costs; `now` is the time since the Unix epoch. Figures that cannot be read are zero.
#[must_use]
pub fn own_cost(now: Duration) -> AgentCost {
    use procfs::process::Process;

    let Ok(process) = Process::myself() else {
        return AgentCost::default();
    };
    let page = page_size().0;
    let mut cost = AgentCost::default();
    if let Ok(stat) = process.stat() {
        let ticks_per_second = u64::from(u32::try_from(procfs::ticks_per_second()).unwrap_or(100)).max(1);
        let ticks = |n: u64| Duration::from_millis(n.saturating_mul(1000) / ticks_per_second);
        cost.cpu = ticks(stat.utime + stat.stime);
        cost.resident = Bytes(stat.rss.saturating_mul(page));
        cost.virtual_size = Bytes(stat.vsize);
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let up = Duration::from_secs(u64::try_from(boot.tv_sec).unwrap_or_default());
        cost.started_at = now.saturating_sub(up.saturating_sub(ticks(stat.starttime)));
    }
    cost.open_fds = process
        .fd_count()
        .ok()
        .and_then(|n| u64::try_from(n).ok())
        .unwrap_or_default();
    cost.max_fds = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or_default();
    cost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_none_and_what_is_there_is_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "text\n").unwrap();
        let machine = Machine::at(dir.path());
        assert_eq!(machine.read("/a").unwrap().as_deref(), Some("text\n"));
        assert_eq!(machine.read("/b").unwrap(), None);
        assert_eq!(machine.names("/").unwrap(), Some(vec!["a".to_owned()]));
        assert_eq!(machine.names("/c").unwrap(), None);
        assert_eq!(machine.size("/a"), Some(5));
        assert!(machine.read("/").is_err(), "a directory is no text");
    }

    #[test]
    fn the_agents_own_cost_is_known() {
        let now = Duration::from_secs(4_000_000_000);
        let cost = own_cost(now);
        assert!(cost.resident > Bytes::mib(1) && cost.virtual_size >= cost.resident);
        assert!(cost.open_fds >= 3 && cost.max_fds >= cost.open_fds);
        assert!(cost.started_at <= now && cost.started_at > Duration::ZERO);
    }
}
