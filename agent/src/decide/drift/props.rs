//! What holds of a file that somebody else overwrites, whatever they do.

use proptest::prelude::*;

use super::*;
use crate::decide::ownership::{KubeletFacts, Spot, rule};
use crate::model::{CgroupDriver, FileKind, Level};

fn limits() -> impl Strategy<Value = DriftLimits> {
    let seconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
    (
        seconds(0..5),
        seconds(1..60),
        1..6_usize,
        seconds(1..600),
        seconds(1..900),
        1..4_u32,
    )
        .prop_map(
            |(first_wait, longest_wait, most, window, quiet, give_ups)| DriftLimits {
                first_wait,
                longest_wait,
                most,
                window,
                quiet,
                give_ups,
            },
        )
}

/// A file and both sides of it.
struct Fight {
    history: DriftHistory,
    limits: DriftLimits,
    rule: Rule,
    /// What is there instead of ours.
    foreign: Option<String>,
    writes: Vec<BootTime>,
    given_up: usize,
}

impl Fight {
    fn new(limits: DriftLimits) -> Self {
        let spot = Spot {
            level: Level::Pod,
            class: None,
            driver: CgroupDriver::Systemd,
        };
        Self {
            history: DriftHistory::default(),
            limits,
            rule: rule(FileKind::IoWeight, spot, &KubeletFacts::default()).unwrap(),
            foreign: None,
            writes: Vec::new(),
            given_up: 0,
        }
    }

    /// The other side writes.
    fn overwrite(&mut self, value: u8) {
        self.foreign = Some(value.to_string());
    }

    /// The agent looks.
    fn look(&mut self, event: bool, now: BootTime) {
        let Some(seen) = &self.foreign else {
            return holds(&mut self.history, &self.limits, now);
        };
        let foreign = Foreign { seen, event };
        let before = self.history.given_up;
        match settle(
            &mut self.history,
            foreign,
            &self.rule,
            Switch::Enforce,
            &self.limits,
            now,
        ) {
            Settlement::WriteAgain => {
                self.writes.push(now);
                self.foreign = None;
            }
            Settlement::GiveUp { .. } => {
                self.given_up += 1;
                assert!(before.is_none() || before < self.history.given_up);
            }
            Settlement::Wait(until) => assert!(until > now),
            Settlement::GivenUp { .. } => assert_eq!(self.history.given_up, before),
            Settlement::Yield(why) => panic!("{why:?}"),
        }
    }
}

proptest! {
    #[test]
    fn in_no_window_are_there_more_writes_than_the_limit_and_after_the_end_there_is_silence(
        limits in limits(),
        steps in prop::collection::vec((0..400_u64, any::<Option<u8>>(), any::<bool>()), 0..120),
    ) {
        let mut fight = Fight::new(limits);
        let mut now = BootTime(Duration::from_secs(10_000));
        for (pause, overwritten, event) in steps {
            now = now.after(Duration::from_secs(pause));
            if let Some(value) = overwritten {
                fight.overwrite(value);
            }
            fight.look(event && overwritten.is_some(), now);
            prop_assert!(fight.history.rewrites.len() <= limits.most);
        }
        for (n, first) in fight.writes.iter().enumerate() {
            let within = fight.writes[n..].iter().filter(|at| at.since(*first) < limits.window);
            prop_assert!(within.count() <= limits.most);
        }
        // The other side is done; the agent goes on looking, for a day.
        let before = fight.writes.len();
        for _ in 0..24 * 60 * 6 {
            now = now.after(Duration::from_secs(10));
            fight.look(false, now);
        }
        prop_assert!(fight.writes.len() <= before + 1);
        prop_assert!(fight.foreign.is_none() || fight.history.times_given_up >= limits.give_ups);
    }

    #[test]
    fn against_one_who_never_yields_there_is_an_end(limits in limits(), same: bool) {
        // What holds for longer than the quiet has held: one who is faster than that, and than the window.
        let limits = DriftLimits { window: limits.window.max(limits.longest_wait * 12), ..limits };
        let mut fight = Fight::new(limits);
        let mut now = BootTime(Duration::from_secs(10_000));
        for n in 0..20_000_u32 {
            now = now.after(Duration::from_millis(500));
            fight.overwrite(if same { 1 } else { (n % 200) as u8 });
            fight.look(false, now);
        }
        let rounds = usize::try_from(limits.give_ups).unwrap();
        prop_assert!(fight.writes.len() <= limits.most * rounds, "{} writes", fight.writes.len());
        prop_assert!(fight.given_up >= 1 && fight.given_up <= rounds);
        prop_assert!(fight.history.given_up.is_some());
    }
}
