//! `lockgate login --list`: who one is where, and for how long.

use crate::exit::{Exit, Failure};
use crate::logins::{Entry, Logins};
use crate::output::{clean, out, relative};
use jiff::Timestamp;

/// Prints one line for each login; no secret.
pub(super) fn list() -> Result<Exit, Failure> {
    let logins = Logins::read()?;
    let now = Timestamp::now();
    let text: String = logins.all().map(|(server, entry)| line(server, entry, now)).collect();
    out(&text);
    Ok(Exit::Yes)
}

fn line(server: &str, entry: &Entry, now: Timestamp) -> String {
    let server = clean(server);
    let Some(login) = &entry.login else {
        let name = match entry.is_identity_token() {
            true => "a token".to_owned(),
            false => clean(&entry.username),
        };
        return format!("{server}  {name}, kept by another client's login\n");
    };
    let by = login.provider.as_ref().map(|name| format!(" by {}", clean(name)));
    let ends = match login.expires {
        Some(at) if at <= now => format!(", ended {}", relative(at, now)),
        Some(at) => format!(", ends {}", relative(at, now)),
        None => String::new(),
    };
    format!("{server}  {}{}{ends}\n", clean(&login.who), by.unwrap_or_default())
}
