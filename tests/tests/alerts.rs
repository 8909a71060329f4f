//! The rules for Prometheus in `config/alerts.yaml`: they speak of what the agent serves, and fire for what they are about.
//!
//! `promtool` is found as the tests of `/metrics` find it; see there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test target: a failure is the message"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use plimsoll::metrics::families::{self, Family, Kind};
use plimsoll::metrics::{Format, Metrics};
use plimsoll::model::pressure::{PressureReport, Signal, ThresholdReport};
use plimsoll::model::sample::{decision_record, pressure, report};
use plimsoll_tests::prometheus::program;
use serde::Deserialize;
use tokio::sync::watch;

/// What Prometheus itself adds to a target's series, and the label of a histogram's buckets.
const ADDED: [&str; 3] = ["instance", "job", "le"];

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    labels: Labels,
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Labels {
    severity: String,
}

#[derive(Deserialize)]
struct Annotations {
    summary: String,
    description: String,
    runbook: String,
}

fn config() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../config"))
}

fn rules() -> Vec<Rule> {
    let text = fs::read_to_string(config().join("alerts.yaml")).unwrap();
    let rules: Rules = serde_saphyr::from_str(&text).unwrap();
    let rules: Vec<_> = rules.groups.into_iter().flat_map(|group| group.rules).collect();
    assert!(!rules.is_empty());
    rules
}

/// Whether `name` is a series of the family.
fn is_of(family: &Family, name: &str) -> bool {
    let suffixes: &[&str] = match family.kind {
        Kind::Histogram => &["_bucket", "_sum", "_count"],
        Kind::Counter | Kind::Gauge => &[""],
    };
    suffixes
        .iter()
        .any(|suffix| name.strip_suffix(suffix) == Some(&family.name()))
}

/// Label, operator and value.
type Matcher<'e> = (&'e str, &'e str, &'e str);

/// The series that an expression asks for, each with its matchers.
fn selectors(expr: &str) -> Vec<(&str, Vec<Matcher<'_>>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(start) = rest.find(is_name) {
        let quoted = rest[..start].matches('"').count() % 2 == 1;
        assert!(!quoted, "a text outside of matchers: {expr}");
        let end = rest[start..]
            .find(|c| !is_name(c))
            .map_or(rest.len(), |n| start + n);
        let name = &rest[start..end];
        rest = &rest[end..];
        let mut matchers = Vec::new();
        if let Some((inside, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            for matcher in inside.split(',').map(str::trim) {
                let at = matcher.find(['=', '!']).unwrap();
                let quote = matcher.find('"').unwrap();
                let value = matcher[quote..].trim_matches('"');
                matchers.push((&matcher[..at], &matcher[at..quote], value));
            }
            rest = after;
        }
        if ["container_", "kubelet_", "plimsoll_", "process_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            found.push((name, matchers));
        }
    }
    found
}

#[test]
fn every_series_that_a_rule_asks_for_is_served_with_the_labels_and_values_asked_for() {
    let mut told = report(Vec::new());
    let thresholds = Signal::ALL.map(|signal| ThresholdReport {
        signal,
        grace: Duration::ZERO,
        at: 0,
        observed: None,
        met_since: None,
    });
    told.pressure = Some(PressureReport {
        thresholds: thresholds.to_vec(),
        ..pressure()
    });
    let (_sender, reports) = watch::channel(Arc::new(told));
    let metrics = Metrics::new(reports);
    metrics.counters().pressure().decided(&decision_record(1));
    let text = metrics.scrape(Format::Classic).unwrap();
    let mut asked = 0;
    for rule in rules() {
        let selectors = selectors(&rule.expr);
        assert!(
            !selectors.is_empty() || rule.expr.starts_with("up{"),
            "{} asks for nothing of the agent's: {}",
            rule.alert,
            rule.expr
        );
        for (name, matchers) in selectors {
            asked += 1;
            let family = families::ALL.iter().find(|family| is_of(family, name));
            let family = family.unwrap_or_else(|| panic!("{}: there is no {name}", rule.alert));
            for (label, operator, value) in matchers {
                assert!(
                    family.labels.contains(&label) || ADDED.contains(&label),
                    "{}: {name} has no label {label}",
                    rule.alert
                );
                // Of a pattern each plain alternative has to be there, so that a wrong word is found.
                for value in value.split('|').filter(|value| !value.contains('*')) {
                    let plain = value.replace('\\', "");
                    let served = text
                        .as_str()
                        .lines()
                        .any(|line| line.starts_with(name) && line.contains(&format!("{label}=\"{plain}\"")));
                    assert!(served, "{}: nothing has {label}{operator}{value:?}", rule.alert);
                }
            }
        }
    }
    assert!(asked >= 20, "{asked} only");
}

#[test]
fn every_rule_has_a_name_of_its_own_a_known_severity_and_says_what_to_do() {
    let mut names = BTreeSet::new();
    for rule in rules() {
        assert!(rule.alert.starts_with("Plimsoll"), "{}", rule.alert);
        let severity = rule.labels.severity.as_str();
        assert!(["critical", "warning", "info"].contains(&severity), "{severity}");
        let told = &rule.annotations;
        for text in [&told.summary, &told.description, &told.runbook] {
            assert!(
                text.ends_with('.') && !text.contains('\n'),
                "{}: {text}",
                rule.alert
            );
        }
        assert!(names.insert(rule.alert.clone()), "{} is there twice", rule.alert);
    }
}

#[test]
fn every_rule_is_expected_to_fire_in_some_test_of_promtools() {
    let tests = fs::read_to_string(config().join("alerts.test.yaml")).unwrap();
    for rule in rules() {
        let expected = format!("alertname=\"{}\"", rule.alert);
        let fires = tests
            .lines()
            .any(|line| line.contains("value: 1") && line.contains(&expected));
        assert!(fires, "{} fires in no test", rule.alert);
    }
}

fn promtool(arguments: [&str; 3]) {
    let Some(promtool) = program("promtool") else {
        return;
    };
    let output = Command::new(promtool)
        .args(arguments)
        .current_dir(config())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("SUCCESS"), "{said}");
}

#[test]
fn promtool_takes_the_rules() {
    promtool(["check", "rules", "alerts.yaml"]);
}

#[test]
fn the_rules_fire_for_what_they_are_about_and_for_nothing_else() {
    promtool(["test", "rules", "alerts.test.yaml"]);
}
