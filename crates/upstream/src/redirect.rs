//! Where answers may send us. A redirect is the registry's word, and the registry may be hostile:
//! the target must lie in the trust boundary, and credentials never go along.

use crate::guard;
use crate::origin::{self, same_origin};
use crate::settings::Settings;
use http::HeaderMap;
use http::header::LOCATION;
use url::Url;

/// Most redirects followed for one request.
pub(crate) const REDIRECTS_MAX: usize = 5;

/// A longer `Location` is not a presigned URL any more.
const LOCATION_BYTES_MAX: usize = 8 << 10;

/// The chain of redirects of one request.
#[derive(Debug)]
pub(crate) struct Chain {
    visited: Vec<Url>,
}

impl Chain {
    pub(crate) fn new(start: &Url) -> Self {
        Self { visited: vec![start.clone()] }
    }

    /// The next URL to ask, if it may be asked; the error says why not, without any query.
    pub(crate) fn next(&mut self, headers: &HeaderMap, settings: &Settings) -> Result<Url, String> {
        let location = headers.get(LOCATION).ok_or("redirects without saying where")?;
        let location = location.to_str().map_err(|_| "redirects to something that is no URL")?;
        if location.len() > LOCATION_BYTES_MAX {
            return Err("redirects to an overlong URL".to_owned());
        }
        let Some(from) = self.visited.last() else { return Err("redirects from nowhere".into()) };
        let mut url = from.join(location).map_err(|_| "redirects to something that is no URL")?;
        url.set_fragment(None);
        if !url.username().is_empty() || url.password().is_some() {
            return Err("redirects to a URL with a user name".to_owned());
        }
        judge(&url, from, settings)?;
        if self.visited.contains(&url) {
            return Err("redirects in a circle".to_owned());
        }
        if self.visited.len() > REDIRECTS_MAX {
            return Err(format!("redirects more than {REDIRECTS_MAX} times"));
        }
        self.visited.push(url.clone());
        Ok(url)
    }
}

fn judge(url: &Url, from: &Url, settings: &Settings) -> Result<(), String> {
    let shown = origin::shown(url);
    match (from.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") => return Err(format!("redirects from https to {shown}")),
        _ => return Err("redirects to a URL that is neither https nor http".to_owned()),
    }
    let is_endpoint = settings.endpoints.iter().any(|endpoint| same_origin(endpoint, url));
    let boundary = &settings.boundary;
    if !is_endpoint && !boundary.redirects.iter().any(|pattern| pattern.matches(url)) {
        return Err(format!("redirects to {shown}, which boundary.redirects does not name"));
    }
    guard::check_url(url, boundary.private_addresses)
        .map_err(|refused| format!("redirects: {refused}"))
}

/// The URL of a token service, if our credentials may go there; the error says why not.
pub(crate) fn judge_realm(realm: &str, endpoint: &Url, settings: &Settings) -> Result<Url, String> {
    let url = Url::parse(realm).map_err(|_| "names a token service that is no URL")?;
    let shown = origin::shown(&url);
    if !url.username().is_empty() || url.password().is_some() || url.host_str().is_none() {
        return Err("names a token service with a user name, or without a host".to_owned());
    }
    match (endpoint.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => {}
        _ => return Err(format!("names the token service {shown}, which is not https")),
    }
    let boundary = &settings.boundary;
    if !same_origin(&url, endpoint) && !boundary.realms.iter().any(|known| known.matches(&url)) {
        return Err(format!(
            "names the token service {shown}, which boundary.realms does not name"
        ));
    }
    guard::check_url(&url, boundary.private_addresses)
        .map_err(|refused| format!("names a token service that may not be asked: {refused}"))?;
    Ok(url)
}
