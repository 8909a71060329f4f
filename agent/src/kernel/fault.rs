//! Places at which a test can end the process.
//!
//! **Problem.** "Killed at any moment" is only proven if it is tried at every moment that differs from the one before:
//! after each write whose effect outlives the process. **How.** Such a place names itself with [`point`]. Without the
//! feature `fault-points` that is nothing at all. With it, a test that runs the code in its own thread installs a hook
//! ([`on_this_thread`]), whose panic stands for the end of the process; and a whole process ends itself with SIGKILL when
//! it comes to a point the n-th time, if `PLIMSOLL_FAULT_POINT=<point>:<n>` tells it to.

#[cfg(any(test, feature = "fault-points"))]
pub use armed::{Hooked, on_this_thread, point};

/// A place at which the process may end.
#[cfg(not(any(test, feature = "fault-points")))]
#[inline(always)]
pub const fn point(_name: &'static str) {}

#[cfg(any(test, feature = "fault-points"))]
mod armed {
    use std::cell::RefCell;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    /// Names the point, and which passage of it is the last.
    const VARIABLE: &str = "PLIMSOLL_FAULT_POINT";

    type Hook = Box<dyn FnMut(&'static str)>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Where this process ends itself.
    struct Planned {
        name: String,
        passages_left: AtomicU64,
    }

    /// A hook that stays until this is dropped.
    #[derive(Debug)]
    #[must_use = "the hook is removed when this is dropped"]
    pub struct Hooked(());

    impl Drop for Hooked {
        fn drop(&mut self) {
            HOOK.with(RefCell::take);
        }
    }

    /// Calls `hook` at each point that this thread comes to, instead of one installed before. It may unwind; within the
    /// hook no point counts.
    pub fn on_this_thread(hook: impl FnMut(&'static str) + 'static) -> Hooked {
        HOOK.with(|slot| slot.replace(Some(Box::new(hook))));
        Hooked(())
    }

    /// A place at which the process may end.
    pub fn point(name: &'static str) {
        // Taken out meanwhile, so that it is gone once it has unwound.
        if let Some(mut hook) = HOOK.with(RefCell::take) {
            hook(name);
            HOOK.with(|slot| {
                slot.borrow_mut().get_or_insert(hook);
            });
        }
        static PLANNED: OnceLock<Option<Planned>> = OnceLock::new();
        let Some(planned) = PLANNED.get_or_init(planned) else {
            return;
        };
        if planned.name == name && planned.passages_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // It cannot be refused to send oneself a signal, and this one is not survived.
            kill_process(getpid(), Signal::KILL).ok();
        }
    }

    fn planned() -> Option<Planned> {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, nth) = text.rsplit_once(':')?;
        Some(Planned {
            name: name.to_owned(),
            passages_left: AtomicU64::new(nth.parse().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Arc, Mutex};

    use super::{on_this_thread, point};

    #[test]
    fn a_hook_sees_the_points_of_its_thread_until_it_unwinds_or_is_dropped() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let hook = || {
            let seen = seen.clone();
            on_this_thread(move |name| {
                seen.lock().unwrap().push(name);
                assert_ne!(name, "last");
            })
        };
        let first = hook();
        point("a");
        std::thread::spawn(|| point("elsewhere")).join().unwrap();
        drop(first);
        point("unseen");
        let _second = hook();
        point("b");
        catch_unwind(AssertUnwindSafe(|| point("last"))).unwrap_err();
        point("after the end");
        // Poisoned by the panic, which is the point of it.
        let seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        assert_eq!(*seen, ["a", "b", "last"]);
    }
}
