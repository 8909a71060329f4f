//! What is wrong with a manifest: where, what, and what to do about it.

use std::fmt::{self, Write};

/// Characters of a problem that are shown; a manifest's own text may be of any length.
const SHOWN: usize = 300;

/// A place in a file, both from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line in the file.
    pub line: usize,
    /// Column in characters.
    pub column: usize,
}

/// A file, document or field that cannot be used.
///
/// Its text is safe for a log line: one line, control characters escaped, of bounded length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// File name in the manifest directory; the directory's own path for what concerns all of it.
    pub file: String,
    /// Which document of the file, from 1; `None` for what concerns the file as a whole.
    pub document: Option<usize>,
    /// The field's path, such as `spec.containers[0].name`; empty for what concerns the document as a whole.
    pub field: String,
    /// Where the field is, or where it is missing.
    pub at: Option<Position>,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub advice: &'static str,
}

impl ManifestError {
    /// An error about a whole file.
    pub(super) fn of_file(file: &str, problem: impl Into<String>, advice: &'static str) -> Self {
        Self {
            file: file.to_owned(),
            document: None,
            field: String::new(),
            at: None,
            problem: problem.into(),
            advice,
        }
    }
}

impl std::error::Error for ManifestError {}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Safe(&self.file))?;
        if let Some(document) = self.document {
            write!(f, ", document {document}")?;
        }
        if let Some(at) = self.at {
            write!(f, ", line {}, column {}", at.line, at.column)?;
        }
        f.write_str(": ")?;
        if !self.field.is_empty() {
            write!(f, "{}: ", Safe(&self.field))?;
        }
        write!(f, "{}; {}", Safe(&self.problem), self.advice)
    }
}

/// Text from outside in a log line.
struct Safe<'a>(&'a str);

impl fmt::Display for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, c) in self.0.chars().enumerate() {
            if count == SHOWN {
                return f.write_str("…");
            }
            // Besides control characters: line separators, and what reorders the text around it.
            if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}
