//! Which Debian mirror this machine uses.
//!
//! Read from apt's own configuration in both of its formats, so that no host name stands in this project and a
//! machine behind a local mirror keeps using it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// One configured place for binary packages, with all its suites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) uri: String,
    pub(super) suites: Vec<String>,
    pub(super) keyring: Option<PathBuf>,
}

/// The mirrors of the Debian archive and of its security updates.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mirrors {
    archive: Source,
    security: Option<Source>,
}

impl Mirrors {
    /// Reads the machine's configuration below `etc` (`/etc/apt`).
    ///
    /// # Errors
    /// When no source offers a release of Debian.
    pub(super) fn of_machine(etc: &Path) -> Result<Mirrors> {
        let mut sources = parse_list(&std::fs::read_to_string(etc.join("sources.list")).unwrap_or_default());
        let mut parts: Vec<PathBuf> = std::fs::read_dir(etc.join("sources.list.d"))
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default();
        parts.sort();
        for part in parts {
            let text =
                || std::fs::read_to_string(&part).with_context(|| format!("cannot read {}", part.display()));
            match part.extension().and_then(|extension| extension.to_str()) {
                Some("list") => sources.extend(parse_list(&text()?)),
                Some("sources") => sources.extend(parse_deb822(&text()?)),
                _ => {}
            }
        }
        Self::choose(&sources).context("apt is not configured with a mirror of Debian on this machine")
    }

    fn choose(sources: &[Source]) -> Option<Mirrors> {
        const RELEASES: [&str; 6] = ["bookworm", "trixie", "forky", "stable", "testing", "sid"];
        let offers = |source: &&Source| {
            source
                .suites
                .iter()
                .any(|suite| RELEASES.contains(&suite.as_str()))
        };
        let secures = |source: &&Source| source.suites.iter().any(|suite| suite.ends_with("-security"));
        let archive = sources.iter().find(offers)?.clone();
        Some(Mirrors {
            archive,
            security: sources.iter().find(secures).cloned(),
        })
    }

    /// The same mirrors as lines of a `sources.list` with the suites that hold the lab's kernels.
    pub(super) fn sources_list(&self) -> String {
        let line = |source: &Source, suite: &str| {
            let signed = source
                .keyring
                .as_ref()
                .map(|key| format!(" [signed-by={}]", key.display()));
            format!("deb{} {} {suite} main\n", signed.unwrap_or_default(), source.uri)
        };
        let mut list = String::new();
        for release in ["bookworm", "trixie"] {
            list += &line(&self.archive, release);
            list += &line(&self.archive, &format!("{release}-backports"));
            if let Some(security) = &self.security {
                list += &line(security, &format!("{release}-security"));
            }
        }
        list
    }
}

/// `deb [signed-by=KEY arch=…] URI SUITE COMPONENT…`, one a line.
fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_list_line).collect()
}

fn parse_list_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => ("", rest),
    };
    let keyring = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    let mut words = rest.split('#').next()?.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    words.any(|component| component == "main").then(|| Source {
        uri: uri.to_owned(),
        suites: vec![suite.to_owned()],
        keyring: keyring.map(PathBuf::from),
    })
}

/// Paragraphs of `Field: value`, where a value goes on in lines that start with a space.
fn parse_deb822(text: &str) -> Vec<Source> {
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect();
    text.split("\n\n").filter_map(parse_paragraph).collect()
}

fn parse_paragraph(paragraph: &str) -> Option<Source> {
    let unfolded = paragraph.replace("\n ", " ").replace("\n\t", " ");
    let field = |wanted: &str| {
        unfolded.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let lists = |name: &str, word: &str| field(name).is_some_and(|v| v.split_whitespace().any(|w| w == word));
    if !lists("Types", "deb") || !lists("Components", "main") || field("Enabled") == Some("no") {
        return None;
    }
    Some(Source {
        uri: field("URIs")?.split_whitespace().next()?.to_owned(),
        suites: field("Suites")?.split_whitespace().map(str::to_owned).collect(),
        // The field may hold the key itself instead of a path; apt's trusted keys serve then.
        keyring: field("Signed-By")
            .filter(|value| value.starts_with('/'))
            .map(PathBuf::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suites: &[&str], keyring: Option<&str>) -> Source {
        let suites = suites.iter().map(|&suite| suite.to_owned()).collect();
        Source {
            uri: uri.to_owned(),
            suites,
            keyring: keyring.map(PathBuf::from),
        }
    }

    #[test]
    fn one_line_sources_are_read() {
        let text = "# deb http://old.example bookworm main\n\
                    deb-src http://m.example/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm main contrib # note\n\
                    deb http://m.example/debian bookworm non-free\n\
                    deb\thttp://s.example bookworm-security main\n";
        let expected = [
            source("http://m.example/debian", &["bookworm"], Some("/k.gpg")),
            source("http://s.example", &["bookworm-security"], None),
        ];
        assert_eq!(parse_list(text), expected);
    }

    #[test]
    fn deb822_sources_are_read() {
        let text = "Types: deb deb-src\n# a note\nURIs: http://m.example/debian\nSuites: bookworm\n bookworm-updates\n\
                    Components: main\nSigned-By: /k.gpg\n\nTypes: deb\nEnabled: no\nURIs: http://off.example\n\
                    Suites: trixie\nComponents: main\n\nTypes: deb\nURIs: http://i.example\nSuites: sid\nComponents: main\n\
                    Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n";
        let expected = [
            source(
                "http://m.example/debian",
                &["bookworm", "bookworm-updates"],
                Some("/k.gpg"),
            ),
            source("http://i.example", &["sid"], None),
        ];
        assert_eq!(parse_deb822(text), expected);
    }

    #[test]
    fn other_vendors_are_not_taken_for_debian() {
        let vendor = source("http://v.example", &["nodistro"], None);
        assert_eq!(Mirrors::choose(std::slice::from_ref(&vendor)), None);
        let debian = source("http://m.example", &["bookworm"], Some("/k"));
        let mirrors = Mirrors::choose(&[vendor, debian]).unwrap();
        let list = mirrors.sources_list();
        assert!(
            list.contains("deb [signed-by=/k] http://m.example trixie-backports main\n"),
            "{list}"
        );
        assert!(!list.contains("security"), "{list}");
    }
}
