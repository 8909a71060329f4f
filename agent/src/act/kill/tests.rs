//! The order of the steps, on the fake; and on this machine's kernel, that nobody else is hit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

use super::*;
use crate::kernel::clock::{FakeClock, RealClock};
use crate::kernel::pressure::{FakeKiller, KillStep, MemoryCgroup, RealKiller};
use crate::kernel::process::CgroupBed;
use crate::model::Bytes;

#[test]
fn evidence_comes_first_and_the_signal_before_all_that_may_take_time() {
    let mut killer = FakeKiller::default();
    let victim = killer.add(3, Bytes::mib(1), Bytes::mib(2));
    killer.limit_cpu(victim, 2);
    let level = killer.add(0, Bytes(0), Bytes(0));
    killer.limit_cpu(level, 1);
    let mut written = 0;
    let outcome = kill(
        &mut killer,
        &victim,
        Some(&level),
        victim.0,
        &FakeClock::default(),
        || {
            written += 1;
        },
    );
    let expected = KillOutcome::Signalled {
        at: BootTime::default(),
        how: Signalled::AtOnce,
        lifted: Ok(3),
        release: Ok(()),
    };
    assert_eq!((outcome, written), (expected, 1));
    let steps: Vec<_> = killer.steps.iter().map(|(step, _)| *step).collect();
    use KillStep::{LiftCpu, Release, Signal};
    assert_eq!(steps, [Signal, LiftCpu, LiftCpu, Release]);
    assert!(killer.is_released(victim));
    killer.settle();
    assert_eq!(killer.current(&victim), Ok(Some(Bytes::mib(2))));
}

#[test]
fn who_is_another_or_gone_is_not_killed_and_leaves_no_evidence() {
    let mut killer = FakeKiller::default();
    let (victim, other) = (
        killer.add(1, Bytes(1), Bytes(0)),
        killer.add(1, Bytes(1), Bytes(0)),
    );
    let clock = FakeClock::default();
    let never = || panic!("there is nothing to prove");
    let outcome = kill(&mut killer, &other, None, victim.0, &clock, never);
    assert_eq!(outcome, KillOutcome::Another(other.0));
    killer.remove(victim);
    assert_eq!(
        kill(&mut killer, &victim, None, victim.0, &clock, never),
        KillOutcome::Gone
    );
    assert!(killer.steps.is_empty());
    assert_eq!(killer.populated(&other), Ok(true));
}

#[test]
fn an_old_kernel_is_asked_for_each_process() {
    let mut killer = FakeKiller::old();
    let victim = killer.add(3, Bytes(1), Bytes(0));
    let outcome = kill(&mut killer, &victim, None, victim.0, &FakeClock::default(), || ());
    assert!(matches!(
        outcome,
        KillOutcome::Signalled {
            how: Signalled::OneByOne(3),
            ..
        }
    ));
}

/// A pod's directory with a process in it, of a program that does nothing.
struct Pod {
    path: PathBuf,
    process: Child,
}

impl Pod {
    fn make(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        let script = format!(
            "echo $$ > {}/cgroup.procs; echo in; exec sleep 1000",
            path.display()
        );
        let mut process = Command::new("sh")
            .args(["-c", &script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = [0; 3];
        std::io::Read::read_exact(process.stdout.as_mut().unwrap(), &mut told).unwrap();
        Self { path, process }
    }

    fn held(&self) -> Arc<MemoryCgroup> {
        hold(&self.path)
    }

    fn lives(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Waits until it is dead, and removes the directory.
    fn gone(mut self) {
        self.process.wait().unwrap();
        fs::remove_dir(&self.path).unwrap();
    }
}

fn hold(path: &Path) -> Arc<MemoryCgroup> {
    Arc::new(MemoryCgroup::new(fs::File::open(path).unwrap().into()).unwrap())
}

/// The same path is another cgroup by the time of the act.
#[test]
fn who_has_come_under_the_same_path_is_not_killed() {
    let Some(bed) = CgroupBed::make("kill-again") else {
        return;
    };
    let mut killer = RealKiller::new().unwrap();
    let path = bed.path.join("pod");
    // Decided on.
    let decided = Pod::make(path.clone());
    let before = decided.held();
    let wanted = before.id();
    // It ends, is removed, and comes again.
    killer.signal(&before).unwrap();
    decided.gone();
    let mut again = Pod::make(path);
    let since = again.held();
    assert_ne!(since.id(), wanted, "the kernel gives it another inode number");
    let never = || panic!("there is nothing to prove");
    // Neither by the descriptor from before, nor by one that was opened since.
    let outcome = kill(&mut killer, &before, None, wanted, &RealClock, never);
    assert_eq!(outcome, KillOutcome::Gone);
    let outcome = kill(&mut killer, &since, None, wanted, &RealClock, never);
    assert_eq!(outcome, KillOutcome::Another(since.id()));
    // The signal reaches who is meant, so it would have reached this one.
    assert!(again.lives());
    let outcome = kill(&mut killer, &since, None, since.id(), &RealClock, || ());
    assert!(matches!(outcome, KillOutcome::Signalled { .. }), "{outcome:?}");
    again.gone();
}
