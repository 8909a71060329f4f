//! Telling systemd how the agent is. Without systemd (`NOTIFY_SOCKET` is not set) nothing happens.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// The agent works; shown beside it: `status`.
///
/// # Errors
/// The socket is set and cannot be written to.
pub fn ready(status: &str) -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
}

/// The agent stops; pods run on.
///
/// # Errors
/// As [`ready`].
pub fn stopping() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Stopping])
}

/// The agent is alive. Call it after each reconcile pass, and only then: a hung loop must not look alive.
///
/// # Errors
/// As [`ready`].
pub fn watchdog() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Watchdog])
}

/// How often systemd wants [`watchdog`], if at all; call it at half this period or faster.
#[must_use]
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}
