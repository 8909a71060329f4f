//! Clocks: the time since boot, by which everything is scheduled, and the calendar's, which is only shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::BootTime;

/// What the agent knows of time.
pub trait Clock {
    /// Time since boot; never goes back.
    fn now(&self) -> BootTime;

    /// Time since 1970-01-01 UTC. It may jump: for people and for metrics, never for decisions.
    fn wall(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> BootTime {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
        BootTime(Duration::new(seconds, nanos))
    }

    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that stands until it is moved.
#[cfg(any(test, feature = "testutils"))]
#[derive(Debug, Default)]
pub struct FakeClock {
    nanos: std::sync::atomic::AtomicU64,
}

#[cfg(any(test, feature = "testutils"))]
impl FakeClock {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(any(test, feature = "testutils"))]
impl Clock for FakeClock {
    fn now(&self) -> BootTime {
        BootTime(Duration::from_nanos(
            self.nanos.load(std::sync::atomic::Ordering::Relaxed),
        ))
    }

    fn wall(&self) -> Duration {
        // 2026-01-01, so that a printed time looks like one.
        Duration::from_secs(1_767_225_600) + self.now().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_clock_is_the_one_that_process_start_times_count_on() {
        let stat = procfs::process::Process::myself().unwrap().stat().unwrap();
        let started = Duration::from_millis(stat.starttime * 1000 / procfs::ticks_per_second());
        let now = RealClock.now();
        assert!(
            now.0 >= started,
            "this process started in the future: {started:?} > {now}"
        );
        assert!(RealClock.now() >= now && RealClock.wall() > Duration::from_secs(1_700_000_000));
    }

    #[test]
    fn a_fake_clock_moves_only_when_moved() {
        let clock = FakeClock::default();
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_millis(1500));
        assert_eq!(clock.now().to_string(), "1.500s");
    }
}
