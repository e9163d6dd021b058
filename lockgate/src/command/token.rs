//! `lockgate token`: an access token of a login, for programs that know no credential helper.

use crate::client::Api;
use crate::command::block_on;
use crate::command::login::plane_of;
use crate::exit::{Exit, Failure};
use crate::output::out;
use secrecy::ExposeSecret;
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  curl -H \"Authorization: Bearer $(lockgate token https://plane.example.com)\" \\\n    \
        https://plane.example.com/v2/_catalog\n  \
        ctr images pull --user \"token:$(lockgate token plane.example.com)\" plane.example.com/docker.io/library/alpine:3\n\n\
        It is good for five minutes. As a password, any user name goes with it."
)]
pub(crate) struct Args {
    /// The plane, as it was written for the login [default: LOCKGATE_PLANE]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// PEM file of further certificate authorities to trust
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        block_on(token(self))
    }
}

async fn token(args: Args) -> Result<Exit, Failure> {
    let named = args.url.or_else(|| std::env::var("LOCKGATE_PLANE").ok());
    let plane = plane_of(named.as_deref())?;
    let api = Api::at(&plane, args.ca_file.as_deref())?;
    let token = api.token().await?.ok_or_else(|| {
        Failure::no(format!("there is no login at {plane}"))
            .hint(format!("log in: `lockgate login {}`", plane.as_str().trim_end_matches('/')))
    })?;
    out(&format!("{}\n", token.expose_secret()));
    Ok(Exit::Yes)
}
