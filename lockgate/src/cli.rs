//! The command line: what can be said, and what each word does.

use crate::command::{
    adopt, backup, cache, catalog, check, client_config, config, copy, credential_provider,
    docker_credential, doctor, export, freeze, gc, import, login, logout, policy, prefetch,
    restore, revision, store, token, users, waiver, why,
};
use crate::exit::{Exit, Failure};
use crate::serve;
use clap::{Parser, Subcommand};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::LazyLock;

static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("LOCKGATE_COMMIT") {
    Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
    None => env!("CARGO_PKG_VERSION").to_owned(),
});

/// The version, and the commit if the builder told it.
pub(crate) fn version() -> &'static str {
    VERSION.as_str()
}

/// The artifact access plane for Kubernetes: one registry endpoint in front of all others, that
/// decides every request before the first byte and downloads each layer once.
#[derive(Parser, Debug)]
#[command(
    name = "lockgate",
    version = version(),
    after_help = "Start here:\n  lockgate serve\n  docker pull 127.0.0.1:5050/docker.io/library/alpine:3\n\n\
        Exit status: 0 yes or done, 1 no, refused or different, 2 cannot tell, 64 wrong use."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Runs the plane
    Serve(serve::Args),
    /// Checks, prints and describes settings and resources
    #[command(subcommand)]
    Config(config::Command),
    /// Sets of resources that were in force: list, compare, go back
    #[command(subcommand)]
    Revision(revision::Command),
    /// What the cache holds: list, count, pin, purge, verify
    #[command(subcommand)]
    Cache(cache::Command),
    /// Takes away what hosted repositories hold and nothing needs, or tells what that would be
    Gc(gc::Args),
    /// Where blobs lie: list the places, bring blobs to another
    #[command(subcommand)]
    Store(store::Command),
    /// Fetches images before anybody asks for them
    Prefetch(prefetch::Args),
    /// Writes images and what refers to them into a file, for a site without a network
    Export(export::Args),
    /// Pushes the images of such a file into hosted repositories
    Import(import::Args),
    /// Makes hosted what the cache holds of a remote repository, so that it outlives its upstream
    Adopt(adopt::Args),
    /// Copies repositories of another registry, with all tags and referrers, into a hosted one
    Copy(copy::Args),
    /// Writes a backup: the catalog, resources, keys, and a list of the blobs
    Backup(backup::Args),
    /// Goes back to a backup, and tells what is not in the store any more
    Restore(restore::Args),
    /// The catalog of a plane that does not run
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Tells what a pull or a push would be answered, and by which rules
    Check(check::Args),
    /// Tells what a decision was about, by the id in a refusal or in Lockgate-Decision
    Why(why::Args),
    /// Exceptions: ask for one, list them
    #[command(subcommand)]
    Waiver(waiver::Command),
    /// Writes the Block by which an upstream gives what it gave before, and nothing new
    Freeze(freeze::Args),
    /// Tests policies like code
    #[command(subcommand)]
    Policy(policy::Command),
    /// Users and robot tokens in a file
    #[command(subcommand)]
    Users(users::Command),
    /// Logs in at a plane: in a browser, by a code on another device, a password, or a CI job's token
    Login(login::Args),
    /// Forgets a login
    Logout(logout::Args),
    /// Prints an access token of a login, for programs that know no credential helper
    Token(token::Args),
    /// The credential helper of docker, podman, skopeo, crane, oras and helm: shows them the login
    #[command(subcommand)]
    DockerCredential(docker_credential::Command),
    /// The kubelet's image credential provider: shows the plane who a pod is
    CredentialProvider(credential_provider::Args),
    /// Prints a file that makes a container engine pull through the plane
    ClientConfig(client_config::Args),
    /// Looks for what is wrong or soon will be, and says what to do
    Doctor(doctor::Args),
}

/// The words of the command line. Called by the name of a helper, as engines do, its subcommand is put in.
pub(crate) fn words(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    let name = words.first().map(Path::new).and_then(Path::file_stem).and_then(OsStr::to_str);
    let subcommand = match name {
        Some("lockgate-credential-provider") => Some("credential-provider"),
        Some("docker-credential-lockgate") => Some("docker-credential"),
        _ => None,
    };
    if let Some(subcommand) = subcommand {
        words.insert(1, subcommand.into());
    }
    words
}

impl Command {
    /// Runs the command to its end.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Serve(args) => args.run(),
            Self::Config(command) => command.run(),
            Self::Revision(command) => command.run(),
            Self::Cache(command) => command.run(),
            Self::Gc(args) => args.run(),
            Self::Store(command) => command.run(),
            Self::Prefetch(args) => args.run(),
            Self::Export(args) => args.run(),
            Self::Import(args) => args.run(),
            Self::Adopt(args) => args.run(),
            Self::Copy(args) => args.run(),
            Self::Backup(args) => args.run(),
            Self::Restore(args) => args.run(),
            Self::Catalog(command) => command.run(),
            Self::Check(args) => args.run(),
            Self::Why(args) => args.run(),
            Self::Waiver(command) => command.run(),
            Self::Freeze(args) => args.run(),
            Self::Policy(command) => command.run(),
            Self::Users(command) => command.run(),
            Self::Login(args) => args.run(),
            Self::Logout(args) => args.run(),
            Self::Token(args) => args.run(),
            Self::DockerCredential(command) => command.run(),
            Self::CredentialProvider(args) => args.run(),
            Self::ClientConfig(args) => args.run(),
            Self::Doctor(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn walk(command: &clap::Command, path: &str, visit: &mut dyn FnMut(&clap::Command, &str)) {
        visit(command, path);
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            walk(inner, &format!("{path} {}", inner.get_name()), visit);
        }
    }

    #[test]
    fn the_command_line_is_consistent_and_explains_every_flag() {
        let command = Cli::command();
        command.clone().debug_assert();
        walk(&command, "lockgate", &mut |command, path| {
            assert!(command.get_about().is_some(), "{path} is not explained");
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path} {} is not explained",
                    argument.get_id()
                );
            }
            if command.get_subcommands().next().is_none() {
                assert!(command.get_after_help().is_some(), "{path} has no example");
            }
        });
    }

    #[test]
    fn the_reference_names_every_command_and_flag() {
        let reference = include_str!("../../docs/reference/cli.md");
        walk(&Cli::command(), "lockgate", &mut |command, path| {
            assert!(reference.contains(&format!("`{path}")), "cli.md does not name {path}");
            for argument in command.get_arguments() {
                if let Some(long) =
                    argument.get_long().filter(|long| !["help", "version"].contains(long))
                {
                    assert!(
                        reference.contains(&format!("--{long}")),
                        "cli.md: no --{long} of {path}"
                    );
                }
            }
        });
    }
}
