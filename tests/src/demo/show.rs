//! How the demo prints: headings, and tables whose columns line up.

use std::fs;
use std::path::Path;

/// Prints a heading.
pub(super) fn heading(text: &str) {
    println!("\n== {text}");
}

/// Prints rows under their column names, each column as wide as its widest cell.
pub(super) fn table<const N: usize>(columns: [&str; N], rows: &[[String; N]]) {
    let width = |n: usize| {
        rows.iter()
            .map(|r| r[n].len())
            .chain([columns[n].len()])
            .max()
            .unwrap_or_default()
    };
    let line = |cells: [&str; N]| {
        let padded: Vec<_> = cells
            .iter()
            .enumerate()
            .map(|(n, c)| format!("{c:<w$}", w = width(n)))
            .collect();
        println!("  {}", padded.join("  ").trim_end());
    };
    line(columns);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
}

/// Prints the end of the agent's log, for whoever has to find out why a claim was not true.
pub(super) fn log_tail(log: &Path) {
    heading("The agent's log, last lines");
    match fs::read_to_string(log) {
        Ok(text) => {
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(40)..]
                .iter()
                .for_each(|line| println!("  {line}"));
        }
        Err(error) => println!("  (cannot be read: {error})"),
    }
}
