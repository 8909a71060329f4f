//! `plimsoll rank`: who would die first, why, and whom the kernel would take.
//!
//! # Properties
//! - Every pod of the order has one line, in the order's order; every text is shown escaped.

use super::pressure_words::{barred, figure, need, pod};
use super::table::lay_out;
use super::words::{NOTHING, optional, span};
use crate::model::Bytes;
use crate::model::pressure::{Exhaustion, KernelChoice, PressureReport, RankedPod};

/// For people; `wide` has all terms of each score.
pub(super) fn show(pressure: &PressureReport, wide: bool) -> String {
    let mut facts = vec![
        row(
            "available",
            format!("{} of {}", pressure.figures.available, pressure.figures.capacity),
        ),
        row("memory gone", exhaustion(&pressure.exhaustion)),
    ];
    for (class, of_class) in &pressure.exhaustion_by_class {
        facts.push(row(&format!("  by {class}"), exhaustion(of_class)));
    }
    for threshold in &pressure.thresholds {
        let observed = threshold
            .observed
            .map(|value| figure(Some(threshold.signal), value));
        let soft = if threshold.grace.is_zero() {
            String::new()
        } else {
            format!(" for {}", span(threshold.grace))
        };
        let met = threshold
            .met_since
            .map(|since| format!(", met for {}", span(pressure.figures.at.since(since))));
        facts.push(row(
            threshold.signal.name(),
            format!(
                "{}, threshold {}{soft}{}",
                observed.as_deref().unwrap_or("no figures"),
                figure(Some(threshold.signal), threshold.at),
                met.unwrap_or_default()
            ),
        ));
    }
    let short = pressure.need.as_ref().map_or_else(|| "nothing".to_owned(), need);
    facts.push(row("short of", short));
    if !pressure.conditions.is_fine() {
        facts.push(row(
            "conditions",
            format!("{}; new pods may have to wait", pressure.conditions),
        ));
    }
    for rung in &pressure.in_force {
        let whom = rung.pod.as_ref().map_or_else(|| "BestEffort".to_owned(), pod);
        let since = span(pressure.figures.at.since(rung.since));
        facts.push(row(
            "in force",
            format!("{} on {whom} for {since}", rung.rung.name()),
        ));
    }
    let first = pressure.order.first().filter(|first| first.barred.is_none());
    facts.push(row(
        "first to die",
        first.map_or_else(|| "nobody may be taken".to_owned(), why),
    ));
    facts.push(row(
        "kernel takes",
        pressure
            .kernel
            .as_ref()
            .map_or_else(|| "not known".to_owned(), kernel),
    ));
    let dry = if pressure.dry_run {
        ", dry run: nothing is done"
    } else {
        ""
    };
    facts.push(row(
        "by",
        format!(
            "profile {}, oomPriority {}{dry}",
            pressure.profile, pressure.oom_priority
        ),
    ));
    let mut text = lay_out(&facts, &[]);
    text.push('\n');
    text.push_str(&order(pressure, wide));
    text
}

fn row(label: &str, told: String) -> Vec<String> {
    vec![label.to_owned(), told]
}

fn exhaustion(exhaustion: &Exhaustion) -> String {
    match exhaustion.after {
        Some(after) => format!(
            "in {}, sure to {:.0}%",
            span(after),
            100.0 * exhaustion.confidence
        ),
        None => "not at this rate".to_owned(),
    }
}

/// Why the first one is the first.
fn why(ranked: &RankedPod) -> String {
    let over = if ranked.charge > ranked.request {
        format!(
            "{} above its request of {}",
            ranked.charge.saturating_sub(ranked.request),
            ranked.request
        )
    } else {
        format!(
            "within its request of {}, and nobody above it may be taken",
            ranked.request
        )
    };
    format!(
        "{}/{}: {over}; priority {}; its end frees {}",
        ranked.namespace, ranked.name, ranked.priority, ranked.freeable
    )
}

fn kernel(choice: &KernelChoice) -> String {
    let whose = match &choice.container {
        Some((_, namespace, name, container)) => format!("{namespace}/{name}/{container}"),
        None => "outside all pods".to_owned(),
    };
    let agrees = match choice.agrees {
        Some(true) => "; the pod that is first here",
        Some(false) => "; not the pod that is first here",
        None => "",
    };
    format!(
        "process {} {} ({whose}), {} pages bad with oom_score_adj {}{agrees}",
        choice.pid, choice.comm, choice.badness, choice.oom_score_adj.0
    )
}

fn order(pressure: &PressureReport, wide: bool) -> String {
    let mut heading = vec![
        "#",
        "POD",
        "CLASS",
        "PRIORITY",
        "CHARGE",
        "REQUEST",
        "EXCESS",
        "GROWTH",
        "FREES",
        "OWN LIMIT",
        "WHY NOT",
    ];
    if wide {
        heading.push("TERMS");
    }
    let mut rows = vec![heading.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for (place, ranked) in (1..).zip(&pressure.order) {
        rows.push(line(place, ranked, wide));
    }
    lay_out(&rows, &[0, 3, 4, 5, 6, 7, 8, 9])
}

fn line(place: usize, ranked: &RankedPod, wide: bool) -> Vec<String> {
    let place = if ranked.barred.is_none() {
        place.to_string()
    } else {
        NOTHING.to_owned()
    };
    let growth = ranked.term("growth").map(|rate| {
        let confidence = ranked.term("confidence").unwrap_or_default();
        format!("{}/s {:.0}%", signed(rate), 100.0 * confidence)
    });
    let mut line = vec![
        place,
        format!("{}/{}", ranked.namespace, ranked.name),
        ranked.class.to_string(),
        ranked.priority.to_string(),
        ranked.charge.to_string(),
        ranked.request.to_string(),
        ranked.charge.saturating_sub(ranked.request).to_string(),
        optional(growth),
        ranked.freeable.to_string(),
        optional(ranked.exhaustion.after.map(span)),
        ranked.barred.map_or(NOTHING, barred).to_owned(),
    ];
    if wide {
        let terms: Vec<_> = ranked
            .terms
            .iter()
            .map(|term| format!("{}={}", term.name, term.value))
            .collect();
        line.push(terms.join(" "));
    }
    line
}

/// A rate in bytes with its sign.
fn signed(rate: f64) -> String {
    let sign = if rate < 0.0 { "-" } else { "" };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "three digits are shown"
    )]
    let bytes = Bytes(rate.abs() as u64);
    format!("{sign}{bytes}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::sample::pressure;

    #[test]
    fn the_first_to_die_is_told_with_the_reason_and_the_kernels_choice() {
        let text = show(&pressure(), false);
        for line in [
            "available         60.0Mi of 1.00Gi",
            "memory gone       in 700.0ms, sure to 75%",
            "  by BestEffort   in 900.0ms, sure to 50%",
            "memory.available  60.0Mi, threshold 100Mi, met for 1.0s",
            "conditions        MemoryPressure; new pods may have to wait",
            "in force          throttle on shop/hog for 2.0s",
            "first to die      shop/hog: 700Mi above its request of 0B; priority 0; its end frees 700Mi",
            "kernel takes      process 4242 hog (shop/hog/main), 180000 pages bad with oom_score_adj 1000; the pod that is \
             first here",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        let pods: Vec<_> = text
            .lines()
            .skip_while(|line| !line.starts_with('#'))
            .skip(1)
            .collect();
        assert!(
            pods[0].starts_with("1  shop/hog ") && pods[0].contains("20.0Mi/s 75%"),
            "{text}"
        );
        assert!(
            pods[1].starts_with("-  shop/web-0 ") && pods[1].ends_with("critical or protected"),
            "{text}"
        );
        assert!(show(&pressure(), true).contains("overRequest=1 priority=0 urgency="));
    }

    #[test]
    fn nobody_and_nothing_are_said() {
        let text = show(&PressureReport::default(), false);
        assert!(
            text.contains("nobody may be taken") && text.contains("not known"),
            "{text}"
        );
        assert!(text.contains("not at this rate"), "{text}");
    }

    proptest! {
        #[test]
        fn what_others_wrote_is_shown_escaped(text in "(?s).{0,40}") {
            let mut report = pressure();
            report.kernel.as_mut().unwrap().comm.clone_from(&text);
            report.order[0].terms[0].name.clone_from(&text);
            report.profile.clone_from(&text);
            let shown = show(&report, true);
            prop_assert!(!shown.chars().any(|c| c != '\n' && c.is_control()));
            prop_assert_eq!(shown.lines().count(), show(&pressure(), true).lines().count());
        }
    }
}
