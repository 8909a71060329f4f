//! `plimsoll replay`: recorded decisions by today's rules.
//!
//! # Properties
//! - Every decision that would differ is told with what was decided then and what would be now.

use super::pressure_words::{barred, need, pod};
use super::table::lay_out;
use super::words::moment;
use crate::runtime::{ReplayReport, Verdict};

/// For people.
pub(super) fn show(report: &ReplayReport) -> String {
    let mut rows = Vec::new();
    for replayed in report.decisions.iter().filter(|replayed| replayed.differs) {
        let record = &replayed.record;
        rows.push(vec![format!("#{}", record.number), moment(record.wall)]);
        rows.push(vec!["  short of".to_owned(), need(&record.need)]);
        rows.push(vec!["  then".to_owned(), told(&replayed.then)]);
        rows.push(vec!["  now".to_owned(), told(&replayed.now)]);
    }
    let mut text = lay_out(&rows, &[]);
    let made = report.decisions.len();
    text.push_str(&format!(
        "{made} decisions made again, {} differ\n",
        report.differing()
    ));
    if report.pared > 0 {
        text.push_str(&format!(
            "{} of them without the pods that had no part in it then\n",
            report.pared
        ));
    }
    if report.without_inputs > 0 {
        text.push_str(&format!(
            "{} could not be: what they rested on is not there\n",
            report.without_inputs
        ));
    }
    if report.unreadable > 0 {
        text.push_str(&format!(
            "{} lines are damaged or of another version\n",
            report.unreadable
        ));
    }
    if report.torn > 0 {
        text.push_str(&format!("{} bytes at the end are half a record\n", report.torn));
    }
    text
}

fn told(verdict: &Verdict) -> String {
    let rung = verdict.rung.map_or("nothing", |rung| rung.name());
    match (&verdict.pod, verdict.nobody) {
        (Some(whom), _) => format!("{rung} {}", pod(whom)),
        (None, Some(why)) => format!("nobody: {}", barred(why)),
        (None, None) => rung.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::decision_record;
    use crate::runtime::Replayed;

    #[test]
    fn what_differs_is_told_then_and_now() {
        let record = decision_record(4);
        let then = Verdict::recorded(&record);
        let now = Verdict {
            rung: None,
            pod: None,
            nobody: Some(crate::model::pressure::Barred::Budget),
        };
        let replayed = |now: &Verdict| Replayed {
            record: record.clone(),
            differs: then != *now,
            then: then.clone(),
            now: now.clone(),
        };
        let mut report = ReplayReport {
            decisions: vec![replayed(&then), replayed(&now)],
            pared: 1,
            without_inputs: 1,
            unreadable: 2,
            torn: 3,
        };
        let text = show(&report);
        for part in [
            "#4",
            "  then      kill shop/hog",
            "  now       nobody: budget of kills used up",
            "2 decisions made again, 1 differ",
            "1 of them without",
            "1 could not be",
            "2 lines are damaged",
            "3 bytes",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        report.decisions.pop();
        assert!(!show(&report).contains("  now"));
    }
}
