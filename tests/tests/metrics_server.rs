//! The HTTP servers over real sockets: what they answer, and what clients cannot do to them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test target: a failure is the message"
)]

use std::sync::Arc;
use std::time::Duration;

use plimsoll::kernel::net;
use plimsoll::metrics::server::{Served, serve_admin, serve_metrics};
use plimsoll::metrics::{Health, Metrics};
use plimsoll::model::sample::{pod, report};
use plimsoll::model::{BootTime, NodeReport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// A running pair of servers.
struct Agent {
    address: std::net::SocketAddr,
    served: Arc<Served>,
    reports: watch::Sender<Arc<NodeReport>>,
    stop: watch::Sender<bool>,
}

async fn start() -> Agent {
    let (reports, receiver) = watch::channel(Arc::new(report(vec![pod("web-0", "shop/web")])));
    let served = Arc::new(Served {
        metrics: Metrics::new(receiver.clone()),
        reports: receiver,
        asks: mpsc::unbounded_channel().0,
        health: Arc::new(Health::new(Duration::from_secs(1))),
        now: Box::new(|| BootTime(Duration::from_secs(100))),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(serve_metrics(listener, Arc::clone(&served), stopped));
    Agent {
        address,
        served,
        reports,
        stop,
    }
}

impl Agent {
    /// Sends these bytes and reads to the end.
    async fn talk(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may hang up before all is sent.
        drop(stream.write_all(request.as_bytes()).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        self.talk(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
            .await
    }
}

#[tokio::test]
async fn metrics_come_in_the_format_asked_for() {
    let agent = start().await;
    let classic = agent.get("/metrics", "").await;
    assert!(classic.starts_with("HTTP/1.1 200 OK\r\n"), "{classic}");
    assert!(classic.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(classic.contains("\n# TYPE container_cpu_usage_seconds_total counter\n"));
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let open = agent.get("/metrics", accept).await;
    assert!(
        open.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n")
    );
    assert!(open.ends_with("# EOF\n"));
}

#[tokio::test]
async fn health_follows_the_reconcile_loop() {
    let agent = start().await;
    assert!(agent.get("/readyz", "").await.starts_with("HTTP/1.1 503"));
    assert!(agent.get("/healthz", "").await.starts_with("HTTP/1.1 200"));
    agent.served.health.pass_done(BootTime(Duration::from_secs(99)));
    assert!(agent.get("/readyz", "").await.starts_with("HTTP/1.1 200"));
    agent.served.health.pass_done(BootTime(Duration::from_secs(10)));
    assert!(
        agent
            .get("/readyz", "")
            .await
            .ends_with("the last reconcile pass ended 90 s ago\n")
    );
    assert!(agent.get("/healthz", "").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let agent = start().await;
    assert!(agent.get("/", "").await.contains("<a href=metrics>"));
    assert!(
        agent.get("/status", "").await.starts_with("HTTP/1.1 404"),
        "pods' details are for the admin socket"
    );
    let post = agent
        .talk("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    let large = agent
        .get("/metrics", &format!("X: {}\r\n", "a".repeat(1 << 20)))
        .await;
    assert!(
        large.is_empty() || large.starts_with("HTTP/1.1 431"),
        "{}",
        &large[..large.len().min(200)]
    );
    let noise = agent.talk("\u{0}\u{1}noise\r\n\r\n").await;
    assert!(noise.is_empty() || noise.starts_with("HTTP/1.1 400"), "{noise}");
}

#[tokio::test]
async fn silent_clients_do_not_keep_a_scrape_out() {
    let agent = start().await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(agent.address).await.unwrap());
    }
    let scrape = tokio::time::timeout(Duration::from_secs(60), agent.get("/metrics", "")).await;
    assert!(scrape.unwrap().starts_with("HTTP/1.1 200"));
    drop(silent);
}

#[tokio::test]
async fn a_scrape_shows_the_last_report() {
    let agent = start().await;
    agent
        .reports
        .send(Arc::new(report(vec![pod("db-0", "shop/db")])))
        .unwrap();
    let text = agent.get("/metrics", "").await;
    assert!(text.contains("pod=\"db-0\"") && !text.contains("pod=\"web-0\""));
}

#[tokio::test]
async fn a_server_that_is_stopped_listens_no_more() {
    let agent = start().await;
    agent.stop.send(true).unwrap();
    while TcpStream::connect(agent.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn commands_ask_over_the_admin_socket() {
    let agent = start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let listener = net::bind_admin(&path).unwrap();
    let (_stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve_admin(listener, Arc::clone(&agent.served), stopped));
    for (words, status) in [
        (["status", "-owide"].as_slice(), 0),
        (&["cpus", "-ojson"], 0),
        (&["cpus", "-owide"], 0),
        (&["explain", "shop/web-0"], 0),
        (&["explain", "web-0/main", "-nshop", "-ojson"], 0),
        (&["explain", "web-0"], 1),
        (&["explain", "shop/web-0/side"], 1),
    ] {
        let mut all = vec!["plimsoll".into()];
        all.extend(words.iter().map(Into::into));
        all.extend(["--socket".into(), path.clone().into_os_string()]);
        let done = tokio::task::spawn_blocking(move || plimsoll::cli::main(all));
        assert_eq!(done.await.unwrap(), status, "{words:?}");
    }
    server.abort();
}

#[tokio::test]
async fn the_admin_socket_tells_the_report_as_it_is() {
    let agent = start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/agent.sock");
    let listener = net::bind_admin(&path).unwrap();
    let (_stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve_admin(listener, Arc::clone(&agent.served), stopped));
    let answer = net::ask(&path, "/status").await.unwrap();
    let told: NodeReport = serde_json::from_slice(&answer).unwrap();
    assert_eq!(told, **agent.reports.borrow());
    let error = net::ask(&path, "/metrics").await.unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
    server.abort();
    net::remove_admin(&path).unwrap();
    assert!(!path.exists());
}
