//! Who deals with the shortage, and how each is set up.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::agent::Agent;

use super::field::{ABOVE_HIGH, ROOT};
use super::kubelet::{Model, PERIOD};
use super::machine::clear;
use super::{Field, Line, Places};

/// The agent's threshold.
pub(super) fn agent_configuration(line: Line) -> String {
    let thresholds = match line {
        Line::Tenth => "memory.available: 10%".to_owned(),
        // The agent's tripwire lies where its threshold is.
        Line::High(_) => format!("memory.available: {ABOVE_HIGH}Mi"),
        Line::Tasks(_) => "memory.available: 10%, pid.available: 25%".to_owned(),
    };
    format!("evictionHard: {{{thresholds}}}\n")
}

/// The root cgroup of an agent that is only asked whether it watches for pressure.
const TRIAL: &str = "plimsoll-trial";

/// Who deals with the shortage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Nobody but the kernel's OOM killer, with kubelet's fixed `oom_score_adj`.
    Kernel,
    /// The agent.
    Plimsoll,
    /// earlyoom with its defaults: a tenth of the machine.
    Earlyoom,
    /// oomd with the fastest rule that it can have: 5 % for one second.
    OomdFast,
    /// oomd with the rules that come with it, on the pods' cgroups.
    OomdSample,
    /// kubelet's published loop, as a model.
    KubeletModel,
}

impl Keeper {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Plimsoll,
        Self::Earlyoom,
        Self::OomdFast,
        Self::OomdSample,
        Self::KubeletModel,
        Self::Kernel,
    ];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel alone",
            Self::Plimsoll => "plimsoll",
            Self::Earlyoom => "earlyoom",
            Self::OomdFast => "oomd 5 %/1 s",
            Self::OomdSample => "oomd sample rules",
            Self::KubeletModel => "kubelet 10 s (model)",
        }
    }

    /// Its program, if it is one that may be missing.
    fn program(self) -> Option<&'static Path> {
        match self {
            Self::Earlyoom => Some(Path::new("/usr/bin/earlyoom")),
            Self::OomdFast | Self::OomdSample => Some(Path::new("/usr/bin/oomd")),
            Self::Kernel | Self::Plimsoll | Self::KubeletModel => None,
        }
    }
}

/// Whether this keeper can be raced here, or why not.
///
/// # Errors
/// The agent cannot be started at all.
pub fn is_there(keeper: Keeper, places: &Places) -> io::Result<Result<(), String>> {
    if let Some(program) = keeper.program() {
        let there = program.is_file();
        return Ok(there
            .then_some(())
            .ok_or(format!("{} is missing", program.display())));
    }
    if keeper != Keeper::Plimsoll {
        return Ok(Ok(()));
    }
    if !places.agent.is_file() {
        return Ok(Err(format!("{} is missing", places.agent.display())));
    }
    // An agent that does not watch for pressure does not know the configuration for it, or has nothing to tell of it.
    let mut agent = Agent::new(
        &places.agent,
        &places.directory.join("trial"),
        TRIAL,
        &agent_configuration(Line::Tenth),
    )?;
    agent.start()?;
    let report = agent.wait_for(Duration::from_secs(60), |_| true);
    agent.kill()?;
    clear(&places.mount.join(TRIAL))?;
    Ok(match report {
        Ok(report) if report.pressure.is_some() => Ok(()),
        Ok(_) => Err("this build of the agent does not watch for pressure".to_owned()),
        Err(_) => {
            let log = fs::read_to_string(agent.log()).unwrap_or_default();
            let last = log.lines().last().unwrap_or("the agent does not answer");
            Err(last.to_owned())
        }
    })
}

/// A keeper at work, until this is dropped.
#[derive(Debug)]
pub struct Keeping {
    child: Option<Child>,
    model: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Keeping {
    /// Puts the keeper in charge.
    ///
    /// # Errors
    /// It does not start.
    pub fn begin(keeper: Keeper, field: &Field, seed: u32, places: &Places) -> io::Result<Self> {
        let mut keeping = Self {
            child: None,
            model: None,
        };
        match keeper {
            Keeper::Kernel | Keeper::Plimsoll => {}
            Keeper::KubeletModel => keeping.model = Some(kubelet(field, seed, places)),
            Keeper::Earlyoom => {
                keeping.child = Some(quiet("/usr/bin/earlyoom", &["-p", "-r", "0"], &places.directory)?);
            }
            Keeper::OomdFast | Keeper::OomdSample => {
                let file = places.directory.join("oomd.json");
                fs::write(&file, oomd_rules(keeper))?;
                let file = file.display().to_string();
                let mount = places.mount.display().to_string();
                let log = places.directory.join("oomd.kills").display().to_string();
                let words = [
                    "--interval",
                    "1",
                    "--config",
                    &file,
                    "--cgroup-fs",
                    &mount,
                    "--kmsg-override",
                    &log,
                ];
                keeping.child = Some(quiet("/usr/bin/oomd", &words, &places.directory)?);
            }
        }
        if keeping.child.is_some() {
            // It has to be up when the start signal comes.
            thread::sleep(Duration::from_secs(2));
        }
        if let Some(child) = &mut keeping.child
            && let Some(status) = child.try_wait()?
        {
            let said = fs::read_to_string(places.directory.join("keeper.log")).unwrap_or_default();
            return Err(io::Error::other(format!(
                "{} ended with {status}: {said}",
                keeper.name()
            )));
        }
        Ok(keeping)
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            eprintln!("a keeper stays: {error}");
        }
        if let Some((stop, model)) = self.model.take() {
            stop.store(true, Ordering::Relaxed);
            if model.join().is_err() {
                eprintln!("the model of kubelet ended early");
            }
        }
    }
}

/// Starts a program whose output goes to a file.
fn quiet(program: &str, arguments: &[&str], directory: &Path) -> io::Result<Child> {
    let log = fs::File::create(directory.join("keeper.log"))?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// The loop meets the shortage at any moment of its period; which one is the seed's choice.
fn kubelet(field: &Field, seed: u32, places: &Places) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let requests = field.pods.iter().map(|pod| u64::from(pod.request) << 20);
    let model = Model {
        mount: places.mount.clone(),
        root: field.root.clone(),
        pods: field.cgroups.iter().cloned().zip(requests).collect(),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let phase = PERIOD.mul_f64(f64::from((seed * 7 + 3) % 10) / 10.0);
    let thread = thread::spawn(move || {
        let mut next = Instant::now() + phase;
        while !stopped.load(Ordering::Relaxed) {
            if Instant::now() < next {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            next += PERIOD;
            if let Err(error) = model.synchronize() {
                eprintln!("model of kubelet: {error}");
            }
        }
    });
    (stop, thread)
}

/// What oomd is told: to look at the pods' root, and to take a pod.
fn oomd_rules(keeper: Keeper) -> String {
    let pods = format!("{ROOT}/burstable/*,{ROOT}/besteffort/*,{ROOT}/pod*");
    let pressure = |threshold: u32, seconds: u32| {
        format!(
            r#"{{"name": "pressure_above", "args": {{"cgroup": "{ROOT}", "resource": "memory", "threshold": "{threshold}", "duration": "{seconds}"}}}}"#
        )
    };
    let reclaim =
        format!(r#"{{"name": "memory_reclaim", "args": {{"cgroup": "{ROOT}", "duration": "10"}}}}"#);
    let detector = if keeper == Keeper::OomdFast {
        format!(r#"["pressure", {}]"#, pressure(5, 1))
    } else {
        format!(r#"["pressure", {}, {reclaim}]"#, pressure(60, 30))
    };
    format!(
        r#"{{"rulesets": [{{"name": "pods", "detectors": [{detector}], "actions":
            [{{"name": "kill_by_memory_size_or_growth", "args": {{"cgroup": "{pods}"}}}}]}},
            {{"name": "swap", "detectors": [["swap", {{"name": "swap_free", "args": {{"threshold_pct": "10"}}}}]],
            "actions": [{{"name": "kill_by_swap_usage", "args": {{"cgroup": "{pods}"}}}}]}}]}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_for_oomd_are_json() {
        for keeper in [Keeper::OomdFast, Keeper::OomdSample] {
            let rules: serde_json::Value = serde_json::from_str(&oomd_rules(keeper)).unwrap();
            assert_eq!(rules["rulesets"].as_array().unwrap().len(), 2);
        }
    }
}
