//! Local users: passwords, and robot tokens of which only a hash is kept.

mod passwords;

pub(crate) use passwords::{Passwords, hash_password};

use crate::IdentifyError;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use policy::{Action, Identity, NamePattern, PrincipalKind, TokenScope};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// What robot tokens begin with.
pub(crate) const TOKEN_PREFIX: &str = "lgt_";
/// Which robot token somebody showed.
const TOKEN_ATTRIBUTE: &str = "token";
/// Groups of one user, attributes of one user, and bytes of each.
const GROUPS_MAX: usize = 256;
const ATTRIBUTES_MAX: usize = 64;
const TEXT_MAX_BYTES: usize = 1024;
/// Users of one file.
const USERS_MAX: usize = 10_000;
/// Tokens of one user.
const TOKENS_MAX: usize = 1000;

/// A file of users, as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UsersFile {
    #[serde(default)]
    pub(crate) users: Vec<User>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) name: String,
    /// argon2id, in PHC form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attributes: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tokens: Vec<Token>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Token {
    pub(crate) id: String,
    /// `sha256:<hex>` of the whole token.
    pub(crate) hash: String,
    pub(crate) expires: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// User, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) actions: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) repositories: Vec<String>,
}

/// Users by name, tokens by id, checked.
pub(crate) struct Users {
    users: HashMap<String, User>,
    tokens: HashMap<String, Robot>,
}

struct Robot {
    user: String,
    hash: String,
    expires: Timestamp,
    kind: PrincipalKind,
    scope: Option<TokenScope>,
}

/// Reads a file of users; anything wrong in it is an error, since a rule that is not read is not kept.
pub(crate) fn parse(bytes: &[u8]) -> Result<Users, String> {
    let file = read(bytes)?;
    if file.users.len() > USERS_MAX {
        return Err(format!("more than {USERS_MAX} users"));
    }
    let (mut users, mut tokens) = (HashMap::new(), HashMap::new());
    for user in file.users {
        let is_odd = |c: char| c == ':' || c.is_control();
        if user.name.is_empty() || user.name.contains(is_odd) || user.name.len() > 256 {
            return Err(format!(
                "{:?} is no name of a user: 1 to 256 letters without `:`",
                user.name
            ));
        }
        check(&user).map_err(|problem| format!("user {}: {problem}", user.name))?;
        for token in &user.tokens {
            let robot = robot(&user, token)?;
            if tokens.insert(token.id.clone(), robot).is_some() {
                return Err(format!("token id {} stands twice", token.id));
            }
        }
        let name = user.name.clone();
        if users.insert(name.clone(), user).is_some() {
            return Err(format!("user {name} stands twice"));
        }
    }
    Ok(Users { users, tokens })
}

/// What is wrong with a user besides their name and tokens.
fn check(user: &User) -> Result<(), String> {
    let is_text = |text: &String| !text.is_empty() && text.len() <= TEXT_MAX_BYTES;
    if user.groups.len() > GROUPS_MAX || !user.groups.iter().all(is_text) {
        return Err(format!("at most {GROUPS_MAX} groups of 1 to {TEXT_MAX_BYTES} bytes"));
    }
    let mut texts = user.attributes.iter().flat_map(|(key, value)| [key, value]);
    if user.attributes.len() > ATTRIBUTES_MAX || !texts.all(is_text) {
        return Err(format!("at most {ATTRIBUTES_MAX} attributes of 1 to {TEXT_MAX_BYTES} bytes"));
    }
    if user.tokens.len() > TOKENS_MAX {
        return Err(format!("more than {TOKENS_MAX} tokens"));
    }
    match &user.password_hash {
        Some(hash) => passwords::check_hash(hash),
        None => Ok(()),
    }
}

pub(crate) fn read(bytes: &[u8]) -> Result<UsersFile, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
    if text.trim().is_empty() {
        return Ok(UsersFile::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        // The library shows the line, in which a hash may stand.
        let first = error.to_string();
        format!("not a list of users: {}", first.lines().next().unwrap_or_default())
    })
}

fn robot(user: &User, token: &Token) -> Result<Robot, String> {
    let at = |problem: String| format!("token {} of user {}: {problem}", token.id, user.name);
    let is_hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if !token.hash.strip_prefix("sha256:").is_some_and(is_hex) {
        return Err(at("its hash is not sha256:<64 hex digits>".to_owned()));
    }
    let kind = match token.kind.as_deref() {
        None | Some("User") => PrincipalKind::User,
        Some("CI") => PrincipalKind::CI,
        Some("Node") => PrincipalKind::Node,
        Some(other) => return Err(at(format!("kind {other:?} is none of User, CI, Node"))),
    };
    let mut actions = Vec::new();
    for text in &token.actions {
        let action = Action::ALL.into_iter().find(|it| it.as_str() == text);
        actions.push(action.ok_or_else(|| at(format!("there is no action {text:?}")))?);
    }
    if actions.is_empty() {
        // All but administering: a token for that says so.
        actions.extend(Action::ALL.into_iter().filter(|it| *it != Action::Administer));
    }
    let repositories = token.repositories.iter().map(|text| NamePattern::parse(text));
    let repositories =
        repositories.collect::<Result<Vec<_>, _>>().map_err(|error| at(error.to_string()))?;
    Ok(Robot {
        user: user.name.clone(),
        hash: token.hash.to_ascii_lowercase(),
        expires: token.expires,
        kind,
        scope: Some(TokenScope { actions, repositories }),
    })
}

impl Users {
    /// The hash of a user's password; `None`: there is no such user, or they have none.
    pub(crate) fn password_hash(&self, name: &str) -> Option<&str> {
        self.users.get(name)?.password_hash.as_deref()
    }

    /// Whether a user is still there, and the robot token that they showed, if it was one.
    pub(crate) fn still_has(&self, identity: &Identity) -> bool {
        if !self.users.contains_key(identity.name()) {
            return false;
        }
        match (identity.scope(), identity.attribute(TOKEN_ATTRIBUTE)) {
            (Some(_), Some(id)) => {
                self.tokens.get(id).is_some_and(|robot| robot.user == identity.name())
            }
            _ => true,
        }
    }

    /// A user who showed their password.
    pub(crate) fn person(&self, provider: &str, name: &str) -> Option<Identity> {
        let user = self.users.get(name)?;
        Some(identity(PrincipalKind::User, provider, user))
    }

    /// Whoever shows a robot token.
    pub(crate) fn robot(
        &self,
        provider: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<Identity, IdentifyError> {
        let wrong = || IdentifyError::wrong("the robot token is not known");
        let id = id_of(token).ok_or_else(wrong)?;
        let robot = self.tokens.get(id).ok_or_else(wrong)?;
        let hash = hash_token(token);
        verify_slices_are_equal(hash.as_bytes(), robot.hash.as_bytes()).map_err(|_| wrong())?;
        if robot.expires <= now {
            let reason = format!("the robot token expired at {}; make a new one", robot.expires);
            return Err(IdentifyError::wrong(reason));
        }
        let user = self.users.get(&robot.user).ok_or_else(wrong)?;
        // It acts for its user, and never for more.
        let named = identity(robot.kind, provider, user).with_attribute(TOKEN_ATTRIBUTE, id);
        Ok(named.with_scope(robot.scope.clone()).with_expires(Some(robot.expires)))
    }
}

fn identity(kind: PrincipalKind, provider: &str, user: &User) -> Identity {
    Identity::new(kind, provider, provider, &user.name)
        .with_groups(user.groups.clone())
        .with_attributes(user.attributes.clone())
}

/// The id in a token: `lgt_<id>_<secret>`.
fn id_of(token: &str) -> Option<&str> {
    let (id, secret) = token.strip_prefix(TOKEN_PREFIX)?.rsplit_once('_')?;
    (!id.is_empty() && secret.len() >= 32).then_some(id)
}

/// `sha256:<hex>` of a token. The secret is random, so that nothing slower is needed.
pub(crate) fn hash_token(token: &str) -> String {
    let digest = digest(&SHA256, token.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
