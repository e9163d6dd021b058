//! The login with a code on another device (RFC 8628): for machines without a browser.

use super::oidc::{Answer, IdToken, Issuer};
use crate::client::tokens::{OauthError, json};
use crate::exit::Failure;
use crate::output::{clean, say};
use serde::Deserialize;
use std::time::{Duration, Instant};
use url::Url;

/// Between two questions, if the issuer says nothing (RFC 8628 §3.2), and how much longer when it says that
/// it is asked too often (§3.5).
const INTERVAL_DEFAULT: u64 = 5;
const SLOWER: Duration = Duration::from_secs(5);
/// Whatever it says: not more often, and not so rarely that nobody waits for it.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Nobody takes longer than this to type in a code.
const WAIT_MAX: Duration = Duration::from_secs(1800);

/// What the issuer gives to begin with.
#[derive(Deserialize)]
struct Begun {
    device_code: String,
    user_code: String,
    /// Some call it `verification_url`.
    #[serde(alias = "verification_url")]
    verification_uri: Url,
    verification_uri_complete: Option<Url>,
    expires_in: u64,
    interval: Option<u64>,
}

/// What a refusal means for the next question.
#[derive(Debug, PartialEq)]
enum Next {
    Again,
    /// After a longer pause.
    Slower,
    Ended(&'static str),
    Failed,
}

/// Shows somebody a code, and waits until they typed it in.
pub(super) async fn login(issuer: &Issuer) -> Result<IdToken, Failure> {
    let begun = begin(issuer).await?;
    show(issuer, &begun)?;
    let ends = Instant::now() + Duration::from_secs(begun.expires_in).min(WAIT_MAX);
    let mut pause = Duration::from_secs(begun.interval.unwrap_or(INTERVAL_DEFAULT));
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", begun.device_code.as_str()),
        ("client_id", issuer.client_id()),
    ];
    loop {
        pause = pause.clamp(INTERVAL_MIN, INTERVAL_MAX);
        if Instant::now() + pause > ends {
            return Err(ended(issuer, "nobody typed in the code in time"));
        }
        tokio::time::sleep(pause).await;
        let error = match issuer.token(&form, None).await {
            Ok(Answer::Token(token)) => return Ok(token),
            Ok(Answer::Refused(error)) => error,
            // An answer that is lost ends nothing (RFC 8628 §3.5): it is asked for more rarely.
            Err(failure) if failure.is_cannot_tell() => {
                pause *= 2;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        match next(&error) {
            Next::Again => {}
            Next::Slower => pause += SLOWER,
            Next::Ended(why) => return Err(ended(issuer, why)),
            Next::Failed => return Err(issuer.cannot(&error.text())),
        }
    }
}

fn ended(issuer: &Issuer, why: &str) -> Failure {
    issuer.cannot(why).hint("start again: `lockgate login --device`")
}

fn next(error: &OauthError) -> Next {
    match error.error.as_str() {
        "authorization_pending" => Next::Again,
        "slow_down" => Next::Slower,
        "expired_token" => Next::Ended("the code has ended"),
        "access_denied" => Next::Ended("the login was refused there"),
        _ => Next::Failed,
    }
}

async fn begin(issuer: &Issuer) -> Result<Begun, Failure> {
    let url = issuer.device_endpoint()?;
    let form = [("client_id", issuer.client_id()), ("scope", &issuer.scope())];
    let answer = issuer.post(url, &form).await?;
    let status = answer.status();
    if status.is_success() {
        return json(answer).await.map_err(|error| error.of(url));
    }
    let error: OauthError = json(answer).await.unwrap_or_default();
    Err(match error.text() {
        text if text.is_empty() => Failure::cannot_tell(format!("{url} answered {status}")),
        text => issuer.cannot(&text),
    })
}

fn show(issuer: &Issuer, begun: &Begun) -> Result<(), Failure> {
    let all = [Some(&begun.verification_uri), begun.verification_uri_complete.as_ref()];
    if !all.into_iter().flatten().all(|url| matches!(url.scheme(), "http" | "https")) {
        return Err(issuer.cannot("it gives an address that is none"));
    }
    let (url, code) = (&begun.verification_uri, clean(&begun.user_code));
    let (name, client) = (clean(issuer.name()), clean(issuer.client_id()));
    say(&format!(
        "to log in at {name} (client {client}), open on any device\n\n    {url}\n\n\
         and type in the code\n\n    {code}\n"
    ));
    if let Some(url) = &begun.verification_uri_complete {
        say(&format!("or open {url}\nand compare the code.\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_still_change_is_asked_again() {
        let of = |error: &str| {
            let error = serde_json::json!({ "error": error });
            next(&serde_json::from_value(error).unwrap())
        };
        assert_eq!(of("authorization_pending"), Next::Again);
        assert_eq!(of("slow_down"), Next::Slower);
        assert!(matches!(of("expired_token"), Next::Ended(_)));
        assert!(matches!(of("access_denied"), Next::Ended(_)));
        assert_eq!(of("invalid_client"), Next::Failed);
        assert_eq!(of(""), Next::Failed);
    }
}
