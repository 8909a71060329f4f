//! Sockets: the metrics port, and the admin socket with both of its ends.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// How long an answer may take, and how large it may be.
const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 256 << 20;

/// What went wrong with a socket.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The port cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which one.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The admin socket cannot be made.
    #[error("cannot make the admin socket {}: {source}", path.display())]
    MakeSocket {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another agent answers on the admin socket.
    #[error("another agent runs already: {} answers", path.display())]
    Running {
        /// Where.
        path: PathBuf,
    },
    /// Nobody answers on the admin socket.
    #[error("cannot reach the agent at {}: {source}", path.display())]
    Connect {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The answer is not what an agent would say.
    #[error("no good answer from {}: {problem}", path.display())]
    Answer {
        /// From where.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Listens for scrapes.
///
/// # Errors
/// The address is in use or not the machine's own.
pub async fn bind_metrics(address: SocketAddr) -> Result<TcpListener, NetError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| NetError::Bind { address, source })
}

/// Makes the admin socket with mode 0600; its directory is made, open to the agent's user alone, if it is absent.
/// What a dead agent left is replaced.
///
/// # Errors
/// Another agent answers there, something else than a socket is there, or the kernel refuses.
pub fn bind_admin(path: &Path) -> Result<UnixListener, NetError> {
    let error = |source| NetError::MakeSocket {
        path: path.to_owned(),
        source,
    };
    if let Some(directory) = path.parent() {
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(error)?;
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(error(io::Error::other("something else than a socket is there")));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(NetError::Running {
                path: path.to_owned(),
            });
        }
        _ => {}
    }
    // The socket gets its mode under another name, so that there is no moment at which others could connect.
    let fresh = fresh_name(path);
    match fs::remove_file(&fresh) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(error(source)),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(error)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).map_err(error)?;
    fs::rename(&fresh, path).map_err(error)?;
    Ok(listener)
}

/// Removes the admin socket at the end. One that is gone is no error.
///
/// # Errors
/// The kernel refuses.
pub fn remove_admin(path: &Path) -> Result<(), NetError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(NetError::MakeSocket {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// A name as long as `path`, so that it fits where `path` does.
fn fresh_name(path: &Path) -> PathBuf {
    let mut name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let last = name.pop();
    name.push(if last == Some('~') { '#' } else { '~' });
    path.with_file_name(name)
}

/// Asks the agent behind the socket `path` for `target`, such as `/status`.
///
/// # Errors
/// Nobody listens, the agent does not answer in time, or not with 200.
pub async fn ask(path: &Path, target: &'static str) -> Result<Vec<u8>, NetError> {
    let stream = UnixStream::connect(path)
        .await
        .map_err(|source| NetError::Connect {
            path: path.to_owned(),
            source,
        })?;
    let answer = |problem: String| NetError::Answer {
        path: path.to_owned(),
        problem,
    };
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let request = Request::get(target)
            .header(header::HOST, "plimsoll")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let talk = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| error.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            if status.is_success() {
                return Ok(body.to_vec());
            }
            Err(format!(
                "{status}: {}",
                String::from_utf8_lossy(&body).escape_debug()
            ))
        };
        // The connection is driven beside the talk; the talk's end is what counts.
        tokio::pin!(connection, talk);
        tokio::select! {
            biased;
            said = &mut talk => said,
            _ = &mut connection => talk.await,
        }
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .map_err(|_| answer(format!("nothing within {} s", PATIENCE.as_secs())))?
        .map_err(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_admin_socket_is_private_and_there_is_one_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/agent.sock");
        let first = bind_admin(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let directory = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(directory.permissions().mode() & 0o777, 0o700);
        assert!(matches!(bind_admin(&path), Err(NetError::Running { .. })));
        drop(first);
        bind_admin(&path).expect("what a dead agent left is replaced");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(bind_admin(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    }

    #[tokio::test]
    async fn asking_nobody_is_an_error_with_the_path() {
        let error = ask(Path::new("/nonexistent/agent.sock"), "/status")
            .await
            .unwrap_err();
        assert!(error.to_string().contains("/nonexistent/agent.sock"), "{error}");
    }
}
