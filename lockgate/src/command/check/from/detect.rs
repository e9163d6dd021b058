//! What a file is, by how it begins.

use super::logs::{self, Writer};
use super::{FileFormat, list_line, reference};
use crate::exit::Failure;
use serde_json::Value;

/// Lines that are looked at.
const LINES_MAX: usize = 200;

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    Pods,
    Log(Writer),
}

/// The kind of a file that begins with `head`: what `format` says, else what the content does.
pub(super) fn detect(name: &str, head: &[u8], format: Option<FileFormat>) -> Result<Kind, Failure> {
    refuse_compressed(name, head)?;
    if let Some(format) = format {
        return Ok(match format {
            FileFormat::List => Kind::List,
            FileFormat::Pods => Kind::Pods,
            FileFormat::Registry => Kind::Log(Writer::Registry),
            FileFormat::Harbor => Kind::Log(Writer::Harbor),
            FileFormat::Artifactory => Kind::Log(Writer::Artifactory),
            FileFormat::Containerd => Kind::Log(Writer::Containerd),
            FileFormat::Lockgate => Kind::Log(Writer::Lockgate),
        });
    }
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if is_of_kubernetes(text) {
        return Ok(Kind::Pods);
    }
    if text.starts_with("apiVersion:") || text.starts_with("---\n") {
        let hint = "print it as JSON: kubectl get pods -A -o json";
        return Err(Failure::usage(format!("--from {name} is YAML")).hint(hint));
    }
    if let Some(writer) = writer_of(text) {
        return Ok(Kind::Log(writer));
    }
    let first = text.lines().find_map(list_line);
    match first {
        Some((written, _)) if !reference::is_plausible(written) => {
            let hint = "say so: --format list|pods|registry|harbor|artifactory|containerd|lockgate";
            let text = format!("what --from {name} is cannot be told from its beginning");
            Err(Failure::usage(text).hint(hint))
        }
        _ => Ok(Kind::List),
    }
}

fn refuse_compressed(name: &str, head: &[u8]) -> Result<(), Failure> {
    const MAGICS: [(&[u8], &str); 4] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ", "xz"),
        (b"BZh", "bzip2"),
    ];
    match MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        None => Ok(()),
        Some((_, by)) => {
            let hint = format!("{by} -dc FILE | lockgate check --from -");
            Err(Failure::usage(format!("--from {name} is compressed by {by}")).hint(hint))
        }
    }
}

/// JSON that is no line of a log.
fn is_of_kubernetes(text: &str) -> bool {
    if text.starts_with('[') && text[1..].trim_start().starts_with(['{', ']']) {
        return true;
    }
    if !text.starts_with('{') {
        return false;
    }
    let first = text.lines().next().unwrap_or_default();
    match serde_json::from_str::<Value>(first) {
        Ok(value) => value.get("apiVersion").is_some() || value.get("items").is_some(),
        // An object of several lines, or of one that is longer than the head.
        Err(_) => logs::line(first).is_none(),
    }
}

/// The log that the first pull is of; else the one that most lines could be of.
fn writer_of(text: &str) -> Option<Writer> {
    const WRITERS: [Writer; 5] = [
        Writer::Registry,
        Writer::Harbor,
        Writer::Artifactory,
        Writer::Containerd,
        Writer::Lockgate,
    ];
    let lines: Vec<_> = text.lines().take(LINES_MAX).filter_map(logs::line).collect();
    // The registry in Harbor writes what a registry writes.
    if lines.iter().any(|line| line.writer == Writer::Harbor) {
        return Some(Writer::Harbor);
    }
    if let Some(line) = lines.iter().find(|line| line.pull.is_some()) {
        return Some(line.writer);
    }
    let count = |writer: &Writer| lines.iter().filter(|line| line.writer == *writer).count();
    WRITERS.into_iter().filter(|writer| count(writer) > 0).max_by_key(count)
}

/// Whether lines of `line` are to be found in the log of `log`: web servers stand before registries,
/// and the registry in Harbor is the registry.
pub(super) fn is_of(line: Writer, log: Writer) -> bool {
    let is_web = matches!(line, Writer::Registry | Writer::Harbor);
    match log {
        Writer::Registry | Writer::Harbor => is_web,
        Writer::Artifactory => is_web || line == Writer::Artifactory,
        Writer::Containerd | Writer::Lockgate => line == log,
    }
}

/// What a log is called.
pub(super) fn title(writer: Writer) -> &'static str {
    match writer {
        Writer::Registry => "a registry's log",
        Writer::Harbor => "a log of Harbor",
        Writer::Artifactory => "a request log of Artifactory",
        Writer::Containerd => "a log of containerd",
        Writer::Lockgate => "an access log of Lockgate",
    }
}
