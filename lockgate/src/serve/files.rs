//! The files of resources: reading them, and telling cheaply whether they changed.

use resources::{Place, Problem, Problems, Set, effective};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Entries looked at; a directory with more is read too seldom rather than looked at for ever.
const ENTRIES_MAX: usize = 50_000;
/// As deep as resources are read.
const DEPTH_MAX: usize = 32;

/// Where resources are written, if anywhere.
#[derive(Clone, Debug)]
pub(crate) struct ResourceFiles {
    path: Option<PathBuf>,
}

impl ResourceFiles {
    /// A directory or a file; without one, the built-in resources alone.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// The directory or file.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Where they come from, in words.
    pub(crate) fn source(&self) -> String {
        match &self.path {
            Some(path) if path.is_file() => format!("file {}", path.display()),
            Some(path) => format!("directory {}", path.display()),
            None => "built-in".to_owned(),
        }
    }

    /// Reads them and puts them over the built-in ones.
    pub(crate) async fn read(&self) -> Result<Set, Problems> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || effective(path.as_deref()));
        read.await.unwrap_or_else(|error| {
            Err(Problem::new(Place::of("resources"), "", format!("reading failed: {error}")).into())
        })
    }

    /// Changes when a file changes, comes or goes. Follows links, so that the swap of a mounted
    /// ConfigMap shows. Reads no file.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        if let Some(path) = &self.path {
            let mut left = ENTRIES_MAX;
            note(path, &mut hasher, &mut left, 0);
        }
        hasher.finish()
    }
}

fn note(path: &Path, hasher: &mut DefaultHasher, left: &mut usize, depth: usize) {
    if *left == 0 || depth > DEPTH_MAX {
        return;
    }
    *left -= 1;
    path.hash(hasher);
    let Ok(metadata) = fs::metadata(path) else { return };
    (metadata.dev(), metadata.ino(), metadata.is_dir()).hash(hasher);
    if !metadata.is_dir() {
        // The time of the last change of the inode too: `cp -p` keeps the other one.
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        (metadata.size(), metadata.mtime(), metadata.mtime_nsec(), changed).hash(hasher);
        return;
    }
    let mut names: Vec<PathBuf> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| !is_hidden(path))
        .take(*left)
        .collect();
    names.sort();
    for name in names {
        note(&name, hasher, left, depth + 1);
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_way_to_change_files_shows() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("resources");
        let files = ResourceFiles::new(Some(root.clone()));
        let mut seen = vec![files.fingerprint()];
        let mut step = |what: &str| {
            let now = files.fingerprint();
            assert_eq!(now, files.fingerprint(), "{what}: the same twice");
            assert!(!seen.contains(&now), "{what}: not noticed");
            seen.push(now);
        };
        fs::create_dir(&root).unwrap();
        step("the directory comes");
        fs::write(root.join("a.yaml"), "a").unwrap();
        step("a file comes");
        fs::write(root.join("a.yaml"), "bb").unwrap();
        step("it is written where it stands");
        fs::write(dir.path().join("new"), "cc").unwrap();
        fs::rename(dir.path().join("new"), root.join("a.yaml")).unwrap();
        step("another is moved into its place");
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/b.yaml"), "b").unwrap();
        step("a file below comes");
        fs::remove_file(root.join("a.yaml")).unwrap();
        step("a file goes");
        // As a ConfigMap is mounted: ..data is swapped under links that stay.
        for version in ["..1", "..2"] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("c.yaml"), "c").unwrap();
        }
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/c.yaml", root.join("c.yaml")).unwrap();
        step("a mounted file comes");
        symlink("..2", root.join("..new")).unwrap();
        fs::rename(root.join("..new"), root.join("..data")).unwrap();
        step("the mount is swapped");
    }
}
