//! Records as lines: a checksum, a space, one JSON value, a line end.
//!
//! **How.** The checksum is the CRC-32 of the JSON's bytes, eight hexadecimal digits. JSON as it is written here has no line
//! end inside, so that a damaged record ends where the next one begins. What follows the last line end is a *torn tail*: a
//! record whose writer was stopped.
//!
//! # Properties
//! - What is read was written: no cut and no flipped byte makes a record that was not there.
//! - A cut at any byte takes nothing but the record that it goes through; a flipped byte at most that one and the next.

/// Digits of the checksum and the space behind them.
const HEAD: usize = 9;

/// What bytes hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decoded<'b> {
    /// The JSON of the whole records, in order.
    pub records: Vec<&'b [u8]>,
    /// How many lines are none.
    pub damaged: u64,
    /// How many bytes are whole lines; what is behind them is a torn tail.
    pub whole: usize,
}

/// Appends a record. `json` must have no line end in it, as is so of what `serde_json` writes on one line.
pub fn encode(json: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(format!("{:08x} ", crc32fast::hash(json)).as_bytes());
    into.extend_from_slice(json);
    into.push(b'\n');
}

/// Reads records.
#[must_use]
pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    let mut decoded = Decoded::default();
    while let Some(length) = bytes[decoded.whole..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[decoded.whole..decoded.whole + length];
        decoded.whole += length + 1;
        match record(line) {
            Some(json) => decoded.records.push(json),
            None => decoded.damaged += 1,
        }
    }
    decoded
}

fn record(line: &[u8]) -> Option<&[u8]> {
    let (head, json) = line.split_at_checked(HEAD)?;
    let digits = std::str::from_utf8(head).ok()?.strip_suffix(' ')?;
    // A plus sign, which the standard library takes, was never written; nor were capitals.
    let written = digits
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let sum = u32::from_str_radix(digits, 16).ok().filter(|_| written)?;
    (crc32fast::hash(json) == sum).then_some(json)
}
