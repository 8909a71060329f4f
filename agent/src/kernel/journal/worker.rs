//! Who writes the journal, so that who decides need not wait.
//!
//! # Properties
//! - Handing over neither waits nor fails; what there is no room for is counted as lost.
//! - When the worker was stopped, everything that was handed over before is on disk, or was counted as lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use serde::Serialize;

use super::{Journal, JournalError};
use crate::kernel::fault;

/// How many records wait at most: far more than are made while a disk is slow.
const WAITING: usize = 256;

/// What the worker counts.
#[derive(Debug, Default)]
pub struct Counted {
    written: AtomicU64,
    lost: AtomicU64,
    bytes: AtomicU64,
}

impl Counted {
    /// Records written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records that were not, for want of room or by the kernel's refusal.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Bytes of the journal.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Whether a record was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// It will be written.
    Taken,
    /// Too many wait already; it is lost.
    Lost,
}

/// The worker. Dropping it waits for what was handed over.
#[derive(Debug)]
pub struct JournalWorker<T> {
    records: Option<SyncSender<T>>,
    counted: Arc<Counted>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Serialize + Send + 'static> JournalWorker<T> {
    /// Starts a worker on a journal. Each refusal is told to `refused`, on the worker's thread.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        journal: Journal,
        refused: impl Fn(JournalError) + Send + 'static,
    ) -> Result<Self, std::io::Error> {
        let (records, taken) = sync_channel(WAITING);
        let counted = Arc::new(Counted::default());
        counted.bytes.store(journal.size().0, Ordering::Relaxed);
        let counting = Arc::clone(&counted);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || work(journal, &taken, &counting, &refused))?;
        Ok(Self {
            records: Some(records),
            counted,
            thread: Some(thread),
        })
    }

    /// Hands a record over, without waiting and, the record made, without an allocation.
    pub fn hand_over(&self, record: T) -> Handed {
        let taken = self
            .records
            .as_ref()
            .is_some_and(|records| records.try_send(record).is_ok());
        if taken {
            return Handed::Taken;
        }
        self.counted.lost.fetch_add(1, Ordering::Relaxed);
        Handed::Lost
    }

    /// What was counted until now; goes on counting.
    #[must_use]
    pub fn counted(&self) -> Arc<Counted> {
        Arc::clone(&self.counted)
    }
}

impl<T> Drop for JournalWorker<T> {
    fn drop(&mut self) {
        // Without a sender the worker ends when nothing waits any more.
        self.records = None;
        if let Some(thread) = self.thread.take() {
            // It never panics; if it did, there is nobody left to tell.
            thread.join().ok();
        }
    }
}

fn work<T: Serialize>(
    mut journal: Journal,
    records: &Receiver<T>,
    counted: &Counted,
    refused: &impl Fn(JournalError),
) {
    let mut json = Vec::new();
    while let Ok(first) = records.recv() {
        let mut next = Some(first);
        while let Some(record) = next.take() {
            json.clear();
            let made = serde_json::to_writer(&mut json, &record);
            let written = made
                .map_err(|error| super::refused("encode a record for", &journal.path)(error.into()))
                .and_then(|()| journal.append(&json));
            match written {
                Ok(()) => counted.written.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    refused(error);
                    counted.lost.fetch_add(1, Ordering::Relaxed)
                }
            };
            // What came meanwhile is synced together.
            next = records.try_recv().ok();
        }
        fault::point("journal.written");
        if let Err(error) = journal.sync() {
            refused(error);
        }
        counted.bytes.store(journal.size().0, Ordering::Relaxed);
    }
}
