//! What a person sees when the plane listens: where, what it serves, and what to try.

use crate::output;
use crate::settings::{LogFormat, Settings};
use edge::server::{Address, ListenerInfo};
use plane::View;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Repositories shown; more are counted.
const SHOWN_MAX: usize = 20;

/// Says it on standard error: as text for people, as one event where programs read the log.
pub(super) fn announce(settings: &Settings, listeners: &[Arc<ListenerInfo>], view: &View) {
    let urls: Vec<String> = listeners.iter().filter_map(|listener| url(listener)).collect();
    warn_of_nobody(listeners, view);
    let data_dir = settings.data_dir();
    if settings.log.format == LogFormat::Json {
        let repositories = view.served().count();
        tracing::info!(
            listen = urls.join(" "),
            repositories,
            data_dir = %data_dir.display(),
            revision = %view.revision(),
            source = view.source(),
            "serving"
        );
        return;
    }
    let served: Vec<(String, Vec<String>)> =
        view.served().map(|(path, hosts, _)| (path.to_string(), hosts.to_vec())).collect();
    let mut text = format!("lockgate {}\n", crate::cli::version());
    text.push_str(&format!("  listens on  {}\n", urls.join(", ")));
    text.push_str(&format!("  data in     {}\n", data_dir.display()));
    let revision: String = view.revision().hex().chars().take(12).collect();
    text.push_str(&format!("  resources   {}, revision {revision}\n", view.source()));
    text.push_str("  serves\n");
    text.push_str(&repositories(&served));
    if let Some((listener, address)) = to_ask(listeners) {
        let is_loopback = is_loopback(listener) == Some(true);
        let may_pull = |name: &str| view.lets_pull(name, address.ip(), is_loopback);
        text.push_str("  try\n");
        text.push_str(&to_try(&address.to_string(), !listener.tls, &served, may_pull));
    }
    output::say(text.trim_end());
}

fn repositories(served: &[(String, Vec<String>)]) -> String {
    let mut text = String::new();
    for (path, hosts) in served.iter().take(SHOWN_MAX) {
        let others: Vec<&str> =
            hosts.iter().map(String::as_str).filter(|host| host != path).collect();
        let also = if others.is_empty() {
            String::new()
        } else {
            format!("  (also {})", others.join(", "))
        };
        text.push_str(&format!("    {path}/…{also}\n"));
    }
    if served.len() > SHOWN_MAX {
        text.push_str(&format!("    and {} more\n", served.len() - SHOWN_MAX));
    }
    text
}

/// Commands for a repository that whoever reads this may pull from, if there is one.
fn to_try(
    address: &str,
    is_plain: bool,
    served: &[(String, Vec<String>)],
    may_pull: impl Fn(&str) -> bool,
) -> String {
    const KNOWN: &str = "docker.io/library/alpine";
    let is_known = served.iter().any(|(path, _)| path == "docker.io");
    // What a rule for some of its names says of others is not asked.
    let is_open = |(path, _): &&(String, Vec<String>)| {
        may_pull(&format!("{path}/name")) || may_pull(&format!("{path}/team/name"))
    };
    let open = served.iter().find(is_open);
    let image = match (open, served.first()) {
        _ if is_known && may_pull(KNOWN) => format!("{KNOWN}:3"),
        (Some((path, _)), _) => format!("{path}/NAME:TAG"),
        (None, _) if is_known => format!("{KNOWN}:3"),
        (None, first) => first.map_or_else(String::new, |(path, _)| format!("{path}/NAME:TAG")),
    };
    let flag = if is_plain { "--tls-verify=false " } else { "" };
    format!(
        "    docker pull {address}/{image}\n    crictl pull {address}/{image}\n    \
         skopeo inspect {flag}docker://{address}/{image}\n"
    )
}

/// A plane that serves nobody looks like one that is broken.
fn warn_of_nobody(listeners: &[Arc<ListenerInfo>], view: &View) {
    if let Some(text) = nobody(listeners, view.set().access_policies().next().is_some()) {
        tracing::warn!("{text}");
    }
}

fn nobody(listeners: &[Arc<ListenerInfo>], has_policy: bool) -> Option<String> {
    let open = listeners.iter().find(|listener| is_loopback(listener) == Some(false))?;
    if has_policy {
        return None;
    }
    let Address::Tcp(address) = open.address else { return None };
    let but = match listeners.iter().any(|listener| is_loopback(listener) == Some(true)) {
        true => "clients of the loopback listener",
        false => "whoever may open the socket in the data directory",
    };
    Some(format!("nobody but {but} may pull, so {address} serves nobody: write an AccessPolicy"))
}

/// Whether a listener is for this machine alone; `None`: the socket.
fn is_loopback(listener: &ListenerInfo) -> Option<bool> {
    let Address::Tcp(address) = listener.address else { return None };
    Some(address.ip().to_canonical().is_loopback())
}

fn url(listener: &ListenerInfo) -> Option<String> {
    let Address::Tcp(address) = listener.address else { return None };
    Some(format!("{}://{address}", if listener.tls { "https" } else { "http" }))
}

/// The listener to try, and where: one for this machine if there is one, because access may open
/// that alone.
fn to_ask(listeners: &[Arc<ListenerInfo>]) -> Option<(&ListenerInfo, SocketAddr)> {
    let local = listeners.iter().find(|listener| is_loopback(listener) == Some(true));
    local
        .into_iter()
        .chain(listeners)
        .find_map(|listener| Some((&**listener, reachable(listener)?)))
}

/// An address to try from this machine: one that means "any" is no place to go to.
fn reachable(listener: &ListenerInfo) -> Option<SocketAddr> {
    let Address::Tcp(mut address) = listener.address else { return None };
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_fit_what_is_served() {
        let hub = [("docker.io".to_owned(), vec!["docker.io".to_owned()])];
        let text = to_try("127.0.0.1:5050", true, &hub, |_| true);
        assert!(text.contains("docker pull 127.0.0.1:5050/docker.io/library/alpine:3\n"));
        assert!(text.contains("skopeo inspect --tls-verify=false docker://127.0.0.1:5050/"));
        let own = [("corp".to_owned(), Vec::new())];
        let text = to_try("h:1", false, &own, |_| true);
        assert!(text.contains("skopeo inspect docker://h:1/corp/NAME:TAG"));
        // Where access opens only one of them, that one is tried.
        let both = [&hub[..], &own[..]].concat();
        let text = to_try("h:1", false, &both, |name| name.starts_with("corp/"));
        assert!(text.contains("docker pull h:1/corp/NAME:TAG"), "{text}");
        let text = to_try("h:1", false, &both, |_| false);
        assert!(text.contains("docker pull h:1/docker.io/library/alpine:3"), "{text}");
        let many: Vec<_> = (0..25).map(|n| (format!("r{n}"), vec!["h".to_owned()])).collect();
        let text = repositories(&many);
        assert!(text.contains("    r0/…  (also h)\n") && text.ends_with("and 5 more\n"), "{text}");
    }
}
