//! A decision in a sentence, with its numbers.

use std::time::Duration;

use crate::model::Bytes;
use crate::model::pressure::{Act, Domain, Need, PodFacts, PodFigures, Signal};

/// Why something is done, and to whom: what an evicted pod's owner gets to read.
pub(super) fn why(
    need: &Need,
    act: Option<Act>,
    pod: Option<&PodFacts>,
    figures: Option<&PodFigures>,
) -> String {
    let mut text = shortage(need);
    if let Some(time) = need.exhausted_in {
        text += &format!(", and gone in {}", seconds(time));
    }
    if let (Some(pod), Some(figures)) = (pod, figures) {
        let charge = figures.charge.map_or(figures.current, |charge| charge.total());
        text += &format!("; the pod has {}, requests {}", mib(charge), mib(pod.request));
    }
    match act {
        Some(Act::Reclaim { bytes, .. }) => text += &format!("; {} of it are reclaimed", mib(bytes)),
        Some(Act::Throttle { high, .. }) => text += &format!("; it is held at {}", mib(high)),
        Some(Act::Unthrottle { .. }) => text += "; it is held no longer",
        Some(Act::SuppressCpu { milli }) => text += &format!("; BestEffort pods get {milli}m CPU"),
        Some(Act::ReleaseCpu) => text += "; BestEffort pods get their CPU back",
        Some(Act::Evict { grace, .. }) => text += &format!("; it is ended within {}", seconds(grace)),
        Some(Act::Kill { .. }) => text += "; it is killed",
        None => {}
    }
    text
}

fn shortage(need: &Need) -> String {
    let (observed, threshold) = (need.observed, need.threshold);
    match (need.domain, need.signal) {
        (Domain::Pod(_), _) => "the pod is at its own limit, and the node is fine".to_owned(),
        (_, Some(Signal::PressureMemoryFull)) => {
            let percent = |millionths: u64| millionths / 10_000;
            let (observed, threshold) = (percent(observed), percent(threshold));
            format!("everybody waits for memory for {observed} % of the time, over {threshold} %")
        }
        (_, Some(Signal::TimeToExhaustion)) => {
            let time = |nanos| seconds(Duration::from_nanos(nanos));
            format!("memory lasts {}, less than {}", time(observed), time(threshold))
        }
        (_, Some(signal @ (Signal::NodefsInodesFree | Signal::ImagefsInodesFree | Signal::PidAvailable))) => {
            format!("{signal} is {observed}, below {threshold}")
        }
        (_, Some(signal)) => format!(
            "{signal} is {}, below {}",
            mib(Bytes(observed)),
            mib(Bytes(threshold))
        ),
        (Domain::Pods, None) => {
            format!(
                "all pods together have {}, over {}",
                mib(Bytes(observed)),
                mib(Bytes(threshold))
            )
        }
        (Domain::Node, None) => format!("the node has {} left", mib(Bytes(observed))),
    }
}

fn mib(bytes: Bytes) -> String {
    format!("{}Mi", bytes.0 >> 20)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
