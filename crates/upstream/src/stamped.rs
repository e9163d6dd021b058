//! Files that are read again when they change: passwords, tokens, certificates. Their content is
//! held as a secret, whatever it is.

use crate::failure::Trouble;
use parking_lot::Mutex;
use secrecy::SecretSlice;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// A change is noticed after at most this long.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A file and what it held when it last changed.
#[derive(Debug)]
pub(crate) struct StampedFile {
    path: PathBuf,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    checked: Option<Instant>,
    stamp: Option<Stamp>,
    held: Option<Held>,
    problem: Option<String>,
    version: u64,
}

/// What changes when a file does. The inode tells apart files that were swapped by a link, as
/// Kubernetes does with mounted Secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size_bytes: u64,
    inode: u64,
}

/// The content of a file, and a number that differs whenever the content may.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) content: Arc<SecretSlice<u8>>,
    pub(crate) version: u64,
}

impl StampedFile {
    pub(crate) fn new(path: &Path, bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), bytes_max, state: Mutex::default() })
    }

    /// The content. A file that cannot be read any more keeps the content it had; the trouble is
    /// logged. The error is one line that names the file.
    pub(crate) async fn read(self: &Arc<Self>) -> Result<Held, Trouble> {
        {
            let state = self.state.lock();
            if state.checked.is_some_and(|at| at.elapsed() < CHECK_INTERVAL) {
                return state.answer();
            }
        }
        let file = self.clone();
        let checked = tokio::task::spawn_blocking(move || file.check()).await;
        checked.unwrap_or_else(|_| {
            Err(Trouble::Inner(format!("reading {} was aborted", self.path.display())))
        })
    }

    /// Looks at the file, and reads it if it changed.
    fn check(&self) -> Result<Held, Trouble> {
        let before = self.state.lock().stamp;
        let read = self.read_if_changed(before);
        let mut state = self.state.lock();
        state.checked = Some(Instant::now());
        match read {
            Ok(None) => state.problem = None,
            Ok(Some((stamp, content))) => {
                state.version += 1;
                state.stamp = Some(stamp);
                state.problem = None;
                let held = Held { content: Arc::new(content), version: state.version };
                state.held = Some(held);
            }
            Err(error) => {
                let problem = format!("cannot read {}: {error}", self.path.display());
                if state.problem.as_ref() != Some(&problem) {
                    let keeps_last = state.held.is_some();
                    tracing::warn!(problem, keeps_last, "a file of an upstream cannot be read");
                }
                state.problem = Some(problem);
            }
        }
        state.answer()
    }

    fn read_if_changed(
        &self,
        before: Option<Stamp>,
    ) -> std::io::Result<Option<(Stamp, SecretSlice<u8>)>> {
        // Looked at before it is opened: opening a pipe would wait for its other end.
        let metadata = std::fs::metadata(&self.path)?;
        let stamp = Stamp {
            modified: metadata.modified().ok(),
            size_bytes: metadata.len(),
            inode: metadata.ino(),
        };
        if !metadata.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        if before == Some(stamp) {
            return Ok(None);
        }
        let mut content = Vec::new();
        std::fs::File::open(&self.path)?.take(self.bytes_max + 1).read_to_end(&mut content)?;
        if content.len() as u64 > self.bytes_max {
            return Err(std::io::Error::other(format!("larger than {} bytes", self.bytes_max)));
        }
        Ok(Some((stamp, SecretSlice::from(content))))
    }
}

impl State {
    fn answer(&self) -> Result<Held, Trouble> {
        match (&self.held, &self.problem) {
            (Some(held), _) => Ok(held.clone()),
            (None, Some(problem)) => Err(Trouble::Inner(problem.clone())),
            (None, None) => Err(Trouble::Told("not read yet".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn text(held: &Held) -> &[u8] {
        held.content.expose_secret()
    }

    #[tokio::test]
    async fn a_change_is_noticed_and_a_vanished_file_keeps_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let file = StampedFile::new(&path, 10);
        assert!(file.read().await.unwrap_err().detail().contains("secret"));
        std::fs::write(&path, "one").unwrap();
        let first = file.check().unwrap();
        std::fs::write(&path, "three").unwrap();
        let second = file.check().unwrap();
        assert_eq!((text(&first), text(&second)), (&b"one"[..], &b"three"[..]));
        assert_ne!(first.version, second.version);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text(&file.check().unwrap()), b"three");
        assert_eq!(file.read().await.unwrap().version, second.version);
    }

    #[tokio::test]
    async fn what_is_too_large_or_no_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "x".repeat(11)).unwrap();
        let large = StampedFile::new(&path, 10).read().await.unwrap_err();
        assert!(large.detail().contains("larger"));
        assert!(StampedFile::new(directory.path(), 10).read().await.is_err());
    }
}
