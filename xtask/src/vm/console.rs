//! The kernel's console: init's reports, and signs of a fault.

/// Collects the console's lines.
#[derive(Default)]
pub(super) struct Console {
    text: String,
    /// Up to where `text` was read for reports.
    read: usize,
}

/// What init says by a line of the kernel log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// The command runs from now on.
    Start,
    /// It ended with this status.
    Exit(u8),
}

const MARK: &str = "plimsoll-vm: ";
const FAULTS: [&str; 6] = [
    "BUG:",
    "Oops",
    "soft lockup",
    "rcu: INFO",
    "plimsoll-vm: fault",
    "plimsoll-vm: failed",
];

impl Console {
    /// Takes what came in and returns the reports in the lines that it completed.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Report> {
        self.text += &String::from_utf8_lossy(bytes).replace('\r', "");
        let complete = self.text.rfind('\n').map_or(self.read, |end| end + 1);
        let reports = self.text[self.read..complete].lines().filter_map(parse).collect();
        self.read = complete;
        reports
    }

    /// What the kernel said when it gave up.
    pub(super) fn panic(&self) -> Option<&str> {
        self.text
            .lines()
            .find_map(|line| Some(line.split_once("Kernel panic - not syncing: ")?.1))
    }

    /// Lines that tell of a fault which the kernel survived.
    pub(super) fn complaints(&self) -> Vec<String> {
        let faulty = |line: &&str| FAULTS.iter().any(|fault| line.contains(fault));
        self.text.lines().filter(faulty).map(str::to_owned).collect()
    }

    /// The last lines, each indented, for an error message.
    pub(super) fn tail(&self, lines: usize) -> String {
        let all: Vec<&str> = self.text.lines().collect();
        let last = &all[all.len().saturating_sub(lines)..];
        if last.is_empty() {
            return "  (the console is empty)".to_owned();
        }
        last.iter()
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn parse(line: &str) -> Option<Report> {
    let (_, report) = line.split_once(MARK)?;
    match report.trim() {
        "start" => Some(Report::Start),
        other => other.strip_prefix("exit ")?.parse().ok().map(Report::Exit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_found_in_whole_lines_only() {
        let mut console = Console::default();
        assert_eq!(console.take(b"[    0.1] Linux\r\n[    2.0] plimsoll-vm: st"), []);
        assert_eq!(
            console.take(b"art\r\n[    3.0] plimsoll-vm: exit 13"),
            [Report::Start]
        );
        assert_eq!(console.take(b"7\r\n"), [Report::Exit(137)]);
        assert_eq!(console.take(b"plimsoll-vm: exit 999\n"), []);
    }

    #[test]
    fn faults_are_told_apart_from_panics() {
        let mut console = Console::default();
        console.take(b"[ 1] BUG: kernel NULL pointer dereference\n[ 2] fine\n");
        assert_eq!(
            console.complaints(),
            ["[ 1] BUG: kernel NULL pointer dereference"]
        );
        assert_eq!(console.panic(), None);
        console.take(b"[ 3] Kernel panic - not syncing: Attempted to kill init!\n");
        assert_eq!(console.panic(), Some("Attempted to kill init!"));
        assert_eq!(
            console.tail(1),
            "  [ 3] Kernel panic - not syncing: Attempted to kill init!"
        );
    }
}
