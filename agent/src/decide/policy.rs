//! What the node's owner decides about placement. Names and meanings are those of kubelet's configuration where
//! it has the same setting.

use crate::config::eviction::Level;
use crate::config::{self, CgroupDriver, Config, NodeAllocatable};
pub use crate::config::{MemoryReservationPolicy, SwapBehavior};
use crate::model::pressure::Signal;
use crate::model::{Bytes, CgroupName, CgroupNameError, CpuPeriod, Layout, MilliCpu, Quantity};

/// The settings of placement.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementPolicy {
    /// The naming of cgroups (`cgroupDriver`, `cgroupRoot`).
    pub layout: Layout,
    /// Kept from pods for the operating system (`systemReserved`).
    pub system_reserved: Reserved,
    /// Kept from pods for node agents, Plimsoll included (`kubeReserved`).
    pub kube_reserved: Reserved,
    /// Memory that must stay available (`evictionHard: memory.available`): pods cannot request it, though the
    /// root's `memory.max` lets them use it, as under kubelet.
    pub eviction_hard_memory: Amount,
    /// Whether the root's limits hold pods to what is allocatable (`enforceNodeAllocatable: [pods]`).
    pub enforce_node_allocatable: bool,
    /// Most pods at a time (`maxPods`).
    pub max_pods: u64,
    /// Whether CPU limits become quotas (`cpuCFSQuota`).
    pub cpu_cfs_quota: bool,
    /// The period of the quotas (`cpuCFSQuotaPeriod`).
    pub cpu_cfs_quota_period: CpuPeriod,
    /// How a container's `cpu.weight` follows from its request.
    pub container_cpu_weight: ContainerCpuWeight,
    /// Most tasks of one pod (`podPidsLimit`).
    pub pod_pids_limit: Option<u64>,
    /// What of memory requests and limits becomes protection and throttling.
    pub memory_qos: MemoryQos,
    /// Who may swap (`memorySwap.swapBehavior`).
    pub swap_behavior: SwapBehavior,
    /// Whether the OOM killer takes single processes instead of whole containers (`singleProcessOOMKill`).
    pub single_process_oom_kill: bool,
    /// What the agent keeps for itself; none when it has no cgroup of its own.
    pub agent: Option<AgentShare>,
}

/// What the agent's own cgroup is given. It comes out of what is reserved, not out of what pods may request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentShare {
    /// CPU time it gets when all CPUs are wanted.
    pub cpu: MilliCpu,
    /// Memory that is never reclaimed from it.
    pub memory: Bytes,
}

impl Default for AgentShare {
    fn default() -> Self {
        Self {
            cpu: MilliCpu(250),
            memory: Bytes::mib(32),
        }
    }
}

/// Resources kept from pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reserved {
    /// CPU time.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
    /// Tasks.
    pub pids: u64,
}

/// An amount of memory, absolute or by the node's size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// That much.
    Bytes(Bytes),
    /// That part of the capacity, 0 to 1.
    Fraction(f64),
}

impl Amount {
    /// Where a threshold lies; nothing is kept for one that is turned off.
    fn of_threshold(level: Option<Level>) -> Self {
        match level {
            Some(Level::Quantity(bytes)) => Self::Bytes(Bytes(bytes)),
            Some(Level::Part(part)) => Self::Fraction(part.into()),
            Some(Level::Off | Level::Time(_)) | None => Self::Bytes(Bytes(0)),
        }
    }
}

/// From shares to `cpu.weight` at a container's level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContainerCpuWeight {
    /// The curve of runc from 1.3.2 and crun from 1.23, on which 1 CPU weighs the kernel's default, 100.
    #[default]
    Curve,
    /// The straight line of older runtimes, the same as at kubelet's own levels.
    Linear,
}

/// How memory requests and limits become `memory.min`, `memory.low` and `memory.high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryQos {
    /// By whose rules.
    pub mode: MemoryQosMode,
    /// Where between request and limit throttling starts (`memoryThrottlingFactor`), above 0 and at most 1.
    pub throttling_factor: f64,
    /// Whether requests become protection (`memoryReservationPolicy`).
    pub reservation: MemoryReservationPolicy,
    /// With [`MemoryQosMode::Sound`], what a pod may still allocate while it is decided upon: the fastest
    /// allocation rate times the time from alarm to freed memory. Without it nothing is throttled.
    pub headroom: Option<Bytes>,
}

/// The rules of memory QoS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MemoryQosMode {
    /// No protection, no throttling.
    Off,
    /// Number for number what kubelet 1.36 writes with its `MemoryQoS` gate on. Burstable protection is void
    /// under it, because the level above the QoS classes gets no `memory.low`, and a low `memory.high` can
    /// throttle a container without end.
    Kubelet,
    /// Protection that holds: each level above a protected pod carries what its children carry, hard for
    /// Guaranteed pods and best-effort for the others. `memory.high` is a tripwire at least `headroom` below a
    /// limit, only for limits of four times that much, and never a resting place: see
    /// [`Inputs::lifted`](super::desired::Inputs).
    #[default]
    Sound,
}

impl Default for MemoryQos {
    fn default() -> Self {
        Self {
            mode: MemoryQosMode::default(),
            throttling_factor: 0.9,
            reservation: MemoryReservationPolicy::default(),
            // 1 GiB/s times twice the 160 ms from alarm to 2 GiB freed.
            headroom: Some(Bytes::mib(320)),
        }
    }
}

impl Default for PlacementPolicy {
    /// kubelet's defaults, with memory protection that holds, and a little of everything for the agent.
    fn default() -> Self {
        Self {
            layout: Layout::default(),
            system_reserved: Reserved::default(),
            kube_reserved: Reserved::default(),
            eviction_hard_memory: Amount::Bytes(Bytes::mib(100)),
            enforce_node_allocatable: true,
            max_pods: 110,
            cpu_cfs_quota: true,
            cpu_cfs_quota_period: CpuPeriod::DEFAULT,
            container_cpu_weight: ContainerCpuWeight::default(),
            pod_pids_limit: None,
            memory_qos: MemoryQos::default(),
            swap_behavior: SwapBehavior::default(),
            single_process_oom_kill: false,
            agent: Some(AgentShare::default()),
        }
    }
}

impl PlacementPolicy {
    /// The settings of `config`.
    ///
    /// # Errors
    /// Under the systemd driver, `cgroupRoot` has a component that no slice can be named after.
    pub fn from_config(config: &Config) -> Result<Self, CgroupNameError> {
        let layout = match config.cgroup_driver {
            CgroupDriver::Cgroupfs => Layout::Cgroupfs,
            CgroupDriver::Systemd => {
                Layout::Systemd(CgroupName::new(config.cgroup_root.path().components())?)
            }
        };
        let mode = if config.memory_qos {
            MemoryQosMode::Sound
        } else {
            MemoryQosMode::Off
        };
        let mut system_reserved = Reserved::from_config(&config.system_reserved);
        let mut kube_reserved = Reserved::from_config(&config.kube_reserved);
        // As in kubelet, where a list of CPUs takes the place of the amounts.
        if let Ok(listed @ 1..) = u64::try_from(config.reserved_system_cpus.len()) {
            system_reserved.cpu = MilliCpu(listed * 1000);
            kube_reserved.cpu = MilliCpu(0);
        }
        Ok(Self {
            layout,
            system_reserved,
            kube_reserved,
            eviction_hard_memory: Amount::of_threshold(config.hard_threshold(Signal::MemoryAvailable)),
            enforce_node_allocatable: config.enforce_node_allocatable.contains(&NodeAllocatable::Pods),
            max_pods: config.max_pods.get().into(),
            cpu_cfs_quota: config.cpu_cfs_quota,
            cpu_cfs_quota_period: config.cpu_cfs_quota_period.period(),
            pod_pids_limit: config.pod_pids_limit.limit(),
            memory_qos: MemoryQos {
                mode,
                throttling_factor: config.memory_throttling_factor.get(),
                reservation: config.memory_reservation_policy,
                headroom: Some(config.memory_headroom.0),
            },
            swap_behavior: config.memory_swap.swap_behavior,
            single_process_oom_kill: config.single_process_oom_kill,
            agent: config.agent.own_cgroup.then(|| AgentShare {
                memory: config.agent.memory_min.0,
                ..AgentShare::default()
            }),
            ..Self::default()
        })
    }
}

impl Reserved {
    fn from_config(reserved: &config::Reserved) -> Self {
        let whole = |amount: Quantity| u64::try_from(amount.value()).unwrap_or(0);
        Self {
            cpu: MilliCpu(u64::try_from(reserved.cpu.milli_value()).unwrap_or(0)),
            memory: Bytes(whole(reserved.memory)),
            pids: whole(reserved.pid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CpuSet;

    #[test]
    fn the_default_configuration_is_the_default_policy() {
        assert_eq!(
            PlacementPolicy::from_config(&Config::default()),
            Ok(PlacementPolicy::default())
        );
    }

    #[test]
    fn a_list_of_reserved_cpus_takes_the_place_of_the_amounts() {
        let config = Config {
            reserved_system_cpus: CpuSet::parse("0-1,8").unwrap(),
            kube_reserved: config::Reserved {
                cpu: Quantity::parse("500m").unwrap(),
                ..config::Reserved::default()
            },
            ..Config::default()
        };
        let policy = PlacementPolicy::from_config(&config).unwrap();
        assert_eq!(policy.system_reserved.cpu, MilliCpu(3000));
        assert_eq!(policy.kube_reserved.cpu, MilliCpu(0));
    }

    #[test]
    fn what_must_stay_available_comes_from_the_hard_threshold() {
        let kept = |text: &str| {
            let config = crate::config::parse(text, "test.yaml").unwrap();
            PlacementPolicy::from_config(&config)
                .unwrap()
                .eviction_hard_memory
        };
        assert_eq!(
            kept("evictionHard: {memory.available: 1Gi}"),
            Amount::Bytes(Bytes::mib(1024))
        );
        assert_eq!(
            kept("evictionHard: {memory.available: 50%}"),
            Amount::Fraction(0.5)
        );
        for off in [
            "evictionHard: {}",
            "evictionHard: {memory.available: 0%}",
            "evictionHard: {pid.available: 9}",
        ] {
            assert_eq!(kept(off), Amount::Bytes(Bytes(0)), "{off}");
        }
    }
}
