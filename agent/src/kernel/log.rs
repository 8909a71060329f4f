//! Log output: one subscriber for the whole process, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; colours on a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// A filter that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "{filter:?} is no log level: write error, warn, info, debug, trace, or a list such as info,plimsoll::act=debug"
)]
pub struct LogFilterError {
    filter: String,
}

/// Starts logging what passes `filter`. A second start in one process changes nothing.
///
/// Both formats escape control characters of what is logged, so that no value can forge a line.
///
/// # Errors
/// The filter does not read.
pub fn start(format: LogFormat, filter: &str) -> Result<(), LogFilterError> {
    let env_filter = EnvFilter::builder().parse(filter).map_err(|_| LogFilterError {
        filter: filter.to_owned(),
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(env_filter)
        .with_writer(io::stderr);
    let started = match format {
        LogFormat::Human => {
            // The journal and containers' logs stamp the lines themselves.
            let builder = builder.with_ansi(io::stderr().is_terminal()).with_target(false);
            if std::env::var_os("JOURNAL_STREAM").is_some() {
                builder.without_time().try_init()
            } else {
                builder.try_init()
            }
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // An error means that a subscriber is there already, as in tests: that one stays.
    drop(started);
    Ok(())
}
