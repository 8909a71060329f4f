//! A real `plimsoll run` in a directory of its own: started, asked, killed.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plimsoll::model::NodeReport;

/// Where one agent keeps everything, and the process itself while it runs.
#[derive(Debug)]
pub struct Agent {
    program: PathBuf,
    directory: PathBuf,
    metrics: SocketAddr,
    child: Option<Child>,
}

impl Agent {
    /// Lays out `directory` for an agent that uses the root cgroup `cgroup_root` and the further lines of
    /// configuration in `extra`; nothing is started yet.
    ///
    /// # Errors
    /// A file or directory cannot be made, or no loopback port is free.
    pub fn new(program: &Path, directory: &Path, cgroup_root: &str, extra: &str) -> io::Result<Self> {
        fs::create_dir_all(directory.join("pods"))?;
        let metrics = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = format!(
            "staticPodPath: {pods}\nstateDir: {state}\nlogDir: {logs}\nadminSocket: {socket}\njournalDir: {journal}\n\
             metricsBindAddress: {metrics}\ncgroupRoot: {cgroup_root}\nnodeName: demo\n{extra}",
            pods = directory.join("pods").display(),
            state = directory.join("state").display(),
            journal = directory.join("journal").display(),
            logs = directory.join("logs").display(),
            socket = directory.join("admin.sock").display(),
        );
        fs::write(directory.join("plimsoll.yaml"), config)?;
        Ok(Self {
            program: program.to_owned(),
            directory: directory.to_owned(),
            metrics,
            child: None,
        })
    }

    /// The directory of pod manifests.
    #[must_use]
    pub fn pods(&self) -> PathBuf {
        self.directory.join("pods")
    }

    /// The agent's log file.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.join("agent.log")
    }

    /// The agent's process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts the agent; its output is appended to [`Agent::log`].
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(&mut self) -> io::Result<()> {
        self.start_with(&[])
    }

    /// Starts the agent with further variables in its environment.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_with(&mut self, variables: &[(&str, &str)]) -> io::Result<()> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let child = self
            .command("run")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// How the agent ended, if it was started and has ended.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.as_mut().map_or(Ok(None), Child::try_wait)
    }

    /// Sends the agent a signal.
    ///
    /// # Errors
    /// It does not run, or cannot be signalled.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = self
            .pid()
            .ok_or_else(|| io::Error::other("the agent does not run"))?;
        kill(
            Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?),
            signal,
        )?;
        Ok(())
    }

    /// Kills the agent with SIGKILL: it gets no chance to tidy up.
    ///
    /// # Errors
    /// The process cannot be killed or waited for.
    pub fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Tells the agent to stop, as an init system would, and waits for its end.
    ///
    /// # Errors
    /// It does not run, or cannot be signalled or waited for.
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        let mut child = self
            .child
            .take()
            .ok_or_else(|| io::Error::other("the agent does not run"))?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        child.wait()
    }

    /// A command of the agent's program with the agent's configuration.
    #[must_use]
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(subcommand)
            .arg("--config")
            .arg(self.directory.join("plimsoll.yaml"));
        command
    }

    /// What `plimsoll status -o json` says.
    ///
    /// # Errors
    /// The agent does not answer, or not in the expected form.
    pub fn status(&self) -> io::Result<NodeReport> {
        let output = self.command("status").args(["-o", "json"]).output()?;
        if !output.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&output.stderr).into_owned(),
            ));
        }
        serde_json::from_slice(&output.stdout).map_err(io::Error::other)
    }

    /// Asks for the status until `done` accepts it, for at most `patience`.
    ///
    /// # Errors
    /// The time is up; the error has the last answer.
    pub fn wait_for(&self, patience: Duration, done: impl Fn(&NodeReport) -> bool) -> io::Result<NodeReport> {
        let deadline = Instant::now() + patience;
        loop {
            let answer = self.status();
            match answer {
                Ok(report) if done(&report) => return Ok(report),
                answer if Instant::now() > deadline => {
                    return Err(io::Error::other(format!(
                        "not within {patience:?}; last status: {answer:#?}"
                    )));
                }
                _ => thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// The body of `GET path` on the metrics port.
    ///
    /// # Errors
    /// The agent does not answer, or not with status 200.
    pub fn get(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.metrics)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.metrics)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
            _ => Err(io::Error::other(format!(
                "GET {path}: {}",
                answer.lines().next().unwrap_or_default()
            ))),
        }
    }
}

impl Drop for Agent {
    /// Kills the agent; its pods stay where they are.
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("cannot kill the agent: {error}");
        }
    }
}
