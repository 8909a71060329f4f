//! What the kernel can do for the agent, as `plimsoll check` shows it.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::node_facts::{self, FactError, Machine};
use crate::model::{Bytes, CgroupPath};

/// Where cgroup v2 is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupMount {
    /// The mount point.
    pub path: String,
    /// Options of the hierarchy: `nsdelegate`, `memory_recursiveprot`…
    pub options: BTreeSet<String>,
}

/// A capability that the agent has a use for, with its bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Capability {
    /// `CAP_DAC_OVERRIDE`.
    DacOverride = 1,
    /// `CAP_KILL`.
    Kill = 5,
    /// `CAP_SETGID`.
    Setgid = 6,
    /// `CAP_SETUID`.
    Setuid = 7,
    /// `CAP_IPC_LOCK`.
    IpcLock = 14,
    /// `CAP_SYS_NICE`.
    SysNice = 23,
    /// `CAP_SYS_RESOURCE`.
    SysResource = 24,
    /// `CAP_PERFMON`.
    Perfmon = 38,
    /// `CAP_BPF`.
    Bpf = 39,
}

/// The node's abilities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Host name.
    pub host_name: String,
    /// Identity of this boot.
    pub boot_id: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// Its first two numbers; 0.0 when it does not read.
    pub kernel_version: (u32, u32),
    /// Size of a page.
    pub page_size: Bytes,
    /// Size of the kernel's type information, if it has any.
    pub btf: Option<Bytes>,
    /// The cgroup v2 hierarchy.
    pub cgroup2: Option<CgroupMount>,
    /// Controllers held by cgroup v1 hierarchies, with their mount points; v2 cannot have those.
    pub v1_controllers: BTreeMap<String, String>,
    /// Where [`NodeFacts::controllers`] was read: the agent's root, or its nearest ancestor that exists.
    pub controllers_at: String,
    /// Controllers available there.
    pub controllers: BTreeSet<String>,
    /// Which of `cpu`, `memory`, `io` have `/proc/pressure` files.
    pub pressure: BTreeSet<String>,
    /// Swap space.
    pub swap: Bytes,
    /// Effective capabilities, one bit each.
    pub capabilities: u64,
    /// The effective user is root.
    pub is_root: bool,
}

impl NodeFacts {
    /// Whether the agent has this capability.
    #[must_use]
    pub const fn has(&self, capability: Capability) -> bool {
        self.capabilities >> (capability as u8) & 1 == 1
    }
}

/// Reads all that can be read; `root` is the cgroup that the agent is to manage.
///
/// # Errors
/// A file is there and cannot be read.
pub fn facts(machine: &Machine, root: &CgroupPath) -> Result<NodeFacts, FactError> {
    let line = |path: &str| -> Result<String, FactError> {
        Ok(machine.read(path)?.unwrap_or_default().trim().to_owned())
    };
    let kernel_release = line("/proc/sys/kernel/osrelease")?;
    let (cgroup2, v1_controllers) = mounts(&machine.read("/proc/self/mountinfo")?.unwrap_or_default());
    let (controllers_at, controllers) = match &cgroup2 {
        Some(mount) => controllers(machine, &mount.path, root)?,
        None => Default::default(),
    };
    Ok(NodeFacts {
        host_name: line("/proc/sys/kernel/hostname")?,
        boot_id: line("/proc/sys/kernel/random/boot_id")?,
        kernel_version: version(&kernel_release),
        kernel_release,
        page_size: node_facts::page_size(),
        btf: machine.size("/sys/kernel/btf/vmlinux").map(Bytes),
        cgroup2,
        v1_controllers,
        controllers_at,
        controllers,
        pressure: pressure(machine)?,
        swap: Bytes(
            field(&line("/proc/meminfo")?, "SwapTotal:")
                .and_then(|kib| kib.trim_end_matches("kB").trim().parse::<u64>().ok())
                .unwrap_or_default()
                .saturating_mul(1024),
        ),
        capabilities: field(&line("/proc/self/status")?, "CapEff:")
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .unwrap_or_default(),
        is_root: node_facts::is_root(),
    })
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

/// The first two numbers of a release such as `6.12.107-cloud`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or_default());
    (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    )
}

/// The v2 mount, and v1's controllers with their mount points, from `/proc/self/mountinfo`.
fn mounts(mountinfo: &str) -> (Option<CgroupMount>, BTreeMap<String, String>) {
    let mut v2 = None;
    let mut v1 = BTreeMap::new();
    for line in mountinfo.lines() {
        // Fields of the mount, then " - ", then type, source and options of the file system.
        let Some((mount, file_system)) = line.split_once(" - ") else {
            continue;
        };
        let Some(path) = mount.split(' ').nth(4) else {
            continue;
        };
        let mut fields = file_system.split(' ');
        let (kind, options) = (fields.next(), fields.nth(1).unwrap_or_default().split(','));
        match kind {
            // The first one is the one that others see too; later ones are bind mounts.
            Some("cgroup2") if v2.is_none() => {
                v2 = Some(CgroupMount {
                    path: path.to_owned(),
                    options: options.map(str::to_owned).collect(),
                });
            }
            Some("cgroup") => {
                let controllers =
                    options.filter(|o| !matches!(*o, "rw" | "ro" | "xattr") && !o.contains('='));
                v1.extend(controllers.map(|c| (c.to_owned(), path.to_owned())));
            }
            _ => {}
        }
    }
    (v2, v1)
}

/// The controllers of `root` or of its nearest ancestor that exists, with its absolute path.
fn controllers(
    machine: &Machine,
    mount: &str,
    root: &CgroupPath,
) -> Result<(String, BTreeSet<String>), FactError> {
    let mut place = Some(root.clone());
    while let Some(path) = place {
        let directory = format!("{mount}/{path}");
        let directory = directory.trim_end_matches('/');
        if let Some(list) = machine.read(&format!("{directory}/cgroup.controllers"))? {
            let list = list.split_whitespace().map(str::to_owned).collect();
            return Ok((directory.to_owned(), list));
        }
        place = path.parent();
    }
    Ok((mount.to_owned(), BTreeSet::new()))
}

fn pressure(machine: &Machine) -> Result<BTreeSet<String>, FactError> {
    let mut found = BTreeSet::new();
    for resource in ["cpu", "memory", "io"] {
        // With psi=0 the files are there and cannot be read.
        if machine.read(&format!("/proc/pressure/{resource}"))?.is_some() {
            found.insert(resource.to_owned());
        }
    }
    Ok(found)
}
