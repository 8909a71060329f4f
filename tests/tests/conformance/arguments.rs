//! The arguments that `cargo test` passes on to every test target.

/// Options of the usual test harness that take a value.
const WITH_VALUE: [&str; 7] = [
    "--test-threads",
    "--skip",
    "--format",
    "--color",
    "--logfile",
    "--shuffle-seed",
    "-Z",
];

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// Only name the tests.
    pub(crate) list: bool,
    /// Only ignored tests, of which there are none.
    ignored: bool,
    filters: Vec<String>,
}

impl Arguments {
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut read = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => read.list = true,
                "--ignored" => read.ignored = true,
                option if WITH_VALUE.contains(&option) => {
                    arguments.next();
                }
                option if option.starts_with('-') => {}
                _ => read.filters.push(argument),
            }
        }
        read
    }

    pub(crate) fn chooses(&self, name: &str) -> bool {
        !self.ignored && (self.filters.is_empty() || self.filters.iter().any(|part| name.contains(part)))
    }
}
