//! From OpenMetrics text to Prometheus' older text format 0.0.4, while it is written.
//!
//! The samples are the same; three kinds of comment differ. The older format names a counter with its `_total`,
//! knows no `UNIT`, and has no end mark.
//!
//! # Properties
//! - Sample lines pass unchanged and in order.

use std::fmt;

/// Writes into a text what an encoder of OpenMetrics writes into it.
pub(super) struct Classic<'t> {
    out: &'t mut String,
    /// The comment being written, without its end, while one is.
    comment: Option<String>,
    /// What follows `# HELP `, until the `TYPE` that the name depends on is known.
    help: String,
}

impl<'t> Classic<'t> {
    pub(super) fn new(out: &'t mut String) -> Self {
        Self {
            out,
            comment: None,
            help: String::new(),
        }
    }

    fn finish(&mut self, comment: &str) {
        if let Some(help) = comment.strip_prefix("# HELP ") {
            help.clone_into(&mut self.help);
        } else if let Some(kind) = comment.strip_prefix("# TYPE ") {
            let kind = kind.rsplit(' ').next().unwrap_or("untyped");
            let (name, help) = self.help.split_once(' ').unwrap_or((&self.help, ""));
            let suffix = if kind == "counter" { "_total" } else { "" };
            for part in [
                "# HELP ",
                name,
                suffix,
                " ",
                help,
                "\n# TYPE ",
                name,
                suffix,
                " ",
                kind,
                "\n",
            ] {
                self.out.push_str(part);
            }
        }
        // UNIT and EOF have no counterpart.
    }
}

impl fmt::Write for Classic<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Label values hold no line feed, so `#` at a line's start begins a comment, and nothing else does.
        let at_start = || self.out.is_empty() || self.out.ends_with('\n');
        if self.comment.is_none() && !(text.starts_with('#') && at_start()) {
            self.out.push_str(text);
            return Ok(());
        }
        let mut comment = self.comment.take().unwrap_or_default();
        comment.push_str(text);
        match comment.strip_suffix('\n') {
            Some(whole) => self.finish(whole),
            None => self.comment = Some(comment),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn counters_get_their_suffix_and_the_rest_stays() {
        let mut text = String::new();
        let mut classic = Classic::new(&mut text);
        for part in [
            "# HELP ",
            "a_seconds",
            " ",
            "Time # of a.",
            "\n",
            "# TYPE ",
            "a_seconds",
            " counter",
            "\n",
            "# UNIT ",
            "a_seconds seconds",
            "\n",
            "a_seconds_total{x=\"",
            "# HELP",
            "\"} 1.5",
            "\n",
            "# HELP ",
            "b B.\n",
            "# TYPE b gauge\n",
            "b",
            " 2",
            "\n",
            "b{y=\"1\"} 3",
            "\n",
            "# EOF\n",
        ] {
            classic.write_str(part).unwrap();
        }
        assert_eq!(
            text,
            "# HELP a_seconds_total Time # of a.\n# TYPE a_seconds_total counter\n\
             a_seconds_total{x=\"# HELP\"} 1.5\n# HELP b B.\n# TYPE b gauge\nb 2\nb{y=\"1\"} 3\n"
        );
    }
}
