//! What to do about a file that holds something else than was set.
//!
//! **Problem.** To write again at once is right when systemd was reloaded, and a war without end when somebody else wants
//! another value. To write again in silence hides the war, to let go in silence loses the value. **How.** Whose file it is
//! ([`Rule`]) and the switch say whether to write at all. Then each file has its own patience: a wait that doubles with each
//! write, so many writes in a window, and after that it is given up, said loudly and once. Given up, it is tried again when
//! nobody has touched it for long; given up several times without its having held meanwhile, it is left for good, which is
//! until something else is wanted of it ([`DriftMemory::forget`](crate::state::drift::DriftMemory::forget)).
//!
//! # Properties
//! - What is theirs, and what is not enforced, is never written.
//! - In no window are there more writes than the limit, whatever the other side does.
//! - Against one who overwrites each time there are so many writes in all, and then silence; when the other side stops, at
//!   most one more write.
//! - To have given up is said once for each time.

#[cfg(test)]
mod props;

use std::fmt;
use std::time::Duration;

use super::ownership::Rule;
use crate::model::{BootTime, Occasion, Owner, Switch};
use crate::state::drift::DriftHistory;

/// How long to insist on a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriftLimits {
    /// The wait after the first write; it doubles with each one more.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// Writes of one file in a window, at most.
    pub most: usize,
    /// The window.
    pub window: Duration,
    /// After how long without a change it is tried again, and what holds that long has held; the window if that is longer.
    pub quiet: Duration,
    /// How often it is given up before it is left for good.
    pub give_ups: u32,
}

impl Default for DriftLimits {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_mins(1),
            most: 5,
            window: Duration::from_mins(10),
            quiet: Duration::from_mins(30),
            give_ups: 3,
        }
    }
}

/// What is there instead of the value that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign<'a> {
    /// The content.
    pub seen: &'a str,
    /// Whether it is known to have been written just now, by an event of the kernel.
    pub event: bool,
}

/// Why a value is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yielding {
    /// The file is its owner's to set.
    Theirs(Owner),
    /// Its enforcement is not switched to enforce.
    NotEnforced,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Write it again, now.
    WriteAgain,
    /// Write it again then, if it is still so.
    Wait(BootTime),
    /// Leave it.
    Yield(Yielding),
    /// Leave it from now on, and say so.
    GiveUp {
        /// Writes within the window.
        rewrites: usize,
        /// When it is tried again if nobody touches it until then; none if never.
        resumes: Option<BootTime>,
    },
    /// Leave it; that was said.
    GivenUp {
        /// As above.
        resumes: Option<BootTime>,
    },
}

/// Who may have overwritten a file, by the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suspect {
    /// kubelet.
    Kubelet,
    /// The runtime.
    Runtime,
    /// systemd.
    Systemd,
    /// Nobody that the table knows of.
    Unknown,
}

impl fmt::Display for Suspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kubelet => "kubelet",
            Self::Runtime => "the runtime",
            Self::Systemd => "systemd",
            Self::Unknown => "somebody unknown",
        })
    }
}

/// Who may have overwritten a file of that rule, where the kernel did not tell.
#[must_use]
pub fn suspects(rule: &Rule) -> Vec<Suspect> {
    let owner = match rule.owner {
        Owner::Kubelet => Some(Suspect::Kubelet),
        Owner::Runtime => Some(Suspect::Runtime),
        Owner::Ours => None,
    };
    let owner = owner.filter(|_| rule.when.iter().any(|when| *when != Occasion::DaemonReload));
    let systemd = rule
        .when
        .contains(&Occasion::DaemonReload)
        .then_some(Suspect::Systemd);
    let mut suspects: Vec<_> = owner.into_iter().chain(systemd).collect();
    if suspects.is_empty() {
        suspects.push(Suspect::Unknown);
    }
    suspects
}

/// What to do about `foreign` in a file of that rule and switch. A write that is advised is taken as done.
#[must_use]
pub fn settle(
    history: &mut DriftHistory,
    foreign: Foreign<'_>,
    rule: &Rule,
    switch: Switch,
    limits: &DriftLimits,
    now: BootTime,
) -> Settlement {
    if rule.channel.is_none() {
        return Settlement::Yield(Yielding::Theirs(rule.owner));
    }
    if switch != Switch::Enforce {
        return Settlement::Yield(Yielding::NotEnforced);
    }
    history.note(foreign.seen, foreign.event, now);
    if let Some(since) = history.given_up {
        let resumes = resumption(history, since, limits);
        if resumes.is_none_or(|resumes| now < resumes) {
            return Settlement::GivenUp { resumes };
        }
        history.given_up = None;
    }
    history.forget_before(BootTime(now.0.saturating_sub(limits.window)));
    let rewrites = history.rewrites.len();
    if rewrites >= limits.most {
        history.given_up = Some(now);
        history.times_given_up += 1;
        let resumes = resumption(history, now, limits);
        return Settlement::GiveUp { rewrites, resumes };
    }
    if now < history.not_before {
        return Settlement::Wait(history.not_before);
    }
    let doublings = u32::try_from(rewrites).unwrap_or(u32::MAX);
    let wait = limits.first_wait.saturating_mul(2_u32.saturating_pow(doublings));
    history.not_before = now.after(wait.min(limits.longest_wait));
    history.rewrites.push(now);
    Settlement::WriteAgain
}

/// Notes that the file holds what was set. What has held for long has no history any more.
pub fn holds(history: &mut DriftHistory, limits: &DriftLimits, now: BootTime) {
    // The next foreign value is a change, even if it is the last one again.
    history.seen = None;
    let last = history.rewrites.last().copied().max(history.changed);
    if history.given_up.is_none()
        && last.is_none_or(|last| now.since(last) >= limits.quiet.max(limits.window))
    {
        *history = DriftHistory::default();
    }
}

/// When a file that was given up is tried again, with the window empty; never if that was once too often.
fn resumption(history: &DriftHistory, since: BootTime, limits: &DriftLimits) -> Option<BootTime> {
    let quiet_since = history.changed.map_or(since, |changed| changed.max(since));
    (history.times_given_up < limits.give_ups).then(|| quiet_since.after(limits.quiet.max(limits.window)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::ownership::{KubeletFacts, Spot, rule};
    use crate::model::{CgroupDriver, FileKind, Level, QosClass};

    fn rule_of(kind: FileKind, level: Level) -> Rule {
        let spot = Spot {
            level,
            class: Some(QosClass::Burstable),
            driver: CgroupDriver::Systemd,
        };
        let known = KubeletFacts {
            cpu_manager: Some(false),
            memory_manager: Some(false),
            memory_qos: Some(false),
        };
        rule(kind, spot, &known).unwrap()
    }

    fn at(seconds: u64) -> BootTime {
        BootTime(Duration::from_secs(seconds))
    }

    #[test]
    fn it_insists_less_and_less_and_then_gives_up_once() {
        let rule = rule_of(FileKind::MemoryLow, Level::Pod);
        let limits = DriftLimits {
            most: 3,
            give_ups: 2,
            ..DriftLimits::default()
        };
        let mut history = DriftHistory::default();
        let mut ask = |seconds| {
            let foreign = Foreign {
                seen: "0",
                event: false,
            };
            settle(
                &mut history,
                foreign,
                &rule,
                Switch::Enforce,
                &limits,
                at(seconds),
            )
        };
        assert_eq!(ask(1000), Settlement::WriteAgain);
        assert_eq!(ask(1000), Settlement::Wait(at(1001)));
        assert_eq!(ask(1001), Settlement::WriteAgain);
        assert_eq!(ask(1002), Settlement::Wait(at(1003)));
        assert_eq!(ask(1003), Settlement::WriteAgain);
        let resumes = Some(at(1004 + 1800));
        assert_eq!(ask(1004), Settlement::GiveUp { rewrites: 3, resumes });
        assert_eq!(ask(1005), Settlement::GivenUp { resumes });
        for n in 0..3 {
            assert_eq!(ask(2804 + 10 * n), Settlement::WriteAgain);
        }
        assert_eq!(
            ask(2900),
            Settlement::GiveUp {
                rewrites: 3,
                resumes: None
            }
        );
        assert_eq!(ask(1 << 40), Settlement::GivenUp { resumes: None });
    }

    #[test]
    fn the_owner_and_the_switch_say_whether_to_write_at_all() {
        let foreign = Foreign {
            seen: "0",
            event: true,
        };
        let settled = |rule: &Rule, switch| {
            let mut history = DriftHistory::default();
            settle(
                &mut history,
                foreign,
                rule,
                switch,
                &DriftLimits::default(),
                at(1),
            )
        };
        let theirs = rule_of(FileKind::CpuWeight, Level::Qos);
        let lent = rule_of(FileKind::CpuWeight, Level::Pod);
        assert_eq!(
            settled(&theirs, Switch::Enforce),
            Settlement::Yield(Yielding::Theirs(Owner::Kubelet))
        );
        assert_eq!(settled(&lent, Switch::Enforce), Settlement::WriteAgain);
        for switch in [Switch::Observe, Switch::Off] {
            assert_eq!(settled(&lent, switch), Settlement::Yield(Yielding::NotEnforced));
        }
    }

    #[test]
    fn the_table_names_who_may_have_done_it() {
        let of = |kind, level| suspects(&rule_of(kind, level));
        assert_eq!(
            of(FileKind::CpuWeight, Level::Pod),
            [Suspect::Kubelet, Suspect::Systemd]
        );
        assert_eq!(
            of(FileKind::MemoryOomGroup, Level::Container),
            [Suspect::Runtime, Suspect::Systemd]
        );
        assert_eq!(of(FileKind::MemoryLow, Level::Pod), [Suspect::Systemd]);
        assert_eq!(of(FileKind::CpusetPartition, Level::Pod), [Suspect::Unknown]);
    }

    #[test]
    fn what_held_for_long_starts_anew() {
        let rule = rule_of(FileKind::MemoryLow, Level::Pod);
        let limits = DriftLimits::default();
        let mut history = DriftHistory::default();
        let foreign = Foreign {
            seen: "0",
            event: false,
        };
        let settled = settle(&mut history, foreign, &rule, Switch::Enforce, &limits, at(10));
        assert_eq!(settled, Settlement::WriteAgain);
        holds(&mut history, &limits, at(11));
        assert_eq!(history.rewrites, [at(10)]);
        holds(&mut history, &limits, at(10 + 1800));
        assert_eq!(history, DriftHistory::default());
    }
}
