//! What is known of an upload in parts, kept in a file until it is done, so that the next process
//! sends only what is missing.
//!
//! One JSON value a line: the upload, then each part as it is finished. It is not synced: what a
//! loss of power takes is sent again, and a line that is cut off is no line.

use crate::error::Error;
use crate::layout;
use object_store::MultipartId;
use object_store::multipart::PartId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A file longer than this was not written by us: 10,000 parts with ids of 1 KiB.
const FILE_MAX_BYTES: u64 = 12 << 20;

/// An upload that a place knows under an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Upload {
    /// The place, as it is printed.
    pub(super) place: String,
    pub(super) id: MultipartId,
    pub(super) size_bytes: u64,
    pub(super) part_bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    part: usize,
    id: String,
}

/// An upload and the parts of it that are finished.
#[derive(Debug)]
pub(super) struct SentParts {
    pub(super) upload: Upload,
    parts: BTreeMap<usize, String>,
    path: PathBuf,
    file: File,
}

impl SentParts {
    /// What a file tells; `None` if there is none or it makes no sense.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        let file = OpenOptions::new().read(true).append(true).open(path).ok()?;
        (&file).take(FILE_MAX_BYTES).read_to_string(&mut text).ok()?;
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let upload = serde_json::from_str(lines.next()?).ok()?;
        let parts = lines
            .filter_map(|line| serde_json::from_str::<Line>(line).ok())
            .map(|line| (line.part, line.id))
            .collect();
        let mut found = Self { upload, parts, path: path.to_owned(), file };
        // What comes next must not go on in a line that was cut off.
        if !text.ends_with('\n') {
            found.file.write_all(b"\n").ok()?;
        }
        Some(found)
    }

    /// Begins a file, in place of what was there.
    pub(super) fn begin(path: &Path, upload: Upload) -> Result<Self, Error> {
        layout::unlink(path)?;
        let file = layout::create_new(path).map_err(|error| Error::io("create", path, error))?;
        let mut begun = Self { upload, parts: BTreeMap::new(), path: path.to_owned(), file };
        let line = serde_json::to_string(&begun.upload);
        begun.append(line)?;
        Ok(begun)
    }

    pub(super) fn has(&self, part: usize) -> bool {
        self.parts.contains_key(&part)
    }

    pub(super) fn finished(&mut self, part: usize, id: PartId) -> Result<(), Error> {
        let line = Line { part, id: id.content_id };
        self.append(serde_json::to_string(&line))?;
        self.parts.insert(line.part, line.id);
        Ok(())
    }

    fn append(&mut self, line: serde_json::Result<String>) -> Result<(), Error> {
        let written = line.map_err(Into::into).and_then(|mut line| {
            line.push('\n');
            self.file.write_all(line.as_bytes())
        });
        written.map_err(|error| Error::io("write", &self.path, error))
    }

    /// The ids of parts `0..count`; all of them are finished.
    pub(super) fn ids(&self, count: usize) -> Vec<PartId> {
        let ids = self.parts.range(..count);
        ids.map(|(_, id)| PartId { content_id: id.clone() }).collect()
    }

    /// The upload is over, one way or the other.
    pub(super) fn remove(self) -> Result<(), Error> {
        layout::unlink(&self.path).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_finished_is_known_again_and_a_cut_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let upload =
            Upload { place: "s3://b".into(), id: "u".into(), size_bytes: 40, part_bytes: 16 };
        let part = |id: &str| PartId { content_id: id.into() };
        let mut sent = SentParts::begin(&path, upload.clone()).unwrap();
        sent.finished(2, part("c")).unwrap();
        sent.finished(0, part("a")).unwrap();
        drop(sent);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"part\":1,\"id\":\"b").unwrap();
        let mut sent = SentParts::read(&path).unwrap();
        assert_eq!(sent.upload, upload);
        assert!(sent.has(0) && !sent.has(1) && sent.has(2));
        sent.finished(1, part("b")).unwrap();
        let sent = SentParts::read(&path).unwrap();
        let ids: Vec<String> = sent.ids(3).into_iter().map(|id| id.content_id).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        sent.remove().unwrap();
        assert!(SentParts::read(&path).is_none());
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(SentParts::read(&path).is_none());
    }
}
