//! Does the reason of a refusal reach the client? containerd and the kubelet show nothing but the
//! status line, and some load balancers write their own.

use super::finding::Report;
use crate::client;
use crate::exit::Failure;
use hyper::ext::ReasonPhrase;
use serde::Deserialize;
use std::path::Path;
use url::Url;

/// A request that every plane refuses: no repository is named so (RFC 6761 keeps `.invalid` free).
const REFUSED: &str = "/v2/lockgate/doctor/manifests/probe?ns=doctor.invalid";
/// The longest body that is looked at.
const BODY_BYTES_MAX: usize = 64 << 10;
/// So much of a message at its beginning is compared; the status line may hold less of it.
const COMPARED_CHARS: usize = 24;

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    message: String,
}

/// What came back of a refused request.
struct Refusal {
    status: u16,
    phrase: Option<String>,
    message: Option<String>,
}

/// Looks at one public URL.
pub(super) async fn look(url: &Url, ca_file: Option<&Path>, report: &mut Report) {
    match ask(url, ca_file).await {
        Ok(refusal) => judge(url, &refusal, report),
        Err(failure) => report.wrong(
            "status line",
            format!("{url}: {}", failure.one_line()),
            "clients cannot reach the plane there: check name, port, certificate (--ca-file for an \
             authority of your own) and load balancer",
        ),
    }
}

fn judge(url: &Url, refusal: &Refusal, report: &mut Report) {
    let (status, Some(message)) = (refusal.status, &refusal.message) else {
        let text = format!("{url} answered {} without a registry's error", refusal.status);
        let remedy =
            "something else than a plane answers there, or a load balancer replaces errors";
        return report.wrong("status line", text, remedy);
    };
    if status != 403 {
        let text = format!("{url} answered {status} to what a plane refuses with 403");
        return report.wrong("status line", text, "something on the way changes the status");
    }
    let beginning: String = message.chars().take(COMPARED_CHARS).collect();
    let phrase = refusal.phrase.as_deref().unwrap_or_default().to_lowercase();
    if phrase.contains(&beginning.to_lowercase()) {
        report.right("status line", format!("{url}: the reason of a refusal arrives"));
    } else {
        report.wrong(
            "status line",
            format!("{url}: the reason of a refusal is lost on the way"),
            "containerd and the kubelet would show a bare `403 Forbidden`: use a load balancer on \
             layer 4 (with proxyProtocol), or HTTP/1.1 all the way and one that keeps the status line",
        );
    }
}

async fn ask(url: &Url, ca_file: Option<&Path>) -> Result<Refusal, Failure> {
    let http = client::build(client::trusting(client::client(), ca_file)?)?;
    let target = url.join(REFUSED).map_err(|error| Failure::usage("no URL").because(&error))?;
    let failed = |error: reqwest::Error| Failure::no("no answer").because(client::root(&error));
    let mut answer = http.get(target).send().await.map_err(failed)?;
    let status = answer.status().as_u16();
    let phrase = answer.extensions().get::<ReasonPhrase>();
    let phrase = phrase.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned());
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        if body.len() + piece.len() > BODY_BYTES_MAX {
            break;
        }
        body.extend_from_slice(&piece);
    }
    let errors = serde_json::from_slice::<Errors>(&body).ok();
    let message =
        errors.and_then(|errors| errors.errors.into_iter().next()).map(|entry| entry.message);
    Ok(Refusal { status, phrase, message })
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn judged(status: u16, phrase: Option<&str>, message: Option<&str>) -> Vec<State> {
        let url = "https://plane.example.test".parse().unwrap();
        let mut report = Report::default();
        let (phrase, message) = (phrase.map(str::to_owned), message.map(str::to_owned));
        judge(&url, &Refusal { status, phrase, message }, &mut report);
        report.states()
    }

    #[test]
    fn only_the_planes_own_reason_will_do() {
        let message = "denied by lockgate/namespace: no repository is named doctor.invalid";
        assert_eq!(
            judged(403, Some("Denied by lockgate/namespace: no rep"), Some(message)),
            [State::Right]
        );
        for (status, phrase, message) in [
            (403, None, Some(message)),
            (403, Some("Not allowed"), Some(message)),
            (403, Some("denied by"), None),
            (502, Some("denied by lockgate/namespace: no rep"), Some(message)),
        ] {
            assert_eq!(judged(status, phrase, message), [State::Wrong]);
        }
    }
}
