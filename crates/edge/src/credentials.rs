//! What a request shows to say who asks, and what it says of the setting.
//!
//! Each header may stand once: of two, whoever is in front of us may have judged the other.

use crate::server::Connection;
use http::{HeaderMap, HeaderName, header};
use plane::{Credentials, Wishes};
use rustls_pki_types::CertificateDer;

const ENVIRONMENT: HeaderName = HeaderName::from_static("lockgate-environment");
const PURPOSE: HeaderName = HeaderName::from_static("lockgate-purpose");

/// Tokens are a few KiB.
const AUTHORIZATION_MAX_BYTES: usize = 24 << 10;
/// Names of environments and purposes.
const WISH_MAX_BYTES: usize = 256;

/// The credentials of a request, and its wishes.
///
/// # Errors
/// What is wrong with a header.
pub(crate) fn read<'r>(
    headers: &'r HeaderMap,
    connection: &'r Connection,
) -> Result<(Credentials<'r>, Wishes<'r>), &'static str> {
    let authorization = once(headers, &header::AUTHORIZATION, AUTHORIZATION_MAX_BYTES)
        .map_err(|()| "the header Authorization can stand once, as text of at most 24 KiB")?;
    let wish = |name| {
        once(headers, name, WISH_MAX_BYTES)
            .map_err(|()| "Lockgate-Environment and Lockgate-Purpose can stand once, as short text")
    };
    let wishes = Wishes { environment: wish(&ENVIRONMENT)?, purpose: wish(&PURPOSE)? };
    Ok((Credentials { authorization, certificates: certificates(connection) }, wishes))
}

/// The certificates of the connection.
pub(crate) fn certificates(connection: &Connection) -> &[CertificateDer<'static>] {
    connection.tls.as_ref().map_or(&[], |tls| &tls.certificates)
}

fn once<'r>(
    headers: &'r HeaderMap,
    name: &HeaderName,
    max_bytes: usize,
) -> Result<Option<&'r str>, ()> {
    let mut all = headers.get_all(name).iter();
    let Some(value) = all.next() else { return Ok(None) };
    match value.to_str() {
        Ok(text) if all.next().is_none() && text.len() <= max_bytes => Ok(Some(text)),
        _ => Err(()),
    }
}
