//! The challenge of a 401: where a token is to be had, and for what (RFC 6750 §3; distribution, "Token
//! Authentication").

use crate::server::{Connection, PublicBase};
use http::request::Parts;
use http::{HeaderValue, Method};
use oci::route::Route;

/// Whom our tokens are for.
pub(crate) const SERVICE: &str = "lockgate";

/// `WWW-Authenticate` for a request. `is_wrong`: something was shown, and it is wrong.
pub(crate) fn bearer(
    connection: &Connection,
    parts: &Parts,
    is_wrong: bool,
) -> Option<HeaderValue> {
    let base = connection.public_base(&parts.uri, &parts.headers);
    let mut text = realm(&base);
    if let Some(scope) = scope(parts.uri.path(), &parts.method) {
        text += &format!(",scope=\"{scope}\"");
    }
    if is_wrong {
        text += ",error=\"invalid_token\"";
    }
    HeaderValue::try_from(text).ok()
}

fn realm(base: &PublicBase) -> String {
    // A host with other letters does not come out of the parser of hosts.
    let host: String = base.host.chars().filter(|c| !"\"\\".contains(*c)).collect();
    format!("Bearer realm=\"{}://{host}/token\",service=\"{SERVICE}\"", base.scheme.as_str())
}

/// What a request needs, in the words of the token specification. Names are as the client wrote them.
fn scope(path: &str, method: &Method) -> Option<String> {
    let of = |name: &str, actions: &str| {
        let name: String =
            name.chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)).collect();
        format!("repository:{name}:{actions}")
    };
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match Route::parse(path)?.ok()? {
        Route::Base => None,
        Route::Catalog => Some("registry:catalog:*".to_owned()),
        Route::Tags(name) | Route::Referrers(name, _) => Some(of(name, "pull")),
        Route::Uploads(name) | Route::Upload(name, _) => Some(of(name, "pull,push")),
        Route::Manifest(name, _) | Route::Blob(name, _) => Some(of(
            name,
            match *method {
                _ if is_read => "pull",
                Method::DELETE => "delete",
                _ => "pull,push",
            },
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_name_what_is_needed() {
        for (path, method, wanted) in [
            ("/v2/", Method::GET, None),
            ("/v2/_catalog", Method::GET, Some("registry:catalog:*")),
            ("/v2/a/b/manifests/1", Method::HEAD, Some("repository:a/b:pull")),
            ("/v2/a/b/manifests/1", Method::PUT, Some("repository:a/b:pull,push")),
            ("/v2/a/b/manifests/1", Method::DELETE, Some("repository:a/b:delete")),
            ("/v2/a/b/blobs/uploads/", Method::POST, Some("repository:a/b:pull,push")),
            ("/v2/a/b/tags/list", Method::GET, Some("repository:a/b:pull")),
            ("/v2/A\"/manifests/1", Method::GET, None),
        ] {
            assert_eq!(scope(path, &method).as_deref(), wanted, "{path}");
        }
    }
}
