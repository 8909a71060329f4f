//! What is on a CPU that belongs to one container, and for how long: the books that `foreign` keeps.
//!
//! **Problem.** A task can be interrupted, the interrupt's handler too, and a nanosecond counted at two places makes
//! the sum wrong. **How.** Each CPU has one *user* at a time ([`user`]). Whatever changes it first charges the time
//! since the last change to the user until now, so every nanosecond has exactly one user.
//!
//! **Terms.** The *owner* is the cgroup that the CPU belongs to; its tasks and those of cgroups below it are no
//! strangers. The *task* is what the scheduler has put there, the *user* is the task unless it is interrupted: time
//! in interrupts is never a task's, whichever task it is. So a handler that interrupts a stranger counts once, as an
//! interrupt; and one that runs on the owner's behalf (the end of a read that it waits for, packets that it sends)
//! counts as foreign too, for nobody can tell for whom it runs.
//!
//! An idle CPU is the owner's to use: so a switch among its tasks, or between one and none, changes no user and needs
//! no look at the clock, which would be most of its cost.
//!
//! A soft interrupt can itself be interrupted while its program is at the books. Then the books are open
//! ([`ForeignCpu::open`]), and the inner one leaves them alone: its few microseconds count as the outer one's.
//!
//! **Properties** (checked in the agent's `observe::probes`)
//! - From one [`ForeignCpu::adopt`] to the next, all totals together grow by the time that passed.
//! - No total ever falls, nor does what [`ForeignCpu::totals_at`] tells.
//! - Time in interrupts is charged to interrupts only.

/// Who uses a CPU: places in [`ForeignCpu::totals`].
pub mod user {
    /// The owner: a task of its cgroup or of one below it, or nobody.
    pub const OWN: u32 = 0;
    /// A task of another cgroup below the agent's root.
    pub const POD: u32 = 1;
    /// A task of a cgroup outside the agent's root.
    pub const SYSTEM: u32 = 2;
    /// A thread of the kernel's own.
    pub const KERNEL_THREAD: u32 = 3;
    /// The handler of an interrupt.
    pub const IRQ: u32 = 4;
    /// The handler of a soft interrupt.
    pub const SOFTIRQ: u32 = 5;
}

/// Places for users; a power of two, so that a mask tells the verifier that an index is within.
pub const USERS: usize = 8;

/// Within a soft interrupt: a bit of [`ForeignCpu::nested`].
pub const IN_SOFTIRQ: u32 = 1;
/// Within an interrupt: a bit of [`ForeignCpu::nested`].
pub const IN_IRQ: u32 = 2;

/// A task, as the books know it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Task {
    /// One of [`user`].
    pub user: u32,
    /// Its thread id.
    pub tid: u32,
    /// Its process id.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
    /// Its cgroup; 0 for the owner's.
    pub cgroup: u64,
    /// Its name; empty for the owner's.
    pub comm: [u8; 16],
}

/// The books of one CPU. Only programs that run on that CPU write them.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForeignCpu {
    /// Odd while the books are open: what is read then does not fit together.
    pub sequence: u64,
    /// The owner's id; 0 when the CPU belongs to nobody, and nothing is counted.
    pub owner: u64,
    /// The owner's level.
    pub owner_level: u64,
    /// Nanoseconds since boot when the owner got the CPU.
    pub began: u64,
    /// Nanoseconds since boot when the user changed last.
    pub since: u64,
    /// Nanoseconds that `task` has used since it came.
    pub ran: u64,
    /// Nanoseconds since boot when a task of another pod or of the system last left, since the owner has the CPU; 0
    /// when none did.
    pub left: u64,
    /// What interrupts `task`: [`IN_SOFTIRQ`], [`IN_IRQ`].
    pub nested: u32,
    /// Zero.
    pub reserved: u32,
    /// The task on the CPU.
    pub task: Task,
    /// Nanoseconds by user.
    pub totals: [u64; USERS],
    /// Zero. Keeps CPUs apart in the caches.
    pub spare: [u64; 3],
}

impl ForeignCpu {
    /// Who uses the CPU.
    #[inline(always)]
    #[must_use]
    pub fn user(&self) -> u32 {
        if self.nested & IN_IRQ != 0 {
            user::IRQ
        } else if self.nested & IN_SOFTIRQ != 0 {
            user::SOFTIRQ
        } else {
            self.task.user
        }
    }

    /// Opens the books; false when somebody has them open, who is then interrupted by the caller.
    #[inline(always)]
    pub fn open(&mut self) -> bool {
        if self.sequence & 1 != 0 {
            return false;
        }
        self.sequence = self.sequence.wrapping_add(1);
        barrier();
        true
    }

    /// Closes the books.
    #[inline(always)]
    pub fn close(&mut self) {
        barrier();
        self.sequence = (self.sequence | 1).wrapping_add(1);
        barrier();
    }

    /// Whether the CPU stays the owner's when a task comes of this user, and the books as they are.
    #[inline(always)]
    #[must_use]
    pub fn stays_own(&self, next: u32) -> bool {
        self.user() == user::OWN && next == user::OWN
    }

    #[inline(always)]
    fn charge(&mut self, now: u64) {
        let spent = now.saturating_sub(self.since);
        let user = self.user() as usize & (USERS - 1);
        if let Some(total) = self.totals.get_mut(user) {
            *total = total.wrapping_add(spent);
        }
        if self.nested == 0 {
            self.ran = self.ran.wrapping_add(spent);
        }
        self.since = now;
    }

    /// An interrupt of this kind begins.
    #[inline(always)]
    pub fn enter(&mut self, kind: u32, now: u64) {
        self.charge(now);
        self.nested |= kind;
    }

    /// An interrupt of this kind ends. One whose beginning was not seen changes nothing.
    #[inline(always)]
    pub fn leave(&mut self, kind: u32, now: u64) {
        if self.nested & kind != 0 {
            self.charge(now);
            self.nested &= !kind;
        }
    }

    /// The task leaves: settles its time. To be followed by [`Self::come`].
    #[inline(always)]
    pub fn go(&mut self, now: u64) {
        self.charge(now);
        if self.task.user == user::POD || self.task.user == user::SYSTEM {
            self.left = now;
        }
    }

    /// Another task comes. No task is switched within an interrupt: an end that was missed is made up for.
    #[inline(always)]
    pub fn come(&mut self, task: Task) {
        self.task = task;
        self.nested = 0;
        self.ran = 0;
    }

    /// The CPU gets another owner, or none, while `task` is on it.
    #[inline(always)]
    pub fn adopt(&mut self, owner: u64, level: u64, task: Task, now: u64) {
        if self.owner == 0 {
            self.nested = 0;
        } else {
            self.charge(now);
        }
        self.owner = owner;
        self.owner_level = level;
        self.began = now;
        self.since = now;
        self.left = 0;
        self.ran = 0;
        self.task = task;
    }

    /// The totals with what the present user has used since it came, at a time before the books were read.
    #[must_use]
    pub fn totals_at(&self, now: u64) -> [u64; USERS] {
        let mut totals = self.totals;
        if self.owner != 0
            && let Some(total) = totals.get_mut(self.user() as usize & (USERS - 1))
        {
            *total = total.wrapping_add(now.saturating_sub(self.since));
        }
        totals
    }

    /// What the task has used since it came, at a time before the books were read.
    #[must_use]
    pub fn ran_at(&self, now: u64) -> u64 {
        let running = if self.nested == 0 {
            now.saturating_sub(self.since)
        } else {
            0
        };
        self.ran.wrapping_add(running)
    }
}

/// Keeps the compiler from moving what is written to the books across it.
#[inline(always)]
fn barrier() {
    // LLVM has no fence for BPF; an empty assembly is one to the compiler.
    #[cfg(target_arch = "bpf")]
    #[expect(unsafe_code, reason = "no instruction at all")]
    // SAFETY: does nothing.
    unsafe {
        core::arch::asm!("");
    }
    #[cfg(not(target_arch = "bpf"))]
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
}
