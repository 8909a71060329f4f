//! Asking the running agent.

use std::io;
use std::path::{Path, PathBuf};

use super::{Failure, UNAVAILABLE, load};
use crate::kernel::net::{self, NetError};
use crate::model::NodeReport;

/// What the agent said.
pub(super) struct Answer {
    /// Its own words.
    pub(super) text: String,
    /// The same, understood.
    pub(super) report: NodeReport,
}

/// The socket that was named, or the one of the configuration.
pub(super) fn socket(socket: Option<PathBuf>, config: Option<&Path>) -> Result<PathBuf, Failure> {
    match socket {
        Some(socket) => Ok(socket),
        None => Ok(load(config)?.admin_socket.to_path_buf()),
    }
}

/// The report of the agent at this socket.
pub(super) fn ask(socket: &Path) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let answer = runtime.block_on(net::ask(socket, "/status")).map_err(|error| match error {
        NetError::Connect { ref source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Failure::failed(
            format!("{error}: only the agent's own user may ask; try again as root"),
        ),
        NetError::Connect { .. } => Failure {
            status: UNAVAILABLE,
            message: format!(
                "{error}: start it with `plimsoll run`, or name its socket with --socket or its configuration with --config"
            ),
        },
        _ => Failure::failed(error),
    })?;
    let report = serde_json::from_slice(&answer).map_err(|error| {
        Failure::failed(format!(
            "the agent's answer does not read, is it another version? {error}"
        ))
    })?;
    Ok(Answer {
        text: String::from_utf8_lossy(&answer).into_owned(),
        report,
    })
}
