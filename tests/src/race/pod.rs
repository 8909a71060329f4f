//! A pod of a scenario: what it asks for, and what it does.

use std::path::Path;

use plimsoll::model::QosClass;

/// A pod with one container `main`. Sizes are MiB.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its name, and `uid-NAME` is its UID.
    pub name: &'static str,
    /// QoS class.
    pub class: QosClass,
    /// Memory request; for Guaranteed also the limit.
    pub request: u32,
    /// Memory limit of a Burstable pod, if any.
    pub limit: Option<u32>,
    /// Its share of one CPU from the start signal on, if limited; the agent does not know of that.
    pub cpu_percent: Option<u32>,
    /// Arguments of the workload program.
    pub load: &'static str,
    /// Whether it waits for the start signal; the others begin at once.
    pub waits: bool,
    /// What it holds before the start signal.
    pub settled: u32,
    /// Whether the kernel does not know of its limit, as with memory that is not charged.
    pub lifted: bool,
    /// How much of what it holds is in swap when the start signal comes.
    pub swapped: u32,
}

impl Pod {
    /// A pod that holds memory within its request and is to blame for nothing.
    #[must_use]
    pub fn bystander(
        name: &'static str,
        class: QosClass,
        request: u32,
        load: &'static str,
        settled: u32,
    ) -> Self {
        Self {
            name,
            class,
            request,
            limit: None,
            cpu_percent: None,
            load,
            waits: false,
            settled,
            lifted: false,
            swapped: 0,
        }
    }

    /// A pod that waits for the start signal and then does its worst.
    #[must_use]
    pub fn hog(name: &'static str, class: QosClass, request: u32, load: &'static str) -> Self {
        Self {
            waits: true,
            ..Self::bystander(name, class, request, load, 0)
        }
    }

    /// The same pod, which holds so much before the start signal; its load says so too, by `first`.
    #[must_use]
    pub fn with_first(mut self, settled: u32) -> Self {
        self.settled = settled;
        self
    }

    /// The same pod with a memory limit.
    #[must_use]
    pub fn limited(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The same pod with a share of one CPU.
    #[must_use]
    pub fn with_cpu(mut self, percent: u32) -> Self {
        self.cpu_percent = Some(percent);
        self
    }

    /// The same pod, past whose limit the kernel lets it.
    #[must_use]
    pub fn lifted(mut self) -> Self {
        self.lifted = true;
        self
    }

    /// The same pod, with so much of what it holds in swap.
    #[must_use]
    pub fn in_swap(mut self, swapped: u32) -> Self {
        self.swapped = swapped;
        self
    }

    /// Its limit, in the kernel.
    #[must_use]
    pub fn kernel_limit(&self) -> Option<u32> {
        let limit = match self.class {
            QosClass::Guaranteed => Some(self.request),
            QosClass::Burstable => self.limit,
            QosClass::BestEffort => None,
        };
        limit.filter(|_| !self.lifted)
    }

    /// Its cgroup below the root.
    #[must_use]
    pub fn cgroup(&self) -> String {
        match self.class {
            QosClass::Guaranteed => format!("poduid-{}", self.name),
            QosClass::Burstable => format!("burstable/poduid-{}", self.name),
            QosClass::BestEffort => format!("besteffort/poduid-{}", self.name),
        }
    }

    /// The words of its command. `SHM` in its load stands for a directory of a tmpfs.
    #[must_use]
    pub fn command(&self, load: &Path, start: &Path, shm: &Path, seed: u32) -> Vec<String> {
        let mut words = vec![load.display().to_string()];
        let in_shm = |word: &str| word.replace("SHM", &shm.display().to_string());
        words.extend(self.load.split_whitespace().map(in_shm));
        words.push(format!("seed={seed}"));
        if self.waits {
            words.push(format!("start={}", start.display()));
        }
        words
    }

    /// Its manifest, in YAML's flow style, which never starts it again.
    #[must_use]
    pub fn manifest(&self, command: &[String]) -> String {
        let command: Vec<_> = command.iter().map(|word| format!("'{word}'")).collect();
        let memory = |mib: u32| format!("memory: {mib}Mi");
        let resources = match self.class {
            QosClass::Guaranteed => {
                format!("{{limits: {{cpu: 1, {}}}}}", memory(self.request))
            }
            QosClass::Burstable => {
                let limit = self.limit.map(memory).unwrap_or_default();
                format!("{{requests: {{{}}}, limits: {{{limit}}}}}", memory(self.request))
            }
            QosClass::BestEffort => "{}".to_owned(),
        };
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, uid: uid-{name}}}, spec: {{restartPolicy: Never, \
             terminationGracePeriodSeconds: 1, containers: [{{name: main, command: [{command}], \
             resources: {resources}}}]}}}}\n",
            name = self.name,
            command = command.join(", "),
        )
    }

    /// What kubelet gives the container's processes.
    ///
    /// Source: Kubernetes, "Node-pressure Eviction", "Node out of memory behavior".
    #[must_use]
    pub fn oom_score_adj(&self, capacity: u64) -> i64 {
        match self.class {
            QosClass::Guaranteed => -997,
            QosClass::BestEffort => 1000,
            QosClass::Burstable => {
                let share = 1000 * (u64::from(self.request) << 20) / capacity.max(1);
                (1000 - i64::try_from(share).unwrap_or(1000)).clamp(2, 999)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_of_the_class_that_the_pod_has() {
        let command = vec!["/bin/load".to_owned(), "anon".to_owned()];
        for (pod, wanted) in [
            (
                Pod::hog("a", QosClass::Guaranteed, 64, ""),
                "{limits: {cpu: 1, memory: 64Mi}}",
            ),
            (
                Pod::hog("a", QosClass::Burstable, 64, "").limited(96).with_cpu(1),
                "{requests: {memory: 64Mi}, limits: {memory: 96Mi}}",
            ),
            (Pod::hog("a", QosClass::BestEffort, 0, ""), "resources: {}"),
        ] {
            let manifest = pod.manifest(&command);
            assert!(manifest.contains(wanted), "{manifest}");
        }
    }

    #[test]
    fn priorities_are_kubelets() {
        let adj = |class, request| Pod::hog("a", class, request, "").oom_score_adj(1024 << 20);
        assert_eq!(adj(QosClass::Guaranteed, 64), -997);
        assert_eq!(adj(QosClass::BestEffort, 0), 1000);
        assert_eq!(adj(QosClass::Burstable, 512), 500);
        assert_eq!(adj(QosClass::Burstable, 0), 999);
    }
}
