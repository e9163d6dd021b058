//! The artifact access plane for Kubernetes: the composition root and the subcommands.

mod archive;
mod cli;
mod client;
mod command;
mod exit;
mod flags;
mod logins;
mod output;
mod scratch;
mod serve;
mod settings;

use clap::Parser;
use clap::error::ErrorKind;
use exit::Exit;
use std::process::ExitCode;

/// Many short-lived buffers of very different sizes: it keeps less memory than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let exit = match cli::Cli::try_parse_from(cli::words(std::env::args_os())) {
        Ok(cli) => cli.command.run().unwrap_or_else(exit::Failure::report),
        Err(error) => {
            // What was asked for goes to standard output, a complaint to standard error.
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Yes,
                _ => Exit::Usage,
            }
        }
    };
    exit.into()
}
