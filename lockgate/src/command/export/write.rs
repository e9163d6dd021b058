//! Writes the archive: beside the file, then moved into place, so that a file of that name is whole.

use super::walk::{Selection, Source};
use crate::archive::{Writer, blob_path, index_json, write_head};
use crate::client::Registry;
use crate::exit::Failure;
use indicatif::ProgressBar;
use oci::{Digest, Hasher, Manifest};
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// How often a download that broke off goes on where it was.
const RESUMES_MAX: usize = 5;

/// A file that is not whole yet; removed unless it is [kept](Partial::keep).
pub(super) struct Partial {
    beside: PathBuf,
    wanted: PathBuf,
    is_kept: bool,
}

impl Partial {
    /// Begins a file. One of that name is never replaced.
    pub(super) fn begin(wanted: &Path) -> Result<(Self, File), Failure> {
        let text = format!("{} cannot be written", wanted.display());
        if wanted.exists() {
            let hint = "an archive is never replaced: give another name, or remove it first";
            return Err(Failure::no(format!("{text}: it is there")).hint(hint));
        }
        let Some(file_name) = wanted.file_name() else {
            return Err(Failure::usage(format!("{text}: it has no file name")));
        };
        let mut beside = file_name.to_owned();
        beside.push(".partial");
        let beside = wanted.with_file_name(beside);
        let file =
            File::create(&beside).map_err(|error| Failure::cannot_tell(text).because(&error))?;
        Ok((Self { beside, wanted: wanted.to_owned(), is_kept: false }, file))
    }

    /// Makes it last under its name.
    pub(super) fn keep(mut self, file: &File) -> Result<(), Failure> {
        let directory = self.wanted.parent().filter(|path| !path.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let kept = file
            .sync_all()
            .and_then(|()| std::fs::rename(&self.beside, &self.wanted))
            .and_then(|()| File::open(directory)?.sync_all());
        kept.map_err(|error| unwritten(&self.wanted, &error))?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_kept {
            // Half of an archive is of no use, and nobody is left to tell.
            let _ = std::fs::remove_file(&self.beside);
        }
    }
}

/// Writes all of it; the size of the archive.
pub(super) async fn write(
    registry: &Registry,
    selection: &Selection,
    to: &Path,
    bar: &ProgressBar,
) -> Result<u64, Failure> {
    let (partial, file) = Partial::begin(to)?;
    let failed = |error: &io::Error| unwritten(to, error);
    let mut tar = Writer::new(BufWriter::with_capacity(1 << 20, file));
    write_head(&mut tar, &index(selection)).map_err(|error| failed(&error))?;
    // In the order of their digests, so that the same images make the same archive.
    let mut all: Vec<&Digest> = selection.manifests.keys().chain(selection.blobs.keys()).collect();
    all.sort_unstable();
    for digest in all {
        if let Some(held) = selection.manifests.get(digest) {
            let size_bytes = held.bytes.len() as u64;
            tar.begin(&blob_path(digest), size_bytes)
                .and_then(|()| tar.write(&held.bytes))
                .map_err(|error| failed(&error))?;
            bar.inc(size_bytes);
        } else if let Some(source) = selection.blobs.get(digest) {
            tar.begin(&blob_path(digest), source.size_bytes).map_err(|error| failed(&error))?;
            let mut write = |bytes: &[u8]| tar.write(bytes).map_err(|error| failed(&error));
            blob(registry, digest, source, &mut write, bar).await?;
        }
    }
    let file = tar.finish().and_then(|out| out.into_inner().map_err(io::Error::from));
    let file = file.map_err(|error| failed(&error))?;
    let size_bytes = file.metadata().map_err(|error| failed(&error))?.len();
    partial.keep(&file)?;
    Ok(size_bytes)
}

fn index(selection: &Selection) -> String {
    index_json(selection.roots.iter(), |digest| match selection.manifests.get(digest) {
        Some(held) => {
            let parsed = Manifest::parse(&held.bytes, Some(&held.media_type)).ok();
            let artifact_type = parsed.and_then(|manifest| manifest.artifact_type);
            (held.media_type.clone(), held.bytes.len() as u64, artifact_type)
        }
        None => (oci::MediaType::OCTET_STREAM, 0, None),
    })
}

/// Copies a blob and checks it. What breaks off goes on where it was.
async fn blob(
    registry: &Registry,
    digest: &Digest,
    source: &Source,
    write: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let (mut hasher, mut done) = (Hasher::new(digest.algorithm()), 0);
    let mut broke = None;
    for _ in 0..=RESUMES_MAX {
        let mut answer = registry.blob(&source.name, digest, done).await?;
        broke = loop {
            match answer.chunk().await {
                Ok(Some(bytes)) => {
                    done += bytes.len() as u64;
                    if done > source.size_bytes {
                        return Err(wrong(digest, source, "is longer than its manifest says"));
                    }
                    hasher.update(&bytes);
                    write(&bytes)?;
                    bar.inc(bytes.len() as u64);
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if done == source.size_bytes || broke.is_none() {
            break;
        }
    }
    if done < source.size_bytes {
        let failure = wrong(digest, source, "is shorter than its manifest says");
        return Err(match broke {
            Some(error) => Failure::cannot_tell(format!("{}@{digest} breaks off", source.name))
                .because(&error.without_url()),
            None => failure,
        });
    }
    match hasher.finish() {
        found if found == *digest => Ok(()),
        found => Err(wrong(digest, source, &format!("came as {found}"))),
    }
}

fn wrong(digest: &Digest, source: &Source, what: &str) -> Failure {
    Failure::no(format!("{}@{digest} {what}", source.name))
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::cannot_tell(format!("{} cannot be written", path.display())).because(error)
}
