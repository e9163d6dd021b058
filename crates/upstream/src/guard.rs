//! The address guard: which addresses may be connected to. It sits in name resolution, where the
//! address that is judged is the address that is used, so that a name cannot mean one thing to the
//! check and another to the connection.
//!
//! Through an outbound proxy names are resolved by the proxy, not here: then only literal addresses
//! and a few well-known names can be judged.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::{Host, Url};

/// An address that an upstream without `boundary.privateAddresses` may not be reached at.
#[derive(Debug, thiserror::Error)]
#[error(
    "{host} is at the private address {address}, which boundary.privateAddresses does not allow"
)]
pub(crate) struct PrivateAddress {
    host: String,
    address: String,
}

/// Looks at literal addresses and well-known names, which never reach the resolver (literals) or
/// may be resolved by a proxy.
pub(crate) fn check_url(url: &Url, allows_private: bool) -> Result<(), PrivateAddress> {
    if allows_private {
        return Ok(());
    }
    let refuse = |address: String| {
        let host = url.host_str().unwrap_or_default().to_owned();
        Err(PrivateAddress { host, address })
    };
    match url.host() {
        Some(Host::Ipv4(ip)) if is_private(ip.into()) => refuse(ip.to_string()),
        Some(Host::Ipv6(ip)) if is_private(ip.into()) => refuse(ip.to_string()),
        Some(Host::Domain(name)) if is_private_name(name) => refuse(name.to_owned()),
        _ => Ok(()),
    }
}

/// Names that never stand for a public server (RFC 6761, cloud metadata services).
fn is_private_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name == "metadata"
        || name == "metadata.google.internal"
        || name == "instance-data"
        || name == "instance-data.ec2.internal"
}

/// Whether an address is anything but a public unicast one (IANA special-purpose registries), or a
/// cloud's metadata service.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, d] = ip.octets();
    matches!(
        (a, b, c, d),
        (0, ..)
            | (10, ..)
            | (127, ..)
            | (100, 64..=127, ..) // carrier-grade NAT, and Alibaba's metadata
            | (169, 254, ..) // link-local, and most clouds' metadata
            | (172, 16..=31, ..)
            | (192, 0, 0, _) // protocol assignments, and Oracle's metadata
            | (192, 0, 2, _)
            | (192, 88, 99, _)
            | (192, 168, ..)
            | (198, 18..=19, ..)
            | (198, 51, 100, _)
            | (203, 0, 113, _)
            | (168, 63, 129, 16) // Azure's host
            | (224.., ..)
    )
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_private_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // IPv4-mapped and the well-known NAT64 prefix carry an IPv4 address at the end.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            embedded(high, low)
        }
        // 6to4 carries one after its prefix.
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, ORCHID, documentation and the rest of the protocol assignments.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => true,
        // Only 2000::/3 is global unicast; that leaves out loopback, unspecified, unique-local,
        // link-local, site-local and multicast.
        [first, ..] => first & 0xe000 != 0x2000,
    }
}

/// A resolver that gives only addresses which may be connected to.
pub(crate) struct GuardedResolver {
    pub(crate) allows_private: bool,
    /// The outbound proxy, which is the operator's own and mostly on a private address.
    pub(crate) proxy_host: Option<String>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let is_free = self.allows_private || self.proxy_host.as_deref() == Some(host.as_str());
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let allowed = match is_free {
                true => found,
                false => keep_public(&host, found)?,
            };
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn keep_public(host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, PrivateAddress> {
    let refused = found.iter().find(|address| is_private(address.ip())).copied();
    let kept: Vec<SocketAddr> =
        found.into_iter().filter(|address| !is_private(address.ip())).collect();
    match refused {
        Some(address) if kept.is_empty() => {
            Err(PrivateAddress { host: host.to_owned(), address: address.ip().to_string() })
        }
        _ => Ok(kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::",
            "2606:4700::1111",
            "2001:4860:4860::8888",
        ] {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn literal_addresses_in_any_spelling_are_judged() {
        for text in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://localhost:5000/",
            "http://a.LOCALHOST./",
            "http://metadata.google.internal/",
        ] {
            let url = Url::parse(text).unwrap();
            assert!(check_url(&url, false).is_err(), "{text}");
            assert!(check_url(&url, true).is_ok(), "{text}");
        }
        assert!(check_url(&Url::parse("https://registry.example").unwrap(), false).is_ok());
    }

    #[test]
    fn of_several_addresses_the_public_ones_stay() {
        let public: SocketAddr = "1.1.1.1:0".parse().unwrap();
        let private: SocketAddr = "10.0.0.1:0".parse().unwrap();
        assert_eq!(keep_public("h", vec![private, public]).unwrap(), vec![public]);
        let refused = keep_public("h", vec![private]).unwrap_err().to_string();
        assert!(refused.contains("h is at the private address 10.0.0.1"), "{refused}");
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused_but_for_the_proxy() {
        let guard = |proxy_host: Option<&str>| GuardedResolver {
            allows_private: false,
            proxy_host: proxy_host.map(str::to_owned),
        };
        let refused = guard(None).resolve("localhost".parse().unwrap()).await;
        assert!(refused.err().unwrap().is::<PrivateAddress>());
        assert!(guard(Some("localhost")).resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
