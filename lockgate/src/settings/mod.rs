//! Settings: how the process runs. Default, then file, then environment, then flags.
//!
//! It exists so that an option can be said in any of these places under one name, is checked in
//! one place with the file, line and nearest name of every mistake, and can be asked for with
//! where it came from. Only this crate reads settings files and the environment.

mod layers;
mod model;
mod print;
#[cfg(test)]
mod tests;

pub(crate) use model::{Listener, LogFormat, Settings, socket_path};
pub(crate) use print::print;

use resources::{Node, Place, Problem, Problems, Value, from_node, parse_documents};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest settings file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What flags and the caller bring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The settings file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// Flags: the flag as written, the option's path, the value.
    pub flags: Vec<(String, String, String)>,
}

/// Settings that were read and found right.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The settings in force.
    pub settings: Settings,
    /// What was written, with its places.
    pub written: Node,
    /// Variables that begin like ours but name no option; to be told, not to be refused.
    pub foreign_variables: Vec<String>,
}

/// Reads the layers, or says everything that is wrong with them.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let mut written = match &sources.file {
        Some(path) => read_file(path)?,
        None => empty(Place::of("default")),
    };
    let variables = sources.variables.iter().cloned();
    let foreign_variables = layers::lay_environment(&mut written, variables, &mut problems);
    for (flag, path, value) in &sources.flags {
        layers::lay_flag(&mut written, flag, path, value, &mut problems);
    }
    let read = from_node::<Settings>(&written);
    let mut settings = match read {
        Ok(settings) => settings,
        Err(more) => {
            problems.extend(more.into_vec());
            Settings::default()
        }
    };
    if problems.is_empty() {
        check(&settings, &written, &mut problems);
    }
    Problems::check(problems)?;
    settings.data_dir = Some(settings.data_dir());
    Ok(Loaded { settings, written, foreign_variables })
}

/// The schema of the settings file.
pub(crate) fn json_schema() -> serde_json::Value {
    layers::SCHEMA.clone()
}

fn empty(place: Place) -> Node {
    Node { place, value: Value::Map(Vec::new()) }
}

fn read_file(path: &Path) -> Result<Node, Problems> {
    let name = path.display().to_string();
    let problem = |message: String| Problem::new(Place::of(name.clone()), "", message);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|cause| problem(format!("cannot be read: {cause}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(problem("larger than 1MiB".to_owned()).into());
    }
    let text = String::from_utf8(bytes).map_err(|_| problem("not UTF-8 text".to_owned()))?;
    let file: Arc<str> = name.as_str().into();
    let mut documents = parse_documents(&file, &text)?;
    match documents.len() {
        0 => Ok(empty(Place::in_file(&file, 1, 1))),
        1 => Ok(documents.remove(0)),
        _ => Err(Problem::new(
            documents[1].place.clone(),
            "",
            "settings are one document; remove what follows `---`",
        )
        .into()),
    }
}

/// What a schema cannot say.
fn check(settings: &Settings, written: &Node, problems: &mut Vec<Problem>) {
    let mut say = |path: &str, message: &str| {
        problems.push(Problem::new(written.place_of(path).clone(), path, message));
    };
    let mut addresses = BTreeSet::new();
    for (index, listener) in settings.listeners.iter().enumerate() {
        let path = format!("listeners[{index}]");
        let is_any_port = listener.address.as_str().ends_with(":0");
        if !is_any_port && !addresses.insert(listener.address.as_str()) {
            say(&format!("{path}.address"), "another listener has this address");
        }
        if listener.proxy_protocol && listener.trusted_proxies.is_empty() {
            let message = "needs trustedProxies: whose headers are to be believed?";
            say(&format!("{path}.proxyProtocol"), message);
        }
        for (number, url) in listener.public_urls.iter().enumerate() {
            if url
                .as_str()
                .split("://")
                .nth(1)
                .is_some_and(|rest| rest.split_once('/').is_some_and(|(_, path)| !path.is_empty()))
            {
                let message = "clients know no path before /v2/; write scheme, host and port";
                say(&format!("{path}.publicUrls[{number}]"), message);
            }
        }
    }
    if settings.cache.low_watermark >= settings.cache.high_watermark {
        say("cache.lowWatermark", "must be below cache.highWatermark");
    }
    for (path, duration, what) in [
        ("server.headerTimeout", &settings.server.header_timeout, "refuse every client"),
        ("server.idleTimeout", &settings.server.idle_timeout, "refuse every client"),
        ("server.bodyStallTimeout", &settings.server.body_stall_timeout, "refuse every client"),
        ("gc.interval", &settings.gc.interval, "do nothing but collect"),
        ("gc.blobGrace", &settings.gc.blob_grace, "take blobs from pushes that are under way"),
        ("gc.uploadTtl", &settings.gc.upload_ttl, "end uploads that are under way"),
    ] {
        if duration.get().is_zero() {
            say(path, &format!("zero would {what}"));
        }
    }
}
