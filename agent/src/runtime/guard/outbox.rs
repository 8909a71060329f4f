//! From the guard's thread to the main loop, without an allocation and without a wait.
//!
//! **Problem.** What the guard decides has to be known to the main loop before what it does is: a killed container would be
//! started again. And telling must not need memory. **How.** News is plain copies in a queue of fixed room; an eventfd wakes
//! the main loop. What finds no room is counted: the main loop is stuck then, and the guard goes on.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::decide::pressure::Stale;
use crate::decide::replay::{DecisionInputs, Rested};
use crate::kernel::pressure::{Waker, WriteDone};
use crate::model::pressure::{Decision, KillTimes, PodFigures};
use crate::model::{BootTime, CgroupId};
use crate::runtime::guard::core::Refused;
use crate::state::pressure::Settled;

/// News that can wait.
const ROOM: usize = 256;

/// What the guard tells. Pods are named by their cgroup, and by their place in the roster of that number.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::large_enum_variant, reason = "room is fixed anyway")]
pub(crate) enum News {
    /// A decision was made, and is about to be carried out unless it is a dry run.
    Decided {
        /// Counts up.
        number: u64,
        /// What.
        decision: Decision,
        /// The cgroup of the pod that it is about.
        pod: Option<CgroupId>,
        /// What that pod used.
        figures: Option<PodFigures>,
        /// When each stage was reached.
        times: KillTimes,
        /// Whether it is only told.
        dry: bool,
    },
    /// It was done.
    Done {
        /// The decision.
        number: u64,
        /// When.
        at: BootTime,
    },
    /// It was not done, since things had changed.
    Stale {
        /// What was decided.
        decision: Decision,
        /// What had changed.
        why: Stale,
    },
    /// It could not be done.
    Refused {
        /// The decision.
        number: u64,
        /// Why.
        why: Refused,
    },
    /// A victim's time is over.
    Settled {
        /// The decision.
        number: Option<u64>,
        /// How.
        settled: Settled,
    },
    /// A limit that was to be written was, or was not.
    Written(WriteDone),
    /// The machine's memory cannot be read; the error number.
    Blind(i32),
}

#[derive(Debug)]
struct Queue {
    news: VecDeque<News>,
    inputs: Vec<(u64, DecisionInputs)>,
    lost: u64,
}

/// The queue; its clones are one and the same.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    queue: Arc<Mutex<Queue>>,
    waker: Waker,
}

impl Outbox {
    /// An empty one, and what becomes readable when there is news.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn new() -> io::Result<Self> {
        let queue = Queue {
            news: VecDeque::with_capacity(ROOM),
            inputs: Vec::new(),
            lost: 0,
        };
        Ok(Self {
            queue: Arc::new(Mutex::new(queue)),
            waker: Waker::new()?,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole at every moment at which a thread could have panicked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells. Allocates nothing.
    pub(crate) fn put(&self, news: News) {
        let mut queue = self.lock();
        if queue.news.len() < ROOM {
            queue.news.push_back(news);
        } else {
            queue.lost += 1;
        }
        drop(queue);
        self.waker.wake();
    }

    /// Hands over what a decision rested on. This does allocate, and is for after the act.
    pub(crate) fn put_inputs(&self, number: u64, rested: Rested<'_>) {
        let inputs = DecisionInputs::from(rested);
        let mut queue = self.lock();
        if queue.inputs.len() < ROOM {
            queue.inputs.push((number, inputs));
        }
        drop(queue);
        self.waker.wake();
    }

    /// What decisions rested on, since the last call.
    #[must_use]
    pub(crate) fn take_inputs(&self) -> Vec<(u64, DecisionInputs)> {
        std::mem::take(&mut self.lock().inputs)
    }

    /// The oldest news.
    #[must_use]
    pub(crate) fn take(&self) -> Option<News> {
        self.lock().news.pop_front()
    }

    /// How much was lost since the last call.
    #[must_use]
    pub(crate) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.lock().lost)
    }

    /// Takes note that it was woken.
    pub(crate) fn awake(&self) {
        self.waker.awake();
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_comes_in_order_and_what_finds_no_room_is_counted() {
        let outbox = Outbox::new().unwrap();
        let known = ROOM as u64;
        for number in 0..known + 3 {
            let at = BootTime::default();
            outbox.put(News::Done { number, at });
        }
        for expected in 0..known {
            assert!(matches!(outbox.take(), Some(News::Done { number, .. }) if number == expected));
        }
        assert!(outbox.take().is_none());
        assert_eq!((outbox.take_lost(), outbox.take_lost()), (3, 0));
    }
}
