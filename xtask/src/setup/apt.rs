//! apt with directories of its own: other suites than the system's, and no trace in the system.
//!
//! The package index, the cache and the sources all live in the lab directory. Packages are downloaded and unpacked,
//! never installed, so their maintainer scripts do not run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::debian_sources::Mirrors;
use crate::{exec, paths};

/// A private apt whose index is at most a day old.
pub(super) struct Apt {
    dir: PathBuf,
}

/// A package that can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) package: String,
    pub(super) version: String,
}

impl Apt {
    pub(super) fn open() -> Result<Apt> {
        ensure!(
            exec::on_path("apt-get") && exec::on_path("dpkg-deb"),
            "this machine has no apt"
        );
        let apt = Apt {
            dir: paths::lab().join("apt"),
        };
        for part in ["state/lists/partial", "cache/archives/partial"] {
            paths::make_dir(&apt.dir.join(part))?;
        }
        let list = Mirrors::of_machine(Path::new("/etc/apt"))?.sources_list();
        let changed = paths::write_if_changed(&apt.dir.join("sources.list"), list.as_bytes())?;
        // apt wants the list of installed packages; an empty one keeps its choices apart from this system's.
        paths::write_if_changed(&apt.dir.join("status"), b"")?;
        if changed || apt.is_stale() {
            apt.update()?;
        }
        Ok(apt)
    }

    /// Fetches the index. One suite that the mirror does not carry must not cost the others.
    fn update(&self) -> Result<()> {
        match exec::output(self.command("apt-get").args(["update", "--quiet=2"])) {
            Ok(_) => Ok(std::fs::write(self.dir.join("updated"), "")?),
            Err(error) if self.has_index() => {
                eprintln!("           some package indices are missing: {error:#}");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn has_index(&self) -> bool {
        let is_index = |name: &str| name.contains("_Packages");
        std::fs::read_dir(self.dir.join("state/lists")).is_ok_and(|mut entries| {
            entries.any(|e| e.is_ok_and(|e| is_index(&e.file_name().to_string_lossy())))
        })
    }

    fn is_stale(&self) -> bool {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let written = std::fs::metadata(self.dir.join("updated")).and_then(|meta| meta.modified());
        !written.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < DAY))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, value: &Path| {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        };
        option("Dir::State", &self.dir.join("state"));
        option("Dir::State::status", &self.dir.join("status"));
        option("Dir::Cache", &self.dir.join("cache"));
        option("Dir::Etc::sourcelist", &self.dir.join("sources.list"));
        for unused in ["sourceparts", "preferences", "preferencesparts"] {
            option(&format!("Dir::Etc::{unused}"), Path::new("/dev/null"));
        }
        // The sandbox user of apt could not write below a home directory, and translations are of no use here.
        command.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"]);
        command
    }

    /// Every package whose name starts with `prefix` and passes `wanted`, in all versions.
    pub(super) fn candidates(&self, prefix: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<Candidate>> {
        let names = exec::output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        let names: Vec<&str> = names.lines().filter(|name| wanted(name)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let table = exec::output(self.command("apt-cache").arg("madison").args(names))?;
        Ok(table.lines().filter_map(parse_madison).collect())
    }

    /// Downloads a package and unpacks what matches the `patterns` of tar into `into`.
    pub(super) fn unpack(&self, candidate: &Candidate, patterns: &[&str], into: &Path) -> Result<()> {
        let archives = self.dir.join("cache/archives");
        let named = format!("{}={}", candidate.package, candidate.version);
        exec::output(
            self.command("apt-get")
                .args(["download", "--quiet=2", &named])
                .current_dir(&archives),
        )?;
        let prefix = format!("{}_", candidate.package);
        let deb = std::fs::read_dir(&archives)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            })
            .with_context(|| format!("apt-get downloaded no archive of {named}"))?;
        paths::make_dir(into)?;
        let mut files = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(&deb)
            .stdout(Stdio::piped())
            .spawn()?;
        let stream = files.stdout.take().context("dpkg-deb has no output")?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--wildcards", "--directory"])
            .arg(into)
            .args(patterns)
            .stdin(stream);
        exec::run(&mut tar)?;
        ensure!(
            files.wait()?.success(),
            "dpkg-deb could not read {}",
            deb.display()
        );
        std::fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))
    }
}

/// The newest of some candidates.
pub(super) fn newest(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates
        .into_iter()
        .max_by_key(|candidate| numbers(&candidate.version))
}

/// The oldest of some candidates.
pub(super) fn oldest(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates
        .into_iter()
        .min_by_key(|candidate| numbers(&candidate.version))
}

/// A version's numbers in order, which is enough to compare versions of one kernel series.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// `package | version | source`, as `apt-cache madison` prints.
fn parse_madison(line: &str) -> Option<Candidate> {
    let mut columns = line.split('|').map(str::trim);
    let (package, version) = (columns.next()?, columns.next()?);
    (!version.is_empty()).then(|| Candidate {
        package: package.to_owned(),
        version: version.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_wins_by_number() {
        let table = "p | 6.12.95-1~bpo12+1 | http://m.example bookworm-backports/main amd64 Packages\n\
                     p | 6.12.107-1 | http://m.example trixie/main amd64 Packages\n\
                     p |  6.12.9-1 | http://m.example trixie/main amd64 Packages\n\
                     N: a remark";
        let candidates: Vec<_> = table.lines().filter_map(parse_madison).collect();
        assert_eq!(candidates.len(), 3);
        assert_eq!(newest(candidates).unwrap().version, "6.12.107-1");
    }
}
