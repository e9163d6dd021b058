//! Who one is at which plane: the file that `lockgate login` writes, and what is read of it.
//!
//! It holds secrets, so it belongs to one user alone (0600, in a directory of 0700). It is replaced as a
//! whole under a lock, so that two logins at once lose nothing and a reader sees one state or the other.

mod file;
mod server;

pub(crate) use server::Server;

use crate::exit::Failure;
pub(crate) use file::replace;

use file::Directory;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::Path;
use url::Url;

/// The user name beside a refresh token, in the protocol of credential helpers: clients show such a
/// secret at the token endpoint and nowhere else.
pub(crate) const IDENTITY_TOKEN: &str = "<token>";
/// The form of the file. A newer one is not touched.
const VERSION: u32 = 1;
/// So many registries may be in the file.
const ENTRIES_MAX: usize = 1000;

/// What is shown to one registry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// The registry, in the words of whoever stored it.
    pub(crate) server: String,
    /// A name, or [`IDENTITY_TOKEN`].
    pub(crate) username: String,
    /// A password, or a refresh token.
    #[serde(serialize_with = "exposed", deserialize_with = "secret")]
    pub(crate) secret: SecretString,
    /// What a login of ours knows besides; a client's own login (`docker login`) has none of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<Login>,
}

/// What `lockgate login` found out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Login {
    /// The plane, as it was asked.
    pub(crate) plane: Url,
    /// Where it gives tokens: of the same origin.
    pub(crate) token_endpoint: Url,
    /// Who one is there, as the plane says.
    pub(crate) who: String,
    /// The provider that vouched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<String>,
    /// When the secret ends, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
}

/// All of them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Logins {
    version: u32,
    #[serde(default)]
    servers: BTreeMap<String, Entry>,
}

impl Default for Logins {
    fn default() -> Self {
        Self { version: VERSION, servers: BTreeMap::new() }
    }
}

impl Logins {
    /// As they are now; none, if nobody ever logged in. Blocks.
    pub(crate) fn read() -> Result<Self, Failure> {
        // Who has no place for them never logged in.
        let Ok(directory) = Directory::of_user() else { return Ok(Self::default()) };
        Self::parse(directory.read()?.as_deref(), &directory.path())
    }

    /// Changes them, alone: nobody else's change is lost. Blocks until others are done, for a while.
    pub(crate) fn change<T>(change: impl FnOnce(&mut Self) -> T) -> Result<T, Failure> {
        let directory = Directory::of_user()?;
        let _lock = directory.lock()?;
        let mut logins = Self::parse(directory.read()?.as_deref(), &directory.path())?;
        let result = change(&mut logins);
        if logins.servers.len() > ENTRIES_MAX {
            let text = format!("{} would hold too many registries", directory.path().display());
            return Err(Failure::no(text).hint("remove some: `lockgate logout URL`"));
        }
        let text = serde_json::to_string_pretty(&logins).map_err(|error| {
            Failure::cannot_tell("the logins cannot be written").because(&error)
        })?;
        directory.write(&text)?;
        Ok(result)
    }

    fn parse(text: Option<&str>, path: &Path) -> Result<Self, Failure> {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return Ok(Self::default());
        };
        // No part of the text is repeated: it holds secrets.
        let logins: Self = serde_json::from_str(text).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Failure::no(format!("{} is not a file of logins ({place})", path.display()))
                .hint("move it away, and log in again")
        })?;
        if logins.version != VERSION {
            let text = format!("{} was written by another version of lockgate", path.display());
            return Err(Failure::no(text).hint("use that version, or move the file away"));
        }
        Ok(logins)
    }

    /// What is kept for a server.
    pub(crate) fn get(&self, server: &Server) -> Option<&Entry> {
        let key = self.key(server)?;
        self.servers.get(&key)
    }

    /// Keeps something for a server, in place of what was kept.
    pub(crate) fn put(&mut self, server: &Server, entry: Entry) {
        if let Some(key) = self.key(server) {
            self.servers.remove(&key);
        }
        self.servers.insert(server.as_str().to_owned(), entry);
    }

    /// Forgets a server; whether there was something to forget.
    pub(crate) fn remove(&mut self, server: &Server) -> bool {
        let key = self.key(server);
        key.is_some_and(|key| self.servers.remove(&key).is_some())
    }

    /// Forgets all; how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        let count = self.servers.len();
        self.servers.clear();
        count
    }

    /// All, with the registry each is for.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.servers.iter().map(|(server, entry)| (server.as_str(), entry))
    }

    /// Under which name a server is kept: as it is written, or without the port that its scheme implies.
    fn key(&self, server: &Server) -> Option<String> {
        if self.servers.contains_key(server.as_str()) {
            return Some(server.as_str().to_owned());
        }
        // A login over one scheme is not shown to the port of the other.
        server.without_port().into_iter().find_map(|(host, scheme)| {
            let login = self.servers.get(host)?.login.as_ref()?;
            (login.plane.scheme() == scheme).then(|| host.to_owned())
        })
    }
}

impl Entry {
    /// Whether the secret is known to have ended.
    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        self.login.as_ref().and_then(|login| login.expires).is_some_and(|ends| ends <= now)
    }

    /// Whether the secret is a refresh token.
    pub(crate) fn is_identity_token(&self) -> bool {
        self.username == IDENTITY_TOKEN
    }

    /// Whether it may be shown to a plane at this URL: what was given over TLS is not sent without.
    pub(crate) fn is_for(&self, plane: &Url) -> bool {
        match &self.login {
            Some(login) => login.plane.origin() == plane.origin(),
            None => plane.scheme() == "https" || crate::flags::is_loopback(plane),
        }
    }

    /// That it ended, and what to do.
    pub(crate) fn ended(&self, server: &str) -> Failure {
        self.again(format!("the login at {server} has ended"), server)
    }

    /// That the plane takes it no more, and what to do.
    pub(crate) fn refused(&self, server: &str, why: &str) -> Failure {
        self.again(format!("the login at {server} is not taken any more: {why}"), server)
    }

    fn again(&self, text: String, server: &str) -> Failure {
        let plane = self.login.as_ref().map(|login| login.plane.to_string());
        let plane = plane.unwrap_or_else(|| server.to_owned());
        Failure::no(text)
            .hint(format!("log in again: `lockgate login {}`", plane.trim_end_matches('/')))
    }
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(plane: Option<&str>) -> Entry {
        let login = plane.map(|plane| Login {
            plane: plane.parse().unwrap(),
            token_endpoint: format!("{plane}/token").parse().unwrap(),
            who: "alice".to_owned(),
            provider: None,
            expires: Timestamp::from_second(1000).ok(),
        });
        let (server, username) = ("x".to_owned(), IDENTITY_TOKEN.to_owned());
        Entry { server, username, secret: "s3cret".into(), login }
    }

    fn server(text: &str) -> Server {
        Server::parse(text).unwrap()
    }

    #[test]
    fn a_port_that_goes_without_saying_makes_no_difference_and_another_does() {
        let mut logins = Logins::default();
        logins.put(&server("https://plane.example"), entry(Some("https://plane.example")));
        for found in ["plane.example", "plane.example:443", "https://PLANE.example/v2/"] {
            assert!(logins.get(&server(found)).is_some(), "{found}");
        }
        for other in ["plane.example:80", "plane.example:5050", "example", "a.plane.example"] {
            assert!(logins.get(&server(other)).is_none(), "{other}");
        }
        logins.put(&server("plane.example:443"), entry(None));
        assert_eq!(logins.all().count(), 1);
        assert!(logins.remove(&server("plane.example:443")));
        assert!(!logins.remove(&server("plane.example")));
    }

    #[test]
    fn what_was_given_over_tls_is_not_sent_without() {
        let of = |login: Option<&str>, plane: &str| entry(login).is_for(&plane.parse().unwrap());
        assert!(of(Some("https://plane.example"), "https://plane.example:443/"));
        assert!(!of(Some("https://plane.example"), "http://plane.example/"));
        assert!(!of(Some("https://plane.example"), "https://plane.example:444/"));
        assert!(of(Some("http://plane.example"), "http://plane.example/"));
        // How docker got what it stored is not known.
        assert!(of(None, "https://plane.example/") && of(None, "http://127.0.0.1:5050/"));
        assert!(!of(None, "http://plane.example/"));
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_errors_repeat_nothing_of_it() {
        let path = Path::new("logins.json");
        let mut logins = Logins::default();
        logins.put(&server("plane.example"), entry(Some("https://plane.example")));
        assert!(!format!("{logins:?}").contains("s3cret"));
        let text = serde_json::to_string(&logins).unwrap();
        let read = Logins::parse(Some(&text), path).unwrap();
        let kept = read.get(&server("plane.example")).unwrap();
        assert_eq!(kept.secret.expose_secret(), "s3cret");
        assert!(kept.has_ended(Timestamp::from_second(1000).unwrap()));
        assert!(!kept.has_ended(Timestamp::from_second(999).unwrap()));
        let cut = &text[..text.len() - 2];
        let failure = Logins::parse(Some(cut), path).unwrap_err();
        assert!(!failure.one_line().contains("s3cret"), "{failure:?}");
        let newer = text.replace("\"version\":1", "\"version\":2");
        assert!(Logins::parse(Some(&newer), path).unwrap_err().one_line().contains("version"));
    }
}
