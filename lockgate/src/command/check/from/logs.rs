//! Pulls, from the lines of access logs of registries and of the log of a container runtime.
//!
//! Nothing of a line is trusted: fields are read where their writer puts them, so that a user agent
//! that looks like a field is none.

use super::collect::Witness;
use super::reference;
use oci::route::Route;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Registry,
    Harbor,
    Artifactory,
    Containerd,
    Lockgate,
}

/// One pull in a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pull {
    pub(super) place: Place,
    /// Who asked, if that can be asked about.
    pub(super) who: Option<String>,
    pub(super) witness: Witness,
    /// It was answered with success.
    pub(super) is_answered: bool,
}

/// Where an image is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// As clients write it.
    Whole(String),
    /// A name of a registry that a line need not tell.
    Under { host: Option<String>, name: String, reference: String },
}

/// A line that one of the logs could have. Most lines of any log are no pulls.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) writer: Writer,
    pub(super) pull: Option<Pull>,
}

/// Reads a line. `None`: it is of no log that is known.
pub(super) fn line(text: &str) -> Option<Line> {
    read(text, true)
}

fn read(text: &str, may_unwrap: bool) -> Option<Line> {
    let trimmed = text.trim_start_matches('\u{feff}').trim();
    if trimmed.starts_with('{') {
        let fields: Map<String, Value> = serde_json::from_str(trimmed).ok()?;
        // What journald and docker write around a line.
        let inside = ["MESSAGE", "log"].into_iter().find_map(|key| fields.get(key)?.as_str());
        return match inside {
            Some(inside) if may_unwrap => read(inside, false),
            Some(_) => None,
            None => structured(&Fields::Json(&fields)),
        };
    }
    if let Some(line) = artifactory(trimmed) {
        return Some(line);
    }
    let words = words(trimmed);
    if let Some(line) = structured(&Fields::Words(&words)) {
        return Some(line);
    }
    web_server(trimmed).or_else(|| runtime(trimmed))
}

/// Fields with names, in JSON or as `name=value`.
enum Fields<'a> {
    Json(&'a Map<String, Value>),
    Words(&'a [(&'a str, Cow<'a, str>)]),
}

impl Fields<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        match self {
            Self::Json(fields) => fields.get(key)?.as_str(),
            Self::Words(words) => words.iter().find(|(name, _)| *name == key).map(|(_, it)| &**it),
        }
    }

    fn status(&self, key: &str) -> Option<u64> {
        match self {
            Self::Json(fields) => {
                let value = fields.get(key)?;
                value.as_u64().or_else(|| value.as_str()?.parse().ok())
            }
            Self::Words(_) => self.text(key)?.parse().ok(),
        }
    }
}

fn structured(fields: &Fields<'_>) -> Option<Line> {
    if let Some(line) = own(fields) {
        return Some(line);
    }
    if fields.text("http.request.method").is_some() {
        return Some(of_registry(fields));
    }
    // `router-request.log` of Artifactory.
    if let (Some(method), Some(path)) = (fields.text("RequestMethod"), fields.text("RequestPath")) {
        let status = fields.status("DownstreamStatus");
        let host = fields.text("RequestHost");
        let pull = request(method, path, status, host, Witness::Structured);
        return Some(Line { writer: Writer::Artifactory, pull });
    }
    let message = fields.text("msg")?;
    fields.text("level")?;
    Some(Line { writer: Writer::Containerd, pull: told(message) })
}

/// The log of distribution (docker-registry). The lines before the last of a request have no status.
fn of_registry(fields: &Fields<'_>) -> Line {
    let method = fields.text("http.request.method").unwrap_or_default();
    let uri = fields.text("http.request.uri").unwrap_or_default();
    let host = fields.text("http.request.host");
    let status = fields.status("http.response.status");
    let pull = status.and_then(|_| request(method, uri, status, host, Witness::Structured));
    Line { writer: Writer::Registry, pull }
}

/// Our own access log. A line about a digest can be about a blob, so only tags count.
fn own(fields: &Fields<'_>) -> Option<Line> {
    let is_own = match fields {
        Fields::Json(_) => fields.text("target") == Some("access"),
        Fields::Words(words) => words.iter().any(|(name, _)| *name == "duration_us"),
    };
    if !is_own || fields.text("request_id").is_none() {
        return None;
    }
    let pull = || {
        let (name, tag) = (fields.text("repository")?, fields.text("reference")?);
        oci::Name::parse(name).ok()?;
        oci::Tag::parse(tag).ok()?;
        is_read(fields.text("method")?).then_some(())?;
        Some(Pull {
            place: Place::Whole(reference::join(name, tag)),
            who: fields.text("principal").and_then(supposed),
            witness: Witness::Line,
            is_answered: is_success(fields.status("status")),
        })
    };
    Some(Line { writer: Writer::Lockgate, pull: pull() })
}

/// A principal's key (`<kind>:<provider>:<name>`) in the words of `--as`, where it has all they need.
fn supposed(key: &str) -> Option<String> {
    if key == "anonymous" {
        return Some(key.to_owned());
    }
    let (kind, rest) = key.split_once(':')?;
    let (_, name) = rest.split_once(':')?;
    match kind {
        "ServiceAccount" if name.starts_with("system:serviceaccount:") => Some(name.to_owned()),
        "User" => Some(format!("user:{name}")),
        "Node" => Some(format!("node:{}", name.strip_prefix("system:node:")?)),
        _ => None,
    }
}

/// A request log of Artifactory: fields between bars, with and without the protocol.
fn artifactory(line: &str) -> Option<Line> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    if fields.len() < 7 {
        return None;
    }
    let is_method = |word: &str| {
        (3..=7).contains(&word.len()) && word.bytes().all(|it| it.is_ascii_uppercase())
    };
    let at = fields.windows(2).position(|pair| is_method(pair[0]) && pair[1].starts_with('/'))?;
    let mut rest = fields[at + 2..].iter().skip_while(|field| field.starts_with("HTTP/"));
    let status = rest.next().and_then(|field| field.parse().ok());
    let pull = request(fields[at], fields[at + 1], status, None, Witness::Line);
    Some(Line { writer: Writer::Artifactory, pull })
}

/// Lines of Apache and nginx: the request is what stands between quotes first, the status follows.
/// Harbor's nginx leaves the user out, its parts put their names in front.
fn web_server(line: &str) -> Option<Line> {
    let (before, rest) = line.split_once('"')?;
    let (asked, after) = rest.split_once('"')?;
    let mut words = asked.split(' ');
    let (method, uri, protocol) = (words.next()?, words.next()?, words.next()?);
    if !protocol.starts_with("HTTP/") {
        return None;
    }
    let status = after.split_whitespace().next().and_then(|word| word.parse().ok());
    let is_harbor = [" proxy[", " registry[", " core["].iter().any(|part| before.contains(part))
        || before.trim_end().ends_with(" -") && !before.contains(" - - ");
    let writer = if is_harbor { Writer::Harbor } else { Writer::Registry };
    Some(Line { writer, pull: request(method, uri, status, None, Witness::Line) })
}

/// What a container runtime says outside any format: an event of a pod, or a line that was cut.
fn runtime(line: &str) -> Option<Line> {
    let pull = told(line);
    let is_known = pull.is_some() || line.contains(" containerd[");
    is_known.then_some(Line { writer: Writer::Containerd, pull })
}

/// A message of containerd's CRI plugin, or of the kubelet, about a pull.
fn told(message: &str) -> Option<Pull> {
    const WORDS: [(&str, Option<Witness>); 5] = [
        ("PullImage \"", None),
        ("ailed to pull image \"", Some(Witness::Failed)),
        ("ulling image \"", Some(Witness::Begun)),
        ("uccessfully pulled image \"", Some(Witness::Pulled)),
        ("Pulled image \"", Some(Witness::Pulled)),
    ];
    let found = |(word, witness): &(&str, Option<Witness>)| {
        let at = message.find(word)?;
        Some((&message[at + word.len()..], *witness))
    };
    let (rest, witness) = WORDS.iter().find_map(found)?;
    let (image, after) = rest.split_once(['"', '\\'])?;
    let witness = witness.unwrap_or_else(|| match after.trim_start_matches(['"', ' ']) {
        after if after.starts_with("failed") => Witness::Failed,
        after if after.starts_with("returns") => Witness::Returned,
        _ => Witness::Begun,
    });
    let is_image = !image.is_empty() && reference::is_plausible(image);
    is_image.then(|| Pull {
        place: Place::Whole(reference::whole(image)),
        who: None,
        witness,
        is_answered: witness != Witness::Failed,
    })
}

fn request(
    method: &str,
    uri: &str,
    status: Option<u64>,
    host: Option<&str>,
    witness: Witness,
) -> Option<Pull> {
    if !is_read(method) {
        return None;
    }
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let (key, path) = match path.split_once("/api/docker/") {
        Some((_, rest)) => {
            let (key, rest) = rest.split_once('/')?;
            (Some(key), Cow::Owned(format!("/{rest}")))
        }
        None => (None, Cow::Borrowed(path)),
    };
    let Some(Ok(Route::Manifest(name, reference))) = Route::parse(&path) else { return None };
    let reference = reference.to_string();
    // A mirror is told which registry is meant.
    let registry = query.split('&').find_map(|pair| pair.strip_prefix("ns="));
    let registry = registry.map(|it| it.replace("%3A", ":").replace("%3a", ":"));
    let place = match (registry, key) {
        (Some(registry), None) if reference::is_plausible(&registry) => {
            Place::Whole(reference::join(&format!("{registry}/{name}"), &reference))
        }
        (_, Some(key)) if !reference::is_plausible(key) => return None,
        (_, key) => {
            let name = key.map_or_else(|| name.to_owned(), |key| format!("{key}/{name}"));
            // A name without a dot is one inside a cluster, which no client writes.
            let host = host.filter(|it| it.contains('.') && reference::is_plausible(it));
            Place::Under { host: host.map(str::to_ascii_lowercase), name, reference }
        }
    };
    Some(Pull { place, who: None, witness, is_answered: is_success(status) })
}

fn is_read(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

fn is_success(status: Option<u64>) -> bool {
    status.is_some_and(|status| (200..400).contains(&status))
}

/// The `name=value` of a line as logrus and Go's `slog` write them; a value in quotes is unescaped.
fn words(line: &str) -> Vec<(&str, Cow<'_, str>)> {
    /// More are in no line.
    const WORDS_MAX: usize = 200;
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
        rest = &rest[start..];
        let end = rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let Some(value) = after.strip_prefix('=') else {
            rest = after;
            continue;
        };
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = value.find(char::is_whitespace).unwrap_or(value.len());
                (Cow::Borrowed(&value[..end]), &value[end..])
            }
        };
        found.push((name, value));
        if found.len() == WORDS_MAX {
            break;
        }
        rest = after;
    }
    found
}

/// A text up to its closing quote, and what follows.
fn unquote(text: &str) -> (Cow<'_, str>, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value.into(), &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, other)) => value.push(other),
                None => break,
            },
            other => value.push(other),
        }
    }
    (value.into(), "")
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
