//! Settings as written, turned into what each part takes.

use crate::exit::Failure;
use crate::settings::{Listener, LogFormat, Settings, socket_path};
use edge::server::{Address, ForwardedStyle, Limits, ListenerSettings, PublicBase, TlsFiles};
use plane::{FillSettings, GcSettings, KeepSettings};
use policy::Network;
use resources::WireSize;
use telemetry::Format;

/// How log lines look.
pub(super) fn format(settings: &Settings) -> Format {
    match settings.log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    }
}

/// Every listener, and the socket for commands.
pub(super) fn listeners(settings: &Settings) -> Result<Vec<ListenerSettings>, Failure> {
    let written = settings.listeners.iter().enumerate();
    let mut listeners: Vec<ListenerSettings> =
        written.map(|(index, wire)| listener(index, wire)).collect::<Result<_, _>>()?;
    let socket = socket_path(&settings.data_dir());
    // The kernel's bound (sun_path, unix(7)); its own message would not say what to do.
    if socket.as_os_str().len() > 107 {
        let hint = "choose a shorter --data-dir: the path of a socket has at most 107 bytes";
        return Err(Failure::no(format!("{} is too long", socket.display())).hint(hint));
    }
    listeners.push(ListenerSettings::plain(Address::Unix(socket)));
    Ok(listeners)
}

fn listener(index: usize, wire: &Listener) -> Result<ListenerSettings, Failure> {
    let wrong = |field: &str, error: &(dyn std::error::Error + 'static)| {
        Failure::no(format!("listeners[{index}].{field}")).because(error)
    };
    let address = wire
        .address
        .as_str()
        .parse()
        .map_err(|error: std::net::AddrParseError| wrong("address", &error))?;
    let trusted_proxies = wire.trusted_proxies.iter().map(|cidr| Network::parse(cidr.as_str()));
    let public_urls = wire.public_urls.iter().map(|url| PublicBase::parse(url.as_str()));
    Ok(ListenerSettings {
        address: Address::Tcp(address),
        tls: wire.tls.as_ref().map(|tls| TlsFiles {
            cert_file: tls.cert_file.clone(),
            key_file: tls.key_file.clone(),
            requests_client_certificate: tls.request_client_certificate,
        }),
        http2: wire.http2,
        trusted_proxies: trusted_proxies
            .collect::<Result<_, _>>()
            .map_err(|error| wrong("trustedProxies", &error))?,
        forwarded: ForwardedStyle::XForwarded,
        proxy_protocol: wire.proxy_protocol,
        public_urls: public_urls
            .collect::<Result<_, _>>()
            .map_err(|error| wrong("publicUrls", &error))?,
    })
}

/// Bounds of the server.
pub(super) fn limits(settings: &Settings) -> Limits {
    let server = &settings.server;
    Limits {
        max_connections: usize::try_from(server.max_connections).unwrap_or(usize::MAX),
        header_timeout: server.header_timeout.get(),
        idle_timeout: server.idle_timeout.get(),
        body_stall_timeout: server.body_stall_timeout.get(),
        drain: server.drain_timeout.get(),
        ..Limits::default()
    }
}

/// How much is kept.
pub(super) fn keep(settings: &Settings) -> KeepSettings {
    let cache = &settings.cache;
    KeepSettings {
        max_bytes: cache.max_bytes.as_ref().map(WireSize::bytes),
        high_watermark_percent: cache.high_watermark.percent(),
        low_watermark_percent: cache.low_watermark.percent(),
        reserve_bytes: cache.reserve.bytes(),
        grace: cache.grace.get(),
    }
}

/// When hosted content that nothing needs goes.
pub(super) fn gc(settings: &Settings) -> GcSettings {
    let gc = &settings.gc;
    GcSettings {
        interval: gc.interval.get(),
        blob_grace: gc.blob_grace.get(),
        upload_ttl: gc.upload_ttl.get(),
    }
}

/// Downloads.
pub(super) fn fills(settings: &Settings) -> FillSettings {
    let fills = &settings.fills;
    FillSettings {
        max_concurrent: usize::try_from(fills.max_concurrent).unwrap_or(usize::MAX),
        linger: fills.linger.get(),
        parts_max_bytes: fills.parts_max_bytes.bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_settings_are_those_of_the_parts() {
        let settings = Settings::default();
        assert_eq!(format!("{:?}", limits(&settings)), format!("{:?}", Limits::default()));
        assert_eq!(format!("{:?}", keep(&settings)), format!("{:?}", KeepSettings::default()));
        assert_eq!(gc(&settings), GcSettings::default());
        assert_eq!(format!("{:?}", fills(&settings)), format!("{:?}", FillSettings::default()));
    }

    #[test]
    fn a_socket_that_no_kernel_takes_is_told_before_anything_starts() {
        let data_dir = Some(std::path::PathBuf::from(format!("/{}", "x".repeat(120))));
        let failure = listeners(&Settings { data_dir, ..Settings::default() }).unwrap_err();
        assert!(failure.one_line().ends_with("is too long"));
    }
}
