//! What the event loop waits for, and what eBPF told.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::Agent;
use super::engine::{FileWrite, OomVictim, Writer};
use crate::kernel::clock::{Clock, RealClock};
use crate::kernel::readiness::Readiness;
use crate::model::{BootTime, ExitStatus, ProcessIdentity};
use crate::observe::probes::ProbeEvent;

/// Resolves at `when`, or never.
pub(super) async fn at(when: Option<BootTime>) {
    match when {
        Some(when) => tokio::time::sleep(when.since(RealClock.now())).await,
        None => std::future::pending().await,
    }
}

/// Resolves to the name of the first signal that asks the agent to stop.
pub(super) fn stop_signals() -> io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// Says so once a process has ended.
pub(super) fn watch_process(
    readiness: Readiness,
    identity: ProcessIdentity,
    ended: mpsc::UnboundedSender<ProcessIdentity>,
) {
    tokio::spawn(async move {
        if let Err(error) = readiness.readable().await {
            debug!(%error, "the event loop is going");
        }
        if ended.send(identity).is_err() {
            debug!(pid = identity.pid, "a process ended while the agent is going");
        }
    });
}

impl Agent {
    /// Hands what eBPF told to the engine.
    pub(super) fn take_probe_events(&mut self) {
        self.take_exits();
    }

    /// The same, and how processes ended.
    pub(super) fn take_exits(&mut self) -> Vec<(u32, ExitStatus)> {
        let now = RealClock.now();
        let mut exits = Vec::new();
        let mut writes = Vec::new();
        let mut oom_killed = false;
        let (events, lost) = self.watching.drain();
        for event in events {
            let counters = self.engine.counters();
            match event {
                ProbeEvent::CgroupMade { at, .. } => {
                    counters.events("cgroup_made", 1);
                    counters.cgroup_discovered(now.since(at));
                }
                ProbeEvent::CgroupRemoved { totals, .. } => {
                    counters.events("cgroup_removed", 1);
                    counters.cgroup_ended(totals.on_cpu.unwrap_or_default());
                }
                ProbeEvent::Populated { id, populated, .. } => {
                    counters.events("cgroup_populated", 1);
                    if !populated {
                        self.engine.cgroup_emptied(id, now);
                    }
                }
                ProbeEvent::Exec { .. } => counters.events("exec", 1),
                ProbeEvent::Exit { pid, status, .. } => {
                    counters.events("exit", 1);
                    exits.push((pid, status));
                }
                ProbeEvent::OomVictim {
                    at,
                    pid,
                    comm,
                    cgroup,
                    trigger_pid,
                    usage,
                    limit,
                    ..
                } => {
                    counters.events("oom_victim", 1);
                    oom_killed = true;
                    self.engine.oom_victim(
                        OomVictim {
                            at,
                            pid,
                            comm,
                            cgroup,
                            trigger_pid: Some(trigger_pid),
                            usage,
                            limit,
                        },
                        now,
                    );
                }
                ProbeEvent::OomDomain { cgroup, .. } => {
                    counters.events("oom_domain", 1);
                    self.engine.oom_domain(cgroup.map(|(id, ..)| id));
                }
                ProbeEvent::FileWritten {
                    cgroup,
                    file,
                    pid,
                    comm,
                    ..
                } => {
                    counters.events("file_written", 1);
                    let writer = Writer { pid, comm };
                    writes.push(FileWrite { cgroup, file, writer });
                }
            }
        }
        let drifted = self.engine.files_written(writes);
        for (object, lost) in lost {
            warn!(
                object,
                lost, "events of a probe were lost; the tree is looked at anew"
            );
            self.engine.counters().events_lost(object, lost);
            self.engine.look_anew();
        }
        if oom_killed || drifted {
            self.engine.settle(now);
        }
        self.stale = true;
        exits
    }
}
