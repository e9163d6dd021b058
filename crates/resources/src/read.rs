//! Files of documents: one text, or a directory read in name order.

use crate::document::{self, Document};
use crate::set::Set;
use crate::tree::parse_documents;
use crate::{Place, Problem, Problems};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest file that is read.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// The most documents of a set, and the most files.
pub const MAX_DOCUMENTS: usize = 10_000;
/// The deepest directory; also what stops symbolic links that go round in circles.
const MAX_DEPTH: usize = 32;

/// Reads the documents of one text.
///
/// Fails with everything that is wrong with any of them. References to other documents are judged
/// when the set is complete: [`crate::overlay`].
pub fn read_text(file: &str, text: &str) -> Result<Set, Problems> {
    let mut reader = Reader::default();
    reader.read_text(file, text);
    reader.finish()
}

/// Reads all documents below a directory (or of a single file): `*.yaml`, `*.yml` and `*.json`, recursively, in
/// name order. Names that begin with a dot are left out, so that a mounted ConfigMap, whose
/// `..data` is a second way to each file, gives each document once.
///
/// Fails with everything that is wrong in any file.
pub fn read_dir(path: &Path) -> Result<Set, Problems> {
    let mut reader = Reader::default();
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => reader.read_dir(path, &mut Vec::new()),
        Ok(_) => reader.read_file(path),
        Err(cause) => reader.say_file(path, format!("cannot be read: {cause}")),
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    documents: BTreeMap<(crate::Kind, String), Document>,
    problems: Vec<Problem>,
    files: usize,
}

impl Reader {
    fn finish(self) -> Result<Set, Problems> {
        let mut problems = self.problems;
        one_namespace(self.documents.values(), &mut problems);
        Problems::check(problems)?;
        Ok(Set::new(self.documents.into_values().collect()))
    }

    fn say_file(&mut self, path: &Path, message: String) {
        self.problems.push(Problem::new(Place::of(path.display().to_string()), "", message));
    }

    fn read_dir(&mut self, path: &Path, parents: &mut Vec<PathBuf>) {
        if parents.len() >= MAX_DEPTH {
            return self.say_file(path, format!("more than {MAX_DEPTH} directories deep"));
        }
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(cause) => return self.say_file(path, format!("cannot be read: {cause}")),
        };
        if parents.contains(&real) {
            let message = "a symbolic link that leads back to a directory above it";
            return self.say_file(path, message.to_owned());
        }
        let mut names = match list(path) {
            Ok(names) => names,
            Err(cause) => return self.say_file(path, format!("cannot be read: {cause}")),
        };
        names.sort();
        parents.push(real);
        for name in names {
            self.read_entry(&name, parents);
        }
        parents.pop();
    }

    fn read_entry(&mut self, path: &Path, parents: &mut Vec<PathBuf>) {
        let has_documents = path.extension().is_some_and(|extension| {
            extension == "yaml" || extension == "yml" || extension == "json"
        });
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.read_dir(path, parents),
            Ok(_) if !has_documents => {}
            Ok(metadata) if metadata.is_file() => self.read_file(path),
            // A pipe would be waited for.
            Ok(_) => self.say_file(path, "not a regular file".to_owned()),
            Err(cause) if has_documents => {
                self.say_file(path, format!("cannot be read: {cause}"));
            }
            Err(_) => {}
        }
    }

    fn read_file(&mut self, path: &Path) {
        self.files += 1;
        if self.files > MAX_DOCUMENTS {
            if self.files == MAX_DOCUMENTS + 1 {
                self.say_file(path, format!("more than {MAX_DOCUMENTS} files"));
            }
            return;
        }
        match read_bounded(path) {
            Ok(text) => self.read_text(&path.display().to_string(), &text),
            Err(message) => self.say_file(path, message),
        }
    }

    fn read_text(&mut self, file: &str, text: &str) {
        let nodes = match parse_documents(&Arc::from(file), text) {
            Ok(nodes) => nodes,
            Err(problem) => return self.problems.push(problem),
        };
        let lines: Vec<&str> = text.lines().collect();
        for node in nodes {
            match document::read(node, &lines) {
                Ok(document) => self.add(document),
                Err(problems) => self.problems.extend(problems),
            }
        }
    }

    fn add(&mut self, document: Document) {
        if self.documents.len() >= MAX_DOCUMENTS {
            let message = format!("more than {MAX_DOCUMENTS} documents");
            self.problems.push(Problem::new(document.place, "", message));
            return;
        }
        match self.documents.entry((document.kind(), document.name().to_owned())) {
            Entry::Vacant(free) => {
                free.insert(document);
            }
            Entry::Occupied(taken) => {
                let message = format!(
                    "{} `{}` is already defined at {}",
                    document.kind(),
                    document.name(),
                    taken.get().place,
                );
                let place = document.place_of("metadata.name").clone();
                self.problems.push(Problem::new(place, "metadata.name", message));
            }
        }
    }
}

/// Documents of a tenant's namespace will only ever narrow; taking them for the plane's own
/// would widen. So one namespace, the plane's own, is all that a set may name.
fn one_namespace<'a>(documents: impl Iterator<Item = &'a Document>, problems: &mut Vec<Problem>) {
    let mut first: Option<&Document> = None;
    for document in documents {
        match first {
            _ if document.metadata.namespace.is_none() => {}
            None => first = Some(document),
            Some(first) if first.metadata.namespace == document.metadata.namespace => {}
            Some(first) => {
                let message = format!(
                    "another namespace than at {}; documents of tenants are {}",
                    first.place_of("metadata.namespace"),
                    crate::kind::UNENFORCED,
                );
                let place = document.place_of("metadata.namespace").clone();
                problems.push(Problem::new(place, "metadata.namespace", message));
            }
        }
    }
}

/// The entries of a directory whose names do not begin with a dot.
fn list(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            names.push(entry.path());
        }
    }
    Ok(names)
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|cause| format!("cannot be read: {cause}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err("larger than 4MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())
}
