//! References as people and container runtimes write them, made whole.

/// Characters of a reference that are kept: a name has 255, a tag 128, a digest 135.
const REFERENCE_CHARS_MAX: usize = 600;

/// What containerd and docker make of it (`distribution/reference`, "ParseNormalizedNamed"): the first
/// part of a name is a host if it looks like one, else the image is of Docker Hub, and its official
/// images stand below `library`; without tag and digest it is `latest`. What is no reference stays as
/// it is, for the plane to say so.
pub(super) fn whole(written: &str) -> String {
    let written = written.trim();
    if written.is_empty() || written.contains(char::is_whitespace) || written.contains("://") {
        return cut(written);
    }
    let (host, rest) = match written.split_once('/') {
        Some((first, rest)) if is_host(first) => (first, rest),
        _ => ("docker.io", written),
    };
    let host = if host == "index.docker.io" { "docker.io" } else { host };
    let library = if host == "docker.io" && !rest.contains('/') { "library/" } else { "" };
    let last = rest.rsplit('/').next().unwrap_or(rest);
    let latest = if last.contains([':', '@']) { "" } else { ":latest" };
    cut(&format!("{host}/{library}{rest}{latest}"))
}

fn is_host(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// A name with its tag or digest.
pub(super) fn join(name: &str, reference: &str) -> String {
    let sign = if reference.contains(':') { '@' } else { ':' };
    cut(&format!("{name}{sign}{reference}"))
}

fn cut(text: &str) -> String {
    text.chars().take(REFERENCE_CHARS_MAX).collect()
}

/// The host of a reference that is whole.
pub(in super::super) fn host(reference: &str) -> &str {
    reference.split_once('/').map_or(reference, |(host, _)| host)
}

/// Whether a word of a list looks like a reference, and not like a word of a log.
pub(super) fn is_plausible(word: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:@".contains(&byte);
    word.len() <= REFERENCE_CHARS_MAX
        && word.bytes().all(is_legal)
        && word.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_what_containerd_makes_of_it() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (written, expected) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.27", "docker.io/library/nginx:1.27".to_owned()),
            ("grafana/loki:3", "docker.io/grafana/loki:3".to_owned()),
            ("docker.io/nginx", "docker.io/library/nginx:latest".to_owned()),
            ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1".to_owned()),
            ("localhost/a", "localhost/a:latest".to_owned()),
            ("registry:5000/a/b", "registry:5000/a/b:latest".to_owned()),
            ("quay.io/a/b:1", "quay.io/a/b:1".to_owned()),
            (&format!("nginx@{digest}"), format!("docker.io/library/nginx@{digest}")),
            (&format!("ghcr.io/a/b:1@{digest}"), format!("ghcr.io/a/b:1@{digest}")),
            ("", String::new()),
            ("no reference", "no reference".to_owned()),
            ("https://ghcr.io/a", "https://ghcr.io/a".to_owned()),
        ] {
            assert_eq!(whole(written), expected);
        }
        assert_eq!(join("a/b", "1"), "a/b:1");
        assert_eq!(join("a/b", &digest), format!("a/b@{digest}"));
        assert_eq!(whole(&"x".repeat(10_000)).len(), REFERENCE_CHARS_MAX);
    }
}
