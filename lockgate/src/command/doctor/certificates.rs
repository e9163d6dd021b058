//! What runs out: certificates of listeners, and whatever files upstreams need.

use super::finding::{Report, State};
use crate::output::relative;
use crate::serve::is_soon;
use crate::settings::Settings;
use jiff::Timestamp;
use plane::View;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use upstream::{CredentialKind, ExpiryKind, Upstream};
use x509_cert::der::Decode;

/// Certificates that we show to clients.
pub(super) fn of_listeners(settings: &Settings, now: Timestamp, report: &mut Report) {
    for listener in &settings.listeners {
        let Some(tls) = &listener.tls else { continue };
        let what = format!("certificate {} of {}", tls.cert_file.display(), listener.address);
        match first_expiry(&tls.cert_file) {
            Ok(not_after) => judge(&what, not_after, now, report),
            Err(problem) => {
                report.wrong("certificate", format!("{what}: {problem}"), "put a PEM file there");
            }
        }
        if let Err(error) = std::fs::File::open(&tls.key_file) {
            let text = format!("key {}: {error}", tls.key_file.display());
            report.wrong("certificate", text, "put it there, readable for the user of the plane");
        }
    }
}

/// Files that upstreams need.
pub(super) fn of_upstreams(view: &View, now: Timestamp, report: &mut Report) {
    for upstream in view.upstreams() {
        of_credentials(upstream, report);
        for expiry in upstream.expiries() {
            let kind = match expiry.what {
                ExpiryKind::ClientCertificate => "client certificate",
                ExpiryKind::CertificateAuthority => "authority",
                ExpiryKind::Token => "token",
            };
            let what = format!("{kind} {} of upstream {}", expiry.path.display(), upstream.name());
            match (expiry.not_after, expiry.problem) {
                (Some(not_after), _) => judge(&what, not_after, now, report),
                (None, Some(problem)) => {
                    let text = format!("{what}: {problem}");
                    report.wrong(
                        "certificate",
                        text,
                        "put it there, readable for the user of the plane",
                    );
                }
                (None, None) => report.right("certificate", format!("{what} tells no end")),
            }
        }
    }
}

/// Files that hold credentials: a plane that read them once serves on until it starts again. Those
/// of tokens are among the expiries.
fn of_credentials(upstream: &Upstream, report: &mut Report) {
    for credential in &upstream.settings().credentials {
        let path = match &credential.kind {
            CredentialKind::Basic { password_file, .. } => password_file,
            CredentialKind::DockerConfig { file } => file,
            _ => continue,
        };
        let problem = match std::fs::metadata(path) {
            // A pipe would be waited for.
            Ok(found) if !found.is_file() => Some("is not a regular file".to_owned()),
            Ok(_) => std::fs::File::open(path).err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(problem) = problem {
            let what = format!("file {} of upstream {}", path.display(), upstream.name());
            report.wrong(
                "credential",
                format!("{what}: {problem}"),
                "put it there, readable for the user of the plane",
            );
        }
    }
}

/// Says when something of ours ends, and how bad that is.
fn judge(what: &str, not_after: Timestamp, now: Timestamp, report: &mut Report) {
    judge_with(what, not_after, now, "renew it; a changed file is read by itself", report);
}

/// The same of something that others have to renew.
pub(super) fn judge_foreign(what: &str, not_after: Timestamp, now: Timestamp, report: &mut Report) {
    judge_with(what, not_after, now, "tell those who run it", report);
}

fn judge_with(what: &str, not_after: Timestamp, now: Timestamp, remedy: &str, report: &mut Report) {
    let when = relative(not_after, now);
    if not_after <= now {
        report.push(State::Wrong, "certificate", format!("{what} expired {when}"), remedy);
    } else if is_soon(not_after, now) {
        report.push(State::Warning, "certificate", format!("{what} expires {when}"), remedy);
    } else {
        report.right("certificate", format!("{what} expires {when}"));
    }
}

/// When the first certificate of a chain ends.
fn first_expiry(path: &Path) -> Result<Timestamp, String> {
    let mut first: Option<Timestamp> = None;
    let chain = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    for der in chain {
        let der = der.map_err(|error| error.to_string())?;
        let certificate =
            x509_cert::Certificate::from_der(&der).map_err(|error| error.to_string())?;
        let not_after = certificate.tbs_certificate().validity().not_after.to_unix_duration();
        let seconds = i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX);
        let not_after = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        first = Some(first.map_or(not_after, |first| first.min(not_after)));
    }
    first.ok_or_else(|| "holds no certificate in PEM".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_time() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let day = 86_400;
        for (seconds, state) in
            [(-1, State::Wrong), (13 * day, State::Warning), (15 * day, State::Right)]
        {
            let mut report = Report::default();
            let end = Timestamp::from_second(now.as_second() + seconds).unwrap();
            judge("it", end, now, &mut report);
            assert_eq!(report.states(), [state], "{seconds}");
        }
    }

    #[test]
    fn the_end_of_a_chain_is_its_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain.pem");
        let ca = testkit::TestCa::new();
        let (fresh, expired) = (ca.server(&["a"]), ca.expired_server(&["a"]));
        std::fs::write(&path, format!("{}{}", fresh.cert_pem, expired.cert_pem)).unwrap();
        assert!(first_expiry(&path).unwrap() < Timestamp::now());
        std::fs::write(&path, fresh.cert_pem).unwrap();
        assert!(first_expiry(&path).unwrap() > Timestamp::now());
        std::fs::write(&path, "nothing").unwrap();
        assert!(first_expiry(&path).is_err());
    }
}
