//! The PROXY protocol, versions 1 and 2: how a TCP load balancer says who connected to it.
//!
//! After the specification "The PROXY protocol, versions 1 & 2" (haproxy, `proxy-protocol.txt`,
//! 2020/03/05), §2.1 and §2.2. Exactly the header is read, so that nothing need be put back.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, with its end (§2.1).
const V1_MAX_BYTES: usize = 107;

/// Addresses and extensions of version 2 may announce up to 64 KiB; nobody needs that much.
const V2_MAX_BYTES: usize = 4096;

/// Reads the header. `None` means that the proxy speaks for itself (a health check), or does not
/// know for whom.
///
/// # Errors
/// When the connection does not begin with such a header, or breaks. The time is the caller's to
/// bound.
pub(super) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<SocketAddr>> {
    // Both versions are longer than the signature of version 2.
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if &start == V2_SIGNATURE {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if length > V2_MAX_BYTES {
            return Err(bad("a PROXY header longer than 4 KiB"));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        return parse_v2(head[0], head[1], &body);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(bad("no PROXY header"));
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == V1_MAX_BYTES {
            return Err(bad("a PROXY line without an end"));
        }
        line.push(stream.read_u8().await?);
    }
    parse_v1(&line)
}

fn parse_v1(line: &[u8]) -> io::Result<Option<SocketAddr>> {
    let wrong = || bad("a PROXY line that cannot be read");
    let text = std::str::from_utf8(line).map_err(|_| wrong())?;
    let text = text.strip_suffix("\r\n").ok_or_else(wrong)?;
    let words: Vec<&str> = text.split(' ').collect();
    let (source, port) = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => return Ok(None),
        ["PROXY", "TCP4", source, target, port, target_port] => {
            let source: Ipv4Addr = source.parse().map_err(|_| wrong())?;
            target.parse::<Ipv4Addr>().map_err(|_| wrong())?;
            target_port.parse::<u16>().map_err(|_| wrong())?;
            (IpAddr::V4(source), port)
        }
        ["PROXY", "TCP6", source, target, port, target_port] => {
            let source: Ipv6Addr = source.parse().map_err(|_| wrong())?;
            target.parse::<Ipv6Addr>().map_err(|_| wrong())?;
            target_port.parse::<u16>().map_err(|_| wrong())?;
            (IpAddr::V6(source), port)
        }
        _ => return Err(wrong()),
    };
    let port = port.parse().map_err(|_| wrong())?;
    Ok(Some(SocketAddr::new(source.to_canonical(), port)))
}

fn parse_v2(version_command: u8, family: u8, body: &[u8]) -> io::Result<Option<SocketAddr>> {
    match version_command {
        // LOCAL: the proxy's own connection; addresses are to be ignored.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(bad("a PROXY header of an unknown version or command")),
    }
    let port = |at: usize| body[at..].first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
    let source = match family >> 4 {
        1 if body.len() >= 12 => {
            let address: Option<[u8; 4]> = body.first_chunk().copied();
            address.map(IpAddr::from).zip(port(8))
        }
        2 if body.len() >= 36 => {
            let address: Option<[u8; 16]> = body.first_chunk().copied();
            address.map(IpAddr::from).zip(port(32))
        }
        // AF_UNSPEC and AF_UNIX say no address of the network.
        0 | 3 => return Ok(None),
        _ => return Err(bad("a PROXY header that cannot be read")),
    };
    Ok(source.map(|(address, port)| SocketAddr::new(address.to_canonical(), port)))
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is read of `bytes`, and how much is left for HTTP.
    fn read(mut bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(read_header(&mut bytes));
        (result, bytes.len())
    }

    fn v2(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [V2_SIGNATURE.as_slice(), &[version_command, family], &length, body].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x1f, 0x90, 0x13, 0xba];

    #[test]
    fn good_headers_name_the_client_and_leave_the_rest() {
        let v6: Vec<u8> = [
            Ipv6Addr::from_bits(0x2001_0db8 << 96 | 1).octets().as_slice(),
            &Ipv6Addr::LOCALHOST.octets(),
            &[0, 80, 0, 81],
        ]
        .concat();
        let mapped = b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n".to_vec();
        let with_extensions = [V4.as_slice(), &[0xee, 0, 3, 1, 2, 3]].concat();
        for (header, client) in [
            (v2(0x21, 0x11, &V4), Some("203.0.113.7:8080")),
            (v2(0x21, 0x11, &with_extensions), Some("203.0.113.7:8080")),
            (v2(0x21, 0x21, &v6), Some("[2001:db8::1]:80")),
            (v2(0x20, 0x11, &V4), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x21, 0x00, &[1, 2, 3]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 8080 5050\r\n".to_vec(), Some("203.0.113.7:8080")),
            (b"PROXY TCP6 2001:db8::1 ::1 80 81\r\n".to_vec(), Some("[2001:db8::1]:80")),
            (mapped, Some("1.2.3.4:1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 a b c\r\n".to_vec(), None),
        ] {
            let input = [header.as_slice(), b"GET / HTTP/1.1\r\n\r\n"].concat();
            let (result, left) = read(&input);
            let expected = client.map(|text| text.parse::<SocketAddr>().unwrap());
            assert_eq!(result.unwrap(), expected, "{}", header.escape_ascii());
            assert_eq!(left, 18, "{}", header.escape_ascii());
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for header in [
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 8080\r\n".to_vec(),
            b"PROXY TCP4 ::1 10.0.0.1 8080 5050\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 10.0.0.1 99999 5050\r\n".to_vec(),
            b"PROXY TCP9 1.2.3.4 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4  10.0.0.1 1 2\r\n".to_vec(),
            [b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
            v2(0x11, 0x11, &V4),
            v2(0x22, 0x11, &V4),
            v2(0x21, 0x11, &V4[..11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x41, &[0; 36]),
            v2(0x21, 0x11, &[0; 5000]),
            V2_SIGNATURE.to_vec(),
            Vec::new(),
        ] {
            assert!(read(&header).0.is_err(), "{}", header.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let _ = read(&[b"PROXY TCP4 ".as_slice(), &bytes].concat());
            let _ = read(&[V2_SIGNATURE.as_slice(), &bytes].concat());
        }
    }
}
