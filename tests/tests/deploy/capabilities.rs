//! The capabilities: one table in the README, and the unit, the DaemonSet and `plimsoll check` agree with it.

use std::collections::BTreeSet;

use plimsoll::cli::checks;
use plimsoll::observe::node::NodeFacts;

use crate::files::{read, repository};
use crate::kubernetes::daemon_set;
use crate::unit;

/// A row of the README's table.
struct Row {
    name: String,
    in_unit: bool,
    in_daemon_set: bool,
}

fn table() -> Vec<Row> {
    let readme = read(&repository().join("README.md"));
    let (_, section) = readme.split_once("\n### Deploying\n").expect("the section");
    let section = section.split("\n### ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `CAP_"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, use_of_it, without, in_unit, in_daemon_set] = cells[..] else {
            panic!("five cells: {row}");
        };
        assert!(!use_of_it.is_empty() && !without.is_empty(), "{row}");
        let held = |cell| match cell {
            "yes" => true,
            "no" => false,
            _ => panic!("yes or no: {row}"),
        };
        Row {
            name: name.trim_matches('`').to_owned(),
            in_unit: held(in_unit),
            in_daemon_set: held(in_daemon_set),
        }
    })
    .collect()
}

fn rows(held: impl Fn(&Row) -> bool) -> Vec<String> {
    let rows = table().into_iter().filter(|row| held(row));
    rows.map(|row| row.name).collect()
}

#[test]
fn the_unit_has_those_of_the_table() {
    assert_eq!(unit::capabilities(), rows(|row| row.in_unit));
}

#[test]
fn the_daemon_set_has_those_of_the_table() {
    let added = &daemon_set().spec.template.spec.containers[0]
        .security_context
        .capabilities
        .add;
    let added: Vec<_> = added.iter().map(|name| format!("CAP_{name}")).collect();
    assert_eq!(added, rows(|row| row.in_daemon_set));
}

#[test]
fn the_program_checks_for_those_of_the_table() {
    let checks = checks(&NodeFacts::default(), &[]);
    let known: BTreeSet<_> = checks
        .into_iter()
        .map(|check| check.name)
        .filter(|name| name.starts_with("CAP_"))
        .collect();
    assert_eq!(known, rows(|_| true).into_iter().collect());
    assert!(!known.contains("CAP_SYS_ADMIN"), "it stands for all of them");
}
