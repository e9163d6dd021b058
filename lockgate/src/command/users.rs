//! `lockgate users`: the file of an IdentityProvider with `local`: people, passwords, robot tokens.

use crate::exit::{Exit, Failure};
use crate::flags::{lasting, moment_after};
use crate::output::{self, clean, out, relative};
use identity::users::{NewToken, UserFile};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use std::io::{BufRead, IsTerminal, Read};
use std::path::PathBuf;

/// A password is a line, and no longer than this.
const PASSWORD_MAX_BYTES: u64 = 4096;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Adds a user
    Add(Add),
    /// Sets a user's password, read from standard input
    Passwd(User),
    /// Makes a robot token, which is printed once
    Token(Token),
    /// Lists users and tokens
    List(List),
    /// Removes a user with all tokens
    Remove(User),
    /// Removes a robot token
    Revoke(Revoke),
}

/// Which file.
#[derive(clap::Args, Debug)]
struct FileFlag {
    /// The file that spec.local.usersFile of the IdentityProvider names
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  lockgate users add alice --group team-shop --file users.yaml")]
pub(crate) struct Add {
    /// Name, without a colon
    name: String,
    /// A group the user is in; repeatable
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    #[command(flatten)]
    at: FileFlag,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  lockgate users passwd alice --file users.yaml < password.txt\n  \
        lockgate users remove alice --file users.yaml"
)]
pub(crate) struct User {
    /// Name
    name: String,
    #[command(flatten)]
    at: FileFlag,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  lockgate users token ci --id build-42 --expires 90d --kind CI \\\n    \
        --actions Pull,Push --repositories 'team/**' --file users.yaml\n\n\
        The token acts for its user and never for more. Only its hash is kept."
)]
pub(crate) struct Token {
    /// The user it acts for
    name: String,
    /// Id of the token, unique in the file
    #[arg(long, value_name = "ID")]
    id: String,
    /// How long it is good for, such as 90d
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    expires: String,
    /// What it stands for: User, CI or Node
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// What it may be used for [default: all but Administer]
    #[arg(long, value_name = "ACTION", value_delimiter = ',')]
    actions: Vec<String>,
    /// Patterns of names that it may be used for [default: all]
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    repositories: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    at: FileFlag,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  lockgate users list --file users.yaml")]
pub(crate) struct List {
    #[command(flatten)]
    at: FileFlag,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  lockgate users revoke ci build-42 --file users.yaml")]
pub(crate) struct Revoke {
    /// Name of the user
    name: String,
    /// Id of the token
    id: String,
    #[command(flatten)]
    at: FileFlag,
}

impl Command {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Add(args) => change(&args.at, |file| file.add(&args.name, args.group.clone())),
            Self::Passwd(args) => {
                let password = password()?;
                change(&args.at, |file| file.set_password(&args.name, &password))
            }
            Self::Token(args) => args.make(),
            Self::List(args) => list(&args),
            Self::Remove(args) => change(&args.at, |file| file.remove(&args.name)),
            Self::Revoke(args) => change(&args.at, |file| file.revoke(&args.name, &args.id)),
        }
    }
}

fn open(at: &FileFlag) -> Result<UserFile, Failure> {
    UserFile::open(&at.file)
        .map_err(|error| Failure::no("the users cannot be read").because(&error))
}

fn change(
    at: &FileFlag,
    change: impl FnOnce(&mut UserFile) -> Result<(), identity::Error>,
) -> Result<Exit, Failure> {
    changed(at, change).map(|()| Exit::Yes)
}

fn changed<T>(
    at: &FileFlag,
    change: impl FnOnce(&mut UserFile) -> Result<T, identity::Error>,
) -> Result<T, Failure> {
    UserFile::change(&at.file, change).map_err(|error| match error {
        identity::Error::User(text) => Failure::no(text),
        error => Failure::no("the users cannot be changed").because(&error),
    })
}

/// One line of standard input, which is no terminal: there everybody would see it.
fn password() -> Result<SecretString, Failure> {
    let stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        let hint = "read -rs PASSWORD && printf '%s' \"$PASSWORD\" | lockgate users passwd NAME --file FILE";
        return Err(Failure::usage("a terminal would show the password").hint(hint));
    }
    let mut line = String::new();
    let read = stdin.take(PASSWORD_MAX_BYTES + 1).read_line(&mut line);
    read.map_err(|error| Failure::no("no password can be read").because(&error))?;
    if line.len() as u64 > PASSWORD_MAX_BYTES {
        return Err(Failure::usage("the password is too long"));
    }
    let password = line.trim_end_matches(['\r', '\n']);
    match password.is_empty() {
        true => Err(Failure::usage("no password on standard input")),
        false => Ok(password.to_owned().into()),
    }
}

impl Token {
    fn make(self) -> Result<Exit, Failure> {
        let lasting = lasting("--expires", &self.expires)?;
        if lasting.as_secs() == 0 {
            return Err(Failure::usage("--expires: the token would end at once")
                .hint("say how long it is good for, such as 90d"));
        }
        let expires = moment_after(Timestamp::now(), "--expires", lasting)?;
        let new = NewToken {
            id: self.id,
            expires,
            kind: self.kind,
            actions: self.actions,
            repositories: self.repositories,
            description: self.description,
        };
        let token = changed(&self.at, |file| file.make_token(&self.name, new))?;
        output::headed(
            "note",
            output::CYAN,
            &format!("it ends at {expires} and is not shown again"),
        );
        out(&format!("{}\n", token.expose_secret()));
        Ok(Exit::Yes)
    }
}

fn list(args: &List) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let mut text = String::new();
    for user in open(&args.at)?.list() {
        let password = if user.has_password { "password" } else { "no password" };
        let groups = match user.groups.as_slice() {
            [] => String::new(),
            groups => format!(", in {}", clean(&groups.join(", "))),
        };
        text += &format!("{} ({password}{groups})\n", clean(&user.name));
        for token in user.tokens {
            let what = match token.actions.as_slice() {
                [] => "all but Administer".to_owned(),
                actions => clean(&actions.join(",")),
            };
            let place = match token.repositories.as_slice() {
                [] => String::new(),
                patterns => format!(" on {}", clean(&patterns.join(","))),
            };
            let ends = relative(token.expires, now);
            let (id, kind) = (clean(&token.id), clean(&token.kind));
            text += &format!("  token {id}: {kind}, {what}{place}, ends {ends}\n");
        }
    }
    out(&text);
    Ok(Exit::Yes)
}
