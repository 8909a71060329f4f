//! One run of QEMU: its three streams read as they come, until the command's end, a fault or the time-out.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::console::{Console, Report};
use super::machine::{self, PORTS};
use super::{Outcome, VmSpec};
use crate::exec;

/// Which of the command's streams some bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    Error,
}

/// QEMU, killed when this is dropped.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) && self.0.kill().is_ok() && self.0.wait().is_err() {
            eprintln!(
                "QEMU (process {}) was killed but could not be waited for",
                self.0.id()
            );
        }
    }
}

/// A number that differs for each machine of this process.
pub(super) fn serial_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Writes to our own stream of the same kind. A reader that went away ends the output and not the run.
pub(crate) fn pass_on(stream: Stream, bytes: &[u8]) {
    let written = match stream {
        Stream::Output => std::io::stdout()
            .write_all(bytes)
            .and_then(|()| std::io::stdout().flush()),
        Stream::Error => std::io::stderr().write_all(bytes),
    };
    drop(written);
}

pub(super) fn run(
    spec: &VmSpec,
    image: &Path,
    dir: &Path,
    sink: &mut dyn FnMut(Stream, &[u8]),
) -> Result<Outcome> {
    let (sender, receiver) = mpsc::channel();
    for (port, name) in PORTS.iter().enumerate() {
        let listener = UnixListener::bind(dir.join(name)).context("cannot make a socket for QEMU")?;
        let sender = sender.clone();
        thread::spawn(move || read_port(port, &listener, &sender));
    }
    drop(sender);
    let messages = dir.join("messages");
    let mut command = machine::command(spec, image, dir)?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&messages)?);
    let start = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot run {}", exec::show(&command)))?;
    let mut qemu = Guard(child);
    let mut watch = Watch {
        start,
        console: Console::default(),
        booted: None,
        status: None,
    };
    watch.follow(&mut qemu.0, &receiver, start + spec.timeout, sink)?;
    let said = std::fs::read_to_string(&messages).unwrap_or_default();
    watch.verdict(&said)
}

/// Reads one serial port to its end.
fn read_port(port: usize, listener: &UnixListener, sender: &Sender<(usize, Vec<u8>)>) {
    let Ok((mut socket, _)) = listener.accept() else {
        return;
    };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n @ 1..) = socket.read(&mut buffer) {
        if sender.send((port, buffer[..n].to_vec())).is_err() {
            return;
        }
    }
}

struct Watch {
    start: Instant,
    console: Console,
    booted: Option<Duration>,
    status: Option<u8>,
}

impl Watch {
    fn follow(
        &mut self,
        qemu: &mut Child,
        receiver: &Receiver<(usize, Vec<u8>)>,
        deadline: Instant,
        sink: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<()> {
        loop {
            // Short waits, because a QEMU that fails to start connects to no port and closes none.
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok((0, bytes)) => self.hear(&bytes),
                Ok((1, bytes)) => sink(Stream::Output, &bytes),
                Ok((_, bytes)) => sink(Stream::Error, &bytes),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if qemu.try_wait()?.is_some() => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() > deadline {
                let took = self.start.elapsed().as_secs();
                bail!(
                    "no end after {took} s; the console's last lines:\n{}",
                    self.console.tail(30)
                );
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        for report in self.console.take(bytes) {
            match report {
                Report::Start => self.booted = Some(self.start.elapsed()),
                Report::Exit(status) => self.status = Some(status),
            }
        }
    }

    fn verdict(self, qemu_said: &str) -> Result<Outcome> {
        let tail = self.console.tail(30);
        if let Some(why) = self.console.panic() {
            bail!("the kernel panicked: {why}; the console's last lines:\n{tail}");
        }
        let (Some(booted), Some(status)) = (self.booted, self.status) else {
            bail!(
                "the machine went off before the command ended; QEMU said: {qemu_said:?}; the console:\n{tail}"
            );
        };
        Ok(Outcome {
            status,
            booted,
            complaints: self.console.complaints(),
        })
    }
}
