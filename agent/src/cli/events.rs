//! `plimsoll events`: what was decided about memory and what came of it, and whom the kernel took.
//!
//! # Properties
//! - Every decision and every kill is one entry; every text is shown escaped.

use serde::Serialize;

use super::pressure_words::{decision, need, outcome, pod, stages};
use super::table::lay_out;
use super::words::{NOTHING, moment, span};
use crate::model::pressure::DecisionRecord;
use crate::model::{BootTime, Limit, NodeReport, OomRecord};

/// What is known.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Known {
    /// Decisions, oldest first.
    pub(super) decisions: Vec<DecisionRecord>,
    /// Kills by the kernel's OOM killer, oldest first.
    pub(super) oom_kills: Vec<OomRecord>,
}

impl Known {
    /// What a report says.
    pub(super) fn of(report: NodeReport) -> Self {
        Self {
            decisions: report
                .pressure
                .map(|pressure| pressure.decisions)
                .unwrap_or_default(),
            oom_kills: report.oom_kills,
        }
    }
}

type Rows = Vec<Vec<String>>;

/// For people; `damage` is how many lines of a journal could not be read, and how many bytes are torn at its end.
pub(super) fn show(known: &Known, damage: (u64, u64)) -> String {
    let mut rows: Vec<(BootTime, Rows)> = Vec::new();
    rows.extend(
        known
            .decisions
            .iter()
            .map(|record| (record.times.decided, of_decision(record))),
    );
    let kills = known
        .oom_kills
        .iter()
        .map(|kill| (BootTime(kill.at), of_kill(kill)));
    // Decisions may be of earlier boots, so that only those after the first kill can be told apart from it by time.
    for (at, kill) in kills {
        let place = rows
            .iter()
            .rposition(|(before, _)| *before <= at)
            .map_or(0, |place| place + 1);
        rows.insert(place, (at, kill));
    }
    let mut text = if rows.is_empty() {
        "nothing was decided, and the kernel took nobody\n".to_owned()
    } else {
        let rows: Rows = rows.into_iter().flat_map(|(_, rows)| rows).collect();
        lay_out(&rows, &[])
    };
    let (unreadable, torn) = damage;
    if unreadable > 0 {
        text.push_str(&format!("{unreadable} lines are damaged or of another version\n"));
    }
    if torn > 0 {
        text.push_str(&format!("{torn} bytes at the end are half a record\n"));
    }
    text
}

/// The lines of one decision.
fn of_decision(record: &DecisionRecord) -> Rows {
    let whom = record.pod.as_ref().map_or_else(|| NOTHING.to_owned(), pod);
    let mut rows = vec![
        vec![
            format!("#{}", record.number),
            format!("{}  {whom}", moment(record.wall)),
        ],
        vec!["  short of".to_owned(), need(&record.need)],
        vec!["  decided".to_owned(), decision(record)],
        vec!["  why".to_owned(), record.why.clone()],
        vec!["  outcome".to_owned(), outcome(&record.outcome)],
    ];
    let stages = stages(&record.times);
    if record.act.is_some() && !stages.is_empty() {
        rows.push(vec!["  stages".to_owned(), stages]);
    }
    rows
}

fn of_kill(kill: &OomRecord) -> Rows {
    let whose = match &kill.container {
        Some((_, namespace, name, container)) => format!("{namespace}/{name}/{container}"),
        None => "outside all pods".to_owned(),
    };
    let pid = kill
        .pid
        .map_or_else(String::new, |pid| format!(" process {pid} {}", kill.comm));
    let used = kill
        .usage
        .map_or_else(String::new, |usage| format!(", which used {usage}"));
    let limit = kill.limit.and_then(Limit::at);
    let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    vec![
        vec![
            "kernel".to_owned(),
            format!("{} after boot, {whose}", span(kill.at)),
        ],
        vec![
            "  took".to_owned(),
            format!("{pid}{used}{limit}").trim_start().to_owned(),
        ],
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Bytes;
    use crate::model::pressure::Outcome;
    use crate::model::sample::{decision_record, pressure, report};

    fn kill(at: u64) -> OomRecord {
        OomRecord {
            at: Duration::from_secs(at),
            container: None,
            pid: Some(7),
            comm: "x\u{1b}[2J".to_owned(),
            trigger_pid: None,
            usage: Some(Bytes::mib(5)),
            limit: Some(Limit::At(Bytes::mib(6))),
        }
    }

    #[test]
    fn a_reports_decisions_and_kills_are_told_in_their_order() {
        let mut report = report(Vec::new());
        report.pressure = Some(pressure());
        report.oom_kills = vec![kill(10), kill(60)];
        let text = show(&Known::of(report), (0, 0));
        let heads: Vec<_> = text.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(heads.len(), 4, "{text}");
        assert!(
            heads[0].starts_with("kernel") && heads[3].starts_with("kernel"),
            "{text}"
        );
        assert!(
            heads[1].contains("Tue, 14 Nov 2023") && heads[1].ends_with("shop/hog"),
            "{text}"
        );
        assert!(
            text.contains("  outcome   freed 690Mi") && text.contains("  decided   kill"),
            "{text}"
        );
        assert!(
            text.contains("process 7 x\\u{1b}[2J, which used 5.00Mi of 6.00Mi"),
            "{text}"
        );
    }

    #[test]
    fn damage_and_nothing_are_said() {
        let text = show(&Known::default(), (2, 30));
        assert!(
            text.contains("nothing was decided") && text.contains("2 lines are damaged"),
            "{text}"
        );
        assert!(text.contains("30 bytes at the end"), "{text}");
    }

    proptest! {
        #[test]
        fn texts_are_escaped_and_add_no_line(text in "(?s).{0,60}") {
            let record = DecisionRecord {
                why: text.clone(),
                outcome: Outcome::Failed { error: text },
                ..decision_record(1)
            };
            let known = Known { decisions: vec![record], oom_kills: Vec::new() };
            let shown = show(&known, (0, 0));
            prop_assert!(!shown.chars().any(|c| c != '\n' && c.is_control()));
            prop_assert_eq!(shown.lines().count(), 6);
        }
    }
}
