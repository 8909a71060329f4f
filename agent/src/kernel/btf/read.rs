//! The records of a BTF blob (`include/uapi/linux/btf.h` of the kernel).

use super::BtfError;

/// Kinds of types that look-ups tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Pointer,
    Array,
    Struct,
    Union,
    Enum,
    Enum64,
    Typedef,
    /// `const`, `volatile`, `restrict`, type tags.
    Qualifier,
    Function,
    Prototype,
    Other,
}

/// The common part of a type's record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) kind: Kind,
    /// Offset of the name among the strings.
    pub(super) name: u32,
    /// Of a pointer, name or qualifier: the type behind. Of others: their size.
    pub(super) size_or_type: u32,
    /// Members, enumerators or parameters.
    count: u32,
    /// Whether member offsets carry a bit field's size too.
    packed_offsets: bool,
    /// Where what follows the common part begins.
    body: usize,
}

/// One member of a structure or union.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) name: u32,
    pub(super) id: u32,
    /// Its offset in bits.
    pub(super) bits: u32,
}

/// All records of a blob.
#[derive(Debug)]
pub(super) struct Records<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type's record begins, type 1 first.
    starts: Vec<u32>,
}

const MAGIC: u16 = 0xeb9f;
/// Bytes of a record's common part.
const COMMON: usize = 12;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn section(bytes: &[u8], header: u32, offset: u32, length: u32) -> Option<&[u8]> {
    let start = (header as usize).checked_add(offset as usize)?;
    bytes.get(start..start.checked_add(length as usize)?)
}

impl<'a> Records<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let header = |at| word(bytes, at).ok_or(BtfError::Header);
        if bytes.get(..2) != Some(&MAGIC.to_ne_bytes()) {
            return Err(BtfError::Header);
        }
        let length = header(4)?;
        let types = section(bytes, length, header(8)?, header(12)?).ok_or(BtfError::Header)?;
        let strings = section(bytes, length, header(16)?, header(20)?).ok_or(BtfError::Header)?;
        let mut records = Self {
            types,
            strings,
            starts: Vec::with_capacity(types.len() / 32),
        };
        let mut at = 0;
        let mut id = 0;
        while at < types.len() {
            id += 1;
            let (record, kind) = records.record(at).ok_or(BtfError::CutOff { id })?;
            let body = body_bytes(kind, record.count).ok_or(BtfError::UnknownKind { id, kind })?;
            records
                .starts
                .push(u32::try_from(at).map_err(|_| BtfError::Header)?);
            at = record.body + body;
            if at > types.len() {
                return Err(BtfError::CutOff { id });
            }
        }
        Ok(records)
    }

    /// The record at a position, and its kind as a number.
    fn record(&self, at: usize) -> Option<(Record, u32)> {
        let info = word(self.types, at + 4)?;
        let number = info >> 24 & 0x1f;
        let kind = match number {
            2 => Kind::Pointer,
            3 => Kind::Array,
            4 => Kind::Struct,
            5 => Kind::Union,
            6 => Kind::Enum,
            8 => Kind::Typedef,
            9..=11 | 18 => Kind::Qualifier,
            12 => Kind::Function,
            13 => Kind::Prototype,
            19 => Kind::Enum64,
            _ => Kind::Other,
        };
        let record = Record {
            kind,
            name: word(self.types, at)?,
            size_or_type: word(self.types, at + 8)?,
            count: info & 0xffff,
            packed_offsets: info >> 31 == 1,
            body: at + COMMON,
        };
        Some((record, number))
    }

    pub(super) fn get(&self, id: u32) -> Option<Record> {
        let start = *self.starts.get(id.checked_sub(1)? as usize)?;
        Some(self.record(start as usize)?.0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Record)> {
        self.starts
            .iter()
            .zip(1..)
            .filter_map(|(start, id)| Some((id, self.record(*start as usize)?.0)))
    }

    /// A name; empty for none.
    pub(super) fn string(&self, offset: u32) -> &'a [u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The offset of a whole name among the strings, each of which is there once.
    pub(super) fn find_string(&self, name: &[u8]) -> Option<u32> {
        let mut offset = 0;
        for string in self.strings.split(|byte| *byte == 0) {
            if string == name {
                return u32::try_from(offset).ok();
            }
            offset += string.len() + 1;
        }
        None
    }

    pub(super) fn members(&self, record: &Record) -> impl Iterator<Item = Member> {
        let mask = if record.packed_offsets {
            0x00ff_ffff
        } else {
            u32::MAX
        };
        let has_members = matches!(record.kind, Kind::Struct | Kind::Union);
        self.bodies(record, 12, has_members).filter_map(move |at| {
            Some(Member {
                name: word(self.types, at)?,
                id: word(self.types, at + 4)?,
                bits: word(self.types, at + 8)? & mask,
            })
        })
    }

    /// Names and values, a 64-bit value by its low half.
    pub(super) fn enumerators(&self, record: &Record) -> impl Iterator<Item = (u32, u32)> {
        let (size, has) = match record.kind {
            Kind::Enum => (8, true),
            Kind::Enum64 => (12, true),
            _ => (1, false),
        };
        self.bodies(record, size, has)
            .filter_map(|at| Some((word(self.types, at)?, word(self.types, at + 4)?)))
    }

    /// The types of a prototype's parameters.
    pub(super) fn parameters(&self, record: &Record) -> impl Iterator<Item = u32> {
        self.bodies(record, 8, record.kind == Kind::Prototype)
            .filter_map(|at| word(self.types, at + 4))
    }

    /// Element type and number of elements of an array.
    pub(super) fn array(&self, id: u32) -> Option<(u32, u32)> {
        let record = self.get(id).filter(|record| record.kind == Kind::Array)?;
        Some((word(self.types, record.body)?, word(self.types, record.body + 8)?))
    }

    fn bodies(&self, record: &Record, size: usize, has: bool) -> impl Iterator<Item = usize> + use<> {
        let (count, body) = (if has { record.count as usize } else { 0 }, record.body);
        (0..count).map(move |n| body + n * size)
    }
}

/// Bytes that follow the common part of a record of this kind.
fn body_bytes(kind: u32, count: u32) -> Option<usize> {
    let count = count as usize;
    Some(match kind {
        2 | 7..=12 | 16 | 18 => 0,
        1 | 14 | 17 => 4,
        3 => 12,
        4 | 5 | 15 | 19 => count * 12,
        6 | 13 => count * 8,
        _ => return None,
    })
}
