//! HTTP/1.1 as seen on the wire: requests read, answers written. By hand, because no server library
//! will send what a broken server sends (wrong lengths, headers without end, a reset in mid body).

use crate::content::Content;
use bytes::Bytes;

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// The path, without the query, as sent.
    pub path: String,
    /// The query, without the question mark, as sent; empty when there is none.
    pub query: String,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, at most 1 MiB.
    pub body: Bytes,
}

impl Request {
    /// The first value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The first value of the query parameter `name`, decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        form_values(&self.query, name).into_iter().next()
    }

    pub(crate) fn wants_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Reads a request head, up to and without the blank line. `None` when it is not HTTP/1.x.
    pub(crate) fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut start = lines.next()?.split(' ');
        let (method, target, version) = (start.next()?, start.next()?, start.next()?);
        if !version.starts_with("HTTP/1.") {
            return None;
        }
        // A request in absolute form (RFC 9112 §3.2.2) is what a client sends to a proxy.
        let target = match target.strip_prefix("http://") {
            Some(rest) => &rest[rest.find('/').unwrap_or(rest.len())..],
            None => target,
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Some(Self {
            method: method.into(),
            path: path.into(),
            query: query.into(),
            headers: lines.filter_map(parse_header).collect(),
            body: Bytes::new(),
        })
    }
}

/// What a server is about to answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content: Content,
    /// The part of the content that is the body: offset and length.
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl Answer {
    pub(crate) fn new(status: u16, content: impl Into<Content>) -> Self {
        let content = content.into();
        let length = content.size_bytes();
        Self { status, reason: None, headers: Vec::new(), content, start: 0, length }
    }

    pub(crate) fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, value.to_string()).with("content-type", "application/json")
    }

    /// An error in the form of the OCI distribution spec, "Error Codes".
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let errors = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::json(status, &errors)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.headers.push((name.to_ascii_lowercase(), value.into()));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(held, _)| !held.eq_ignore_ascii_case(name));
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Replaces the body by the whole of `content`.
    pub(crate) fn replace(&mut self, content: impl Into<Content>) {
        self.content = content.into();
        (self.start, self.length) = (0, self.content.size_bytes());
    }

    /// Status line and headers, without framing and without the blank line.
    pub(crate) fn head(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or(reason(self.status));
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head
    }
}

/// The first value of `name` (lower case) in `headers`.
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
}

/// One header line as a lower-case name and a trimmed value.
pub(crate) fn parse_header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// Every value of `name` in a query or a form (application/x-www-form-urlencoded), decoded.
pub(crate) fn form_values(form: &str, name: &str) -> Vec<String> {
    form.split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| percent_decode(key) == name)
        .map(|(_, value)| percent_decode(value))
        .collect()
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], escaped) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The usual reason phrase of a status (RFC 9110 §15).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Unnamed",
    }
}

/// The outcome of reading a `Range` header against a body of some size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// No range, or one this server does not understand: the whole body.
    Whole,
    /// Offset and length.
    Part(u64, u64),
    /// Nothing of the body is in the range.
    Unsatisfiable,
}

/// Reads a single byte range (RFC 9110 §14.1.2); several ranges count as none.
pub(crate) fn window(range: Option<&str>, size: u64) -> Window {
    let Some((first, last)) =
        range.and_then(|text| text.strip_prefix("bytes=")).and_then(|text| text.split_once('-'))
    else {
        return Window::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => Window::Whole,
        (Ok(first), _) if first >= size => Window::Unsatisfiable,
        (Ok(first), Ok(last)) => Window::Part(first, last.min(size - 1) + 1 - first),
        (Ok(first), Err(_)) if last.is_empty() => Window::Part(first, size - first),
        (Err(_), Ok(0)) if first.is_empty() => Window::Unsatisfiable,
        (Err(_), Ok(_)) if first.is_empty() && size == 0 => Window::Unsatisfiable,
        (Err(_), Ok(last)) if first.is_empty() => {
            Window::Part(size - last.min(size), last.min(size))
        }
        _ => Window::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_as_rfc_9110_says() {
        use Window::{Part, Unsatisfiable, Whole};
        for (range, expected) in [
            ("bytes=0-0", Part(0, 1)),
            ("bytes=2-", Part(2, 8)),
            ("bytes=2-100", Part(2, 8)),
            ("bytes=-3", Part(7, 3)),
            ("bytes=-30", Part(0, 10)),
            ("bytes=-0", Unsatisfiable),
            ("bytes=10-", Unsatisfiable),
            ("bytes=5-2", Whole),
            ("bytes=0-1,3-4", Whole),
            ("lines=1-2", Whole),
        ] {
            assert_eq!(window(Some(range), 10), expected, "{range}");
        }
        assert_eq!(window(None, 10), Whole);
    }

    #[test]
    fn requests_parse_in_origin_and_absolute_form() {
        let request = Request::parse("GET /v2/?n=1%2B1&n=2 HTTP/1.1\r\nHost: a:1\r\nACCEPT:  x ");
        let request = request.expect("valid");
        assert_eq!((request.path.as_str(), request.header("accept")), ("/v2/", Some("x")));
        assert_eq!(request.query_value("n").as_deref(), Some("1+1"));
        assert_eq!(Request::parse("GET http://h/p?q HTTP/1.1").expect("valid").path, "/p");
        assert!(Request::parse("SSH-2.0-x").is_none());
    }
}
