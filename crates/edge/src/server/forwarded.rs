//! Forwarded headers: `X-Forwarded-*` and `Forwarded` (RFC 7239).
//!
//! Anybody can send these headers. A proxy appends to them, so they are read from the right, only
//! as far as the proxies are trusted, and what is to the left of that is never looked at.

use super::connection::Scheme;
use http::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

/// No chain of proxies is longer than this; what is further left is not read.
const HOPS_MAX: usize = 32;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Hops from the nearest to the farthest; `None` for one that says no address.
pub(super) type Hops = Vec<Option<IpAddr>>;

/// What the nearest proxy says of the request it got.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) scheme: Option<Scheme>,
    pub(super) host: Option<String>,
}

/// The first address, going out from the trusted `peer`, that is not trusted; the last, if all
/// are. `None` when a trusted hop names no address, or the chain is too long.
pub(super) fn client(
    peer: IpAddr,
    hops: &[Option<IpAddr>],
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut client = peer;
    for hop in hops {
        if !trusted(client) {
            return Some(client);
        }
        client = (*hop)?;
    }
    (hops.len() < HOPS_MAX || !trusted(client)).then_some(client)
}

/// The hops of all `X-Forwarded-For` lines.
pub(super) fn x_forwarded_for(headers: &HeaderMap) -> Hops {
    let lines: Vec<&[u8]> = headers.get_all(X_FORWARDED_FOR).iter().map(|v| v.as_bytes()).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    let address = |hop: &[u8]| std::str::from_utf8(hop).ok().and_then(parse_address);
    hops.take(HOPS_MAX).map(address).collect()
}

/// The last values of `X-Forwarded-Proto` and `X-Forwarded-Host`.
pub(super) fn x_forwarded_base(headers: &HeaderMap) -> Statement {
    let last = |name: HeaderName| {
        let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
        line.rsplit(',').next().map(|value| value.trim().to_owned())
    };
    Statement {
        scheme: last(X_FORWARDED_PROTO).and_then(|text| Scheme::parse(&text)),
        host: last(X_FORWARDED_HOST),
    }
}

/// The hops of all `Forwarded` lines. A line that cannot be read is one hop without an address:
/// a quote left open by a client must not swallow what the proxy appended.
pub(super) fn rfc7239_for(headers: &HeaderMap) -> Hops {
    let lines: Vec<_> = headers.get_all(http::header::FORWARDED).iter().collect();
    let mut hops = Hops::new();
    for line in lines.iter().rev() {
        match line.to_str().ok().and_then(parse_forwarded) {
            Some(elements) => {
                hops.extend(elements.iter().rev().map(|e| parse_address(e.client.as_deref()?)));
            }
            None => hops.push(None),
        }
        if hops.len() >= HOPS_MAX {
            hops.truncate(HOPS_MAX);
            break;
        }
    }
    hops
}

/// `proto` and `host` of the last element of `Forwarded`.
pub(super) fn rfc7239_base(headers: &HeaderMap) -> Statement {
    let last = headers.get_all(http::header::FORWARDED).iter().next_back();
    let elements = last.and_then(|line| line.to_str().ok()).and_then(parse_forwarded);
    let Some(element) = elements.and_then(|mut elements| elements.pop()) else {
        return Statement::default();
    };
    Statement { scheme: element.proto.as_deref().and_then(Scheme::parse), host: element.host }
}

/// `1.2.3.4`, `1.2.3.4:567`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:567`.
fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

/// One element of `Forwarded`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    client: Option<String>,
    proto: Option<String>,
    host: Option<String>,
}

/// Parses one line (RFC 7239 §4): elements separated by commas, pairs by semicolons.
fn parse_forwarded(line: &str) -> Option<Vec<Element>> {
    let mut elements = vec![Element::default()];
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = parse_value(after)?;
        let element = elements.last_mut()?;
        let place = match name.trim().to_ascii_lowercase().as_str() {
            "for" => Some(&mut element.client),
            "proto" => Some(&mut element.proto),
            "host" => Some(&mut element.host),
            name if is_token(name) => None,
            _ => return None,
        };
        if let Some(place) = place {
            // Each parameter at most once in an element.
            if place.replace(value).is_some() {
                return None;
            }
        }
        let after = after.trim_start();
        rest = match after.chars().next() {
            None => "",
            Some(';') => after[1..].trim_start(),
            Some(',') => {
                elements.push(Element::default());
                after[1..].trim_start()
            }
            Some(_) => return None,
        };
    }
    Some(elements)
}

/// A token or a quoted string (RFC 9110 §5.6), and what follows it.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',', ' ', '\t']).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return is_token(value).then(|| (value.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// A token, with `:`, `[` and `]` let through, which some proxies forget to quote.
fn is_token(text: &str) -> bool {
    let extra = |byte: &u8| b"!#$%&'*+-.^_`|~:[]".contains(byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn forwarded(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (http::header::FORWARDED, HeaderValue::from_str(line).unwrap()))
            .collect()
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn rfc7239_hops_are_read_from_the_right() {
        for (lines, hops) in [
            (vec!["for=192.0.2.43"], vec![ip("192.0.2.43")]),
            (
                vec![r#"For="[2001:db8:cafe::17]:4711";proto=https, for=10.0.0.1"#],
                vec![ip("10.0.0.1"), ip("2001:db8:cafe::17")],
            ),
            (vec!["for=1.1.1.1", "for=2.2.2.2:80"], vec![ip("2.2.2.2"), ip("1.1.1.1")]),
            (vec!["for=_hidden, for=unknown"], vec![None, None]),
            (vec!["proto=https"], vec![None]),
            (vec![r#"for="a, for=1.2.3.4"#], vec![None]),
            (vec![r#"for=""#, "for=1.2.3.4"], vec![ip("1.2.3.4"), None]),
            (vec!["for=1.1.1.1;for=2.2.2.2"], vec![None]),
            (vec![], vec![]),
        ] {
            assert_eq!(rfc7239_for(&forwarded(&lines)), hops, "{lines:?}");
        }
        let long = forwarded(&["for=10.0.0.1,".repeat(500).trim_end_matches(',')]);
        assert_eq!(rfc7239_for(&long).len(), HOPS_MAX);
    }

    #[test]
    fn rfc7239_says_scheme_and_host() {
        let base = |line: &str| rfc7239_base(&forwarded(&[line]));
        assert_eq!(
            base(r#"proto=http;host=first, for=1.2.3.4;host="reg.example:8443";proto=HTTPS"#),
            Statement { scheme: Some(Scheme::Https), host: Some("reg.example:8443".to_owned()) }
        );
        assert_eq!(base("for=1.2.3.4;proto=gopher"), Statement::default());
        assert_eq!(base("nonsense"), Statement::default());
    }

    #[test]
    fn a_chain_of_trusted_proxies_that_never_ends_is_not_believed() {
        let trusted = |_| true;
        let peer = ip("10.0.0.1").unwrap();
        assert_eq!(client(peer, &vec![ip("10.0.0.2"); HOPS_MAX], trusted), None);
        assert_eq!(client(peer, &vec![ip("10.0.0.2"); HOPS_MAX - 1], trusted), ip("10.0.0.2"));
    }

    #[test]
    fn hostile_lines_are_no_addresses() {
        for line in ["=", "for", "for=", ";;;", ",,,", "for=\"\\", "for=1.2.3.4 x=y", "\"=\""] {
            let hops = rfc7239_for(&forwarded(&[line]));
            assert!(hops.iter().all(Option::is_none), "{line} {hops:?}");
        }
    }
}
