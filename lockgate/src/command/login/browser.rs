//! Opens an address in the user's browser, if there is one.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use url::Url;

/// Opens it; whether there is something that opens addresses. The browser lives on without us.
pub(super) fn open(url: &Url) -> bool {
    // A window cannot appear where there is no screen; over SSH it would be on another machine.
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_screen = cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    let opener = match std::env::var_os("BROWSER").filter(|value| !value.is_empty()) {
        Some(browser) => browser,
        None if !has_screen => return false,
        None if cfg!(target_os = "macos") => OsString::from("open"),
        None => OsString::from("xdg-open"),
    };
    // The address is one word of no shell.
    let mut command = Command::new(opener);
    command.arg(url.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // An interrupt in the terminal is for us.
    command.process_group(0).spawn().is_ok()
}
