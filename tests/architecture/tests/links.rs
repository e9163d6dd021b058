//! Links in the documents lead somewhere: to a file that exists, to a heading that it has.

use architecture::{files, none, read, root};
use std::path::Path;

/// The text of a document without its code, where brackets are no links.
fn prose(text: &str) -> String {
    let mut kept = String::new();
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        let mark = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => {}
            (None, None) => {
                // Every second piece between backticks is code.
                kept.extend(line.split('`').step_by(2));
                kept.push('\n');
            }
        }
    }
    kept
}

/// The targets of all links `[…](target)` and definitions `[…]: target`.
fn targets(text: &str) -> Vec<String> {
    let prose = prose(text);
    let mut found: Vec<String> = prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ', '\n']).next())
        .map(str::to_owned)
        .collect();
    for line in prose.lines().filter(|line| line.starts_with('[')) {
        if let Some((_, target)) = line.split_once("]: ") {
            found.extend(target.split_whitespace().next().map(str::to_owned));
        }
    }
    found
}

/// The anchors of a document's headings, as forges make them: small letters, spaces as `-`,
/// punctuation gone.
fn anchors(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        if in_code || !line.starts_with('#') {
            continue;
        }
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let anchor = heading.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c),
            _ => None,
        });
        found.push(anchor.collect());
    }
    found
}

/// What is wrong with a target that stands in `document`.
fn wrong(document: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let place = if path.is_empty() {
        document.to_path_buf()
    } else {
        document.parent().unwrap_or(Path::new("")).join(path)
    };
    if !root().join(&place).exists() {
        return Some(format!("{}: {target} does not exist", document.display()));
    }
    let is_document = place.extension().is_some_and(|extension| extension == "md");
    if !anchor.is_empty() && is_document && !anchors(&read(&place)).iter().any(|a| a == anchor) {
        return Some(format!("{}: {target} has no such heading", document.display()));
    }
    None
}

#[test]
fn every_relative_link_resolves() {
    let documents = files(".", "md");
    assert!(documents.iter().any(|path| path.ends_with("README.md")));
    let mut problems = Vec::new();
    for document in &documents {
        for target in targets(&read(document)) {
            problems.extend(wrong(document, &target));
        }
    }
    none(&problems, "Correct the link, or write what it should lead to.");
}

#[test]
fn a_broken_link_is_found() {
    let text = "# A heading: one `b`\n[a](no/such.md) [b](#a-heading-one-b) `[c](x)`\n```\n[d](y)\n```\n[e]: z.md\n";
    assert_eq!(targets(text), ["no/such.md", "#a-heading-one-b", "z.md"]);
    assert_eq!(anchors(text), ["a-heading-one-b"]);
    let here = Path::new("README.md");
    assert!(wrong(here, "no/such.md").is_some());
    assert!(wrong(here, "#no-such-heading-here").is_some());
    assert!(wrong(here, "Cargo.toml").is_none());
    assert!(wrong(here, "https://lockgate.example/x").is_none());
}
