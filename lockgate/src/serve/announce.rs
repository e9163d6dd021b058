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
    if let Some(address) = listeners.iter().find_map(|listener| reachable(listener)) {
        let is_plain = listeners.first().is_some_and(|listener| !listener.tls);
        text.push_str("  try\n");
        text.push_str(&to_try(&address.to_string(), is_plain, &served));
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

fn to_try(address: &str, is_plain: bool, served: &[(String, Vec<String>)]) -> String {
    let image = match served.iter().find(|(path, _)| path == "docker.io") {
        Some(_) => "docker.io/library/alpine:3".to_owned(),
        None => served.first().map_or_else(String::new, |(path, _)| format!("{path}/NAME:TAG")),
    };
    let flag = if is_plain { "--tls-verify=false " } else { "" };
    format!(
        "    docker pull {address}/{image}\n    crictl pull {address}/{image}\n    \
         skopeo inspect {flag}docker://{address}/{image}\n"
    )
}

fn url(listener: &ListenerInfo) -> Option<String> {
    let Address::Tcp(address) = listener.address else { return None };
    Some(format!("{}://{address}", if listener.tls { "https" } else { "http" }))
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
        let text = to_try("127.0.0.1:5050", true, &hub);
        assert!(text.contains("docker pull 127.0.0.1:5050/docker.io/library/alpine:3\n"));
        assert!(text.contains("skopeo inspect --tls-verify=false docker://127.0.0.1:5050/"));
        let own = [("corp".to_owned(), Vec::new())];
        assert!(to_try("h:1", false, &own).contains("skopeo inspect docker://h:1/corp/NAME:TAG"));
        let many: Vec<_> = (0..25).map(|n| (format!("r{n}"), vec!["h".to_owned()])).collect();
        let text = repositories(&many);
        assert!(text.contains("    r0/…  (also h)\n") && text.ends_with("and 5 more\n"), "{text}");
    }
}
