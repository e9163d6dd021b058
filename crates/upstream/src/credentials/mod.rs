//! Which credential speaks for a repository name, and what it says now. Secrets are read when they
//! are needed and followed when they change.

mod docker_config;
mod helper;

use crate::failure::Trouble;
use crate::settings::{CredentialKind, PrefixCredential};
use crate::stamped::{Held, StampedFile};
use docker_config::DockerConfig;
use helper::Helper;
use secrecy::{ExposeSecret, SecretString};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Passwords and tokens are not longer than this.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// What a credential amounts to.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    /// User name and password: for Basic, and for token services.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A token that is sent as it is.
    Token(SecretString),
    /// A refresh token that a token service takes (docker's "identity token").
    IdentityToken(SecretString),
}

/// A login as it stands now.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) login: Login,
    /// Differs whenever the secret does; tokens got with another secret are not used.
    pub(crate) version: u64,
    /// Whether it may have ended since it was got, and getting it again may help.
    pub(crate) is_short_lived: bool,
}

/// The credentials of an upstream.
#[derive(Debug)]
pub(crate) struct Credentials {
    entries: Vec<Entry>,
    hashing: RandomState,
}

#[derive(Debug)]
struct Entry {
    prefix: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Basic { username: String, password: Arc<StampedFile> },
    Bearer(Arc<StampedFile>),
    DockerConfig(DockerConfig),
    Helper(Helper),
}

impl Credentials {
    pub(crate) fn new(settings: &[PrefixCredential]) -> Self {
        let entry = |credential: &PrefixCredential| Entry {
            prefix: credential.prefix.clone(),
            source: source(&credential.kind),
        };
        Self { entries: settings.iter().map(entry).collect(), hashing: RandomState::new() }
    }

    /// The credential for a name of the upstream: the one with the longest prefix of it.
    pub(crate) fn covering(&self, repository: &str) -> Option<usize> {
        let covering = self.entries.iter().enumerate();
        let covering = covering.filter(|(_, entry)| repository.starts_with(&entry.prefix));
        covering.max_by_key(|(_, entry)| entry.prefix.len()).map(|(index, _)| index)
    }

    /// All credentials, for a look at each.
    pub(crate) fn all(&self) -> std::ops::Range<usize> {
        0..self.entries.len()
    }

    /// The prefix of a credential as people see it: `*` for the empty one.
    pub(crate) fn scope(&self, index: usize) -> String {
        match self.entries[index].prefix.as_str() {
            "" => "*".to_owned(),
            prefix => prefix.to_owned(),
        }
    }

    /// What credential `index` says now for the registry known as `host` in docker's terms. `None`
    /// if it has nothing for that host. The error is one line without secrets.
    pub(crate) async fn resolve(
        &self,
        index: usize,
        host: &str,
    ) -> Result<Option<Resolved>, Trouble> {
        let found = match &self.entries[index].source {
            Source::Basic { username, password } => {
                let password = secret_text(&password.read().await?)?;
                let login = Login::Password { username: username.clone(), password };
                Some((login, false))
            }
            Source::Bearer(file) => Some((Login::Token(secret_text(&file.read().await?)?), true)),
            Source::DockerConfig(config) => config.resolve(host).await?,
            Source::Helper(helper) => {
                helper.get(docker_config::key_of(host)).await?.map(|login| (login, true))
            }
        };
        Ok(found.map(|(login, is_short_lived)| {
            let version = self.version(&login);
            Resolved { login, version, is_short_lived }
        }))
    }

    /// A registry refused what `resolve` gave: whatever is remembered of it is asked for again.
    pub(crate) async fn forget(&self, index: usize, host: &str) {
        match &self.entries[index].source {
            Source::Helper(helper) => helper.forget(docker_config::key_of(host)).await,
            Source::DockerConfig(config) => config.forget(host).await,
            Source::Basic { .. } | Source::Bearer(_) => {}
        }
    }

    fn version(&self, login: &Login) -> u64 {
        match login {
            Login::Password { username, password } => {
                self.hashing.hash_one((0, username, password.expose_secret()))
            }
            Login::Token(token) => self.hashing.hash_one((1, token.expose_secret())),
            Login::IdentityToken(token) => self.hashing.hash_one((2, token.expose_secret())),
        }
    }
}

fn source(kind: &CredentialKind) -> Source {
    let secret = |path| StampedFile::new(path, SECRET_BYTES_MAX);
    let helper = |command: &Option<String>, usual: &str| {
        Source::Helper(Helper::new(command.as_deref().unwrap_or(usual), &[]))
    };
    match kind {
        CredentialKind::Basic { username, password_file } => {
            Source::Basic { username: username.clone(), password: secret(password_file) }
        }
        CredentialKind::Bearer { token_file } => Source::Bearer(secret(token_file)),
        CredentialKind::DockerConfig { file } => Source::DockerConfig(DockerConfig::new(file)),
        CredentialKind::Exec { command, args } => Source::Helper(Helper::new(command, args)),
        CredentialKind::Ecr { command } => helper(command, "docker-credential-ecr-login"),
        CredentialKind::Gcp { command } => helper(command, "docker-credential-gcr"),
        CredentialKind::Azure { command } => helper(command, "docker-credential-acr-env"),
    }
}

/// The text of a secret file, without the line end that editors add.
fn secret_text(held: &Held) -> Result<SecretString, String> {
    let text = std::str::from_utf8(held.content.expose_secret())
        .map_err(|_| "the file of a credential is not UTF-8 text".to_owned())?;
    let text = text.trim_end_matches(['\n', '\r']);
    match text.is_empty() {
        true => Err("the file of a credential is empty".to_owned()),
        false => Ok(SecretString::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn credentials(prefixes: &[&str]) -> Credentials {
        let kind = CredentialKind::Bearer { token_file: PathBuf::from("/nonexistent") };
        let all = prefixes.iter();
        let all = all.map(|p| PrefixCredential { prefix: (*p).to_owned(), kind: kind.clone() });
        Credentials::new(&all.collect::<Vec<_>>())
    }

    #[test]
    fn the_longest_prefix_wins() {
        let some = credentials(&["", "corp/", "corp/secret"]);
        let scope = |name: &str| some.covering(name).map(|index| some.scope(index));
        assert_eq!(scope("library/nginx").as_deref(), Some("*"));
        assert_eq!(scope("corp").as_deref(), Some("*"));
        assert_eq!(scope("corporate/x").as_deref(), Some("*"));
        assert_eq!(scope("corp/x").as_deref(), Some("corp/"));
        assert_eq!(scope("corp/secrets/x").as_deref(), Some("corp/secret"));
        assert_eq!(credentials(&["corp/"]).covering("other/x"), None);
    }

    #[tokio::test]
    async fn a_missing_file_is_told_and_a_version_follows_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let kind = CredentialKind::Basic { username: "me".into(), password_file: path.clone() };
        let settings = [PrefixCredential { prefix: String::new(), kind }];
        let missing = Credentials::new(&settings).resolve(0, "h").await.unwrap_err();
        assert!(matches!(&missing, Trouble::Inner(_)), "a path is not for clients");
        assert!(missing.detail().contains("password"));
        let resolve = async |text: &str| {
            std::fs::write(&path, text).unwrap();
            let credentials =
                Credentials { hashing: RandomState::new(), ..Credentials::new(&settings) };
            credentials.resolve(0, "h").await
        };
        let resolved = resolve("hunter2\n").await.unwrap().unwrap();
        let Login::Password { username, password } = &resolved.login else { panic!() };
        assert_eq!((username.as_str(), password.expose_secret()), ("me", "hunter2"));
        assert!(!format!("{resolved:?}").contains("hunter2"));
        assert!(resolve("\n").await.unwrap_err().detail().contains("empty"));
    }
}
