//! Changing a file of users: what `lockgate users` does.

use crate::Error;
use crate::local::{self, TOKEN_PREFIX, Token, User, UsersFile, hash_password, hash_token};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a command waits for another one that changes the same file.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A file of users, read whole and written whole.
#[derive(Debug)]
pub struct UserFile {
    path: PathBuf,
    content: UsersFile,
}

/// What is shown of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserView {
    /// Their name.
    pub name: String,
    /// Whether they have a password.
    pub has_password: bool,
    /// Their groups.
    pub groups: Vec<String>,
    /// Their tokens.
    pub tokens: Vec<TokenView>,
}

/// What is shown of a robot token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// When it ends.
    pub expires: Timestamp,
    /// User, CI or Node.
    pub kind: String,
    /// What it may be used for; empty: all but administering.
    pub actions: Vec<String>,
    /// Where; empty: everywhere.
    pub repositories: Vec<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its id, unique in the file: letters, digits and dashes.
    pub id: String,
    /// When it ends.
    pub expires: Timestamp,
    /// User, CI or Node.
    pub kind: Option<String>,
    /// Actions it may be used for.
    pub actions: Vec<String>,
    /// Patterns of names.
    pub repositories: Vec<String>,
    /// What it is for.
    pub description: Option<String>,
}

impl UserFile {
    /// Reads a file; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read, or holds something wrong.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::file(path, error)),
        };
        local::parse(&bytes).map_err(|problem| Error::file(path, problem))?;
        let content = local::read(&bytes).map_err(|problem| Error::file(path, problem))?;
        Ok(Self { path: path.to_owned(), content })
    }

    /// Reads a file, changes it and writes it, alone: of two who do this at once, the second sees what the
    /// first has done. Blocks until others are done, for a while. The lock is a file beside it.
    ///
    /// # Errors
    /// When it cannot be read or written, somebody holds it too long, or the change says no.
    pub fn change<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _lock = lock(path)?;
        let mut file = Self::open(path)?;
        let result = change(&mut file)?;
        file.save()?;
        Ok(result)
    }

    /// What stands in it.
    pub fn list(&self) -> Vec<UserView> {
        let token = |token: &Token| TokenView {
            id: token.id.clone(),
            expires: token.expires,
            kind: token.kind.clone().unwrap_or_else(|| "User".to_owned()),
            actions: token.actions.clone(),
            repositories: token.repositories.clone(),
            description: token.description.clone(),
        };
        let user = |user: &User| UserView {
            name: user.name.clone(),
            has_password: user.password_hash.is_some(),
            groups: user.groups.clone(),
            tokens: user.tokens.iter().map(token).collect(),
        };
        self.content.users.iter().map(user).collect()
    }

    /// Adds a user without a password.
    ///
    /// # Errors
    /// When there is one of this name.
    pub fn add(&mut self, name: &str, groups: Vec<String>) -> Result<(), Error> {
        if self.content.users.iter().any(|user| user.name == name) {
            return Err(Error::User(format!("there is a user {name} already")));
        }
        self.content.users.push(User {
            name: name.to_owned(),
            password_hash: None,
            groups,
            attributes: Default::default(),
            tokens: Vec::new(),
        });
        Ok(())
    }

    /// Removes a user with all tokens.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&mut self, name: &str) -> Result<(), Error> {
        let before = self.content.users.len();
        self.content.users.retain(|user| user.name != name);
        if self.content.users.len() == before { Err(no_user(name)) } else { Ok(()) }
    }

    /// Sets a user's password.
    ///
    /// # Errors
    /// When there is no such user, or it is no password.
    pub fn set_password(&mut self, name: &str, password: &SecretString) -> Result<(), Error> {
        let hash = hash_password(password.expose_secret()).map_err(Error::User)?;
        self.user(name)?.password_hash = Some(hash);
        Ok(())
    }

    /// Makes a robot token; it is told this once.
    ///
    /// # Errors
    /// When there is no such user, or a token of this id.
    pub fn make_token(&mut self, name: &str, new: NewToken) -> Result<SecretString, Error> {
        let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if new.id.is_empty() || new.id.len() > 64 || !new.id.chars().all(is_id) {
            let problem = "the id of a token is 1 to 64 letters, digits and dashes";
            return Err(Error::User(problem.to_owned()));
        }
        let mut all = self.content.users.iter().flat_map(|user| &user.tokens);
        if all.any(|token| token.id == new.id) {
            return Err(Error::User(format!("there is a token {} already", new.id)));
        }
        let secret = format!("{TOKEN_PREFIX}{}_{}", new.id, random_text()?);
        let token = Token {
            hash: hash_token(&secret),
            id: new.id,
            expires: new.expires,
            description: new.description,
            kind: new.kind,
            actions: new.actions,
            repositories: new.repositories,
        };
        self.user(name)?.tokens.push(token);
        Ok(SecretString::from(secret))
    }

    /// Removes a robot token.
    ///
    /// # Errors
    /// When there is no such user or token.
    pub fn revoke(&mut self, name: &str, id: &str) -> Result<(), Error> {
        let user = self.user(name)?;
        let before = user.tokens.len();
        user.tokens.retain(|token| token.id != id);
        match user.tokens.len() == before {
            true => Err(Error::User(format!("user {name} has no token {id}"))),
            false => Ok(()),
        }
    }

    /// Writes the file, whole and for its owner alone, or not at all. For files that nobody else knows of:
    /// where others may change it too, [`UserFile::change`] is the way.
    ///
    /// # Errors
    /// When it cannot be written, or would hold something wrong.
    pub fn save(&self) -> Result<(), Error> {
        let failed = |problem: &dyn std::fmt::Display| Error::file(&self.path, problem);
        let text = serde_saphyr::to_string(&self.content).map_err(|error| failed(&error))?;
        local::parse(text.as_bytes()).map_err(Error::User)?;
        let mut part = self.path.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        // Of one who was killed; whoever holds the lock is alone.
        let _ = fs::remove_file(&part);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)
            .map_err(|error| failed(&error))?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| failed(&error))?;
        fs::rename(&part, &self.path).map_err(|error| failed(&error))?;
        if let Some(directory) = self.path.parent().filter(|it| !it.as_os_str().is_empty()) {
            let synced = File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn user(&mut self, name: &str) -> Result<&mut User, Error> {
        let mut all = self.content.users.iter_mut();
        all.find(|user| user.name == name).ok_or_else(|| no_user(name))
    }
}

/// The lock of a file of users, until it is dropped. Its file stays: whoever removed it would let two in.
fn lock(path: &Path) -> Result<File, Error> {
    let mut beside = path.to_owned().into_os_string();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&beside);
    let lock = opened.map_err(|error| Error::file(&beside, error))?;
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::file(path, "another command is changing it"));
            }
            Err(TryLockError::Error(error)) => return Err(Error::file(&beside, error)),
        }
    }
}

fn no_user(name: &str) -> Error {
    Error::User(format!("there is no user {name}"))
}

/// 40 letters and digits: more than 200 bits.
fn random_text() -> Result<String, Error> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(40);
    while text.len() < 40 {
        let mut bytes = [0; 64];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Key("no randomness".to_owned()))?;
        // What would make some letters likelier is left out.
        let even = bytes.iter().filter(|byte| **byte < 248);
        text.extend(
            even.map(|byte| char::from(LETTERS[usize::from(*byte) % 62])).take(40 - text.len()),
        );
    }
    Ok(text)
}
