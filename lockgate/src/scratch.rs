//! Directories for planes that live as long as one question.

use crate::exit::Failure;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A directory that goes with its value.
pub(crate) struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left of it is in the place for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Scratch {
    /// A new one, in the place for temporary files. `of`: what for.
    pub(crate) fn new(of: &str) -> Result<Self, Failure> {
        let name = format!("lockgate-{of}-{}", policy::DecisionId::generate());
        let path = std::env::temp_dir().join(name);
        // Keys and manifests come to lie there: nobody else looks into it.
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| {
            Failure::cannot_tell(format!("{} cannot be made", path.display())).because(&error)
        })?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}
