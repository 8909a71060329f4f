//! Small pieces that the collectors share: values, labels, one family at a time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Error;
use std::time::Duration;

use prometheus_client::encoding::{
    CounterValueEncoder, DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabel,
    EncodeLabelSet, GaugeValueEncoder, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use super::families::{Family, Kind};
use crate::model::Bytes;

/// A sample's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// A count.
    Count(u64),
    /// Anything else.
    Number(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Count(bytes.0)
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        Self::Number(duration.as_secs_f64())
    }
}

impl EncodeGaugeValue for Value {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> Result<(), Error> {
        match self {
            Self::Count(count) => EncodeGaugeValue::encode(count, encoder),
            Self::Number(number) => EncodeGaugeValue::encode(number, encoder),
        }
    }
}

impl EncodeCounterValue for Value {
    fn encode(&self, encoder: &mut CounterValueEncoder<'_>) -> Result<(), Error> {
        match self {
            Self::Count(count) => EncodeCounterValue::encode(count, encoder),
            Self::Number(number) => EncodeCounterValue::encode(number, encoder),
        }
    }
}

/// Labels in the order given; at most a handful, so an array on the stack.
#[derive(Debug)]
pub(super) struct Labels<'a, const N: usize>(pub(super) [(&'static str, &'a str); N]);

impl<const N: usize> EncodeLabelSet for Labels<'_, N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        for label in &self.0 {
            label.encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// Labels written once and used for every family of one cgroup.
///
/// Writing six labels costs more than all the rest of a sample, and a cgroup has some fifty samples. The text
/// encoder writes a label's name as it is, so what stands before the last value is handed to it as that name.
#[derive(Debug)]
pub(super) struct Rendered<'a> {
    /// `a="x",b="y",c`: all labels, without the last one's value.
    before: String,
    last: &'a str,
}

impl<'a> Rendered<'a> {
    /// These labels, then the last one.
    pub(super) fn new(labels: &[(&str, &str)], (last_name, last): (&str, &'a str)) -> Self {
        let mut before = String::with_capacity(32 * labels.len());
        for (name, value) in labels {
            before.push_str(name);
            before.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => before.push_str("\\\\"),
                    '"' => before.push_str("\\\""),
                    '\n' => before.push_str("\\n"),
                    c => before.push(c),
                }
            }
            before.push_str("\",");
        }
        before.push_str(last_name);
        Self { before, last }
    }
}

impl EncodeLabelSet for Rendered<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        (self.before.as_str(), self.last).encode(encoder.encode_label())
    }
}

/// How many characters of a text that others chose a label shows.
const LABEL_CHARACTERS: usize = 200;

/// A text that others chose, cut and without control characters; quoting is the encoder's.
pub(super) fn foreign(text: &str) -> Cow<'_, str> {
    if text.len() <= LABEL_CHARACTERS && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(LABEL_CHARACTERS)
        .collect()
}

/// Starts a family; samples follow through the encoder that comes back.
pub(super) fn describe<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    family: &'static Family,
) -> Result<MetricEncoder<'e>, Error> {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    encoder.encode_descriptor(family.stem, family.help, family.unit.unit(), kind)
}

/// One sample of a counter or gauge.
pub(super) fn sample(
    encoder: &mut MetricEncoder<'_>,
    family: &Family,
    labels: &impl EncodeLabelSet,
    value: Value,
) -> Result<(), Error> {
    let mut encoder = encoder.encode_family(labels)?;
    if family.kind == Kind::Counter {
        encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    } else {
        encoder.encode_gauge(&value)
    }
}

/// A family with one sample and no labels.
pub(super) fn single(
    encoder: &mut DescriptorEncoder<'_>,
    family: &'static Family,
    value: impl Into<Value>,
) -> Result<(), Error> {
    sample(&mut describe(encoder, family)?, family, &Labels([]), value.into())
}

/// One histogram: `buckets` are upper bounds with the counts of each bucket alone, the last bound infinite.
pub(super) fn histogram(
    encoder: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    sum: Duration,
    buckets: &[(f64, u64)],
) -> Result<(), Error> {
    let none: Option<&HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;
    // The count is taken from the buckets: the format asks that both agree, and the kernel's own count may be one
    // event ahead of them.
    let count = buckets.iter().map(|(_, n)| n).sum();
    encoder
        .encode_family(labels)?
        .encode_histogram(sum.as_secs_f64(), count, buckets, none)
}
