//! The report: what is known of the node, its pods and their cgroups, as one value.

use std::time::Duration;

use super::{Engine, Managed, Placed};
use crate::decide::command::pod_log_dir;
use crate::decide::lifecycle::container_phase;
use crate::decide::oom_score_adj::oom_score_adj;
use crate::model::{
    AgentCost, BootTime, CgroupPath, CgroupReport, Container, ContainerPhase, ContainerReport, NodeReport,
    PodPhase, PodReport, ProbeReport,
};
use crate::observe::cgroup_tree::limits;
use crate::state::containers::Run;

/// What the engine cannot know of itself.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// What the agent costs.
    pub cost: AgentCost,
    /// The probes.
    pub probes: Vec<ProbeReport>,
    /// The moment of boot, since the Unix epoch: what turns one clock's time into the other's.
    pub booted_at: Duration,
}

impl Engine {
    /// The report of this moment.
    #[must_use]
    pub fn report(&self, surroundings: Surroundings, now: BootTime) -> NodeReport {
        let mut pods: Vec<_> = self
            .pods
            .values()
            .map(|managed| self.pod_report(managed, surroundings.booted_at, now))
            .collect();
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        NodeReport {
            pressure: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_name: self.settings.node_name.clone(),
            root: self.settings.root.clone(),
            allocatable_cpu: self.allocatable.cpu,
            allocatable_memory: self.allocatable.memory,
            agent: surroundings.cost,
            cpus: self.node_cpus(),
            pods,
            probes: surroundings.probes,
            oom_kills: self.oom_kills.iter().cloned().collect(),
            manifest_errors: self.manifest_errors.clone(),
        }
    }

    fn pod_report(&self, managed: &Managed, booted_at: Duration, now: BootTime) -> PodReport {
        let pod = &managed.run.pod;
        let evicted = managed.run.evicted.as_ref();
        let (phase, reason, message) = match &managed.placed {
            _ if let Some(evicted) = evicted => (
                managed.phase,
                Some("Evicted".to_owned()),
                Some(evicted.message.clone()),
            ),
            Placed::Refused(refusal) => (
                PodPhase::Failed,
                Some(refusal.reason.clone()),
                Some(refusal.message.clone()),
            ),
            Placed::Failing(why) | Placed::Behind(why) => {
                (managed.phase, Some("CgroupError".to_owned()), Some(why.clone()))
            }
            Placed::Not | Placed::Yes | Placed::Later | Placed::Over => match &managed.deferred {
                Some(refusal) => (
                    managed.phase,
                    Some("PodResizePending".to_owned()),
                    Some(refusal.message.clone()),
                ),
                None => match (&managed.held_back, &managed.lacks) {
                    (Some(why), _) => (
                        managed.phase,
                        Some("WaitingForCpus".to_owned()),
                        Some(why.to_string()),
                    ),
                    (None, Some(refusal)) => (
                        managed.phase,
                        Some(refusal.reason.clone()),
                        Some(refusal.message.clone()),
                    ),
                    (None, None) => (managed.phase, None, None),
                },
            },
        };
        PodReport {
            uid: pod.uid.clone(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            qos: managed.class,
            phase,
            reason,
            message,
            cgroup: self.cgroup_report(&managed.cgroup),
            containers: pod
                .all_containers()
                .map(|c| self.container_report(managed, c, booted_at, now))
                .collect(),
        }
    }

    fn container_report(
        &self,
        managed: &Managed,
        container: &Container,
        booted_at: Duration,
        now: BootTime,
    ) -> ContainerReport {
        let pod = &managed.run.pod;
        let path = self
            .settings
            .policy
            .layout
            .container(managed.class, &pod.uid, &container.name);
        let known = managed.run.containers.get(&container.name);
        let waiting = || ContainerPhase::Waiting {
            reason: "PodInitializing".to_owned(),
            message: String::new(),
        };
        let started = known.and_then(|known| match known.run {
            Run::Running { since, .. } => Some(since),
            _ => known.last_exit.as_ref().map(|exit| exit.started),
        });
        let log = pod_log_dir(&self.settings.log_dir, pod).join(format!("{}.log", container.name));
        ContainerReport {
            name: container.name.clone(),
            phase: container_phase(&managed.run, &container.name, now).unwrap_or_else(waiting),
            restarts: known.map_or(0, crate::state::containers::ContainerRun::restarts),
            image: container.image.clone(),
            started_at: started.map(|since| booted_at.saturating_add(since.0)),
            oom_score_adj: oom_score_adj(pod, container, self.settings.capacity.memory),
            cpus: self.container_cpus(managed, &container.name, &path),
            cgroup: self.cgroup_report(&path),
            log_path: Some(log.display().to_string()),
        }
    }

    fn cgroup_report(&self, path: &CgroupPath) -> CgroupReport {
        let Some(actual) = self.actual.cgroups.get(path) else {
            return CgroupReport {
                path: path.clone(),
                ..CgroupReport::default()
            };
        };
        let usage = self.usage.get(actual.id);
        CgroupReport {
            path: path.clone(),
            id: Some(actual.id),
            sampled_at: usage.and(self.sampled_at).map(|at| at.wall),
            limits: limits(actual),
            cpu: usage.and_then(|usage| usage.reading.cpu.clone()),
            memory: usage.and_then(|usage| usage.reading.memory.clone()),
            tasks: usage.and_then(|usage| usage.reading.tasks),
            pressure: usage.and_then(|usage| usage.reading.pressure),
        }
    }
}
