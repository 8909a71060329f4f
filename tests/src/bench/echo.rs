//! A process that sends back each byte it gets: the other end of a ping-pong, and a load that can be moved into a
//! cgroup and made to run there.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The program's argument that makes it this process.
pub(super) const ARGUMENT: &str = "__echo";

/// The process's main function.
pub(super) fn serve() -> ExitCode {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut byte = [0];
    while input.read_exact(&mut byte).is_ok() {
        if output.write_all(&byte).and_then(|()| output.flush()).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The process, from the other end.
pub(super) struct Echo {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
}

impl Echo {
    /// Starts it; it ends when this is dropped.
    pub(super) fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        Ok(Self { child, to, from })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a byte and waits for it: two switches when both ends are on one CPU.
    pub(super) fn round(&mut self) -> io::Result<()> {
        self.to.write_all(b"x")?;
        self.from.read_exact(&mut [0])
    }

    /// Puts both ends on one CPU.
    pub(super) fn share_cpu(&self, cpu: usize) -> io::Result<()> {
        let mut one = CpuSet::new();
        one.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &one)?;
        sched_setaffinity(Pid::from_raw(self.child.id().cast_signed()), &one)?;
        Ok(())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is reaped.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
