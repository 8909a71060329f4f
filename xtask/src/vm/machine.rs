//! The arguments of QEMU, and why each is there.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Pace, VmSpec};
use crate::exec;
use crate::setup::qemu;

/// The kernel that starts its further CPUs in a loop which neither pauses nor sleeps. With a clock of instructions the CPU
/// that is started gets no time meanwhile; init brings it up then, see there.
const LOOPS_FOR_CPUS: &str = "6.1";

/// The serial ports in the order of the guest's ttyS0, ttyS1, ttyS2.
pub(super) const PORTS: [&str; 3] = ["console", "output", "error"];

/// The command that boots `spec` with sockets and disks in `dir`.
pub(super) fn command(spec: &VmSpec, image: &Path, dir: &Path) -> Result<Command> {
    ensure!(
        spec.cpus >= 1 && spec.numa_nodes >= 1 && spec.sockets >= 1 && spec.threads >= 1,
        "a machine has at least one CPU, one NUMA node, one socket and one thread a core"
    );
    ensure!(
        spec.cpus.is_multiple_of(spec.numa_nodes * spec.threads),
        "{} CPUs cannot be split evenly among NUMA nodes and their cores",
        spec.cpus
    );
    ensure!(
        spec.numa_nodes.is_multiple_of(spec.sockets),
        "{} NUMA nodes cannot be split evenly among sockets",
        spec.numa_nodes
    );
    let mut qemu = bound_to_us(qemu::PROGRAM);
    qemu.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-machine",
        "pc",
    ]);
    // A panic reboots, and this turns a reboot into QEMU's end.
    qemu.arg("-no-reboot");
    if spec.pace == Pace::Hardware {
        qemu.args(["-accel", "kvm", "-cpu", "host"]);
    } else {
        // One thread: with several, QEMU 7.2 breaks the kernel's patching of running code (oops in BPF trampolines).
        // No cx16: QEMU 7.2 mishandles the per-CPU cmpxchg16b of the slab allocator (double fault on 6.12).
        qemu.args(["-accel", "tcg,thread=single", "-cpu", "max,cx16=off"]);
    }
    if spec.pace == Pace::Instructions {
        // 2^0 ns an instruction. While all CPUs are idle the clock jumps to the next timer.
        qemu.args(["-icount", "shift=0,sleep=off"]);
    }
    qemu.arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(dir.join("initramfs"));
    qemu.arg("-append").arg(kernel_arguments(spec));
    memory(spec, &mut qemu);
    ports(dir, &mut qemu);
    disk(spec.swap_mib, "swap", dir, &mut qemu)?;
    disk(spec.disk_mib, "data", dir, &mut qemu)?;
    if spec.disk_mib > 0 {
        // busybox cannot make a file system that these kernels have built in.
        let mke2fs = qemu::mke2fs().context("mke2fs is missing; `cargo xtask setup` gets it")?;
        exec::output(
            Command::new(mke2fs)
                .args(["-q", "-F", "-t", "ext4"])
                .arg(dir.join("data.img")),
        )?;
    }
    Ok(qemu)
}

/// A command that ends when we end, however that comes, where util-linux is there to see to it.
fn bound_to_us(program: &str) -> Command {
    if !exec::on_path("setpriv") {
        return Command::new(program);
    }
    // The signal comes when the thread ends that started the program, and that one waits for it.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

fn kernel_arguments(spec: &VmSpec) -> String {
    // Errors only on the console, which is slow under emulation; panic at once; every line of init's reports.
    let mut words = vec![
        "console=ttyS0",
        "quiet",
        "loglevel=4",
        "panic=-1",
        "printk.devkmsg=on",
    ];
    if spec.pace != Pace::Hardware {
        // The kernel would distrust the emulated time stamp counter (6.1 always, newer ones with several sockets) and
        // read a clock that is 5 times slower; emulated on one thread, all CPUs share one counter.
        words.extend(["tsc=reliable", "clocksource=tsc"]);
    }
    if spec.pace == Pace::Instructions {
        // A CPU is left when the next timer is due, or when it spins. With all ticks at once the others would have the
        // whole time between two of them first, and a loop that spins (as in the flush behind cpu.stat) takes seconds.
        words.push("skew_tick=1");
        if spec.kernel == LOOPS_FOR_CPUS {
            words.push("maxcpus=1");
        }
    }
    words.extend(spec.kernel_arguments.iter().map(String::as_str));
    words.join(" ")
}

fn memory(spec: &VmSpec, qemu: &mut Command) {
    let (cpus, nodes) = (spec.cpus, spec.numa_nodes);
    qemu.arg("-m").arg(format!("{}M", spec.memory_mib));
    // A node is a die, since no cache is shared between nodes.
    let (sockets, threads) = (spec.sockets, spec.threads);
    qemu.arg("-smp").arg(format!(
        "{cpus},sockets={sockets},dies={},cores={},threads={threads}",
        nodes / sockets,
        cpus / nodes / threads
    ));
    if nodes == 1 {
        return;
    }
    let per_node = cpus / nodes;
    for node in 0..nodes {
        // Whole mebibytes, and all of them: the last node gets the rest.
        let share = spec.memory_mib / u64::from(nodes);
        let rest = if node + 1 == nodes {
            spec.memory_mib % u64::from(nodes)
        } else {
            0
        };
        let (first, last) = (node * per_node, node * per_node + per_node - 1);
        qemu.arg("-object")
            .arg(format!("memory-backend-ram,id=m{node},size={}M", share + rest));
        qemu.arg("-numa")
            .arg(format!("node,nodeid={node},memdev=m{node},cpus={first}-{last}"));
    }
}

fn ports(dir: &Path, qemu: &mut Command) {
    // The third port by custom shares its interrupt with the first; a line of its own cannot be lost.
    let lines = ["irq=4", "irq=3", "irq=5"];
    for (index, (name, line)) in PORTS.into_iter().zip(lines).enumerate() {
        let socket = dir.join(name);
        qemu.arg("-chardev")
            .arg(format!("socket,id={name},path={}", socket.display()));
        qemu.arg("-device")
            .arg(format!("isa-serial,chardev={name},index={index},{line}"));
    }
}

/// An empty disk: a sparse file behind nvme, the one disk driver that the cloud kernels have built in.
fn disk(mib: u64, name: &str, dir: &Path, qemu: &mut Command) -> Result<()> {
    if mib > 0 {
        let path = dir.join(format!("{name}.img"));
        std::fs::File::create(&path)?.set_len(mib << 20)?;
        qemu.arg("-drive").arg(format!(
            "if=none,id={name},format=raw,cache=unsafe,file={}",
            path.display()
        ));
        qemu.arg("-device")
            .arg(format!("nvme,drive={name},serial={name}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(spec: &VmSpec) -> Vec<String> {
        let command = command(spec, Path::new("/k"), Path::new("/d")).unwrap();
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn numa_nodes_share_cpus_and_all_of_the_memory() {
        let spec = VmSpec {
            cpus: 4,
            numa_nodes: 2,
            sockets: 2,
            memory_mib: 1025,
            ..VmSpec::new("6.12", ["true"])
        };
        let words = words(&spec);
        for wanted in [
            "4,sockets=2,dies=1,cores=2,threads=1",
            "memory-backend-ram,id=m0,size=512M",
            "memory-backend-ram,id=m1,size=513M",
            "node,nodeid=1,memdev=m1,cpus=2-3",
        ] {
            assert!(
                words.iter().any(|word| word == wanted),
                "{wanted} is not in {words:?}"
            );
        }
    }

    #[test]
    fn nodes_of_one_socket_are_dies() {
        let spec = VmSpec {
            cpus: 16,
            numa_nodes: 4,
            sockets: 2,
            threads: 2,
            ..VmSpec::new("6.12", ["true"])
        };
        let wanted = "16,sockets=2,dies=2,cores=2,threads=2";
        assert!(words(&spec).iter().any(|word| word == wanted));
    }

    #[test]
    fn an_uneven_split_is_refused() {
        let refused = |cpus, numa_nodes, sockets, threads| {
            let spec = VmSpec {
                cpus,
                numa_nodes,
                sockets,
                threads,
                ..VmSpec::new("6.12", ["true"])
            };
            command(&spec, Path::new("/k"), Path::new("/d")).is_err()
        };
        assert!(!refused(4, 2, 2, 2));
        assert!(refused(3, 2, 2, 1) && refused(6, 2, 2, 2) && refused(6, 3, 2, 1) && refused(4, 2, 0, 1));
    }

    #[test]
    fn only_an_emulated_clock_is_to_be_trusted() {
        let told = |pace| {
            let spec = VmSpec {
                pace,
                ..VmSpec::new("6.12", ["true"])
            };
            kernel_arguments(&spec).contains("tsc=reliable")
        };
        assert!(told(Pace::RealTime) && told(Pace::Instructions) && !told(Pace::Hardware));
    }
}
