//! What is told of documents that are wrong, compared with the place of a mark in their text.

use resources::{Set, builtin, overlay, read_text};

/// A document, its spec on the second line.
pub(crate) fn document(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: lockgate.dev/v1alpha1, kind: {kind}, metadata: {{name: {name}}},\n\
         spec: {{{spec}}}}}\n"
    )
}

pub(crate) fn read(documents: &[String]) -> Result<Set, String> {
    let set = read_text("a.yaml", &documents.join("---\n"));
    set.and_then(|set| overlay(&builtin(), &set)).map_err(|problems| problems.to_string())
}

pub(crate) fn errors(documents: &[String]) -> String {
    read(documents).err().unwrap_or_default()
}

/// That this is what is told, of the value behind the `§`; of the first spec if there is none.
pub(crate) fn assert_told(documents: &[String], wanted: &str) {
    let mut text = documents.join("---\n");
    let spec = text.find("spec: {").map(|at| at + "spec: ".len());
    let at = text.find('§').or(spec).expect("a document has a spec");
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
    text = text.replace('§', "");
    assert_eq!(errors(&[text.clone()]), format!("a.yaml:{line}:{column}: {wanted}"), "{text}");
}
