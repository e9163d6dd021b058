//! The identity token of the CI job this runs in.

use crate::client::tokens::{issuer_http, json, silent};
use crate::exit::Failure;
use crate::flags::is_loopback;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::path::Path;
use url::Url;

/// Where GitLab, or whoever runs jobs, puts a token for us.
const TOKEN: &str = "LOCKGATE_ID_TOKEN";
/// Where GitHub Actions gives tokens, and by what it knows the job.
const REQUEST_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const REQUEST_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// What GitHub answers.
#[derive(Deserialize)]
struct Answer {
    value: String,
}

/// The job's token for this audience.
pub(super) async fn token(audience: &str, ca_file: Option<&Path>) -> Result<SecretString, Failure> {
    if let Some(token) = variable(TOKEN) {
        return Ok(token);
    }
    let (Some(url), Some(token)) = (variable(REQUEST_URL), variable(REQUEST_TOKEN)) else {
        return Err(Failure::no("no identity token of a CI job is here").hint(format!(
            "GitHub Actions: give the job `permissions: {{ id-token: write }}`\n\
             GitLab: give it `id_tokens: {{ {TOKEN}: {{ aud: {audience} }} }}`\n\
             others: put the token into {TOKEN}, or give it by --token-stdin"
        )));
    };
    github(url.expose_secret(), &token, audience, ca_file).await
}

fn variable(name: &str) -> Option<SecretString> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.into())
}

async fn github(
    url: &str,
    token: &SecretString,
    audience: &str,
    ca_file: Option<&Path>,
) -> Result<SecretString, Failure> {
    let url: Option<Url> = url.parse().ok();
    let url = url.filter(|url| url.scheme() == "https" || is_loopback(url));
    let mut url =
        url.ok_or_else(|| Failure::no(format!("{REQUEST_URL} is not an https:// URL")))?;
    url.query_pairs_mut().append_pair("audience", audience);
    let request = issuer_http(&url, ca_file)?.get(url.clone()).bearer_auth(token.expose_secret());
    // Its query is not for messages.
    url.set_query(None);
    let answer = request.send().await.map_err(|error| silent(&url, error))?;
    if !answer.status().is_success() {
        let text = format!("{url} gave no identity token: it answered {}", answer.status());
        return Err(Failure::cannot_tell(text)
            .hint("does the job have `permissions: { id-token: write }`?"));
    }
    let answer: Answer = json(answer).await.map_err(|error| error.of(&url))?;
    Ok(answer.value.into())
}
