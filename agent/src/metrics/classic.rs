//! From OpenMetrics text to Prometheus' older text format 0.0.4.
//!
//! The samples are the same; three kinds of comment differ. The older format names a counter with its `_total`,
//! knows no `UNIT`, and has no end mark.
//!
//! # Properties
//! - Sample lines pass unchanged and in order.

/// Appends `openmetrics`, as the encoder writes it, to `out`.
pub(super) fn convert(openmetrics: &str, out: &mut String) {
    out.reserve(openmetrics.len() + openmetrics.len() / 64);
    let mut rest = openmetrics;
    // Samples make up nearly all of the text: they are copied by the block, from one comment to the next.
    while let Some(at) = comment(rest) {
        out.push_str(&rest[..at]);
        let (line, after) = split_line(&rest[at..]);
        rest = after;
        match line.strip_prefix("# HELP ") {
            Some(help) => rest = describe(help, rest, out),
            // UNIT and EOF have no counterpart.
            None => continue,
        }
    }
    out.push_str(rest);
}

/// Writes `# HELP` and the `# TYPE` that follows it, with the family's older name; gives the text after both.
fn describe<'t>(help: &str, rest: &'t str, out: &mut String) -> &'t str {
    let (line, after) = split_line(rest);
    let name = help.split(' ').next().unwrap_or(help);
    let kind = line.rsplit(' ').next().unwrap_or("untyped");
    let suffix = if kind == "counter" { "_total" } else { "" };
    for part in [
        "# HELP ",
        name,
        suffix,
        &help[name.len()..],
        "\n# TYPE ",
        name,
        suffix,
        " ",
        kind,
        "\n",
    ] {
        out.push_str(part);
    }
    after
}

/// Where the next comment line starts. Label values hold no line feed, so `#` at a line's start is one.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with('#') {
        return Some(0);
    }
    text.find("\n#").map(|at| at + 1)
}

fn split_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_get_their_suffix_and_the_rest_stays() {
        let openmetrics = "# HELP a_seconds Time # of a.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                           a_seconds_total{x=\"# HELP\"} 1.5\n# HELP b B.\n# TYPE b gauge\nb 2\nb{y=\"1\"} 3\n# EOF\n";
        let mut classic = String::new();
        convert(openmetrics, &mut classic);
        assert_eq!(
            classic,
            "# HELP a_seconds_total Time # of a.\n# TYPE a_seconds_total counter\n\
             a_seconds_total{x=\"# HELP\"} 1.5\n# HELP b B.\n# TYPE b gauge\nb 2\nb{y=\"1\"} 3\n"
        );
    }
}
