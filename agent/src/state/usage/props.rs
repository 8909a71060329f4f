//! The properties of the usage store.

use proptest::prelude::*;

use super::*;
use crate::model::Bytes;

fn reading(cpu_ms: u64, memory: u64) -> Reading {
    Reading {
        cpu: Some(CpuUsage {
            total: Duration::from_millis(cpu_ms),
            ..CpuUsage::default()
        }),
        memory: Some(MemoryUsage {
            current: Bytes(memory),
            ..MemoryUsage::default()
        }),
        ..Reading::default()
    }
}

fn rate_of(store: &UsageStore) -> Option<MilliCpu> {
    store.get(CgroupId(1)).unwrap().reading.cpu.as_ref().unwrap().rate
}

fn second(n: u64) -> BootTime {
    BootTime(Duration::from_secs(n))
}

#[test]
fn a_rate_is_cpu_time_over_time() {
    let mut store = UsageStore::default();
    store.record(CgroupId(1), second(1), reading(0, 0)).unwrap();
    assert_eq!(rate_of(&store), None);
    store.record(CgroupId(1), second(3), reading(500, 0)).unwrap();
    assert_eq!(rate_of(&store), Some(MilliCpu(250)));
}

#[test]
fn a_cgroup_made_again_does_not_inherit() {
    let mut store = UsageStore::default();
    store
        .record(CgroupId(1), second(1), reading(90_000, 1 << 30))
        .unwrap();
    store.retain(&BTreeSet::from([CgroupId(2)]));
    store.record(CgroupId(2), second(2), reading(5, 4096)).unwrap();
    let usage = store.get(CgroupId(2)).unwrap();
    assert_eq!(usage.reading.cpu.as_ref().unwrap().rate, None);
    assert_eq!(usage.reading.memory.as_ref().unwrap().peak, Some(Bytes(4096)));
    assert_eq!(store.len(), 1);
}

proptest! {
    #[test]
    fn late_readings_change_nothing(times in proptest::collection::vec(0_u64..50, 1..40)) {
        let mut store = UsageStore::default();
        let mut newest = None;
        for (n, at) in times.into_iter().enumerate() {
            let result = store.record(CgroupId(7), second(at), reading(n as u64, n as u64));
            prop_assert_eq!(result.is_ok(), newest.is_none_or(|newest| at > newest));
            newest = newest.max(Some(at));
            prop_assert_eq!(Some(store.get(CgroupId(7)).unwrap().at), newest.map(second));
        }
    }

    #[test]
    fn peaks_are_never_below_the_current_value(values in proptest::collection::vec((0_u64..9000, 0_u64..9000), 1..40)) {
        let mut store = UsageStore::default();
        for (n, (cpu, memory)) in values.into_iter().enumerate() {
            store.record(CgroupId(7), second(n as u64 + 1), reading(cpu, memory)).unwrap();
            let usage = store.get(CgroupId(7)).unwrap();
            let (cpu, memory) = (usage.reading.cpu.as_ref().unwrap(), usage.reading.memory.as_ref().unwrap());
            prop_assert!(usage.cpu_peak >= cpu.rate);
            prop_assert!(memory.peak >= Some(memory.current));
        }
    }
}
