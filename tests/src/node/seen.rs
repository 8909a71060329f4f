//! What can be seen of a node: the agent's report and counters, and cgroups.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll::kernel::cgroup_fs::CgroupFs as _;
use plimsoll::metrics::Format;
use plimsoll::model::{
    CgroupPath, ContainerName, ContainerPhase, ContainerReport, ControlFile, NodeReport, PodPhase, PodReport,
    ProcessIdentity,
};
use plimsoll::runtime::engine::Surroundings;

use super::{FakeNode, Running};

impl FakeNode {
    /// What the agent says of itself and its pods.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        let Some(Running { engine, .. }) = &self.running else {
            panic!("the agent does not run");
        };
        engine.report(Surroundings::default(), self.now)
    }

    /// A pod's report, if the agent knows of it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PodReport> {
        self.report()
            .pods
            .into_iter()
            .find(|pod| pod.name.as_str() == name)
    }

    /// A pod's report.
    #[must_use]
    pub fn pod(&self, name: &str) -> PodReport {
        match self.find(name) {
            Some(pod) => pod,
            None => panic!("no pod {name}: {:#?}", self.report()),
        }
    }

    /// A pod's phase.
    #[must_use]
    pub fn phase(&self, name: &str) -> PodPhase {
        self.pod(name).phase
    }

    /// A container's report.
    #[must_use]
    pub fn container(&self, pod: &str, container: &str) -> ContainerReport {
        let name = ContainerName::parse(container).unwrap();
        let mut containers = self.pod(pod).containers.into_iter();
        containers.find(|found| found.name == name).unwrap()
    }

    /// What a container does, in a word: `Running`, or the reason why not.
    #[must_use]
    pub fn state(&self, pod: &str, container: &str) -> String {
        match self.container(pod, container).phase {
            ContainerPhase::Running { adopted: false, .. } => "Running".to_owned(),
            ContainerPhase::Running { adopted: true, .. } => "Running (adopted)".to_owned(),
            ContainerPhase::Waiting { reason, .. } | ContainerPhase::Terminated { reason, .. } => reason,
        }
    }

    /// The first process of a container that runs.
    #[must_use]
    pub fn process(&self, pod: &str, container: &str) -> ProcessIdentity {
        match self.container(pod, container).phase {
            ContainerPhase::Running { process, .. } => process,
            other => panic!("{pod}/{container} does not run: {other:?}"),
        }
    }

    /// Cgroups below the root other than the agent's own levels, as text.
    #[must_use]
    pub fn pod_cgroups(&self) -> BTreeSet<String> {
        let paths = self.machine.cgroups.paths().into_iter();
        paths
            .map(|path| path.to_string())
            .filter(|path| path.contains("pod"))
            .collect()
    }

    /// What an interface file reads, without its end of line.
    #[must_use]
    pub fn read(&self, path: &str, file: ControlFile) -> String {
        let path = CgroupPath::parse(path).unwrap();
        self.machine
            .cgroups
            .read(&path, file)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// The agent's counters that are not zero, by series.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, f64> {
        let Some(Running { metrics, .. }) = &self.running else {
            panic!("the agent does not run");
        };
        let scrape = metrics.scrape(Format::OpenMetrics).unwrap();
        let series = scrape.as_str().lines().filter(|line| !line.starts_with('#'));
        let series = series.filter_map(|line| line.rsplit_once(' '));
        series
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// One counter; zero when it is not there.
    #[must_use]
    pub fn counter(&self, series: &str) -> f64 {
        self.counters().get(series).copied().unwrap_or_default()
    }
}
