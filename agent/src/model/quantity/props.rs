//! Properties of quantities, as the module's doc states them.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use proptest::prelude::*;

use super::*;

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[+-]?[0-9]{0,12}(\\.[0-9]{0,12})?(|n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})",
        "[+-]?[0-9]{0,45}\\.?[0-9]{0,30}[eEinumkKMGTP+-]{0,2}[0-9]{0,11}",
        "\\PC{0,12}",
    ]
}

/// What a pod would use: up to 10¹⁵, down to a billionth.
fn usual() -> impl Strategy<Value = Quantity> {
    "-?[0-9]{1,6}(\\.[0-9]{1,9})?(|n|u|m|k|Ki|Mi|Gi|e2|e-3)"
        .prop_filter_map("a quantity", |text| Quantity::parse(&text).ok())
}

proptest! {
    #[test]
    fn reading_never_panics_and_what_is_printed_reads_as_equal(text in any_text()) {
        if let Ok(quantity) = Quantity::parse(&text) {
            let printed = quantity.to_string();
            prop_assert_eq!(Quantity::parse(&printed), Ok(quantity), "{}", printed);
            prop_assert_eq!(Quantity::parse(&printed).unwrap().to_string(), printed);
            prop_assert_eq!(Quantity::parse(&Quantity::canonical(&text).unwrap()), Ok(quantity));
            let (_, _) = (quantity.value(), quantity.milli_value());
        }
    }

    #[test]
    fn values_are_the_least_that_is_enough(quantity in usual()) {
        let (value, milli) = (quantity.value(), quantity.milli_value());
        prop_assert_eq!(quantity.checked_value(), Some(value));
        prop_assert_eq!(quantity.checked_milli_value(), Some(milli));
        let away = quantity.signum();
        let unit = |n: i64| Quantity::parse(&n.to_string()).unwrap();
        let thousandth = |n: i64| Quantity::parse(&format!("{n}m")).unwrap();
        if away >= 0 {
            prop_assert!(unit(value) >= quantity && thousandth(milli) >= quantity);
            prop_assert!(value == 0 || unit(value - 1) < quantity);
            prop_assert!(milli == 0 || thousandth(milli - 1) < quantity);
        } else {
            prop_assert!(unit(value) <= quantity && unit(value + 1) > quantity);
        }
    }

    #[test]
    fn addition_obeys_the_laws(a in usual(), b in usual(), c in usual()) {
        prop_assert_eq!(a.saturating_add(b), b.saturating_add(a));
        prop_assert_eq!(a.saturating_add(b).saturating_add(c), a.saturating_add(b.saturating_add(c)));
        prop_assert_eq!(a.saturating_add(b).saturating_sub(b), a);
        prop_assert_eq!(a.cmp(&b), a.saturating_add(c).cmp(&b.saturating_add(c)));
        prop_assert_eq!(a.saturating_sub(b).signum(), a.cmp(&b) as i8);
    }

    #[test]
    fn order_and_hash_agree_with_equality(a in any_text(), b in any_text()) {
        if let (Ok(a), Ok(b)) = (Quantity::parse(&a), Quantity::parse(&b)) {
            prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a == b {
                let hasher = BuildHasherDefault::<DefaultHasher>::default();
                prop_assert_eq!(hasher.hash_one(a), hasher.hash_one(b));
            }
        }
    }
}
