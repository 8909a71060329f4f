//! An OCI image layout in a tar file: blobs named by their digests, and an index that names the image.
//!
//! Source: OCI Image Format Specification 1.1, `image-layout.md`, `manifest.md`, `config.md` and `layer.md`.

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::layer::{self, Entry};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The moment that stands for none.
const NO_TIME: &str = "1970-01-01T00:00:00Z";

/// What goes into the archive.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// Name and tag.
    pub(super) name: String,
    pub(super) version: &'static str,
    /// What runs, as a path in the layer.
    pub(super) entrypoint: String,
    /// A tar file.
    pub(super) layer: Vec<u8>,
}

/// The archive.
#[derive(Debug, Clone)]
pub(super) struct Archive {
    pub(super) bytes: Vec<u8>,
    /// The manifest's digest, by which the image can be named.
    pub(super) manifest: String,
}

/// What the layout names by its digest.
struct Blob {
    media_type: &'static str,
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, content: Vec<u8>) -> Self {
        Self {
            media_type,
            digest: sha256(&content),
            content,
        }
    }

    fn json(media_type: &'static str, value: &Value) -> Result<Self> {
        Ok(Self::new(media_type, serde_json::to_vec(value)?))
    }

    fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": format!("sha256:{}", self.digest),
            "size": self.content.len(),
        })
    }

    fn entry(self) -> Entry {
        Entry::file(format!("blobs/sha256/{}", self.digest), self.content)
    }
}

/// Makes the archive.
pub(super) fn write(image: &Image) -> Result<Archive> {
    let layer = Blob::new(LAYER, compress(&image.layer)?);
    let config = Blob::json(
        CONFIG,
        &json!({
            "created": NO_TIME,
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": [image.entrypoint],
                "Cmd": ["run"],
                "WorkingDir": "/",
                "Labels": {
                    "org.opencontainers.image.title": "plimsoll",
                    "org.opencontainers.image.version": image.version,
                    "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
                },
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&image.layer))]},
            "history": [{"created": NO_TIME, "created_by": "cargo xtask image"}],
        }),
    )?;
    let manifest = Blob::json(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        }),
    )?;
    let mut named = manifest.descriptor();
    named["platform"] = json!({"architecture": "amd64", "os": "linux"});
    // containerd goes by its own name for it, others by the specification's.
    let tag = image
        .name
        .rsplit_once(':')
        .map_or(image.name.as_str(), |(_, tag)| tag);
    named["annotations"] = json!({
        "io.containerd.image.name": image.name,
        "org.opencontainers.image.ref.name": tag,
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]});
    let digest = manifest.digest.clone();
    let bytes = layer::pack(vec![
        Entry::directory("blobs"),
        Entry::directory("blobs/sha256"),
        config.entry(),
        layer.entry(),
        manifest.entry(),
        Entry::file("index.json", serde_json::to_vec(&index)?),
        Entry::file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ])?;
    Ok(Archive {
        bytes,
        manifest: digest,
    })
}

/// gzip whose header holds neither a time nor a name.
fn compress(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn image() -> Image {
        let entries = vec![
            Entry::directory("licenses"),
            Entry::file("licenses/empty", Vec::new()),
            Entry::program("plimsoll", b"program".to_vec()),
        ];
        Image {
            name: "plimsoll:1.2.3".to_owned(),
            version: "1.2.3",
            entrypoint: "/plimsoll".to_owned(),
            layer: layer::pack(entries).unwrap(),
        }
    }

    fn files(tar: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(tar).entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 0));
            let (path, mode) = (
                entry.path().unwrap().display().to_string(),
                header.mode().unwrap(),
            );
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.insert(path, (mode, content));
        }
        found
    }

    /// The content behind a descriptor, whose size and digest are checked.
    fn blob<'a>(files: &'a BTreeMap<String, (u32, Vec<u8>)>, descriptor: &Value) -> &'a [u8] {
        let digest = descriptor["digest"]
            .as_str()
            .unwrap()
            .strip_prefix("sha256:")
            .unwrap();
        let content = &files[&format!("blobs/sha256/{digest}")].1;
        assert_eq!(sha256(content), digest);
        assert_eq!(descriptor["size"], content.len());
        content
    }

    #[test]
    fn every_descriptor_leads_to_its_blob() {
        let archive = write(&image()).unwrap();
        let files = files(&archive.bytes);
        let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let index = read(&files["index.json"].1);
        let named = &index["manifests"][0];
        assert_eq!(named["digest"], format!("sha256:{}", archive.manifest));
        assert_eq!(named["annotations"]["org.opencontainers.image.ref.name"], "1.2.3");
        let manifest = read(blob(&files, named));
        let config = read(blob(&files, &manifest["config"]));
        assert_eq!(config["config"]["Entrypoint"][0], "/plimsoll");
        let mut layer = Vec::new();
        GzDecoder::new(blob(&files, &manifest["layers"][0]))
            .read_to_end(&mut layer)
            .unwrap();
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            format!("sha256:{}", sha256(&layer))
        );
    }

    #[test]
    fn the_layer_holds_what_was_packed() {
        let packed = files(&image().layer);
        let names: Vec<_> = packed.keys().map(String::as_str).collect();
        assert_eq!(names, ["licenses/", "licenses/empty", "plimsoll"]);
        assert_eq!(packed["plimsoll"], (0o755, b"program".to_vec()));
    }

    #[test]
    fn the_same_image_is_the_same_bytes() {
        assert_eq!(write(&image()).unwrap().bytes, write(&image()).unwrap().bytes);
    }
}
