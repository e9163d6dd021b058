//! What there is to ask, from what is at hand before a plane carries anything: lists, what runs in
//! clusters, and the logs of the registries that are there now.

mod collect;
mod detect;
mod lines;
mod logs;
mod pods;
mod prefix;
mod reference;

pub(super) use collect::{Asked, Collected};
pub(super) use reference::host;

use crate::exit::Failure;
use crate::output::{clean, say};
use clap::ValueEnum;
use collect::{Seen, Witness};
use detect::{Kind, detect};
use lines::Lines;
use logs::{Place, Writer};
use prefix::Prefixes;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

/// Bytes at the beginning of a file by which its kind is told.
const HEAD_BYTES: usize = 64 << 10;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// A reference a line, perhaps with a count; # begins a comment
    List,
    /// What kubectl get pods (or deployments, jobs, …) -o json prints
    Pods,
    /// The log of docker-registry (distribution)
    Registry,
    /// The logs of Harbor's proxy and registry
    Harbor,
    /// The request log of Artifactory
    Artifactory,
    /// The log of containerd
    Containerd,
    /// The access log of Lockgate
    Lockgate,
}

/// The flags that say what to read, and how.
#[derive(clap::Args, Debug)]
pub(super) struct FromFlags {
    /// Asks about all that a file tells: a list of references, `kubectl get pods -A -o json`, or a log of
    /// docker-registry, Harbor, Artifactory, containerd or Lockgate; `-` is standard input; repeatable
    #[arg(long, value_name = "FILE")]
    pub(super) from: Vec<PathBuf>,
    /// What the files are [default: what their content says]
    #[arg(long, value_enum, value_name = "FORMAT", requires = "from")]
    format: Option<FileFormat>,
    /// Stands in front of the names in logs, which have no registry: registry.example/project; or
    /// PROJECT=PREFIX, in place of a Harbor project or an Artifactory repository; repeatable
    #[arg(long, value_name = "PREFIX", requires = "from")]
    prefix: Vec<String>,
}

impl FromFlags {
    /// Reads all files. `who`: who asks, whatever they say. Blocks.
    pub(super) fn collect(&self, who: Option<&str>) -> Result<Collected, Failure> {
        let prefixes = Prefixes::parse(&self.prefix)?;
        let mut collected = Collected::new(who);
        for path in &self.from {
            let name = match path.as_path() {
                path if path == Path::new("-") => "standard input".to_owned(),
                path => clean(&path.display().to_string()),
            };
            let reader: Box<dyn Read> = match path.as_path() {
                path if path == Path::new("-") => Box::new(io::stdin()),
                path => Box::new(File::open(path).map_err(|error| unreadable(&name, &error))?),
            };
            let mut file = Source { name, prefixes: &prefixes, collected: &mut collected };
            file.read(reader, self.format)?;
        }
        Ok(collected)
    }
}

fn unreadable(name: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::usage(format!("--from {name} cannot be read")).because(error)
}

/// One file.
struct Source<'a> {
    name: String,
    prefixes: &'a Prefixes,
    collected: &'a mut Collected,
}

/// What was in a log.
#[derive(Default)]
struct Counts {
    pulls: u64,
    unanswered: u64,
    unknown: u64,
}

impl Source<'_> {
    fn read(&mut self, mut reader: impl Read, format: Option<FileFormat>) -> Result<(), Failure> {
        let mut head = Vec::new();
        (&mut reader)
            .take(HEAD_BYTES as u64)
            .read_to_end(&mut head)
            .map_err(|error| unreadable(&self.name, &error))?;
        let kind = detect(&self.name, &head, format)?;
        let whole = BufReader::with_capacity(HEAD_BYTES, Cursor::new(head).chain(reader));
        match kind {
            Kind::Pods => self.pods(whole),
            Kind::List => self.list(whole),
            Kind::Log(writer) => self.log(whole, writer, format.is_some()),
        }
    }

    fn pods(&mut self, reader: impl BufRead) -> Result<(), Failure> {
        let objects = pods::read(reader, self.collected).map_err(|error| {
            let text = format!("--from {} is not what kubectl get -o json prints", self.name);
            Failure::usage(text).because(&error)
        })?;
        say(&format!("{}: objects of Kubernetes: {objects}", self.name));
        Ok(())
    }

    fn list(&mut self, reader: impl BufRead) -> Result<(), Failure> {
        let mut lines = Lines::new(reader);
        let mut references = 0_u64;
        while let Some(line) = lines.next().map_err(|error| unreadable(&self.name, &error))? {
            let Some((written, times)) = list_line(&line) else { continue };
            references += 1;
            let whole = reference::whole(written);
            self.collected.add(match times {
                Some(times) => Seen::pulls(whole, None, Witness::Line, times),
                None => Seen::alone(whole),
            });
        }
        say(&format!("{}: a list, references: {references}{}", self.name, too_long(&lines)));
        Ok(())
    }

    fn log(&mut self, reader: impl BufRead, writer: Writer, is_told: bool) -> Result<(), Failure> {
        let mut lines = Lines::new(reader);
        let mut counts = Counts::default();
        while let Some(text) = lines.next().map_err(|error| unreadable(&self.name, &error))? {
            if text.trim().is_empty() {
                continue;
            }
            match logs::line(&text) {
                Some(line) if !is_told || detect::is_of(line.writer, writer) => {
                    if let Some(pull) = line.pull {
                        self.pull(pull, &mut counts)?;
                    }
                }
                _ => counts.unknown += 1,
            }
        }
        let of = |number: u64, what: &str| match number {
            0 => String::new(),
            number => format!(", {what}: {number}"),
        };
        say(&format!(
            "{}: {}, lines: {}, about pulls: {}{}{}{}",
            self.name,
            detect::title(writer),
            lines.read,
            counts.pulls,
            of(counts.unanswered, "not answered with success"),
            of(counts.unknown, "of no known form"),
            too_long(&lines)
        ));
        Ok(())
    }

    fn pull(&mut self, pull: logs::Pull, counts: &mut Counts) -> Result<(), Failure> {
        counts.pulls += 1;
        if !pull.is_answered {
            counts.unanswered += 1;
            // That a runtime failed, takes one of those that began away.
            if pull.witness != Witness::Failed {
                return Ok(());
            }
        }
        let reference = match pull.place {
            Place::Whole(reference) => reference,
            Place::Under { host, name, reference } => {
                let name = self.prefixes.put(&name, host.as_deref()).ok_or_else(|| {
                    prefix::missing(&self.name, &reference::join(&name, &reference))
                })?;
                reference::join(&name, &reference)
            }
        };
        self.collected.add(Seen::pulls(reference, pull.who, pull.witness, 1));
        Ok(())
    }
}

fn too_long<R>(lines: &Lines<R>) -> String {
    match lines.too_long {
        0 => String::new(),
        number => format!(", left out because longer than 64 KiB: {number}"),
    }
}

/// The reference of a line, and its count if it has one. A line that is neither is no reference, which
/// the plane says.
fn list_line(line: &str) -> Option<(&str, Option<u64>)> {
    let line = line.trim_start_matches('\u{feff}');
    let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
    if line.is_empty() {
        return None;
    }
    let Some((written, rest)) = line.split_once(char::is_whitespace) else {
        return Some((line, None));
    };
    match rest.trim().parse() {
        Ok(times) => Some((written, Some(times))),
        Err(_) => Some((line, None)),
    }
}

#[cfg(test)]
mod tests;
