//! What a person sees when the plane listens: where, what it serves, and what to try.

use crate::output;
use crate::settings::{LogFormat, Settings};
use edge::server::{Address, ListenerInfo};
use plane::View;
use resources::v1alpha1::RepositorySpec;
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
        let repositories = view.set().repositories().count();
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
    let served: Vec<Shown> = view
        .set()
        .repositories()
        .map(|(document, spec)| Shown::of(document.name(), spec))
        .collect();
    let mut text = format!("lockgate {}\n", crate::cli::version());
    text.push_str(&format!("  listens on  {}\n", urls.join(", ")));
    text.push_str(&format!("  data in     {}\n", data_dir.display()));
    let revision: String = view.revision().hex().chars().take(12).collect();
    text.push_str(&format!("  resources   {}, revision {revision}\n", view.source()));
    text.push_str("  serves\n");
    text.push_str(&repositories(&served));
    if let Some((listener, address)) = to_ask(listeners) {
        let is_loopback = is_loopback(listener) == Some(true);
        let may = |what: Try, name: &str| match what {
            Try::Pull => view.lets_pull(name, address.ip(), is_loopback),
            Try::Push => view.lets_push(name, address.ip(), is_loopback),
        };
        text.push_str("  try\n");
        text.push_str(&to_try(&address.to_string(), !listener.tls, &served, may));
    }
    output::say(text.trim_end());
}

/// A repository as it is shown.
#[derive(Clone)]
struct Shown {
    path: String,
    hosts: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Remote,
    Hosted,
    Virtual,
}

/// What a person may try.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Try {
    Pull,
    Push,
}

impl Shown {
    fn of(name: &str, spec: &RepositorySpec) -> Self {
        let kind = match (&spec.hosted, &spec.r#virtual) {
            (Some(_), _) => Kind::Hosted,
            (_, Some(_)) => Kind::Virtual,
            _ => Kind::Remote,
        };
        let path = spec.path.as_ref().map_or(name, |path| path.as_str()).to_owned();
        let hosts = spec.hosts.iter().map(|host| host.as_str().to_owned()).collect();
        Self { path, hosts, kind }
    }
}

fn repositories(served: &[Shown]) -> String {
    let mut text = String::new();
    for Shown { path, hosts, kind } in served.iter().take(SHOWN_MAX) {
        let others: Vec<&str> =
            hosts.iter().map(String::as_str).filter(|host| host != path).collect();
        let mut notes = Vec::new();
        match kind {
            Kind::Remote => {}
            Kind::Hosted => notes.push("hosted".to_owned()),
            Kind::Virtual => notes.push("virtual".to_owned()),
        }
        if !others.is_empty() {
            notes.push(format!("also {}", others.join(", ")));
        }
        let notes =
            if notes.is_empty() { String::new() } else { format!("  ({})", notes.join("; ")) };
        text.push_str(&format!("    {path}/…{notes}\n"));
    }
    if served.len() > SHOWN_MAX {
        text.push_str(&format!("    and {} more\n", served.len() - SHOWN_MAX));
    }
    text
}

/// Commands for repositories that whoever reads this may use, if there are any.
fn to_try(
    address: &str,
    is_plain: bool,
    served: &[Shown],
    may: impl Fn(Try, &str) -> bool,
) -> String {
    const KNOWN: &str = "docker.io/library/alpine";
    let is_known = served.iter().any(|shown| shown.path == "docker.io");
    // What a rule for some of its names says of others is not asked.
    let is_open = |what: Try, shown: &Shown| {
        let path = &shown.path;
        may(what, &format!("{path}/name")) || may(what, &format!("{path}/team/name"))
    };
    let mut text = String::new();
    if let Some(Shown { path, .. }) = served.iter().find(|shown| is_open(Try::Push, shown)) {
        text.push_str(&format!("    docker push {address}/{path}/NAME:TAG\n"));
    }
    // What is hosted has to be pushed first.
    let pulled = |shown: &&Shown| shown.kind != Kind::Hosted && is_open(Try::Pull, shown);
    let open = served.iter().find(pulled);
    let open = open.or_else(|| served.iter().find(|shown| is_open(Try::Pull, shown)));
    let image = match (open, served.first()) {
        _ if is_known && may(Try::Pull, KNOWN) => format!("{KNOWN}:3"),
        (Some(Shown { path, .. }), _) => format!("{path}/NAME:TAG"),
        (None, _) if is_known => format!("{KNOWN}:3"),
        (None, first) => first.map_or_else(String::new, |it| format!("{}/NAME:TAG", it.path)),
    };
    let flag = if is_plain { "--tls-verify=false " } else { "" };
    text.push_str(&format!(
        "    docker pull {address}/{image}\n    crictl pull {address}/{image}\n    \
         skopeo inspect {flag}docker://{address}/{image}\n"
    ));
    text
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

    fn shown(path: &str, hosts: &[&str], kind: Kind) -> Shown {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        Shown { path: path.to_owned(), hosts, kind }
    }

    #[test]
    fn the_commands_fit_what_is_served() {
        let pulls = |what, _: &str| what == Try::Pull;
        let hub = [shown("docker.io", &["docker.io"], Kind::Remote)];
        let text = to_try("127.0.0.1:5050", true, &hub, pulls);
        assert!(text.contains("docker pull 127.0.0.1:5050/docker.io/library/alpine:3\n"));
        assert!(text.contains("skopeo inspect --tls-verify=false docker://127.0.0.1:5050/"));
        assert!(!text.contains("docker push"), "{text}");
        let own = [shown("corp", &[], Kind::Remote)];
        let text = to_try("h:1", false, &own, pulls);
        assert!(text.contains("skopeo inspect docker://h:1/corp/NAME:TAG"));
        // Where access opens only one of them, that one is tried.
        let both = [&hub[..], &own[..]].concat();
        let text = to_try("h:1", false, &both, |_, name| name.starts_with("corp/"));
        assert!(text.contains("docker pull h:1/corp/NAME:TAG"), "{text}");
        let text = to_try("h:1", false, &both, |_, _| false);
        assert!(text.contains("docker pull h:1/docker.io/library/alpine:3"), "{text}");
        // What is hosted is pushed before it is pulled.
        let mixed = [
            shown("team", &[], Kind::Hosted),
            shown("all", &["a.example"], Kind::Virtual),
            shown("quay.io", &["quay.io"], Kind::Remote),
        ];
        let may = |what: Try, name: &str| what == Try::Pull || name.starts_with("team/");
        let text = to_try("h:1", false, &mixed, may);
        assert!(text.starts_with("    docker push h:1/team/NAME:TAG\n"), "{text}");
        assert!(text.contains("docker pull h:1/all/NAME:TAG\n"), "{text}");
        assert_eq!(
            repositories(&mixed),
            "    team/…  (hosted)\n    all/…  (virtual; also a.example)\n    quay.io/…\n"
        );
        let many: Vec<_> = (0..25).map(|n| shown(&format!("r{n}"), &["h"], Kind::Remote)).collect();
        let text = repositories(&many);
        assert!(text.contains("    r0/…  (also h)\n") && text.ends_with("and 5 more\n"), "{text}");
    }
}
