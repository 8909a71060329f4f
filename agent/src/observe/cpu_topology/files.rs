//! Sysfs files as lists and numbers.

use super::CpuTopologyError;
use crate::kernel::node_facts::Machine;
use crate::model::CpuSet;

/// How much of a file's content an error shows.
const SHOWN: usize = 120;

/// Typed access to a machine's files.
pub(super) struct Files<'m>(pub(super) &'m Machine);

impl Files<'_> {
    /// A list of CPUs; none when there is no such file. An unset list may read `(null)`.
    pub(super) fn list(&self, path: &str) -> Result<Option<CpuSet>, CpuTopologyError> {
        let Some(text) = self.text(path)? else {
            return Ok(None);
        };
        if text == "(null)" {
            return Ok(Some(CpuSet::EMPTY));
        }
        let set = CpuSet::parse(&text).map_err(|_| strange(path, &text, "a list of CPUs below 8192"))?;
        Ok(Some(set))
    }

    pub(super) fn required_list(&self, path: &str) -> Result<CpuSet, CpuTopologyError> {
        self.list(path)?.ok_or_else(|| CpuTopologyError::Absent {
            path: path.to_owned(),
        })
    }

    /// A number; none when there is no such file, or the kernel does not know it, which it tells as −1.
    pub(super) fn number(&self, path: &str) -> Result<Option<u32>, CpuTopologyError> {
        match self.text(path)? {
            None => Ok(None),
            Some(text) if text == "-1" => Ok(None),
            Some(text) => {
                let number = text.parse().map_err(|_| strange(path, &text, "a number"))?;
                Ok(Some(number))
            }
        }
    }

    /// Numbers between spaces; none when there is no such file.
    pub(super) fn numbers(&self, path: &str) -> Result<Option<Vec<u32>>, CpuTopologyError> {
        let Some(text) = self.text(path)? else {
            return Ok(None);
        };
        let numbers = text.split_whitespace().map(str::parse);
        let numbers = numbers.collect::<Result<_, _>>();
        numbers
            .map(Some)
            .map_err(|_| strange(path, &text, "numbers between spaces"))
    }

    /// The content without the white space around it; none when there is no such file.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, CpuTopologyError> {
        let text = self.0.read(path)?;
        Ok(text.map(|text| text.trim().to_owned()))
    }

    /// Numbers `n` of the directory's entries named `prefix` and n, ascending; none when there is no such directory.
    pub(super) fn numbered(
        &self,
        directory: &str,
        prefix: &str,
    ) -> Result<Option<Vec<u32>>, CpuTopologyError> {
        let names = self.0.names(directory)?;
        Ok(names.map(|names| {
            let numbers = names
                .iter()
                .filter_map(|name| name.strip_prefix(prefix)?.parse().ok());
            let mut numbers: Vec<u32> = numbers.collect();
            numbers.sort_unstable();
            numbers
        }))
    }
}

pub(super) fn strange(path: &str, value: &str, expected: &'static str) -> CpuTopologyError {
    CpuTopologyError::Strange {
        path: path.to_owned(),
        value: cut(value),
        expected,
    }
}

pub(super) fn contradiction(path: &str, value: &impl ToString, but: String) -> CpuTopologyError {
    CpuTopologyError::Contradiction {
        path: path.to_owned(),
        value: cut(&value.to_string()),
        but,
    }
}

/// The beginning of a value, of which an error message needs no more.
fn cut(value: &str) -> String {
    value.chars().take(SHOWN).collect()
}
