//! The parameters of a request's query: read once, with care, and bounded.

use crate::refusal::Refusal;
use std::borrow::Cow;

/// Most entries of a page that a client may ask for; more are cut to it.
pub(super) const PAGE_MAX: usize = 10_000;
/// The longest query that is read.
const QUERY_MAX_BYTES: usize = 16 << 10;
/// Tags of one push by `?tag=`.
const TAGS_MAX: usize = 64;

/// Parameters of lists and of pushes, as texts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub(crate) n: Option<usize>,
    pub(crate) last: Option<String>,
    pub(crate) artifact_type: Option<String>,
    pub(crate) ns: Option<String>,
    /// What an upload is to hash to.
    pub(crate) digest: Option<String>,
    /// What is to be taken from another name.
    pub(crate) mount: Option<String>,
    /// That other name.
    pub(crate) from: Option<String>,
    /// What an upload will be hashed with (`digest-algorithm`).
    pub(crate) algorithm: Option<String>,
    /// Further tags of a pushed manifest.
    pub(crate) tags: Vec<String>,
}

pub(super) fn read(query: Option<&str>) -> Result<Query, Refusal> {
    let mut page = Query::default();
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(page) };
    if query.len() > QUERY_MAX_BYTES {
        return Err(Refusal::Query(format!("the query is longer than {QUERY_MAX_BYTES} bytes")));
    }
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "n" => once("n", &mut page.n, number(&value)?)?,
            "last" => once("last", &mut page.last, text("last", value)?)?,
            "ns" => once("ns", &mut page.ns, text("ns", value)?)?,
            "digest" => once("digest", &mut page.digest, text("digest", value)?)?,
            "mount" => once("mount", &mut page.mount, text("mount", value)?)?,
            "from" => once("from", &mut page.from, text("from", value)?)?,
            "digest-algorithm" => {
                once("digest-algorithm", &mut page.algorithm, text("digest-algorithm", value)?)?;
            }
            "tag" if page.tags.len() >= TAGS_MAX => {
                return Err(Refusal::Query(format!("a push names at most {TAGS_MAX} tags")));
            }
            "tag" => page.tags.push(text("tag", value)?),
            "artifactType" if !value.is_empty() => {
                page.artifact_type = Some(text("artifactType", value)?);
            }
            // Unknown parameters are for others; the specification adds some now and then.
            _ => {}
        }
    }
    page.ns = page.ns.filter(|ns| !ns.is_empty());
    page.last = page.last.filter(|last| !last.is_empty());
    Ok(page)
}

/// Takes a parameter that stands once: of two, whoever is in front of us may have judged the other.
fn once<T>(what: &str, held: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match held.replace(value) {
        None => Ok(()),
        Some(_) => {
            Err(Refusal::Query(format!("the parameter {what} stands twice in the query; send one")))
        }
    }
}

fn number(value: &str) -> Result<usize, Refusal> {
    let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    match value.parse::<usize>() {
        Ok(n) if is_number => Ok(n.min(PAGE_MAX)),
        // Digits that overflow ask for more than any page has.
        Err(_) if is_number => Ok(PAGE_MAX),
        _ => {
            Err(Refusal::Query("the parameter n is a number of entries, such as n=100".to_owned()))
        }
    }
}

fn text(what: &str, value: Cow<'_, str>) -> Result<String, Refusal> {
    if value.len() > 512 || value.chars().any(char::is_control) {
        return Err(Refusal::Query(format!("the parameter {what} cannot be used")));
    }
    Ok(value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_with_care() {
        let page = read(Some("n=5&last=v1%2F2&ns=docker.io&x=y&artifactType=a%2Fb")).unwrap();
        assert_eq!((page.n, page.last.as_deref()), (Some(5), Some("v1/2")));
        assert_eq!(page.ns.as_deref(), Some("docker.io"));
        assert_eq!(page.artifact_type.as_deref(), Some("a/b"));
        assert_eq!(read(Some("n=99999999999999999999999")).unwrap().n, Some(PAGE_MAX));
        for bad in ["n=", "n=-1", "n=x", "n=%00", "ns=%0a", "last=%7f", "ns=a&ns=a", "ns=&ns=a"] {
            assert!(read(Some(bad)).is_err(), "{bad}");
        }
        for twice in ["n=1&n=2", "last=a&last=b"] {
            assert!(read(Some(twice)).is_err(), "{twice}");
        }
        assert!(read(Some("x=1&x=2")).is_ok(), "what we do not read is not judged");
        assert!(read(Some(&"a".repeat(20_000))).is_err());
        assert!(read(Some("ns=&last=")).unwrap().ns.is_none());
    }
}
