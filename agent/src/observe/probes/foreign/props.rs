//! Properties of the books and of the names.

use plimsoll_ebpf::foreign::{IN_IRQ, IN_SOFTIRQ, Task};
use proptest::prelude::*;

use super::*;

/// What can happen on a CPU. An interrupt's end can come without its beginning, and a beginning without its end.
#[derive(Debug, Clone)]
enum Event {
    Switch(u32),
    Enter(u32),
    Leave(u32),
    Adopt(u64, u32),
    /// A handler comes while the books are open, and goes.
    Within(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let task = user::OWN..=user::KERNEL_THREAD;
    let kind = prop::sample::select(&[IN_IRQ, IN_SOFTIRQ][..]);
    prop_oneof![
        6 => task.clone().prop_map(Event::Switch),
        4 => kind.clone().prop_map(Event::Enter),
        4 => kind.clone().prop_map(Event::Leave),
        1 => (0..3_u64, task).prop_map(|(owner, task)| Event::Adopt(owner, task)),
        1 => kind.prop_map(Event::Within),
    ]
}

fn task(user: u32) -> Task {
    Task {
        user,
        ..Task::default()
    }
}

/// What the programs do.
fn apply(books: &mut ForeignCpu, event: &Event, now: u64) {
    if books.owner == 0 && !matches!(event, Event::Adopt(..)) {
        return;
    }
    if !books.open() {
        return;
    }
    match event {
        Event::Switch(user) if books.stays_own(*user) => {}
        Event::Switch(user) => {
            books.go(now);
            books.come(task(*user));
        }
        Event::Enter(kind) => books.enter(*kind, now),
        Event::Leave(kind) => books.leave(*kind, now),
        Event::Adopt(owner, user) => books.adopt(*owner, 1, task(*user), now),
        Event::Within(kind) => {
            let before = *books;
            apply(books, &Event::Enter(*kind), now);
            apply(books, &Event::Leave(*kind), now);
            assert_eq!(*books, before, "open books are left alone");
        }
    }
    books.close();
}

fn boot(nsec: u64) -> BootTime {
    BootTime(Duration::from_nanos(nsec))
}

proptest! {
    #[test]
    fn every_nanosecond_is_counted_once_and_no_figure_falls(
        events in prop::collection::vec((event(), 0..1000_u64, 0..1000_u64), 1..60),
    ) {
        let mut books = ForeignCpu::default();
        let (mut now, mut owned, mut last) = (1_u64, 0_u64, [Duration::ZERO; 6]);
        for (event, gap, read_after) in &events {
            let counting = books.owner != 0;
            now += gap;
            apply(&mut books, event, now);
            prop_assert!(books.sequence.is_multiple_of(2));
            owned += if counting { *gap } else { 0 };
            now += read_after;
            owned += if books.owner == 0 { 0 } else { *read_after };
            let figures = time(&books, boot(now)).kinds();
            for (figure, last) in figures.iter().zip(&last) {
                prop_assert!(figure >= last, "{figures:?} after {last:?}");
            }
            prop_assert_eq!(figures.iter().sum::<Duration>(), Duration::from_nanos(owned));
            // A reader whose clock is behind the books tells less, never more.
            let late = time(&books, boot(now - read_after / 2)).kinds();
            prop_assert!(late.iter().zip(&figures).all(|(late, figure)| late <= figure));
            last = figures;
        }
    }

    #[test]
    fn interrupts_are_charged_apart_whatever_they_interrupt(user in user::OWN..=user::KERNEL_THREAD) {
        let mut books = ForeignCpu::default();
        let events = [
            (Event::Adopt(5, user), 100),
            (Event::Enter(IN_SOFTIRQ), 110),
            (Event::Enter(IN_IRQ), 120),
            (Event::Leave(IN_IRQ), 150),
            (Event::Leave(IN_SOFTIRQ), 155),
            (Event::Switch(user::KERNEL_THREAD), 160),
        ];
        for (event, now) in &events {
            apply(&mut books, event, *now);
        }
        let mut expected = [0; USERS];
        expected[user as usize] += 15;
        expected[user::SOFTIRQ as usize] += 15;
        expected[user::IRQ as usize] += 30;
        prop_assert_eq!(books.totals, expected);
        let left = (user == user::POD || user == user::SYSTEM).then_some(boot(160));
        prop_assert_eq!(time(&books, boot(160)).left, left);
    }

    #[test]
    fn a_name_is_short_and_harmless(comm in prop::collection::vec(any::<u8>(), 0..=16)) {
        let name = thread_name(&comm);
        prop_assert!((1..=16).contains(&name.len()));
        prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:+/".contains(c)), "{name}");
    }

    #[test]
    fn names_stay_few_and_no_figure_falls(
        steps in prop::collection::vec(prop::collection::vec((0..200_u32, 0..50_u64), 0..80), 1..12),
    ) {
        let mut names = Names::default();
        let mut times: BTreeMap<String, u64> = BTreeMap::new();
        let mut last = KernelThreadTimes::default();
        for more in &steps {
            for (name, nsec) in more {
                *times.entry(format!("t{name}x")).or_default() += nsec;
            }
            let total = times.values().sum();
            let now = names.take(&times, total);
            prop_assert!(now.named.len() <= 48);
            prop_assert!(now.others >= last.others);
            for (name, time) in &last.named {
                prop_assert!(now.named.iter().any(|(other, later)| other == name && later >= time));
            }
            let sum: Duration = now.named.iter().map(|(_, time)| *time).sum();
            prop_assert_eq!(sum + now.others, Duration::from_nanos(total));
            last = now;
        }
    }
}

#[test]
fn numbers_are_cut_off_names() {
    let names = [
        ("kworker/3:1-events", "kworker"),
        ("kworker/u8:2", "kworker"),
        ("ksoftirqd/3", "ksoftirqd"),
        ("migration/0", "migration"),
        ("jbd2/sda1-8", "jbd2"),
        ("kswapd0", "kswapd"),
        ("vhost-1234", "vhost"),
        ("scsi_eh_0", "scsi_eh"),
        ("rcu_preempt", "rcu_preempt"),
        ("irq/24-nvme0q1", "irq/nvme0q"),
        ("irq/9-acpi", "irq/acpi"),
        ("irq/24-7", "irq"),
        ("UVM queue", "UVM_queue"),
        ("a\"b\nc", "a_b_c"),
        ("1234", "unnamed"),
        ("", "unnamed"),
    ];
    for (comm, name) in names {
        assert_eq!(thread_name(comm.as_bytes()), name, "{comm}");
    }
    assert_eq!(thread_name(b"kthreadd\0garbage"), "kthreadd");
}

#[test]
fn a_stranger_is_told_with_what_it_is() {
    let cpu = CpuId::new(3).unwrap();
    let mut books = ForeignCpu {
        owner: 7,
        task: Task {
            user: user::POD,
            tid: 12,
            pid: 11,
            cgroup: 9,
            comm: *b"burner\0\0\0\0\0\0\0\0\0\0",
            ..Task::default()
        },
        ..ForeignCpu::default()
    };
    let told = Intruder {
        cpu,
        kind: Stranger::Pod,
        pid: 11,
        tid: 12,
        comm: "burner".to_owned(),
        cgroup: Some(CgroupId(9)),
    };
    assert_eq!(intruder(cpu, &books), Some(told));
    books.task.user = user::OWN;
    assert_eq!(intruder(cpu, &books), None);
}
