//! What every source file must look like. Cheap checks of text; what types and lints can hold, they
//! hold.

use architecture::{files, none, read};
use std::path::{Path, PathBuf};

/// Longer files are hard to hold in the head; the aim is 400.
const LINES_MAX: usize = 600;

/// The one module that may have `unsafe` code, and why: memory maps of blobs.
const UNSAFE: &[&str] = &["crates/blobs/src/map.rs"];

/// Words of the places that may read the environment: the binary alone.
const ENVIRONMENT: [&str; 2] = ["env::var", "env::set_var"];

fn sources() -> Vec<PathBuf> {
    let mut all = files("crates", "rs");
    all.extend(files("lockgate", "rs"));
    assert!(all.len() > 100, "the source tree is not where it was");
    all
}

/// Whether a file is nothing but tests.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| {
            name == "tests.rs" || name.as_encoded_bytes().ends_with(b"_tests.rs")
        })
}

/// The lines of a file before its own module of tests, numbered from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let begins_tests =
        |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {");
    let end = lines.windows(2).position(begins_tests).unwrap_or(lines.len());
    lines.into_iter().take(end).enumerate().map(|(index, line)| (index + 1, line))
}

#[test]
fn every_file_says_first_why_it_exists() {
    let problems: Vec<String> = sources()
        .iter()
        .filter(|path| !read(path).starts_with("//! "))
        .map(|path| path.display().to_string())
        .collect();
    none(&problems, "Begin the file with a line `//! …` that says why the module exists.");
}

#[test]
fn no_file_is_too_long() {
    let problems: Vec<String> = sources()
        .iter()
        .map(|path| (path, read(path).lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    none(&problems, "Split it by what it knows; move long tests to a file of their own.");
}

#[test]
fn only_the_binary_reads_the_environment() {
    let mut problems = Vec::new();
    for path in sources() {
        if path.starts_with("lockgate") || path.starts_with("crates/testkit") || is_test(&path) {
            continue;
        }
        let text = read(&path);
        for (number, line) in code(&text) {
            if ENVIRONMENT.iter().any(|word| line.contains(word)) {
                problems.push(format!("{}:{number}", path.display()));
            }
        }
    }
    none(
        &problems,
        "Add a setting (lockgate/src/settings/model.rs) and pass its value in: everything that \
         steers the process is then checked, printed and documented in one place.",
    );
}

#[test]
fn unsafe_code_is_in_one_place() {
    let problems: Vec<String> = sources()
        .iter()
        .filter(|path| !UNSAFE.iter().any(|allowed| path.as_path() == Path::new(allowed)))
        .filter(|path| read(path).contains("allow(unsafe_code"))
        .map(|path| path.display().to_string())
        .collect();
    none(&problems, "Find a safe way (rustix has most system calls), or argue in an ADR.");
}

#[test]
fn names_of_metrics_and_their_reference_agree() {
    let reference = read(Path::new("docs/reference/metrics.md"));
    let counted = "_total";
    let documented: Vec<&str> = words(&reference, "`lockgate_")
        .into_iter()
        .map(|name| name.trim_start_matches('`'))
        .map(|name| name.strip_suffix(counted).unwrap_or(name))
        .collect();
    let mut coded = Vec::new();
    for path in sources().into_iter().filter(|path| !is_test(path)) {
        let text = read(&path);
        let text: Vec<&str> = code(&text).map(|(_, line)| line).collect();
        for name in words(&text.join("\n"), "\"lockgate_") {
            coded.push(name.trim_start_matches('"').to_owned());
        }
    }
    assert!(coded.len() > 10, "the names of metrics are no longer found in the code");
    let undocumented = coded.iter().filter(|name| !documented.contains(&name.as_str()));
    let problems: Vec<String> =
        undocumented.map(|name| format!("not documented: {name}")).collect();
    none(&problems, "Describe the metric in docs/reference/metrics.md.");
    let unknown = documented.iter().filter(|name| !coded.iter().any(|coded| coded == *name));
    let problems: Vec<String> = unknown.map(|name| format!("not in the code: {name}")).collect();
    none(
        &problems,
        "Take the metric out of docs/reference/metrics.md, or give it the name it has.",
    );
}

/// Every word of small letters, digits and `_` that begins with `start`, with what it begins with.
fn words<'t>(text: &'t str, start: &str) -> Vec<&'t str> {
    text.match_indices(start)
        .map(|(at, _)| {
            let rest = &text[at + start.len()..];
            let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            &text[at..at + start.len() + length]
        })
        .collect()
}
