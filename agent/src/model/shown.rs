//! Text that others wrote, made fit for a terminal or a log line.
//!
//! # Properties
//! - What is shown has no control character, no character that turns the direction of writing, and a bounded length.

use std::fmt;

/// How many characters are shown.
const LONGEST: usize = 256;

/// A text that others chose. Printed, its control characters stand as escapes and its end is cut.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a str);

impl Shown<'_> {
    fn dangerous(c: char) -> bool {
        // Bidirectional overrides and isolates can make a line read as another one.
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(LONGEST) {
            if Self::dangerous(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        if chars.next().is_some() {
            text.push('…');
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_visible_and_widths_hold() {
        assert_eq!(
            Shown("a\x1b[31m\nb\u{202e}").to_string(),
            "a\\u{1b}[31m\\nb\\u{202e}"
        );
        assert_eq!(format!("{:<5}|", Shown("né")), "né   |");
    }

    proptest! {
        #[test]
        fn nothing_dangerous_is_shown(text in "(?s).{0,600}") {
            let shown = Shown(&text).to_string();
            prop_assert!(!shown.chars().any(Shown::dangerous));
            prop_assert!(shown.chars().count() <= LONGEST * 10 + 1);
        }
    }
}
