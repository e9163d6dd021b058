//! One line per request: who asked for what, and what came of it.

use crate::quote::{push_json, push_text};
use crate::{Format, Lines};
use jiff::Timestamp;
use std::cell::RefCell;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// What a line says of a request. Empty texts and `None` are left out of the line.
#[derive(Clone, Copy, Debug)]
pub struct AccessEntry<'a> {
    /// When the request arrived.
    pub time: SystemTime,
    /// Our id of the request.
    pub request_id: &'a str,
    /// The client's own id of the request (`X-Request-Id`).
    pub client_request_id: &'a str,
    /// The client's address, as far as it is known.
    pub client: Option<IpAddr>,
    /// The HTTP method.
    pub method: &'a str,
    /// The path, for requests that name no repository.
    pub path: &'a str,
    /// The repository with the name in it.
    pub repository: &'a str,
    /// Tag or digest.
    pub reference: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// Body bytes sent.
    pub bytes: u64,
    /// Hit, miss, denied, ….
    pub outcome: &'a str,
    /// The upstream that was asked, if any.
    pub upstream: &'a str,
    /// From the request's head to the end of the answer.
    pub duration: Duration,
    /// The decision, for `lockgate why`.
    pub decision_id: &'a str,
    /// Who asked: `<kind>:<provider>:<name>`, or `anonymous`.
    pub principal: &'a str,
    /// For which environment.
    pub environment: &'a str,
    /// Why it was refused or failed, in one line.
    pub reason: &'a str,
    /// What the client calls itself.
    pub user_agent: &'a str,
}

/// Writes access lines. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: Lines,
    format: Format,
}

impl AccessLog {
    /// Lines in `format` to `lines`, which may be shared with the log.
    pub fn new(format: Format, lines: Lines) -> Self {
        Self { lines, format }
    }

    /// Queues one line. Never blocks; see [`Lines::push`].
    pub fn write(&self, entry: &AccessEntry<'_>) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(1024));
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            let json = self.format == Format::Json;
            push_entry(&mut Fields { line, json }, entry);
            self.lines.push(line);
        });
    }

    /// How many lines were lost; see [`Lines::lost`].
    pub fn lost(&self) -> u64 {
        self.lines.lost()
    }
}

fn push_entry(fields: &mut Fields<'_>, entry: &AccessEntry<'_>) {
    fields.open(entry.time);
    fields.text("request_id", entry.request_id);
    fields.address("client", entry.client);
    fields.text("method", entry.method);
    fields.text("path", entry.path);
    fields.text("repository", entry.repository);
    fields.text("reference", entry.reference);
    fields.number("status", u64::from(entry.status));
    fields.number("bytes", entry.bytes);
    fields.text("outcome", entry.outcome);
    fields.text("upstream", entry.upstream);
    let micros = u64::try_from(entry.duration.as_micros()).unwrap_or(u64::MAX);
    fields.number("duration_us", micros);
    fields.text("decision_id", entry.decision_id);
    fields.text("principal", entry.principal);
    fields.text("environment", entry.environment);
    fields.text("reason", entry.reason);
    fields.text("user_agent", entry.user_agent);
    fields.text("client_request_id", entry.client_request_id);
    fields.close();
}

/// Appends fields to a line in one of the two formats.
struct Fields<'a> {
    line: &'a mut Vec<u8>,
    json: bool,
}

impl Fields<'_> {
    fn open(&mut self, time: SystemTime) {
        if self.json {
            self.line.extend_from_slice(b"{\"timestamp\":\"");
            push_time(self.line, time);
            self.line.extend_from_slice(b"\",\"level\":\"INFO\",\"target\":\"access\"");
        } else {
            push_time(self.line, time);
            self.line.extend_from_slice(b" access");
        }
    }

    fn key(&mut self, key: &str) {
        if self.json {
            self.line.extend_from_slice(b",\"");
            self.line.extend_from_slice(key.as_bytes());
            self.line.extend_from_slice(b"\":");
        } else {
            self.line.push(b' ');
            self.line.extend_from_slice(key.as_bytes());
            self.line.push(b'=');
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.key(key);
        if self.json {
            push_json(self.line, value);
        } else {
            push_text(self.line, value);
        }
    }

    fn address(&mut self, key: &str, value: Option<IpAddr>) {
        let Some(address) = value else { return };
        self.key(key);
        let quote = if self.json { "\"" } else { "" };
        // Writing to a vector does not fail.
        let _ = write!(self.line, "{quote}{address}{quote}");
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        let _ = write!(self.line, "{value}");
    }

    fn close(&mut self) {
        self.line.extend_from_slice(if self.json { b"}\n" } else { b"\n" });
    }
}

/// Appends RFC 3339 in UTC with microseconds. The part up to the second is made once a second.
fn push_time(line: &mut Vec<u8>, time: SystemTime) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs();
    SECOND.with_borrow_mut(|(held, text)| {
        if *held != seconds {
            let signed = i64::try_from(seconds).unwrap_or(i64::MAX);
            let whole = Timestamp::from_second(signed).unwrap_or(Timestamp::MAX);
            let whole = whole.to_string();
            *text = whole.get(..19).unwrap_or_default().to_owned();
            *held = seconds;
        }
        line.extend_from_slice(text.as_bytes());
    });
    let _ = write!(line, ".{:06}Z", since_epoch.subsec_micros());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AccessEntry<'static> {
        AccessEntry {
            time: SystemTime::UNIX_EPOCH + Duration::new(1_795_539_723, 12_345_678),
            request_id: "0abc00000001",
            client_request_id: "x\" status=200 \n",
            client: Some("10.1.2.3".parse().unwrap()),
            method: "GET",
            path: "",
            repository: "docker.io/library/alpine",
            reference: "3",
            status: 403,
            bytes: 17,
            outcome: "denied",
            upstream: "",
            duration: Duration::from_micros(1500),
            decision_id: "",
            principal: "",
            environment: "",
            reason: "denied by a/b: no",
            user_agent: "containerd/2.1",
        }
    }

    fn line(format: Format, entry: &AccessEntry<'_>) -> String {
        let mut line = Vec::new();
        push_entry(&mut Fields { line: &mut line, json: format == Format::Json }, entry);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_text_line_can_be_read_and_not_forged() {
        assert_eq!(
            line(Format::Text, &entry()),
            "2026-11-24T17:02:03.012345Z access request_id=0abc00000001 client=10.1.2.3 \
             method=GET repository=docker.io/library/alpine reference=3 status=403 bytes=17 \
             outcome=denied duration_us=1500 reason=\"denied by a/b: no\" \
             user_agent=containerd/2.1 client_request_id=\"x\\\" status=200 \\u000a\"\n"
        );
    }

    #[test]
    fn a_json_line_is_one_object() {
        let text = line(Format::Json, &entry());
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["timestamp"], "2026-11-24T17:02:03.012345Z");
        assert_eq!(value["client_request_id"], "x\" status=200 \n");
        assert_eq!((&value["status"], &value["bytes"]), (&403.into(), &17.into()));
        assert_eq!(value["client"], "10.1.2.3");
        assert!(value.get("upstream").is_none());
    }

    #[test]
    fn times_outside_the_calendar_do_not_panic() {
        for time in [
            SystemTime::UNIX_EPOCH - Duration::from_secs(5),
            SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40),
        ] {
            assert!(line(Format::Text, &AccessEntry { time, ..entry() }).contains("Z access"));
        }
    }
}
