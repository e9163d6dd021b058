//! Secrets that somebody gives: from standard input, or typed in at a terminal that does not show them.

use crate::exit::Failure;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

/// A password or a token is no longer than this.
const SECRET_MAX_BYTES: u64 = 64 << 10;

/// The secret on standard input, without the end of its line.
pub(super) fn from_stdin(what: &str) -> Result<SecretString, Failure> {
    let stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        let text = format!("a terminal would show the {what}");
        let hint = "give it by a pipe or a file; with --username alone, a password is asked for";
        return Err(Failure::usage(text).hint(hint));
    }
    let mut text = String::new();
    let read = stdin.take(SECRET_MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::no(format!("no {what} can be read")).because(&error))?;
    secret(&text, what)
}

fn secret(text: &str, what: &str) -> Result<SecretString, Failure> {
    if text.len() as u64 > SECRET_MAX_BYTES {
        return Err(Failure::usage(format!("the {what} is too long")));
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    match secret.is_empty() {
        true => Err(Failure::usage(format!("no {what} was given"))),
        false => Ok(secret.to_owned().into()),
    }
}

/// Asks at the terminal, which shows nothing meanwhile, and is put back however it ends.
pub(super) async fn from_terminal(username: &str, plane: &Url) -> Result<SecretString, Failure> {
    let open = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let mut terminal = open.map_err(|error| {
        Failure::usage("there is no terminal to ask for the password")
            .because(&error)
            .hint("give it by --password-stdin")
    })?;
    let cannot = |error: std::io::Error| Failure::no("the terminal cannot be used").because(&error);
    let silent = Silent::of(&terminal).map_err(cannot)?;
    let username = crate::output::clean(username);
    let host = plane.host_str().unwrap_or_default();
    write!(terminal, "password of {username} at {host}: ").map_err(cannot)?;
    let reader = terminal.try_clone().map_err(cannot)?;
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(reader.take(SECRET_MAX_BYTES + 1)).read_line(&mut line).map(|_| line)
    });
    let read = tokio::select! {
        read = line => read,
        interrupted = interrupted() => {
            interrupted.map_err(cannot)?;
            drop(silent);
            let _ = writeln!(terminal);
            return Err(Failure::no("interrupted"));
        }
    };
    drop(silent);
    // The end of the line was not shown, either.
    let _ = writeln!(terminal);
    let line = read.map_err(|error| Failure::no("the terminal cannot be read").because(&error))?;
    secret(&line.map_err(cannot)?, "password")
}

/// Waits for whatever would end the process, so that the terminal is put back before.
async fn interrupted() -> std::io::Result<()> {
    let (mut interrupt, mut quit) = (signal(SignalKind::interrupt())?, signal(SignalKind::quit())?);
    let (mut end, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = quit.recv() => {}
        _ = end.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// A terminal that shows nothing until this is dropped.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn of(terminal: &File) -> std::io::Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // What was typed ahead was shown: it is no password.
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn the_end_of_the_line_is_no_part_of_a_secret_and_blanks_are() {
        assert_eq!(secret(" a b \r\n", "password").unwrap().expose_secret(), " a b ");
        assert!(secret("\n", "password").is_err());
        assert!(secret(&"x".repeat(70_000), "password").is_err());
    }
}
