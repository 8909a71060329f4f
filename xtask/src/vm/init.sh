#!/bin/busybox sh
# Process 1 of the machine: mounts what a systemd host has, runs /etc/vm/command, reports its exit status to the host
# as a line of the kernel log, and turns the machine off. As process 1 the shell reaps orphans while it waits.

/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/sbin:/usr/sbin:/tests HOME=/root TERM=dumb NO_COLOR=1 RUST_BACKTRACE=1

mount -t devtmpfs -o mode=0755 dev /dev
report() { echo "<2>plimsoll-vm: $*" >/dev/kmsg; }
need() { "$@" || report "failed $*"; }

mkdir -p /dev/shm /dev/pts
ln -s /proc/self/fd /dev/fd
need mount -t proc -o nosuid,nodev,noexec proc /proc
need mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
need mount -t devpts -o mode=0620 devpts /dev/pts
need mount -t tmpfs -o nosuid,nodev shm /dev/shm
need mount -t tmpfs -o nosuid,nodev tmp /tmp
need mount -t tmpfs -o nosuid,nodev,mode=0755 run /run
need mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
need mount -t bpf -o nosuid,nodev,noexec,mode=0700 bpf /sys/fs/bpf
need mount -t debugfs -o nosuid,nodev,noexec debugfs /sys/kernel/debug
need mount -t tracefs -o nosuid,nodev,noexec tracefs /sys/kernel/tracing
hostname plimsoll-vm
ifconfig lo 127.0.0.1 up

. /etc/vm/settings

# CPUs that the kernel was told to leave. Who brings one up waits for it in a loop that never sleeps, and with a clock of
# instructions the new CPU gets none of the time meanwhile; so the one who waits is made to stop now and then.
online() {
    echo +cpu >/sys/fs/cgroup/cgroup.subtree_control
    mkdir /sys/fs/cgroup/online
    echo 1000 10000 >/sys/fs/cgroup/online/cpu.max
    sh -c 'echo 0 >/sys/fs/cgroup/online/cgroup.procs && echo 1 >"$1"' sh "$1"
    rmdir /sys/fs/cgroup/online
    echo -cpu >/sys/fs/cgroup/cgroup.subtree_control
}
for cpu in /sys/devices/system/cpu/cpu*/online; do
    [ "$(cat "$cpu")" = 1 ] || need online "$cpu"
done

# Disks by serial number: the order in which they are found is not fixed.
disk() {
    for block in /sys/block/nvme*; do
        case "$(cat "$block/device/serial" 2>/dev/null)" in
        "$1"*) echo "/dev/${block##*/}" ;;
        esac
    done
}
if [ "$SWAP" = 1 ]; then
    swap=$(disk swap)
    need mkswap "$swap" >/dev/null
    need swapon "$swap"
fi
if [ "$DISK" = 1 ]; then
    need mount -t ext4 "$(disk data)" /disk
fi

# A dead host side must not leave the machine running, nor may whoever the kernel takes for want of memory end it early.
(echo -1000 >/proc/self/oom_score_adj; sleep "$LIMIT"; poweroff -f) </dev/null >/dev/null 2>&1 &

for port in ttyS1 ttyS2; do
    stty -F "/dev/$port" raw -echo
done
report start
cd /root
/etc/vm/command </dev/null >/dev/ttyS1 2>/dev/ttyS2
status=$?
# The console shows errors only, because printing is slow under emulation; a warning of the kernel is news all the same.
dmesg | grep -F 'WARNING: ' | while read -r line; do report "fault $line"; done
# Setting a terminal's modes waits until its output has left.
for port in ttyS1 ttyS2; do
    stty -F "/dev/$port" raw -echo
done
report "exit $status"
poweroff -f
