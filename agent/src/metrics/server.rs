//! The HTTP servers: metrics and health on TCP, status on a unix socket.
//!
//! **Problem.** A port that anything on the node can open must not be able to hold up or fill up the agent.
//! **How.** One request a connection, a deadline for the whole of it, a bound on the size of the request's head and
//! on the number of connections; bodies of requests are never read. A client that is slow, silent or greedy loses
//! its connection, nothing else.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{Format, Health, Metrics, NotReady, Reports};
use crate::model::BootTime;

/// From accepting a connection to its end, sending included.
const DEADLINE: Duration = Duration::from_secs(10);
/// For the request's head alone.
const HEAD_DEADLINE: Duration = Duration::from_secs(3);
/// The size of a request's head; more is refused.
const HEAD_BYTES: usize = 16 << 10;
/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 32;
/// After a failed accept, which is nearly always a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What the servers tell about.
pub struct Served {
    /// `/metrics`.
    pub metrics: Metrics,
    /// `/status`.
    pub reports: Reports,
    /// Where a report of this moment is asked for before one is told: making one costs too much to do it unasked.
    pub asks: mpsc::UnboundedSender<Ask>,
    /// `/healthz` and `/readyz`.
    pub health: Arc<Health>,
    /// The clock that health is told by.
    pub now: Box<dyn Fn() -> BootTime + Send + Sync>,
}

/// A question for a report of this moment: dropped once one is published.
pub type Ask = oneshot::Sender<Infallible>;

impl Served {
    /// Waits for a report of this moment. Where nobody makes one any more the last one stays.
    async fn refresh(&self) {
        let (ask, answer) = oneshot::channel();
        if self.asks.send(ask).is_ok() {
            // The question being dropped is the answer.
            drop(answer.await);
        }
    }
}

/// Serves `/metrics`, `/healthz`, `/readyz` and an index until `stop` is true or its sender is gone.
pub async fn serve_metrics(listener: TcpListener, served: Arc<Served>, stop: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(served);
    serve(listener, router, stop).await;
}

/// Serves `/status` and `/healthz` on the admin socket until `stop` is true or its sender is gone.
pub async fn serve_admin(listener: UnixListener, served: Arc<Served>, stop: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/status", get(status))
        .route("/healthz", get(healthz))
        .with_state(served);
    serve(listener, router, stop).await;
}

/// A socket that connections come in on.
trait Accept {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        TcpListener::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        UnixListener::accept(self).await.map(|(stream, _)| stream)
    }
}

async fn serve(listener: impl Accept, router: Router, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, stream) = tokio::select! {
            accepted = accepted => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Ok(stream) = stream else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            let _permit = permit;
            connection(stream, router).await;
        });
    }
}

async fn connection<S>(stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // How a client's connection ended, in time or not, is the client's business.
    drop(tokio::time::timeout(DEADLINE, served).await);
}

type Shared = State<Arc<Served>>;

async fn index() -> Response {
    let page = concat!(
        "<!doctype html><title>Plimsoll</title><h1>Plimsoll ",
        env!("CARGO_PKG_VERSION"),
        "</h1><ul><li><a href=metrics>/metrics</a><li><a href=healthz>/healthz</a><li><a href=readyz>/readyz</a></ul>\n"
    );
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

async fn metrics(State(served): Shared, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept);
    served.refresh().await;
    match served.metrics.scrape(format) {
        Ok(text) => (
            [(header::CONTENT_TYPE, format.content_type())],
            Body::from(Bytes::from_owner(text)),
        )
            .into_response(),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "a metric could not be encoded\n",
        )
            .into_response(),
    }
}

async fn healthz(State(served): Shared) -> Response {
    verdict(served.health.alive((served.now)()))
}

async fn readyz(State(served): Shared) -> Response {
    verdict(served.health.ready((served.now)()))
}

fn verdict(health: Result<(), NotReady>) -> Response {
    match health {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn status(State(served): Shared) -> Response {
    served.refresh().await;
    let report = Arc::clone(&served.reports.borrow());
    axum::Json(report.as_ref()).into_response()
}
