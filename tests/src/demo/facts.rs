//! What the acts ask: of the agent's report, of `/proc` and of cgroup files.

use std::time::Duration;
use std::{fs, io};

use plimsoll::model::{ContainerPhase, ContainerReport, NodeReport, PodReport, ProcessIdentity};

use super::pods::LASTING;
use super::{Claim, Stage};

pub(super) fn claim(holds: bool, otherwise: impl FnOnce() -> String) -> Claim {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

pub(super) fn pod<'a>(report: &'a NodeReport, name: &str) -> Claim<&'a PodReport> {
    // A static pod's name may carry the node's name behind its own.
    let found = report
        .pods
        .iter()
        .find(|p| p.name.as_str().split('-').next() == Some(name));
    found.ok_or_else(|| format!("the agent does not know {name}").into())
}

pub(super) fn container(pod: &PodReport) -> Claim<&ContainerReport> {
    pod.containers
        .first()
        .ok_or_else(|| format!("{} has no container", pod.name).into())
}

pub(super) fn container_of<'a>(report: &'a NodeReport, name: &str) -> Claim<&'a ContainerReport> {
    container(pod(report, name)?)
}

pub(super) fn runs(report: &NodeReport, name: &str) -> bool {
    container_of(report, name).is_ok_and(|c| matches!(c.phase, ContainerPhase::Running { .. }))
}

pub(super) fn process(container: &ContainerReport) -> Claim<ProcessIdentity> {
    match &container.phase {
        ContainerPhase::Running { process, .. } => Ok(*process),
        other => Err(format!("{} does not run: {other:?}", container.name).into()),
    }
}

pub(super) fn processes(report: &NodeReport) -> Claim<Vec<(String, ProcessIdentity)>> {
    LASTING
        .iter()
        .map(|(name, _)| Ok(((*name).to_owned(), process(container_of(report, name)?)?)))
        .collect()
}

pub(super) fn is_alive(identity: ProcessIdentity) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", identity.pid)).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields: Vec<_> = after_name.split(' ').collect();
    fields.first().is_some_and(|state| *state != "Z")
        && fields.get(19).and_then(|ticks| ticks.parse().ok()) == Some(identity.start_ticks)
}

pub(super) fn cgroup_file(stage: &Stage, cgroup: &str, file: &str) -> io::Result<String> {
    let path = stage.tree.join(cgroup).join(file);
    let text = fs::read_to_string(&path)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    Ok(text.trim().to_owned())
}

pub(super) fn cpu_from_file(stage: &Stage, report: &NodeReport, name: &str) -> Claim<Duration> {
    let text = cgroup_file(stage, &pod(report, name)?.cgroup.path.to_string(), "cpu.stat")?;
    let usec = text
        .lines()
        .find_map(|l| l.strip_prefix("usage_usec "))
        .ok_or("cpu.stat has no usage_usec")?;
    Ok(Duration::from_micros(usec.parse()?))
}
