//! What kubelet and Prometheus ask for is served, where they ask for it.

use std::sync::Arc;
use std::time::Duration;

use plimsoll::metrics::server::{Served, serve_metrics};
use plimsoll::metrics::{Health, Metrics};
use plimsoll::model::BootTime;
use plimsoll::model::sample::report;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::files::configuration;
use crate::kubernetes::daemon_set;
use crate::kustomize::kubernetes;

#[test]
fn the_port_is_the_same_everywhere_and_the_pods() {
    let address = configuration(&kubernetes().join("base/plimsoll.yaml"))
        .metrics_bind_address
        .unwrap();
    assert!(address.ip().is_unspecified(), "kubelet asks at the pod's address");
    let template = daemon_set().spec.template;
    let container = &template.spec.containers[0];
    let [port] = container.ports.as_slice() else {
        panic!("one port: {container:?}");
    };
    assert_eq!(port.container_port, address.port());
    assert_eq!(
        template.metadata.annotations["prometheus.io/port"],
        address.port().to_string()
    );
    assert_eq!(template.metadata.annotations["prometheus.io/scrape"], "true");
    for probe in [
        &container.startup_probe,
        &container.readiness_probe,
        &container.liveness_probe,
    ] {
        assert_eq!(probe.http_get.port, port.name);
        assert!(probe.timeout_seconds <= probe.period_seconds);
    }
    // Health itself waits for a minute before it calls the loop hung.
    assert_eq!(container.liveness_probe.http_get.path, "/healthz");
    assert_eq!(container.readiness_probe.http_get.path, "/readyz");
    let patience = container.startup_probe.period_seconds * container.startup_probe.failure_threshold;
    assert!(patience >= 300, "the first pass may have much to do");
}

#[tokio::test]
async fn every_path_that_is_asked_for_is_answered() {
    let (_reports, receiver) = watch::channel(Arc::new(report(Vec::new())));
    let now = BootTime(Duration::from_secs(1));
    let health = Health::new(Duration::from_secs(1));
    health.pass_done(now);
    let served = Arc::new(Served {
        metrics: Metrics::new(receiver.clone()),
        reports: receiver,
        asks: mpsc::unbounded_channel().0,
        health: Arc::new(health),
        now: Box::new(move || now),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(serve_metrics(listener, served, stopped));

    let template = daemon_set().spec.template;
    let container = &template.spec.containers[0];
    for path in [
        &container.startup_probe.http_get.path,
        &container.readiness_probe.http_get.path,
        &container.liveness_probe.http_get.path,
        &template.metadata.annotations["prometheus.io/path"],
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
}
