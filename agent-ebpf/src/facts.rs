//! What each object needs to know of the running kernel, by name.
//!
//! **Problem.** Where a field lies in a kernel structure differs from kernel to kernel, and Rust's BPF target emits
//! no relocations for it. **How.** A table per object names the fields; the agent looks them up in the kernel's BTF
//! and hands the numbers over in the order of the table. They are read-only before the program is verified, so the
//! verifier sees constants.
//!
//! **Terms.** A *fact* is one number. Facts come in *groups*; when one of a group is missing, the group is
//! [`ABSENT`] as a whole and what needs it stays off, the rest works. Without the group [`REQUIRED`] an object is of
//! no use.

/// The value of a fact that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// The group without which an object is not loaded.
pub const REQUIRED: &str = "required";

/// The group that counting at context switches needs.
pub const RUN_TIME: &str = "run time";

/// How a fact is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// Byte offset of a field, `type.field.field…`; the first path that exists.
    Offset(&'static [&'static str]),
    /// Byte offset of the first of several 8-byte fields that lie side by side in this order.
    Block(&'static [&'static str]),
    /// Number of elements of an array field, all dimensions together.
    Length(&'static str),
    /// Value of the enumerator of this name, in whichever enumeration.
    Enumerator(&'static str),
    /// Value of the first of several enumerators that count up by one in this order.
    Sequence(&'static [&'static str]),
    /// Told by the agent, under this name.
    Given(&'static str),
}

/// One fact that an object needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The group it belongs to.
    pub group: &'static str,
    /// How it is found.
    pub fact: Fact,
}

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident { $($group:expr => { $($field:ident: $fact:expr,)* })* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Debug, Clone, Copy)]
            #[expect(missing_docs, reason = "each field is documented by the kernel's name beside it")]
            pub struct $name { $($(pub $field: u32,)*)* }

            impl $name {
                /// The fields in their order.
                pub const NEEDS: &'static [Need] = &[$($(Need { group: $group, fact: $fact },)*)*];
                /// Nothing known.
                pub const UNKNOWN: Self = Self { $($($field: ABSENT,)*)* };
            }

            const _: () = assert!(size_of::<$name>() == 4 * $name::NEEDS.len());
        )*
    };
}

use Fact::{Block, Enumerator, Given, Length, Offset, Sequence};

const TASK_CGROUPS: Fact = Offset(&["task_struct.cgroups"]);
const SET_CGROUP: Fact = Offset(&["css_set.dfl_cgrp"]);
const CGROUP_NODE: Fact = Offset(&["cgroup.kn"]);
const NODE_ID: Fact = Offset(&["kernfs_node.id"]);
const NODE_NAME: Fact = Offset(&["kernfs_node.name"]);
const NODE_PARENT: Fact = Offset(&["kernfs_node.__parent", "kernfs_node.parent"]);
const CGROUP_LEVEL: Fact = Offset(&["cgroup.level"]);
const CGROUP_ANCESTORS: Fact = Offset(&["cgroup.ancestors"]);
const CGROUP_SUBSYS: Fact = Offset(&["cgroup.subsys"]);
const MEMORY_USAGE: Fact = Offset(&["mem_cgroup.memory.usage"]);
const MEMORY_MAX: Fact = Offset(&["mem_cgroup.memory.max"]);
const MEMORY_PEAK: Fact = Offset(&["mem_cgroup.memory.watermark"]);

facts! {
    /// Facts of [`crate::Object::Usage`].
    Usage {
        REQUIRED => {
            css_flags: Offset(&["cgroup.self.flags"]),
            css_online: Enumerator("CSS_ONLINE"),
            css_parent: Offset(&["cgroup.self.parent"]),
            css_sibling: Offset(&["cgroup.self.sibling"]),
            css_children: Offset(&["cgroup.self.children"]),
            css_serial: Offset(&["cgroup.self.serial_nr"]),
            cgroup_level: CGROUP_LEVEL,
            cgroup_node: CGROUP_NODE,
            node_id: NODE_ID,
        }
        RUN_TIME => {
            cpus: Given("CPUs"),
            task_pid: Offset(&["task_struct.pid"]),
            task_run_delay: Offset(&["task_struct.sched_info.run_delay"]),
            task_run_time: Offset(&["task_struct.se.sum_exec_runtime"]),
            task_turn: Offset(&["task_struct.se.prev_sum_exec_runtime"]),
            task_priority: Offset(&["task_struct.prio"]),
            task_cgroups: TASK_CGROUPS,
            set_cgroup: SET_CGROUP,
        }
        "cpu" => {
            cgroup_cpu: Offset(&["cgroup.bstat.cputime.sum_exec_runtime"]),
        }
        "memory" => {
            cgroup_subsys: CGROUP_SUBSYS,
            memory_subsys: Enumerator("memory_cgrp_id"),
            memory_usage: MEMORY_USAGE,
            memory_limits: Block(&[
                "mem_cgroup.memory.min",
                "mem_cgroup.memory.low",
                "mem_cgroup.memory.high",
                "mem_cgroup.memory.max",
            ]),
        }
        "memory peak" => {
            memory_peak: MEMORY_PEAK,
        }
        "swap" => {
            swap_usage: Offset(&["mem_cgroup.swap.usage"]),
        }
        "memory events" => {
            memory_events: Offset(&["mem_cgroup.memory_events"]),
            memory_events_first: Sequence(&[
                "MEMCG_LOW",
                "MEMCG_HIGH",
                "MEMCG_MAX",
                "MEMCG_OOM",
                "MEMCG_OOM_KILL",
                "MEMCG_OOM_GROUP_KILL",
            ]),
        }
        "lru" => {
            nodes: Given("NUMA nodes"),
            node_info: Offset(&["mem_cgroup.nodeinfo"]),
            lru_sizes: Offset(&["mem_cgroup_per_node.lru_zone_size"]),
            lru_sizes_length: Length("mem_cgroup_per_node.lru_zone_size"),
            lru_first: Sequence(&[
                "LRU_INACTIVE_ANON",
                "LRU_ACTIVE_ANON",
                "LRU_INACTIVE_FILE",
                "LRU_ACTIVE_FILE",
                "LRU_UNEVICTABLE",
                "NR_LRU_LISTS",
            ]),
        }
        "multi-generational lru" => {
            gen_sizes: Offset(&["mem_cgroup_per_node.lruvec.lrugen.nr_pages"]),
            gen_sizes_length: Length("mem_cgroup_per_node.lruvec.lrugen.nr_pages"),
            gen_newest: Offset(&["mem_cgroup_per_node.lruvec.lrugen.max_seq"]),
        }
        "memory.stat" => {
            stats: Offset(&["mem_cgroup.vmstats"]),
            stats_state: Offset(&["memcg_vmstats.state"]),
        }
    }

    /// Facts of [`crate::Object::Life`].
    Life {
        REQUIRED => {
            cgroup_node: CGROUP_NODE,
            cgroup_level: CGROUP_LEVEL,
            node_id: NODE_ID,
            node_name: NODE_NAME,
            node_parent: NODE_PARENT,
        }
        "processes" => {
            task_cgroups: TASK_CGROUPS,
            set_cgroup: SET_CGROUP,
            task_leader: Offset(&["task_struct.group_leader"]),
            task_start: Offset(&["task_struct.start_time"]),
            task_exit_code: Offset(&["task_struct.exit_code"]),
            task_signal: Offset(&["task_struct.signal"]),
            signal_live: Offset(&["signal_struct.live.counter"]),
            signal_flags: Offset(&["signal_struct.flags"]),
            signal_exit_code: Offset(&["signal_struct.group_exit_code"]),
        }
        "root" => {
            cgroup_ancestors: CGROUP_ANCESTORS,
        }
        "memory peak" => {
            cgroup_subsys: CGROUP_SUBSYS,
            memory_subsys: Enumerator("memory_cgrp_id"),
            memory_peak: MEMORY_PEAK,
        }
    }

    /// Facts of [`crate::Object::Oom`].
    Oom {
        REQUIRED => {
            task_tgid: Offset(&["task_struct.tgid"]),
            task_comm: Offset(&["task_struct.comm"]),
            task_cgroups: TASK_CGROUPS,
            set_cgroup: SET_CGROUP,
            cgroup_node: CGROUP_NODE,
            node_id: NODE_ID,
            task_signal: Offset(&["task_struct.signal"]),
            signal_oom_score_adj: Offset(&["signal_struct.oom_score_adj"]),
        }
        "memory" => {
            cgroup_subsys: CGROUP_SUBSYS,
            memory_subsys: Enumerator("memory_cgrp_id"),
            memory_usage: MEMORY_USAGE,
            memory_max: MEMORY_MAX,
        }
    }

    /// Facts of [`crate::Object::Oomx`].
    Oomx {
        REQUIRED => {
            oom_memcg: Offset(&["oom_control.memcg"]),
            oom_chosen: Offset(&["oom_control.chosen"]),
            oom_points: Offset(&["oom_control.chosen_points"]),
            oom_total: Offset(&["oom_control.totalpages"]),
            task_tgid: Offset(&["task_struct.tgid"]),
            memcg_cgroup: Offset(&["mem_cgroup.css.cgroup"]),
            cgroup_node: CGROUP_NODE,
            node_id: NODE_ID,
            memory_usage: MEMORY_USAGE,
            memory_max: MEMORY_MAX,
        }
    }

    /// Facts of [`crate::Object::Reclaim`] and [`crate::Object::Reclaimx`].
    Reclaim {
        REQUIRED => {
            task_over_high: Offset(&["task_struct.memcg_nr_pages_over_high"]),
        }
    }

    /// Facts of [`crate::Object::Shortage`], which looks into no structure.
    Shortage {
        REQUIRED => {
            cpus: Given("CPUs"),
        }
    }

    /// Facts of [`crate::Object::Foreign`].
    Foreign {
        REQUIRED => {
            task_pid: Offset(&["task_struct.pid"]),
            task_tgid: Offset(&["task_struct.tgid"]),
            task_flags: Offset(&["task_struct.flags"]),
            task_comm: Offset(&["task_struct.comm"]),
            task_cgroups: TASK_CGROUPS,
            set_cgroup: SET_CGROUP,
            cgroup_node: CGROUP_NODE,
            cgroup_level: CGROUP_LEVEL,
            cgroup_ancestors: CGROUP_ANCESTORS,
            node_id: NODE_ID,
        }
    }

    /// Facts of [`crate::Object::Writes`].
    Writes {
        REQUIRED => {
            open_node: Offset(&["kernfs_open_file.kn"]),
            node_id: NODE_ID,
            node_name: NODE_NAME,
            node_parent: NODE_PARENT,
            node_cgroup: Offset(&["kernfs_node.priv"]),
            cgroup_hierarchy: Offset(&["cgroup.root"]),
            hierarchy_id: Offset(&["cgroup_root.hierarchy_id"]),
        }
        "own writes" => {
            own_process: Given("own process"),
        }
        "root" => {
            cgroup_ancestors: CGROUP_ANCESTORS,
            cgroup_level: CGROUP_LEVEL,
            cgroup_node: CGROUP_NODE,
        }
    }
}
