//! Where the running kernel keeps its fields: a reader of BTF, the kernel's own description of its types.
//!
//! **Problem.** eBPF programs here carry no relocations, and aya does not show a structure's members. **How.** BTF is
//! one blob of type records and one of names. [`Btf::parse`] notes where each record lies and what the named ones are
//! called; look-ups then follow records on demand.
//!
//! **Terms.** A *path* is `type.field.field…`; a field may lie in an unnamed structure or union within, which the
//! path does not mention, as in C.
//!
//! # Properties
//! - No bytes make it panic: what does not fit is not found, or is [`BtfError`].

mod facts;
mod read;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use facts::{Given, Resolved};
use read::{Kind, Record, Records};

/// Why a blob is not BTF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The header is not that of BTF in this machine's byte order.
    #[error("not BTF: bad header")]
    Header,
    /// A record runs past the end.
    #[error("BTF ends within type {id}")]
    CutOff {
        /// The type's number.
        id: u32,
    },
    /// A type of a kind that this reader does not know, so that the rest cannot be found.
    #[error("BTF type {id} is of the unknown kind {kind}")]
    UnknownKind {
        /// The type's number.
        id: u32,
        /// Its kind.
        kind: u32,
    },
}

/// A kernel's types.
#[derive(Debug)]
pub struct Btf<'a> {
    records: Records<'a>,
    named: HashMap<(Kind, &'a [u8]), u32>,
}

/// How deep unnamed members and type names are followed.
const DEPTH: u32 = 16;

impl<'a> Btf<'a> {
    /// Reads the records of a blob, as `/sys/kernel/btf/vmlinux` gives it.
    ///
    /// # Errors
    /// The bytes are not BTF, or of a newer form.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let records = Records::parse(bytes)?;
        let mut named = HashMap::new();
        for (id, record) in records.iter() {
            let kind = match record.kind {
                Kind::Union => Kind::Struct,
                kind @ (Kind::Struct | Kind::Typedef | Kind::Function) => kind,
                _ => continue,
            };
            let name = records.string(record.name);
            if !name.is_empty() {
                named.entry((kind, name)).or_insert(id);
            }
        }
        Ok(Self { records, named })
    }

    /// Whether the kernel has a function of that name. That it can be attached to is known only after attaching.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.named.contains_key(&(Kind::Function, name.as_bytes()))
    }

    /// The names of the types of a tracepoint's arguments, pointers as what they point to; unnamed ones are empty.
    #[must_use]
    pub fn tracepoint(&self, name: &str) -> Option<Vec<String>> {
        let typedef = *self
            .named
            .get(&(Kind::Typedef, format!("btf_trace_{name}").as_bytes()))?;
        let prototype = self.records.get(self.strip(typedef)?)?;
        if prototype.kind != Kind::Prototype {
            return None;
        }
        // The first argument is the hook's own data.
        let arguments = self.records.parameters(&prototype).skip(1);
        Some(
            arguments
                .map(|id| {
                    let name = self.strip(id).and_then(|id| self.records.get(id)).map(|r| r.name);
                    String::from_utf8_lossy(name.map_or(&[], |n| self.records.string(n))).into_owned()
                })
                .collect(),
        )
    }

    /// Byte offset of the field that a path leads to. None for a bit field too.
    #[must_use]
    pub fn offset(&self, path: &str) -> Option<u32> {
        let (bits, _) = self.field(path)?;
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// Number of elements of the array that a path leads to, over all dimensions.
    #[must_use]
    pub fn length(&self, path: &str) -> Option<u32> {
        let (_, mut id) = self.field(path)?;
        let mut elements = 1_u32;
        let mut arrays = 0;
        while let Some((element, count)) = self.strip_names(id).and_then(|id| self.records.array(id)) {
            elements = elements.checked_mul(count)?;
            id = element;
            arrays += 1;
            if arrays > DEPTH {
                return None;
            }
        }
        (arrays > 0).then_some(elements)
    }

    /// Value of the first enumerator of that name, in whichever enumeration.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<u32> {
        let wanted = self.records.find_string(name.as_bytes())?;
        self.records
            .iter()
            .filter(|(_, record)| matches!(record.kind, Kind::Enum | Kind::Enum64))
            .find_map(|(_, record)| {
                self.records
                    .enumerators(&record)
                    .find(|(name, _)| *name == wanted)
            })
            .map(|(_, value)| value)
    }

    /// Bit offset and type of the field that a path leads to.
    fn field(&self, path: &str) -> Option<(u32, u32)> {
        let mut parts = path.split('.');
        let mut at = *self.named.get(&(Kind::Struct, parts.next()?.as_bytes()))?;
        let mut bits = 0_u32;
        for part in parts {
            let (offset, id) = self.member(at, part.as_bytes(), DEPTH)?;
            bits = bits.checked_add(offset)?;
            at = id;
        }
        Some((bits, at))
    }

    /// Bit offset and type of a member, also one of an unnamed structure within.
    fn member(&self, id: u32, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        let depth = depth.checked_sub(1)?;
        let record = self.records.get(self.strip_names(id)?)?;
        let members = || self.records.members(&record);
        if let Some(member) = members().find(|m| self.records.string(m.name) == name) {
            return Some((member.bits, member.id));
        }
        members()
            .filter(|m| self.records.string(m.name).is_empty())
            .find_map(|m| {
                let (bits, id) = self.member(m.id, name, depth)?;
                Some((m.bits.checked_add(bits)?, id))
            })
    }

    /// The type behind names and qualifiers.
    fn strip_names(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEPTH {
            let record = self.records.get(id)?;
            match record.kind {
                Kind::Typedef | Kind::Qualifier => id = record.size_or_type,
                _ => return Some(id),
            }
        }
        None
    }

    /// The type behind names, qualifiers and pointers.
    fn strip(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEPTH {
            id = self.strip_names(id)?;
            match self.records.get(id)? {
                Record {
                    kind: Kind::Pointer,
                    size_or_type,
                    ..
                } => id = size_or_type,
                _ => return Some(id),
            }
        }
        None
    }
}
