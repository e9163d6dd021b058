//! Parameters of the path and the query, by the table of endpoints: what is not in it is an error.

use super::endpoints::{Endpoint, Kind, LIMIT_DEFAULT, LIMIT_MAX};
use super::problem::Problem;
use crate::percent::decode;
use std::borrow::Cow;

/// The parameters of a request.
#[derive(Debug)]
pub(super) struct Params<'r> {
    path: Option<Cow<'r, str>>,
    query: Vec<(&'static str, Cow<'r, str>)>,
    limit: u32,
}

impl<'r> Params<'r> {
    /// Reads the query. `path`: the segment in braces.
    pub(super) fn read(
        endpoint: &'static Endpoint,
        path: Option<Cow<'r, str>>,
        query: Option<&'r str>,
    ) -> Result<Self, Problem> {
        let mut params = Self { path, query: Vec::new(), limit: LIMIT_DEFAULT };
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            params.take(endpoint, name, value)?;
        }
        for parameter in endpoint.query.iter().filter(|parameter| parameter.required) {
            if params.query(parameter.name).is_none_or(str::is_empty) {
                let name = parameter.name;
                return Err(Problem::invalid(format!("the query parameter {name} is missing")));
            }
        }
        Ok(params)
    }

    fn take(
        &mut self,
        endpoint: &'static Endpoint,
        name: &'r str,
        value: &'r str,
    ) -> Result<(), Problem> {
        let shown: String = name.chars().take(64).collect();
        let known = endpoint.query.iter().find(|parameter| parameter.name == name);
        let Some(known) = known else {
            let names: Vec<&str> = endpoint.query.iter().map(|known| known.name).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let detail = format!("no query parameter {shown} here; there are: {names}");
            return Err(Problem::invalid(detail));
        };
        if self.query(name).is_some() {
            return Err(Problem::invalid(format!("the query parameter {shown} is there twice")));
        }
        let value = decode(value, true)
            .ok_or_else(|| Problem::invalid(format!("the query parameter {shown} is no text")))?;
        if known.kind == Kind::Limit {
            let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
            let bad = || Problem::invalid(format!("limit is a number from 1 to {LIMIT_MAX}"));
            self.limit = limit.ok_or_else(bad)?;
        }
        self.query.push((known.name, value));
        Ok(())
    }

    /// The segment in braces.
    pub(super) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    /// A parameter of the query.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_ref())
    }

    /// Most entries of the page.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::super::endpoints::{Found, find};
    use super::*;

    fn read(path: &'static str, query: &'static str) -> Result<Params<'static>, String> {
        let Found::Endpoint(endpoint, segment) = find("GET", path) else { panic!("{path}") };
        Params::read(endpoint, segment, Some(query)).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn queries_are_read_by_the_table() {
        let params = read("/api/v1/cache", "pattern=docker.io/%2A%2A&limit=7").unwrap();
        assert_eq!(params.query("pattern"), Some("docker.io/**"));
        assert_eq!((params.query("repository"), params.limit()), (None, 7));
        assert_eq!(read("/api/v1/cache", "").unwrap().limit(), 100);
        assert_eq!(read("/api/v1/jobs/a", "").unwrap().path(), "a");
        for (query, part) in [
            ("limit=0", "1 to 1000"),
            ("limit=1001", "1 to 1000"),
            ("limit=x", "1 to 1000"),
            ("patern=x", "no query parameter patern"),
            ("pattern=x&pattern=y", "twice"),
            ("pattern=%zz", "no text"),
        ] {
            let detail = read("/api/v1/cache", query).unwrap_err();
            assert!(detail.contains(part), "{query}: {detail}");
        }
    }

    #[test]
    fn what_is_required_must_be_there() {
        let Found::Endpoint(endpoint, _) = find("DELETE", "/api/v1/pins") else { panic!() };
        assert!(Params::read(endpoint, None, None).is_err());
        assert!(Params::read(endpoint, None, Some("reference=")).is_err());
        assert!(Params::read(endpoint, None, Some("reference=a/b:1")).is_ok());
    }
}
