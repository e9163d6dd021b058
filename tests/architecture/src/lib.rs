//! The rules of the house, checked against the tree. The rules are in `tests/`; here is only what
//! they share: where the tree is, and which files are in it.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that no rule looks into: made by tools, or not ours.
const NOT_OURS: [&str; 4] = [".git", "target", "node_modules", "results"];

/// The top of the source tree. Asked at run time: checkouts that share a build directory share this
/// program, and each must look at itself.
pub fn root() -> PathBuf {
    let here =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.ancestors().nth(2).unwrap_or(&here).to_path_buf()
}

/// Every file below `directory` (relative to the top) with this extension, relative to the top, in
/// order. An unreadable directory is a broken checkout, so this panics.
pub fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let top = root();
    let mut waiting = vec![top.join(directory)];
    let mut found = Vec::new();
    while let Some(directory) = waiting.pop() {
        let entries = fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && !path.is_symlink() {
                if !NOT_OURS.iter().any(|other| name == *other) {
                    waiting.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(&top).unwrap_or(&path).to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// The text of a file, given relative to the top.
pub fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fails with all of `problems` and what to do about them.
pub fn none(problems: &[String], remedy: &str) {
    assert!(problems.is_empty(), "\n  {}\n\n{remedy}\n", problems.join("\n  "));
}
