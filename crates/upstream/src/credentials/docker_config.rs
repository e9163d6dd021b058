//! Docker's `config.json`: `auths`, `credHelpers` and `credsStore`, as docker itself reads them.

use super::Login;
use super::helper::Helper;
use crate::base64;
use crate::failure::Trouble;
use crate::stamped::StampedFile;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A `config.json` holds a few kilobytes; a megabyte is not one.
const BYTES_MAX: u64 = 1 << 20;

/// What docker calls Docker Hub in its configuration.
const HUB_KEY: &str = "https://index.docker.io/v1/";

#[derive(Debug)]
pub(super) struct DockerConfig {
    file: Arc<StampedFile>,
    /// By helper name. Bounded by what the operator's file names.
    helpers: Mutex<BTreeMap<String, Arc<Helper>>>,
}

/// Passwords stand in it, so it is never printed.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: SecretText,
    username: String,
    password: SecretText,
    identitytoken: SecretText,
}

/// A secret that may be left out.
#[derive(Clone, Default, Deserialize)]
struct SecretText(String);

impl Drop for SecretText {
    fn drop(&mut self) {
        // Moved into a `SecretString`, which wipes itself.
        drop(SecretString::from(std::mem::take(&mut self.0)));
    }
}

/// What the file says about a host.
enum Entry {
    Login(Login),
    Helper(String),
    Nothing,
}

impl DockerConfig {
    pub(super) fn new(path: &Path) -> Self {
        Self { file: StampedFile::new(path, BYTES_MAX), helpers: Mutex::default() }
    }

    /// The login for a host, and whether it is short-lived.
    pub(super) async fn resolve(&self, host: &str) -> Result<Option<(Login, bool)>, Trouble> {
        let held = self.file.read().await?;
        match entry(held.content.expose_secret(), host)? {
            Entry::Login(login) => Ok(Some((login, false))),
            Entry::Nothing => Ok(None),
            Entry::Helper(name) => {
                let login = self.helper(&name)?.get(key_of(host)).await?;
                Ok(login.map(|login| (login, true)))
            }
        }
    }

    pub(super) async fn forget(&self, host: &str) {
        let helpers: Vec<Arc<Helper>> = self.helpers.lock().values().cloned().collect();
        for helper in helpers {
            helper.forget(key_of(host)).await;
        }
    }

    fn helper(&self, name: &str) -> Result<Arc<Helper>, String> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.len() > 128 || !name.bytes().all(is_plain) {
            return Err("docker's config.json names a credential helper that is no name".to_owned());
        }
        let mut helpers = self.helpers.lock();
        let made = || Arc::new(Helper::new(&format!("docker-credential-{name}"), &[]));
        Ok(helpers.entry(name.to_owned()).or_insert_with(made).clone())
    }
}

/// The key under which docker stores a host's credentials.
pub(super) fn key_of(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => HUB_KEY,
        host => host,
    }
}

fn entry(content: &[u8], host: &str) -> Result<Entry, String> {
    // The parser's message could quote the file; its place says enough.
    let wire: Wire = serde_json::from_slice(content).map_err(|error| {
        format!(
            "docker's config.json is not valid (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    let key = key_of(host);
    let names = |text: &str| {
        let bare = text.trim_start_matches("https://").trim_start_matches("http://");
        let bare = bare.trim_end_matches('/');
        text == key
            || bare == host
            || bare.strip_suffix("/v1").or(bare.strip_suffix("/v2")) == Some(host)
    };
    if let Some((_, helper)) = wire.cred_helpers.iter().find(|(text, _)| names(text)) {
        return Ok(Entry::Helper(helper.clone()));
    }
    if let Some((_, auth)) = wire.auths.iter().find(|(text, _)| names(text))
        && let Some(login) = login(auth)?
    {
        return Ok(Entry::Login(login));
    }
    Ok(match wire.creds_store.is_empty() {
        true => Entry::Nothing,
        false => Entry::Helper(wire.creds_store),
    })
}

fn login(auth: &Auth) -> Result<Option<Login>, String> {
    if !auth.identitytoken.0.is_empty() {
        return Ok(Some(Login::IdentityToken(SecretString::from(auth.identitytoken.0.as_str()))));
    }
    if !auth.auth.0.is_empty() {
        let decoded = base64::decode(auth.auth.0.trim()).and_then(|b| String::from_utf8(b).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (username, password) =
            pair.ok_or("an `auth` of docker's config.json is not base64 of user:password")?;
        // Docker itself once wrote zero bytes after the password.
        let password = SecretString::from(password.trim_end_matches('\0'));
        return Ok(Some(Login::Password { username: username.to_owned(), password }));
    }
    if !auth.username.is_empty() {
        let password = SecretString::from(auth.password.0.as_str());
        return Ok(Some(Login::Password { username: auth.username.clone(), password }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(content: &str, host: &str) -> String {
        match entry(content.as_bytes(), host) {
            Ok(Entry::Login(Login::Password { username, password })) => {
                format!("{username}/{}", password.expose_secret())
            }
            Ok(Entry::Login(Login::IdentityToken(token))) => {
                format!("identity {}", token.expose_secret())
            }
            Ok(Entry::Login(Login::Token(_))) => "token".into(),
            Ok(Entry::Helper(name)) => format!("helper {name}"),
            Ok(Entry::Nothing) => "nothing".into(),
            Err(error) => error,
        }
    }

    #[test]
    fn finds_what_docker_would() {
        let config = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{}"}},"r.example:5000":{{"username":"u","password":"p"}},
            "https://v.example/v2/":{{"identitytoken":"it"}},"empty.example":{{}}}},
            "credHelpers":{{"h.example":"ecr-login"}},"credsStore":"desktop","HttpHeaders":{{"x":"y"}}}}"#,
            testkit::base64("me:pass:word")
        );
        assert_eq!(told(&config, "registry-1.docker.io"), "me/pass:word");
        assert_eq!(told(&config, "r.example:5000"), "u/p");
        assert_eq!(told(&config, "v.example"), "identity it");
        assert_eq!(told(&config, "h.example"), "helper ecr-login");
        assert_eq!(told(&config, "empty.example"), "helper desktop");
        assert_eq!(told(&config, "other.example"), "helper desktop");
        assert_eq!(told("{}", "other.example"), "nothing");
    }

    #[test]
    fn what_is_wrong_is_told_without_showing_it() {
        for content in
            ["hunter2", r#"{"auths":{"h":{"auth":"hunter2!"}}}"#, r#"{"auths":"hunter2"}"#]
        {
            let told = told(content, "h");
            assert!(told.contains("config.json") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_helper_is_a_name_not_a_path() {
        let config = DockerConfig::new(Path::new("/nonexistent"));
        assert!(config.helper("../../bin/sh").is_err());
        assert!(config.helper("a b").is_err());
        assert!(config.helper("gcr").is_ok());
    }
}
