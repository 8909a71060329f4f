//! A file system layer: a tar file whose entries have no time and no owner but root.

use anyhow::Result;
use tar::{Builder, EntryType, Header};

/// One thing in the layer.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    path: String,
    mode: u32,
    content: Option<Vec<u8>>,
}

impl Entry {
    pub(super) fn directory(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            mode: 0o755,
            content: None,
        }
    }

    pub(super) fn file(path: impl Into<String>, content: Vec<u8>) -> Self {
        Self {
            path: path.into(),
            mode: 0o644,
            content: Some(content),
        }
    }

    pub(super) fn program(path: impl Into<String>, content: Vec<u8>) -> Self {
        Self {
            mode: 0o755,
            ..Self::file(path, content)
        }
    }
}

/// Packs the entries in their order, which has a directory before what is in it.
pub(super) fn pack(entries: Vec<Entry>) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for entry in entries {
        // A header of one's own: one made from a file's metadata has the file's time and owner.
        let mut header = Header::new_ustar();
        header.set_mode(entry.mode);
        let (kind, path) = match entry.content {
            Some(_) => (EntryType::Regular, entry.path),
            None => (EntryType::Directory, format!("{}/", entry.path)),
        };
        header.set_entry_type(kind);
        let content = entry.content.unwrap_or_default();
        header.set_size(u64::try_from(content.len())?);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, content.as_slice())?;
    }
    Ok(tar.into_inner()?)
}
