//! `lockgate logout`: forgets what `lockgate login`, or a client's own login, kept.

use crate::command::login::plane_of;
use crate::exit::{Exit, Failure};
use crate::logins::{Logins, Server};
use crate::output::say;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  lockgate logout https://plane.example.com\n  \
        lockgate logout --all\n\n\
        Only this machine forgets it. A refresh token that somebody copied works until its end, twelve\n\
        hours after the login.")]
pub(crate) struct Args {
    /// The plane, as it was written for the login [default: LOCKGATE_PLANE]
    #[arg(value_name = "URL", conflicts_with = "all")]
    url: Option<String>,
    /// Forgets all logins
    #[arg(long)]
    all: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if self.all {
            let count = Logins::change(Logins::clear)?;
            say(&format!("{count} forgotten"));
            return Ok(Exit::Yes);
        }
        let named = self.url.or_else(|| std::env::var("LOCKGATE_PLANE").ok());
        let url = plane_of(named.as_deref())?;
        let server = Server::of(&url)?;
        let name = server.as_str();
        if !Logins::change(|logins| logins.remove(&server))? {
            return Err(Failure::no(format!("there is no login at {name}"))
                .hint("`lockgate login --list` shows them"));
        }
        say(&format!("the login at {name} is forgotten"));
        Ok(Exit::Yes)
    }
}
