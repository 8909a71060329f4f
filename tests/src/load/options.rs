//! What a workload is told.

use std::path::PathBuf;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// What kind of workload it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Anon,
    Lock,
    Spin,
    Work,
    Many,
    Cache,
    Tmpfs,
    Bomb,
}

impl Kind {
    /// Whether it takes anonymous memory in one process, of which it can have some before the start signal.
    pub(super) fn is_anonymous(self) -> bool {
        matches!(self, Self::Anon | Self::Lock | Self::Spin | Self::Work)
    }
}

/// A workload's arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Options {
    pub(super) kind: Kind,
    /// Wait for this FIFO's other end: `start=PATH`.
    pub(super) start: Option<PathBuf>,
    /// Do not end on SIGTERM: `deaf=1`.
    pub(super) deaf: bool,
    /// Bytes in the end: `size=MIB`.
    pub(super) size: usize,
    /// Bytes that are taken before the start signal: `first=MIB`.
    pub(super) first: usize,
    /// Bytes a second: `pace=MIB`.
    pub(super) pace: f64,
    /// Bytes that are kept after `hold`: `keep=MIB`.
    pub(super) keep: Option<usize>,
    /// How long all is kept: `hold=MILLISECONDS`.
    pub(super) hold: Duration,
    /// MiB of each process: `each=MIB`.
    pub(super) each: usize,
    /// Time from one process, or piece of work, to the next: `every=MILLISECONDS`.
    pub(super) every: Duration,
    /// Processes: `count=N`.
    pub(super) count: u32,
    /// `file=PATH`.
    pub(super) file: PathBuf,
}

impl Options {
    /// Reads `KIND [NAME=VALUE…]`.
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let (kind, words) = words.split_first().ok_or("no kind of workload is given")?;
        let mut options = Self {
            kind: kind_of(kind)?,
            start: None,
            deaf: false,
            size: 0,
            first: 0,
            pace: 1000.0 * 1048576.0,
            keep: None,
            hold: Duration::ZERO,
            each: 0,
            every: Duration::from_millis(10),
            count: 0,
            file: PathBuf::new(),
        };
        let mut seed = 0;
        for word in words {
            let (name, value) = word
                .split_once('=')
                .ok_or(format!("{word:?} is not NAME=VALUE"))?;
            let number = || {
                let number = value.parse::<u32>();
                number.map_err(|error| format!("{name} is {value:?}: {error}"))
            };
            let bytes = || Ok::<_, String>(number()? as usize * MIB);
            let milliseconds = || Ok::<_, String>(Duration::from_millis(number()?.into()));
            match name {
                "start" => options.start = Some(value.into()),
                "file" => options.file = value.into(),
                "deaf" => options.deaf = number()? != 0,
                "seed" => seed = number()?,
                "size" => options.size = bytes()?,
                "first" => options.first = bytes()?,
                "pace" => options.pace = f64::from(number()?) * 1048576.0,
                "keep" => options.keep = Some(bytes()?),
                "hold" => options.hold = milliseconds()?,
                "each" => options.each = number()? as usize,
                "every" => options.every = milliseconds()?,
                "count" => options.count = number()?,
                _ => return Err(format!("unknown argument {name:?}")),
            }
        }
        options.pace *= jitter(seed);
        options.every = options.every.div_f64(jitter(seed));
        Ok(options)
    }
}

fn kind_of(name: &str) -> Result<Kind, String> {
    Ok(match name {
        "anon" => Kind::Anon,
        "lock" => Kind::Lock,
        "spin" => Kind::Spin,
        "work" => Kind::Work,
        "many" => Kind::Many,
        "cache" => Kind::Cache,
        "tmpfs" => Kind::Tmpfs,
        "bomb" => Kind::Bomb,
        _ => return Err(format!("unknown kind of workload {name:?}")),
    })
}

/// 1 for seed 0, and from 0.9 to 1.1 for others (a step of SplitMix64 spreads them).
fn jitter(seed: u32) -> f64 {
    if seed == 0 {
        return 1.0;
    }
    let mut mixed = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let thousandths = u32::try_from((mixed >> 32) % 201).unwrap_or_default();
    0.9 + f64::from(thousandths) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn units_are_those_of_the_names() {
        let options = parse("anon size=512 pace=100 keep=64 hold=1500 start=/run/go deaf=1").unwrap();
        assert_eq!((options.size, options.keep), (512 * MIB, Some(64 * MIB)));
        assert_eq!(options.pace, 100.0 * 1048576.0);
        assert_eq!(options.hold, Duration::from_millis(1500));
        assert!(options.deaf && options.start == Some("/run/go".into()));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "eat",
            "anon size",
            "anon size=x",
            "anon size=-1",
            "anon colour=1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_seed_changes_the_pace_by_a_tenth_at_most_and_always_alike() {
        let paces: Vec<_> = (1..100).map(jitter).collect();
        assert!(paces.iter().all(|pace| (0.9..=1.1).contains(pace)), "{paces:?}");
        assert!(paces.iter().any(|pace| *pace < 0.95) && paces.iter().any(|pace| *pace > 1.05));
        assert_eq!(jitter(7), jitter(7));
        assert_eq!(jitter(0), 1.0);
    }
}
