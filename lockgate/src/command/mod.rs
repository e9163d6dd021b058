//! The subcommands that ask or tell; `serve` has a module of its own.

pub(crate) mod adopt;
pub(crate) mod backup;
pub(crate) mod cache;
pub(crate) mod catalog;
pub(crate) mod check;
pub(crate) mod client_config;
pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod credential_provider;
pub(crate) mod docker_credential;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod freeze;
pub(crate) mod gc;
pub(crate) mod import;
pub(crate) mod login;
pub(crate) mod logout;
mod offline;
pub(crate) mod policy;
pub(crate) mod prefetch;
pub(crate) mod restore;
pub(crate) mod revision;
pub(crate) mod store;
pub(crate) mod token;
pub(crate) mod users;
pub(crate) mod waiver;
pub(crate) mod why;

use crate::exit::{Exit, Failure};

/// Runs a command that waits for answers on a runtime of one thread.
pub(crate) fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::cannot_tell("cannot start the runtime").because(&error))?;
    let result = runtime.block_on(work);
    // A task may still hang in name resolution; nobody waits for it.
    runtime.shutdown_background();
    result
}
