//! `lockgate docker-credential`: the credential helper of docker and of all that reads its configuration
//! (the protocol of docker-credential-helpers: one word, a text on standard input, JSON on standard output;
//! what went wrong stands on standard output, too, and the status is 1).
//!
//! A login of ours is shown as an identity token: clients take it to the plane's token endpoint and nowhere
//! else. Nobody is asked here, so that a pull does not wait for it.

use crate::exit::{Exit, Failure};
use crate::logins::{Entry, Logins, Server};
use crate::output::out;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Read;

/// A server, or a server with a secret.
const INPUT_MAX_BYTES: u64 = 1 << 20;
/// By these words clients know that there is nothing, and go on without.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Prints what is kept for the registry that stands on standard input
    Get(Get),
    /// Keeps a user name and a secret, JSON on standard input
    Store(Store),
    /// Forgets the registry that stands on standard input
    Erase(Erase),
    /// Lists registries and user names
    List(List),
    /// Prints the version
    Version(Version),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  echo plane.example.com | lockgate docker-credential get")]
pub(crate) struct Get {}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  ln -s \"$(command -v lockgate)\" /usr/local/bin/docker-credential-lockgate\n  \
        lockgate login --docker https://plane.example.com   # tells docker to ask us\n  \
        docker login plane.example.com                      # then docker stores here, too"
)]
pub(crate) struct Store {}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  echo plane.example.com | lockgate docker-credential erase")]
pub(crate) struct Erase {}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  lockgate docker-credential list")]
pub(crate) struct List {}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  lockgate docker-credential version")]
pub(crate) struct Version {}

/// What a client gives to keep.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    #[serde(rename = "ServerURL")]
    server: String,
    username: String,
    secret: String,
}

impl Command {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let answered = match self {
            Self::Get(_) => input().and_then(|server| get(&server)),
            Self::Store(_) => input().and_then(|text| store(&text)),
            Self::Erase(_) => input().and_then(|server| erase(&server)),
            Self::List(_) => list(),
            Self::Version(_) => Ok(Some(version())),
        };
        match answered {
            Ok(Some(text)) => {
                out(&format!("{text}\n"));
                Ok(Exit::Yes)
            }
            Ok(None) => Ok(Exit::Yes),
            // Clients show standard output alone.
            Err(failure) => {
                out(&format!("{}\n", failure.whole()));
                Ok(Exit::No)
            }
        }
    }
}

fn input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(INPUT_MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::no("standard input cannot be read").because(&error))?;
    match text.len() as u64 > INPUT_MAX_BYTES {
        true => Err(Failure::no("standard input is too large")),
        false => Ok(text),
    }
}

fn get(asked: &str) -> Result<Option<String>, Failure> {
    let asked = asked.trim();
    // What is no registry of ours is nobody's; an empty text is a mistake of the client.
    let server = match asked.is_empty() {
        true => return Err(Failure::no("no credentials server URL")),
        false => Server::parse(asked).map_err(|_| Failure::no(NOT_FOUND))?,
    };
    let logins = Logins::read()?;
    let entry = logins.get(&server).ok_or_else(|| Failure::no(NOT_FOUND))?;
    // What was given over TLS is not given to who would send it without.
    let is_plain =
        asked.parse::<url::Url>().is_ok_and(|url| url.scheme() == "http" && !entry.is_for(&url));
    if is_plain {
        return Err(Failure::no(NOT_FOUND));
    }
    if entry.has_ended(Timestamp::now()) {
        return Err(entry.ended(server.as_str()));
    }
    Ok(Some(shown(asked, entry).to_string()))
}

fn shown(asked: &str, entry: &Entry) -> Value {
    json!({
        "ServerURL": asked,
        "Username": entry.username,
        "Secret": entry.secret.expose_secret(),
    })
}

fn store(text: &str) -> Result<Option<String>, Failure> {
    // The text is not repeated: there is a secret in it.
    let given: Given = serde_json::from_str(text)
        .map_err(|_| Failure::no("standard input is not {ServerURL, Username, Secret} in JSON"))?;
    if given.username.is_empty() {
        return Err(Failure::no("no credentials username"));
    }
    let server = Server::parse(&given.server)?;
    let secret = SecretString::from(given.secret);
    let entry = Entry { server: given.server, username: given.username, secret, login: None };
    Logins::change(|logins| logins.put(&server, entry))?;
    Ok(None)
}

/// What is not there is gone already: clients erase without looking.
fn erase(asked: &str) -> Result<Option<String>, Failure> {
    let server = Server::parse(asked)?;
    Logins::change(|logins| logins.remove(&server))?;
    Ok(None)
}

fn list() -> Result<Option<String>, Failure> {
    let logins = Logins::read()?;
    let all = logins.all().map(|(_, entry)| (entry.server.clone(), json!(entry.username)));
    Ok(Some(Value::Object(all.collect()).to_string()))
}

fn version() -> String {
    format!("docker-credential-lockgate {}", crate::cli::version())
}
