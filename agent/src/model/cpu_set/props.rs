//! The properties of CPU sets, against the standard library's.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{CpuId, CpuSet};

/// Small, at the border of the value itself, and large: the three forms a set can have.
fn cpus() -> impl Strategy<Value = BTreeSet<CpuId>> {
    let number = prop_oneof![0..20_u32, 240..270_u32, 0..u32::from(CpuId::COUNT)];
    prop::collection::btree_set(number.prop_map(|n| CpuId::new(n).unwrap()), 0..40)
}

fn made(set: &BTreeSet<CpuId>) -> CpuSet {
    set.iter().copied().collect()
}

proptest! {
    #[test]
    fn operations_are_those_of_sets(a in cpus(), b in cpus()) {
        let (x, y) = (made(&a), made(&b));
        prop_assert_eq!(&x | &y, made(&(&a | &b)));
        prop_assert_eq!(&x & &y, made(&(&a & &b)));
        prop_assert_eq!(&x - &y, made(&(&a - &b)));
        prop_assert_eq!(x.common(&y), (&a & &b).len());
        prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
        prop_assert!((&x & &y).is_subset(&x) && x.is_subset(&(&x | &y)));
        prop_assert_eq!(x.is_disjoint(&y), a.is_disjoint(&b));
        prop_assert!((&x - &y).is_disjoint(&y));
        prop_assert_eq!(x == y, a == b);
        prop_assert_eq!(x.meets(&y, &x), !a.is_disjoint(&b));
        prop_assert!(x.iter_common(&y).eq((&a & &b).into_iter()));
    }

    #[test]
    fn members_are_those_put_in(a in cpus(), b in cpus()) {
        let mut x = made(&a);
        prop_assert!(x.iter().eq(a.iter().copied()));
        prop_assert_eq!((x.len(), x.is_empty()), (a.len(), a.is_empty()));
        prop_assert_eq!((x.first(), x.last()), (a.first().copied(), a.last().copied()));
        for cpu in &b {
            prop_assert_eq!(x.contains(*cpu), a.contains(cpu));
            prop_assert_eq!(x.insert(*cpu), !a.contains(cpu));
        }
        for cpu in &b {
            prop_assert!(x.remove(*cpu));
            prop_assert!(!x.remove(*cpu));
        }
        prop_assert_eq!(x, made(&(&a - &b)));
    }

    #[test]
    fn a_printed_list_reads_back_and_is_shortest(a in cpus()) {
        let set = made(&a);
        let list = set.to_string();
        prop_assert_eq!(CpuSet::parse(&list).unwrap(), set);
        let mut before = None;
        for part in list.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let [first, last] = [first, last].map(|n| n.parse::<u32>().unwrap());
            // Ranges neither overlap nor touch.
            prop_assert!(first <= last && before.is_none_or(|before| before + 1 < first));
            before = Some(last);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[0-9,\\- \\n]{0,12}|.{0,8}") {
        if let Ok(set) = CpuSet::parse(&text) {
            prop_assert_eq!(CpuSet::parse(&set.to_string()), Ok(set));
        }
    }
}
