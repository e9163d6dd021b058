//! What the upstream said about a download, kept beside its part so that a resumed transfer can
//! be told from a changed one.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A file longer than this was not written by us.
const FILE_MAX_BYTES: u64 = 64 << 10;

/// The identity of what is being downloaded, in the upstream's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validators {
    /// Length of the whole, if the upstream told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// The entity tag (RFC 9110 §8.8.3), quotes included, if the upstream gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

impl Validators {
    /// What a file says; `None` if there is none or it makes no sense (it is written without
    /// fsync, so a crash may leave it empty). Without it the digest alone decides.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let mut text = Vec::new();
        let file = File::open(path).ok()?;
        file.take(FILE_MAX_BYTES + 1).read_to_end(&mut text).ok()?;
        if text.len() as u64 > FILE_MAX_BYTES {
            return None;
        }
        serde_json::from_slice(&text).ok()
    }

    /// The file's text; `None` if it could not be read back.
    pub(crate) fn text(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok().filter(|text| text.len() as u64 <= FILE_MAX_BYTES)
    }
}
