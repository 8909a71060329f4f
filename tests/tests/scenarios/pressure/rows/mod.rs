//! The table of scenarios: workload, the right victim or none, the rung, the limits on what else may happen.

mod agent;
mod attribution;
mod blame;
mod dying;
mod growth;
mod ladder;

use std::time::Duration;

use plimsoll::decide::eviction::{EvictionPolicy, Threshold, ThresholdValue};
use plimsoll::model::QosClass::Burstable;
use plimsoll::model::pressure::{Rung, Signal};
use plimsoll_tests::pressure::pod::{Mib, PodSpec, Work};
use plimsoll_tests::pressure::scenario::{Expect, Scenario, Would};

pub(super) use agent::agent;
pub(super) use attribution::attribution;
pub(super) use blame::blame;
pub(super) use dying::dying;
pub(super) use growth::growth;
pub(super) use ladder::ladder;

/// So much anonymous memory.
fn holds(anon: Mib) -> Work {
    Work {
        anon,
        ..Work::default()
    }
}

/// Anonymous memory from `anon` on, at `rate`.
fn grows(anon: Mib, rate: Mib) -> Work {
    Work {
        anon,
        rate,
        ..Work::default()
    }
}

fn grows_to(anon: Mib, rate: Mib, until: Mib) -> Work {
    Work {
        until: Some(until),
        ..grows(anon, rate)
    }
}

fn hog(rate: Mib) -> PodSpec {
    PodSpec::new("hog", Burstable, 64.0, grows(30.0, rate))
}

fn kill_of(name: &'static str) -> Expect {
    Expect {
        victims: vec![name],
        rung: Some(Rung::Kill),
        kernel_would_kill: Some(Would::Somebody),
        ..Expect::default()
    }
}

fn nobody() -> Expect {
    Expect {
        acts: Some(0),
        ..Expect::default()
    }
}

fn with_threshold(signal: Signal, at: ThresholdValue, grace: u64) -> EvictionPolicy {
    let mut policy = EvictionPolicy::default();
    policy.thresholds.push(Threshold {
        signal,
        at,
        grace: Duration::from_secs(grace),
        minimum_reclaim: None,
    });
    policy
}

/// All rows.
pub(super) fn all() -> Vec<Scenario> {
    [growth(), attribution(), blame(), dying(), agent(), ladder()].concat()
}
