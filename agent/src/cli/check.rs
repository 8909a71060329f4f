//! From facts about the node to verdicts a person can act on.
//!
//! # Properties
//! - A verdict other than `ok` says how to get what is needed.

use serde::Serialize;

use super::table::lay_out;
use crate::model::{ProbeReport, Shown};
use crate::observe::node::{Capability, NodeFacts};

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is there.
    Ok,
    /// It is not, and the agent does without: less is watched or protected.
    Warn,
    /// It is not, and pods cannot be placed.
    Missing,
}

/// One thing that the agent has a use for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What it is.
    pub name: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What it is needed for.
    pub need: &'static str,
    /// How to get it; empty when it is there.
    pub how_to_get: String,
}

impl Check {
    fn new(
        name: &str,
        there: bool,
        otherwise: Verdict,
        found: impl Into<String>,
        need: &'static str,
        how: &str,
    ) -> Self {
        Self {
            name: name.to_owned(),
            verdict: if there { Verdict::Ok } else { otherwise },
            found: found.into(),
            need,
            how_to_get: if there { String::new() } else { how.to_owned() },
        }
    }
}

/// Controllers with what for, and whether pods can be placed without.
const CONTROLLERS: &[(&str, Verdict, &str)] = &[
    ("cpu", Verdict::Missing, "CPU weights and limits"),
    ("memory", Verdict::Missing, "memory limits and protection"),
    ("pids", Verdict::Warn, "limits on tasks"),
    ("cpuset", Verdict::Warn, "exclusive CPUs"),
    ("hugetlb", Verdict::Warn, "limits on huge pages"),
    ("io", Verdict::Warn, "IO weights and limits"),
];

const CAPABILITIES: &[(&str, Capability, &str)] = &[
    ("CAP_BPF", Capability::Bpf, "loading eBPF programs"),
    (
        "CAP_PERFMON",
        Capability::Perfmon,
        "attaching eBPF programs and reading kernel memory from them",
    ),
    (
        "CAP_SYS_RESOURCE",
        Capability::SysResource,
        "oom_score_adj below 0; PSI windows other than multiples of 2 s",
    ),
    ("CAP_SETUID", Capability::Setuid, "containers with runAsUser"),
    ("CAP_SETGID", Capability::Setgid, "containers with runAsGroup"),
    (
        "CAP_KILL",
        Capability::Kill,
        "stopping containers that run as another user",
    ),
    (
        "CAP_DAC_OVERRIDE",
        Capability::DacOverride,
        "oom_score_adj of processes that run as another user",
    ),
    (
        "CAP_SYS_NICE",
        Capability::SysNice,
        "the guard over memory running before others",
    ),
    (
        "CAP_IPC_LOCK",
        Capability::IpcLock,
        "the guard's program staying in memory",
    ),
];

/// Every check, in the order of showing. `probes` is what trying to attach each probe gave.
#[must_use]
pub fn checks(facts: &NodeFacts, probes: &[ProbeReport]) -> Vec<Check> {
    let mut all = kernel(facts);
    all.extend(cgroups(facts));
    all.extend(
        CONTROLLERS
            .iter()
            .map(|&(name, otherwise, need)| controller(facts, name, otherwise, need)),
    );
    all.extend(memory(facts));
    all.extend(CAPABILITIES.iter().map(|&(name, capability, need)| {
        let there = facts.has(capability);
        let found = if there { "held" } else { "not held" };
        let how = format!("run as root, or add {name} to AmbientCapabilities= or the pod's securityContext");
        Check::new(name, there, Verdict::Warn, found, need, &how)
    }));
    all.extend(probes.iter().map(|probe| {
        let found = match (&probe.reason, probe.attached) {
            (Some(lack), true) => format!("attached, {lack}"),
            (None, true) => "attached".to_owned(),
            (_, false) => "not attached".to_owned(),
        };
        let reason = probe.reason.as_deref().unwrap_or("no reason given");
        let how = format!("{reason}; cgroup files serve meanwhile where they can");
        let name = format!("probe {}", probe.name);
        Check::new(
            &name,
            probe.attached,
            Verdict::Warn,
            found,
            "watching by eBPF",
            &how,
        )
    }));
    all
}

fn kernel(facts: &NodeFacts) -> Vec<Check> {
    let at_least = |version| facts.kernel_version >= version;
    let since = |name: &str, version: (u32, u32), otherwise, need| {
        let how = format!("run Linux {}.{} or newer", version.0, version.1);
        Check::new(
            name,
            at_least(version),
            otherwise,
            format!("Linux {}", facts.kernel_release),
            need,
            &how,
        )
    };
    vec![
        since(
            "kernel",
            (5, 14),
            Verdict::Missing,
            "starting containers in their cgroup, cgroup.kill",
        ),
        since(
            "memory.reclaim",
            (5, 19),
            Verdict::Warn,
            "reclaiming from one pod",
        ),
        since(
            "tested kernel",
            (6, 1),
            Verdict::Warn,
            "the agent's own tests run on 6.1 and newer",
        ),
        Check::new(
            "BTF",
            facts.btf.is_some(),
            Verdict::Warn,
            facts.btf.map_or("no /sys/kernel/btf/vmlinux".to_owned(), |size| {
                format!("{size} of types")
            }),
            "eBPF probes: where fields lie in kernel structures",
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as distributions' are",
        ),
        Check::new(
            "PSI",
            facts.pressure.len() == 3,
            Verdict::Warn,
            if facts.pressure.is_empty() {
                "off".to_owned()
            } else {
                facts.pressure.iter().cloned().collect::<Vec<_>>().join(", ")
            },
            "pressure as a signal and a metric",
            "boot with psi=1 (CONFIG_PSI=y)",
        ),
    ]
}

fn cgroups(facts: &NodeFacts) -> Vec<Check> {
    let mount = facts.cgroup2.as_ref();
    let option = |name| mount.is_some_and(|mount| mount.options.contains(name));
    let found = match mount {
        None => "not mounted".to_owned(),
        Some(mount) if facts.v1_controllers.is_empty() => format!("at {}", mount.path),
        Some(mount) => format!("at {}, beside cgroup v1", mount.path),
    };
    vec![
        Check::new(
            "cgroup v2",
            mount.is_some(),
            Verdict::Missing,
            found,
            "the whole job",
            "boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup",
        ),
        Check::new(
            "memory_recursiveprot",
            option("memory_recursiveprot"),
            Verdict::Warn,
            if option("memory_recursiveprot") {
                "set"
            } else {
                "not set"
            },
            "protection of a pod that reaches its containers",
            "mount -o remount,memory_recursiveprot the cgroup v2 file system; systemd does so by itself",
        ),
        Check::new(
            "root",
            facts.is_root,
            Verdict::Warn,
            if facts.is_root {
                "effective user 0"
            } else {
                "another user"
            },
            "making cgroups outside a delegated tree",
            "run as root, or set cgroupRoot to a cgroup delegated to this user",
        ),
    ]
}

fn controller(facts: &NodeFacts, name: &str, otherwise: Verdict, need: &'static str) -> Check {
    let there = facts.controllers.contains(name);
    // cgroup v1 has another name for it.
    let v1_name = if name == "io" { "blkio" } else { name };
    let v1 = facts.v1_controllers.get(v1_name);
    let found = match (there, v1) {
        (true, _) => format!("available at {}", facts.controllers_at),
        (false, Some(mount)) => format!("held by cgroup v1 at {mount}"),
        (false, None) if facts.cgroup2.is_some() => format!("not available at {}", facts.controllers_at),
        (false, None) => "no cgroup v2".to_owned(),
    };
    let how = if v1.is_some() {
        "boot with cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1"
    } else {
        "enable it in cgroup.subtree_control of every cgroup above, or Delegate= it in the systemd unit; or use a \
         kernel that has it"
    };
    Check::new(&format!("controller {name}"), there, otherwise, found, need, how)
}

fn memory(facts: &NodeFacts) -> Vec<Check> {
    vec![Check::new(
        "swap",
        facts.swap.0 > 0,
        Verdict::Ok,
        if facts.swap.0 > 0 {
            facts.swap.to_string()
        } else {
            "none".to_owned()
        },
        "memorySwap.swapBehavior: LimitedSwap, which is off by default",
        "",
    )]
}

/// The checks as a table, then what is missing and how to get it, then the verdict.
pub(super) fn show(checks: &[Check]) -> String {
    let word = |verdict| match verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Missing => "MISSING",
    };
    let mut rows = vec![["", "CHECK", "FOUND", "NEEDED FOR"].map(str::to_owned).to_vec()];
    rows.extend(checks.iter().map(|check| {
        let cells = [word(check.verdict), &check.name, &check.found, check.need];
        cells.map(str::to_owned).to_vec()
    }));
    let mut text = lay_out(&rows, &[]);
    // What helps several at once is said once.
    let mut ways: Vec<(Verdict, &str, String)> = Vec::new();
    for check in checks.iter().filter(|check| !check.how_to_get.is_empty()) {
        match ways.iter_mut().find(|(_, how, _)| *how == check.how_to_get) {
            Some((verdict, _, names)) => {
                *verdict = check.verdict.max(*verdict);
                names.push_str(&format!(", {}", check.name));
            }
            None => ways.push((check.verdict, &check.how_to_get, check.name.clone())),
        }
    }
    if !ways.is_empty() {
        text.push_str("\nHow to get what is lacking:\n");
    }
    for (verdict, how, names) in ways {
        text.push_str(&format!(
            "{:<7}  {}:\n         {}\n",
            word(verdict),
            Shown(&names),
            Shown(how)
        ));
    }
    let missing: Vec<_> = checks
        .iter()
        .filter(|c| c.verdict == Verdict::Missing)
        .map(|c| c.name.as_str())
        .collect();
    text.push('\n');
    if missing.is_empty() {
        text.push_str("Pods can be placed on this node.\n");
    } else {
        text.push_str(&format!(
            "Pods cannot be placed on this node: {} missing.\n",
            missing.join(", ")
        ));
    }
    text
}
