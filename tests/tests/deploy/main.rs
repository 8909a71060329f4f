//! What `config/deploy` ships: a unit for systemd and manifests for Kubernetes.
//!
//! They are held against the program that they start, its command line, configuration and servers, and against the README.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test target: a failure is the message"
)]

mod capabilities;
mod files;
mod kinds;
mod kubernetes;
mod kustomize;
mod probes;
mod unit;
