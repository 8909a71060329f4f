//! Against a blob made here, against random bytes, and against the running kernel's where it has one.

use std::collections::BTreeMap;

use plimsoll_ebpf::Object;
use plimsoll_ebpf::facts::{ABSENT, Fact, Need, REQUIRED};
use proptest::prelude::*;

use super::*;

/// Builds a blob: names as given, records as words.
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Builder {
    fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len();
        self.strings.extend(name.bytes().chain([0]));
        u32::try_from(at).unwrap()
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.types.extend(word.to_ne_bytes());
        }
    }

    fn finish(self) -> Vec<u8> {
        let mut blob = vec![0x9f, 0xeb, 1, 0];
        let length = |bytes: &Vec<u8>| u32::try_from(bytes.len()).unwrap();
        for word in [
            24,
            0,
            length(&self.types),
            length(&self.types),
            length(&self.strings),
        ] {
            blob.extend(u32::to_ne_bytes(word));
        }
        blob.extend(self.types);
        blob.extend(self.strings);
        blob
    }
}

fn info(kind: u32, count: u32) -> u32 {
    kind << 24 | count
}

/// `struct outer { u32 a; union { u64 b; struct inner c; }; }`, `struct inner { u64 p[3][2]; u64 q; }`,
/// `enum { ONE = 1, TWO, FOUR = 4 }`, `typedef void (*btf_trace_x)(void *, struct outer *, int)`.
fn sample() -> Vec<u8> {
    let mut b = Builder::new();
    let [int, outer, inner] = ["int", "outer", "inner"].map(|n| b.name(n));
    let [a, u, c, p, q] = ["a", "b", "c", "p", "q"].map(|n| b.name(n));
    let [one, two, four] = ["ONE", "TWO", "FOUR"].map(|n| b.name(n));
    let trace = b.name("btf_trace_x");
    b.words(&[int, info(1, 0), 8, 0]); // 1: int
    b.words(&[0, info(3, 0), 0, 1, 1, 2]); // 2: int[2]
    b.words(&[0, info(3, 0), 0, 2, 1, 3]); // 3: int[3][2]
    b.words(&[inner, info(4, 2), 56, p, 3, 0, q, 1, 48 * 8]); // 4
    b.words(&[0, info(5, 2), 56, u, 1, 0, c, 4, 0]); // 5
    b.words(&[outer, info(4, 2), 64, a, 1, 0, 0, 5, 8 * 8]); // 6
    b.words(&[0, info(6, 3), 4, one, 1, two, 2, four, 4]); // 7
    b.words(&[0, info(2, 0), 6]); // 8: struct outer *
    b.words(&[0, info(13, 3), 0, 0, 0, 0, 8, 0, 1]); // 9
    b.words(&[0, info(2, 0), 9]); // 10
    b.words(&[trace, info(8, 0), 10]); // 11
    b.finish()
}

#[test]
fn a_path_goes_through_unnamed_members() {
    let blob = sample();
    let btf = Btf::parse(&blob).unwrap();
    assert_eq!(btf.offset("outer.a"), Some(0));
    assert_eq!(btf.offset("outer.b"), Some(8));
    assert_eq!(btf.offset("outer.c.q"), Some(56));
    assert_eq!(btf.offset("outer.q"), None, "a named member is not looked into");
    assert_eq!(btf.length("outer.c.p"), Some(6));
    assert_eq!(btf.length("outer.a"), None);
    assert_eq!(btf.enumerator("FOUR"), Some(4));
    assert_eq!(btf.enumerator("FIVE"), None);
    assert_eq!(
        btf.tracepoint("x"),
        Some(vec!["outer".to_owned(), "int".to_owned()])
    );
    assert_eq!(btf.tracepoint("y"), None);
}

#[test]
fn a_group_is_absent_as_a_whole() {
    const NEEDS: &[Need] = &[
        Need {
            group: REQUIRED,
            fact: Fact::Offset(&["outer.gone", "outer.b"]),
        },
        Need {
            group: "half",
            fact: Fact::Offset(&["outer.a"]),
        },
        Need {
            group: "half",
            fact: Fact::Given("told"),
        },
        Need {
            group: "steps",
            fact: Fact::Sequence(&["ONE", "TWO"]),
        },
        Need {
            group: "gap",
            fact: Fact::Sequence(&["TWO", "FOUR"]),
        },
    ];
    let blob = sample();
    let btf = Btf::parse(&blob).unwrap();
    let found = btf.resolve(NEEDS, &Given::new());
    assert_eq!(found.numbers, [8, ABSENT, ABSENT, 1, ABSENT]);
    assert_eq!(found.missing, BTreeMap::from([("half", "told"), ("gap", "TWO")]));
    let told = btf.resolve(NEEDS, &Given::from([("told", 7)]));
    assert_eq!(told.numbers, [8, 0, 7, 1, ABSENT]);
}

#[test]
fn a_kernel_that_has_btf_has_what_every_object_requires() {
    let Ok(blob) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        eprintln!("skipped: this kernel has no BTF");
        return;
    };
    let btf = Btf::parse(&blob).unwrap();
    for object in Object::ALL {
        let found = btf.resolve(object.facts(), &Given::from([("CPUs", 2)]));
        assert_eq!(found.missing.get(REQUIRED), None, "{object:?}");
    }
    assert!(btf.has_function("oom_kill_process"));
    assert!(btf.has_function("cgroup_file_write"));
    assert!(!btf.has_function("no_such_function"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(btf) = Btf::parse(&bytes) {
            prop_assert_eq!(btf.offset("outer.a"), None);
        }
    }

    #[test]
    fn no_damage_to_a_good_blob_makes_it_panic(at in 0_usize..400, value in any::<u8>(), cut in 0_usize..500) {
        let mut blob = sample();
        let at = at % blob.len();
        blob[at] = value;
        blob.truncate(cut.max(24));
        if let Ok(btf) = Btf::parse(&blob) {
            for path in ["outer.c.q", "outer.c.p", "inner.p"] {
                let (_, _) = (btf.offset(path), btf.length(path));
            }
            let (_, _) = (btf.tracepoint("x"), btf.enumerator("FOUR"));
        }
    }
}
