//! Values of configuration fields, each valid by construction.
//!
//! **Problem.** A wrong value must be refused at its own line of the file, before anything starts. **How.** Each
//! kind of value checks itself while it is read, so that the reader knows line and column; there is no later
//! pass that could be forgotten.
//!
//! # Properties
//! - Reading what a value prints gives the same value.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Bytes, CgroupPath, CpuPeriod, PodName, Quantity};

/// Gives a value that is written as text its reading from and printing to the file.
macro_rules! written_as {
    ($raw:ty, $name:ident) => {
        impl TryFrom<$raw> for $name {
            type Error = String;
            fn try_from(raw: $raw) -> Result<Self, String> {
                Self::new(&raw)
            }
        }

        impl From<$name> for $raw {
            fn from(value: $name) -> $raw {
                value.raw()
            }
        }
    };
}

/// The cgroup that holds everything the agent manages, as a path below the cgroup file system's mount point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct CgroupRoot(CgroupPath);

impl Default for CgroupRoot {
    fn default() -> Self {
        Self(CgroupPath::parse("plimsoll").unwrap_or_default())
    }
}

impl CgroupRoot {
    fn new(raw: &str) -> Result<Self, String> {
        let path =
            CgroupPath::parse(raw.trim_matches('/')).map_err(|error| format!("cgroupRoot: {error}"))?;
        if path == CgroupPath::ROOT {
            return Err(
                "cgroupRoot must name a cgroup of its own, such as plimsoll: the agent never manages the whole tree"
                    .to_owned(),
            );
        }
        Ok(Self(path))
    }

    fn raw(self) -> String {
        self.0.to_string()
    }

    /// The path, below the mount point.
    #[must_use]
    pub fn path(&self) -> &CgroupPath {
        &self.0
    }
}

written_as!(String, CgroupRoot);

/// The node's name: a DNS-1123 subdomain, as Kubernetes has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct NodeName(String);

impl NodeName {
    fn new(raw: &str) -> Result<Self, String> {
        // A node's name follows the same rule as a pod's.
        PodName::parse(raw).map_err(|error| format!("nodeName {raw:?} {error}"))?;
        Ok(Self(raw.to_owned()))
    }

    fn raw(self) -> String {
        self.0
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = String;
    fn from_str(raw: &str) -> Result<Self, String> {
        Self::new(raw)
    }
}

written_as!(String, NodeName);

/// An absolute path without `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "PathBuf", into = "PathBuf")]
#[schemars(with = "String")]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    fn new(raw: &Path) -> Result<Self, String> {
        let plain = raw
            .components()
            .all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        if !raw.is_absolute() || !plain || raw.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(format!("{raw:?} must be an absolute path without `..`"));
        }
        Ok(Self(raw.to_owned()))
    }

    fn raw(self) -> PathBuf {
        self.0
    }

    /// A path known to be absolute when the program was written.
    pub(super) fn fixed(path: &'static str) -> Self {
        Self(PathBuf::from(path))
    }
}

written_as!(PathBuf, AbsolutePath);

impl std::ops::Deref for AbsolutePath {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

/// Where the running agent answers `plimsoll status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "PathBuf", into = "PathBuf")]
#[schemars(with = "String")]
pub struct SocketPath(AbsolutePath);

impl SocketPath {
    /// The kernel's `sun_path` has 108 bytes, one of them for the NUL at the end.
    const LONGEST: usize = 107;

    fn new(raw: &Path) -> Result<Self, String> {
        if raw.as_os_str().len() > Self::LONGEST {
            return Err(format!(
                "adminSocket has {} bytes, the kernel allows {}: choose a shorter path",
                raw.as_os_str().len(),
                Self::LONGEST
            ));
        }
        AbsolutePath::new(raw).map(Self)
    }

    fn raw(self) -> PathBuf {
        self.0.raw()
    }

    pub(super) fn fixed(path: &'static str) -> Self {
        Self(AbsolutePath::fixed(path))
    }
}

written_as!(PathBuf, SocketPath);

impl std::ops::Deref for SocketPath {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

/// An amount of memory or disk, written as a quantity: `10Mi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ByteSize(pub Bytes);

impl ByteSize {
    fn new(raw: &str) -> Result<Self, String> {
        let quantity = Quantity::parse(raw).map_err(|error| error.to_string())?;
        u64::try_from(quantity.value())
            .map(|bytes| Self(Bytes(bytes)))
            .map_err(|_| format!("{raw:?} must not be negative"))
    }

    fn raw(self) -> String {
        let bytes = self.0.0;
        for (shift, unit) in [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")] {
            if bytes != 0 && bytes.trailing_zeros() >= shift {
                return format!("{}{unit}", bytes >> shift);
            }
        }
        bytes.to_string()
    }
}

written_as!(String, ByteSize);

/// How large the journal may grow: 1 MiB or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct JournalSize(ByteSize);

impl JournalSize {
    fn new(raw: &str) -> Result<Self, String> {
        let size = ByteSize::new(raw)?;
        if size.0 < Bytes::mib(1) {
            return Err(format!("journalMaxSize is {raw}: it must be 1Mi or more"));
        }
        Ok(Self(size))
    }

    fn raw(self) -> String {
        self.0.raw()
    }

    /// The size.
    #[must_use]
    pub const fn get(self) -> Bytes {
        self.0.0
    }
}

impl Default for JournalSize {
    fn default() -> Self {
        Self(ByteSize(Bytes::mib(64)))
    }
}

written_as!(String, JournalSize);

/// A length of time as Go writes it: `100ms`, `1m30s`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is no length of time: write a number with a unit, such as 100ms, 10s or 1m30s");
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit_len = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len() - digits);
        let micros = match &rest[digits..digits + unit_len] {
            "us" | "µs" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(micros).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_micros(part)).ok_or_else(wrong)?;
        rest = &rest[digits + unit_len..];
    }
    Ok(total)
}

pub(super) fn print_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 => "0s".to_owned(),
        n if n % 60_000_000 == 0 => format!("{}m", n / 60_000_000),
        n if n % 1_000_000 == 0 => format!("{}s", n / 1_000_000),
        n if n % 1_000 == 0 => format!("{}ms", n / 1_000),
        n => format!("{n}us"),
    }
}

macro_rules! bounded_duration {
    ($(#[$doc:meta])* $name:ident, $field:literal, $from:literal..=$to:literal, $default:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(Duration);

        impl $name {
            fn new(raw: &str) -> Result<Self, String> {
                let duration = parse_duration(raw)?;
                let range = Duration::from_millis($from)..=Duration::from_millis($to);
                if !range.contains(&duration) {
                    return Err(format!(
                        concat!($field, " is {}: it must be {} to {}"),
                        print_duration(duration), print_duration(*range.start()), print_duration(*range.end())
                    ));
                }
                Ok(Self(duration))
            }

            fn raw(self) -> String {
                print_duration(self.0)
            }

            /// The length of time.
            #[must_use]
            pub const fn get(self) -> Duration {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self(Duration::from_millis($default))
            }
        }

        written_as!(String, $name);
    };
}

bounded_duration!(
    /// The length of a CFS bandwidth period; the kernel takes 1 ms to 1 s.
    CfsPeriod, "cpuCFSQuotaPeriod", 1..=1_000, 100
);
bounded_duration!(
    /// How often the agent compares the kernel's state with what it should be.
    ReconcilePeriod, "reconcilePeriod", 100..=60_000, 1_000
);
bounded_duration!(
    /// How often usage is sampled.
    UsagePeriod, "usagePeriod", 100..=60_000, 1_000
);

impl CfsPeriod {
    /// The period as `cpu.max` takes it.
    #[must_use]
    pub fn period(self) -> CpuPeriod {
        CpuPeriod(u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX))
    }
}

/// Where between request and limit memory is throttled: above 0, at most 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(with = "f64")]
pub struct ThrottlingFactor(f64);

impl ThrottlingFactor {
    fn new(&raw: &f64) -> Result<Self, String> {
        if raw > 0.0 && raw <= 1.0 {
            return Ok(Self(raw));
        }
        Err(format!(
            "memoryThrottlingFactor is {raw}: it must be above 0 and at most 1; kubelet's default is 0.9"
        ))
    }

    fn raw(self) -> f64 {
        self.0
    }

    /// The factor.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Default for ThrottlingFactor {
    fn default() -> Self {
        Self(0.9)
    }
}

written_as!(f64, ThrottlingFactor);

/// The most tasks of a pod, −1 for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "i64", into = "i64")]
#[schemars(with = "i64")]
pub struct PodPidsLimit(Option<u64>);

impl PodPidsLimit {
    fn new(&raw: &i64) -> Result<Self, String> {
        match u64::try_from(raw) {
            Ok(limit) if limit > 0 => Ok(Self(Some(limit))),
            Err(_) if raw == -1 => Ok(Self(None)),
            _ => Err(format!(
                "podPidsLimit is {raw}: it must be -1 (no limit) or at least 1"
            )),
        }
    }

    fn raw(self) -> i64 {
        self.0
            .map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
    }

    /// The limit, if there is one.
    #[must_use]
    pub const fn limit(self) -> Option<u64> {
        self.0
    }
}

written_as!(i64, PodPidsLimit);

/// How many pods the agent accepts: 1 to 10 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schemars(with = "u32")]
pub struct MaxPods(u32);

impl MaxPods {
    fn new(&raw: &u32) -> Result<Self, String> {
        if (1..=10_000).contains(&raw) {
            return Ok(Self(raw));
        }
        Err(format!("maxPods is {raw}: it must be 1 to 10000"))
    }

    fn raw(self) -> u32 {
        self.0
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for MaxPods {
    fn default() -> Self {
        Self(110)
    }
}

written_as!(u32, MaxPods);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_follow_go() {
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        for wrong in ["", "1", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999999h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_is_read_as_it_was_printed(micros in 0_u64..1 << 50) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&print_duration(duration)), Ok(duration));
        }

        #[test]
        fn a_size_is_read_as_it_was_printed(mib in 0_u64..1 << 20) {
            let size = ByteSize(Bytes::mib(mib));
            prop_assert_eq!(ByteSize::new(&size.raw()), Ok(size));
        }

        #[test]
        fn a_path_is_absolute_and_has_no_way_up(text in "[a-z./]{0,12}") {
            if let Ok(path) = AbsolutePath::new(Path::new(&text)) {
                prop_assert!(path.is_absolute());
                prop_assert!(path.components().all(|c| c != Component::ParentDir));
            }
        }
    }
}
