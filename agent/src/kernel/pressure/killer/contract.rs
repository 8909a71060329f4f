//! What every [`Killing`] does: the kernel's killer on the kernel, and the fake.

#![expect(clippy::unwrap_used, reason = "a test: a failure is the message")]

use super::Killing;

/// Where victims come from.
pub trait Host {
    /// What is held to the contract.
    type Killer: Killing;

    /// It.
    fn killer(&mut self) -> &mut Self::Killer;

    /// A new cgroup with a cgroup below, and so many processes in either.
    fn victim(&mut self, processes: u32) -> <Self::Killer as Killing>::Victim;

    /// Limits the CPU of both of its cgroups; false where this machine cannot.
    fn limit_cpu(&mut self, victim: &<Self::Killer as Killing>::Victim) -> bool;

    /// Stops all of its processes by signal.
    fn stop(&mut self, victim: &<Self::Killer as Killing>::Victim);

    /// Freezes the cgroup.
    fn freeze(&mut self, victim: &<Self::Killer as Killing>::Victim);

    /// Waits until the dying are dead and reaped.
    fn settle(&mut self);

    /// Removes the cgroup, which has no process left.
    fn remove(&mut self, victim: &<Self::Killer as Killing>::Victim);
}

/// Holds a killer to the contract.
///
/// # Panics
/// It does not keep it.
pub fn check<H: Host>(host: &mut H) {
    all_of_the_subtree_dies(host);
    who_is_stopped_or_frozen_dies_too(host);
    an_empty_cgroup_can_be_killed(host);
    nobody_living_is_released(host);
    limits_are_lifted_once(host);
    what_is_gone_is_told_as_gone(host);
}

fn all_of_the_subtree_dies<H: Host>(host: &mut H) {
    let (victim, bystander) = (host.victim(2), host.victim(1));
    let id = host.killer().identity(&victim).unwrap();
    assert_ne!(id, host.killer().identity(&bystander).unwrap());
    host.killer().signal(&victim).unwrap();
    host.killer().release(&victim).unwrap();
    host.killer().signal(&victim).unwrap();
    host.settle();
    assert!(!host.killer().populated(&victim).unwrap());
    assert!(
        host.killer().populated(&bystander).unwrap(),
        "nobody else is killed"
    );
    assert_eq!(host.killer().identity(&victim).unwrap(), id, "the same, dead");
    host.killer().signal(&bystander).unwrap();
    host.settle();
}

fn who_is_stopped_or_frozen_dies_too<H: Host>(host: &mut H) {
    let (stopped, frozen) = (host.victim(1), host.victim(1));
    host.stop(&stopped);
    host.freeze(&frozen);
    for victim in [stopped, frozen] {
        assert!(host.killer().populated(&victim).unwrap());
        host.killer().signal(&victim).unwrap();
        host.killer().release(&victim).unwrap();
        host.settle();
        assert!(!host.killer().populated(&victim).unwrap());
    }
}

fn an_empty_cgroup_can_be_killed<H: Host>(host: &mut H) {
    let victim = host.victim(0);
    assert!(!host.killer().populated(&victim).unwrap());
    host.killer().signal(&victim).unwrap();
    host.killer().lift_cpu(&victim).unwrap();
    host.killer().release(&victim).unwrap();
    assert!(!host.killer().populated(&victim).unwrap());
}

fn nobody_living_is_released<H: Host>(host: &mut H) {
    let victim = host.victim(1);
    host.killer().release(&victim).unwrap();
    host.settle();
    assert!(host.killer().populated(&victim).unwrap());
    host.killer().signal(&victim).unwrap();
    host.settle();
}

fn limits_are_lifted_once<H: Host>(host: &mut H) {
    let victim = host.victim(0);
    assert_eq!(host.killer().lift_cpu(&victim).unwrap(), 0, "no limit, no write");
    if host.limit_cpu(&victim) {
        assert_eq!(host.killer().lift_cpu(&victim).unwrap(), 2);
        assert_eq!(host.killer().lift_cpu(&victim).unwrap(), 0);
        host.limit_cpu(&victim);
        assert!(host.killer().lift_cpu_above(&victim).unwrap());
        assert_eq!(
            host.killer().lift_cpu(&victim).unwrap(),
            1,
            "what is below has kept its own"
        );
    }
    assert!(!host.killer().lift_cpu_above(&victim).unwrap());
}

fn what_is_gone_is_told_as_gone<H: Host>(host: &mut H) {
    let victim = host.victim(1);
    host.killer().signal(&victim).unwrap();
    host.settle();
    host.remove(&victim);
    let killer = host.killer();
    assert!(killer.identity(&victim).unwrap_err().is_gone());
    assert!(killer.signal(&victim).unwrap_err().is_gone());
    assert!(killer.populated(&victim).unwrap_err().is_gone());
    assert!(killer.current(&victim).unwrap_err().is_gone());
}
