//! `oci-layout`, `index.json` and the blobs of an archive.

use super::tar::{self, Place};
use super::{IMAGE_NAME, NAME, REF_NAME, Writer, blob_path};
use crate::exit::Failure;
use crate::output::clean;
use oci::{Descriptor, Digest, Hasher, Manifest, MediaType, Name, Reference, Tag};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// The largest `oci-layout`.
const LAYOUT_BYTES_MAX: u64 = 4 << 10;
/// The largest `index.json`.
const INDEX_BYTES_MAX: u64 = 64 << 20;

/// What `index.json` names: an image, or something that refers to one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Root {
    /// The name it was exported from; archives of other tools may have none.
    pub(crate) name: Option<Name>,
    /// Its tag, if it has one.
    pub(crate) tag: Option<Tag>,
    /// What it is.
    pub(crate) digest: Digest,
}

/// The text of `index.json`. `describe` gives a root's media type, size and artifact type.
pub(crate) fn index_json<'r>(
    roots: impl Iterator<Item = &'r Root>,
    describe: impl Fn(&Digest) -> (MediaType, u64, Option<String>),
) -> String {
    let entries: Vec<Value> = roots
        .map(|root| {
            let (media_type, size, artifact_type) = describe(&root.digest);
            let mut annotations = BTreeMap::new();
            if let Some(name) = &root.name {
                annotations.insert(NAME, name.to_string());
            }
            if let (Some(name), Some(tag)) = (&root.name, &root.tag) {
                annotations.insert(REF_NAME, tag.to_string());
                annotations.insert(IMAGE_NAME, format!("{name}:{tag}"));
            }
            let mut entry = json!({
                "mediaType": media_type.as_str(),
                "digest": root.digest,
                "size": size,
                "annotations": annotations,
            });
            if let Some(artifact_type) = artifact_type {
                entry["artifactType"] = json!(artifact_type);
            }
            entry
        })
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX.as_str(),
        "manifests": entries,
    })
    .to_string()
}

/// Begins an archive with `oci-layout` and `index.json`.
pub(crate) fn write_head<W: Write>(tar: &mut Writer<W>, index: &str) -> io::Result<()> {
    for (path, text) in [("oci-layout", LAYOUT), ("index.json", index)] {
        tar.begin(path, text.len() as u64)?;
        tar.write(text.as_bytes())?;
    }
    Ok(())
}

/// An archive that is read. Nothing in it is believed: whoever reads bytes checks their digest.
pub(crate) struct Archive {
    path: PathBuf,
    file: File,
    files: BTreeMap<String, Place>,
}

impl Archive {
    /// Opens an archive and finds what is in it.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: &io::Error| unreadable(path, error);
        let mut file = File::open(path).map_err(|error| cannot(&error))?;
        if !file.metadata().map_err(|error| cannot(&error))?.is_file() {
            let text = format!("{} is no regular file", path.display());
            return Err(Failure::usage(text).hint("an archive is read in any order, so no pipe"));
        }
        let files = tar::scan(&mut file).map_err(|error| cannot(&error))?;
        let mut archive = Self { path: path.to_owned(), file, files };
        archive.check_layout()?;
        Ok(archive)
    }

    fn check_layout(&mut self) -> Result<(), Failure> {
        let text = self.text("oci-layout", LAYOUT_BYTES_MAX)?;
        let version = serde_json::from_slice::<Value>(&text).ok();
        let version = version.as_ref().and_then(|it| it["imageLayoutVersion"].as_str());
        match version {
            Some(version) if version.starts_with("1.") => Ok(()),
            _ => Err(self.bad("its oci-layout names no version 1 of the image layout")),
        }
    }

    /// What `index.json` names.
    pub(crate) fn roots(&mut self) -> Result<Vec<Root>, Failure> {
        let text = self.text("index.json", INDEX_BYTES_MAX)?;
        let index = Manifest::parse(&text, Some(&MediaType::OCI_INDEX))
            .map_err(|error| self.bad("its index.json cannot be read").because(&error))?;
        Ok(index.manifests.iter().map(root).collect())
    }

    /// Where a blob lies; `None` if the archive lacks it.
    pub(crate) fn place(&self, digest: &Digest) -> Option<Place> {
        self.files.get(&blob_path(digest)).copied()
    }

    /// The file itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A manifest, its bytes checked; `None` if the archive lacks it.
    pub(crate) fn manifest(
        &mut self,
        digest: &Digest,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let Some(place) = self.place(digest) else { return Ok(None) };
        if place.size_bytes > bytes_max {
            return Err(self.bad(&format!("{digest} is too large to be a manifest")));
        }
        let bytes = self.read(place)?;
        let found = Digest::of(digest.algorithm(), &bytes);
        if found != *digest {
            return Err(self.tampered(digest, &found));
        }
        Ok(Some(bytes))
    }

    /// Reads a blob and checks it.
    pub(crate) fn verify(
        &mut self,
        digest: &Digest,
        mut told: impl FnMut(u64),
    ) -> Result<(), Failure> {
        let Some(place) = self.place(digest) else {
            return Err(self.bad(&format!("it lacks {digest}")));
        };
        let cannot = |error: &io::Error| unreadable(&self.path, error);
        self.file.seek(SeekFrom::Start(place.offset)).map_err(|error| cannot(&error))?;
        let mut part = (&self.file).take(place.size_bytes);
        let (mut hasher, mut buffer) = (Hasher::new(digest.algorithm()), vec![0; 256 << 10]);
        loop {
            match part.read(&mut buffer).map_err(|error| cannot(&error))? {
                0 => break,
                count => {
                    hasher.update(&buffer[..count]);
                    told(count as u64);
                }
            }
        }
        match hasher.finish() {
            found if found == *digest => Ok(()),
            found => Err(self.tampered(digest, &found)),
        }
    }

    /// That bytes of the archive are not what they are named.
    pub(crate) fn tampered(&self, digest: &Digest, found: &Digest) -> Failure {
        self.bad(&format!("what stands under {digest} hashes to {found}"))
            .hint("it was damaged or tampered with: get it again from where it was made")
    }

    /// Something is wrong with the archive.
    pub(crate) fn bad(&self, text: &str) -> Failure {
        Failure::no(format!("{}: {text}", self.path.display()))
    }

    fn text(&mut self, path: &str, bytes_max: u64) -> Result<Vec<u8>, Failure> {
        match self.files.get(path).copied() {
            Some(place) if place.size_bytes <= bytes_max => self.read(place),
            Some(_) => Err(self.bad(&format!("its {path} is too large"))),
            None => Err(self
                .bad(&format!("it is no OCI image layout: it has no {path}"))
                .hint("`lockgate export` makes one, and so does `skopeo copy … oci-archive:FILE`")),
        }
    }

    fn read(&mut self, place: Place) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let read = self
            .file
            .seek(SeekFrom::Start(place.offset))
            .and_then(|_| (&self.file).take(place.size_bytes).read_to_end(&mut bytes));
        read.map_err(|error| unreadable(&self.path, &error))?;
        Ok(bytes)
    }
}

/// What is wrong with the bytes is a no; what is wrong with the disk leaves the question open.
fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let text = format!("{} cannot be read", path.display());
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::NotFound => Failure::no(clean(&text)),
        _ => Failure::cannot_tell(clean(&text)),
    }
    .because(error)
}

/// An entry of ours, or of a tool that writes the whole reference or a tag only.
fn root(entry: &Descriptor) -> Root {
    let annotation = |key: &str| entry.annotations.get(key).map(String::as_str);
    let whole = annotation(IMAGE_NAME).or(annotation(REF_NAME)).and_then(parts);
    let name = annotation(NAME).and_then(|text| Name::parse(text).ok());
    let tag = annotation(REF_NAME).and_then(|text| Tag::parse(text).ok());
    let (name, tag) = match whole {
        Some((whole_name, whole_tag)) => (name.or(Some(whole_name)), tag.or(whole_tag)),
        None => (name, tag),
    };
    Root { name, tag, digest: entry.digest }
}

/// `name:tag` or `name@digest`; a bare word is a tag to everybody who writes it here.
fn parts(text: &str) -> Option<(Name, Option<Tag>)> {
    if let Some((name, digest)) = text.split_once('@') {
        Reference::parse(digest).ok()?;
        return Some((Name::parse(name).ok()?, None));
    }
    let (name, tag) = text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
    Some((Name::parse(name).ok()?, Some(Tag::parse(tag).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(annotations: &[(&str, &str)]) -> Root {
        let annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        root(&Descriptor {
            media_type: MediaType::OCI_MANIFEST,
            digest: Digest::sha256(b"x"),
            size_bytes: 1,
            platform: None,
            artifact_type: None,
            annotations: annotations.collect(),
            is_foreign: false,
        })
    }

    fn read(root: &Root) -> (Option<&str>, Option<&str>) {
        (root.name.as_ref().map(Name::as_str), root.tag.as_ref().map(Tag::as_str))
    }

    #[test]
    fn entries_of_several_tools_are_understood() {
        let ours = [(NAME, "a/b"), (REF_NAME, "1"), (IMAGE_NAME, "a/b:1")];
        assert_eq!(read(&entry(&ours)), (Some("a/b"), Some("1")));
        assert_eq!(read(&entry(&[(NAME, "a/b")])), (Some("a/b"), None));
        assert_eq!(read(&entry(&[(REF_NAME, "1")])), (None, Some("1")), "skopeo");
        assert_eq!(read(&entry(&[(REF_NAME, "a.b/c:1")])), (Some("a.b/c"), Some("1")), "docker");
        let containerd = [(IMAGE_NAME, "a.b/c:1"), (REF_NAME, "1")];
        assert_eq!(read(&entry(&containerd)), (Some("a.b/c"), Some("1")));
        assert_eq!(read(&entry(&[(NAME, "Not a name"), (REF_NAME, "-")])), (None, None));
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let digest = Digest::sha256(b"x");
        let name = Name::parse("team/app").ok();
        let roots = [
            Root { name: name.clone(), tag: Tag::parse("1").ok(), digest },
            Root { name, tag: None, digest },
        ];
        let text = index_json(roots.iter(), |_| (MediaType::OCI_INDEX, 7, Some("x/y".to_owned())));
        let index = Manifest::parse(text.as_bytes(), None).unwrap();
        assert_eq!(index.manifests.iter().map(root).collect::<Vec<_>>(), roots);
        assert_eq!(index.manifests[0].size_bytes, 7);
        assert_eq!(index.manifests[0].annotations[IMAGE_NAME], "team/app:1");
        assert_eq!(index.manifests[1].artifact_type.as_deref(), Some("x/y"));
    }
}
