//! `WWW-Authenticate`: what a registry asks for (RFC 9110 §11.6.1; distribution docs, "Token
//! Authentication Specification"). The header comes from the network, so every part is bounded.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// Longest header read; more is not a challenge but an attack.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// Most challenges read from one answer.
const CHALLENGES_MAX: usize = 8;

/// Most parameters read from one challenge.
const PARAMETERS_MAX: usize = 32;

/// What a registry asks for, as far as we can give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from `realm`.
    Bearer {
        /// URL of the token service, unchecked.
        realm: String,
        /// What the token service is to be told.
        service: Option<String>,
        /// The scope this answer was about.
        scope: Option<String>,
        /// Whether it says that the token shown is no good (RFC 6750 §3.1), rather than that it is
        /// not enough.
        is_invalid_token: bool,
    },
}

/// The challenges of an answer that we know how to meet, in order.
pub(crate) fn parse(headers: &HeaderMap) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let text = value.as_bytes();
        if text.len() > HEADER_BYTES_MAX {
            continue;
        }
        if let Ok(text) = std::str::from_utf8(text) {
            Parser { rest: text }.challenges(&mut challenges);
        }
    }
    challenges
}

/// Reads one header from left to right. Parameters and challenges are both separated by commas;
/// which one follows a comma shows in whether a token is followed by `=`.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn challenges(&mut self, found: &mut Vec<Challenge>) {
        while found.len() < CHALLENGES_MAX {
            self.skip(|c| c == ',' || c == ' ' || c == '\t');
            let Some(scheme) = self.token() else { return };
            let Some(parameters) = self.parameters() else { return };
            found.extend(challenge(scheme, parameters));
        }
    }

    /// The parameters up to the next challenge; `None` if the text makes no sense any more.
    fn parameters(&mut self) -> Option<Vec<(String, String)>> {
        let mut parameters = Vec::new();
        loop {
            let before = self.rest;
            self.skip(|c| c == ',' || c == ' ' || c == '\t');
            if self.rest.is_empty() {
                return Some(parameters);
            }
            let name = self.token()?;
            self.skip(|c| c == ' ' || c == '\t');
            let Some(rest) = self.rest.strip_prefix('=') else {
                // A token without `=` begins the next challenge.
                self.rest = before;
                return Some(parameters);
            };
            self.rest = rest;
            self.skip(|c| c == ' ' || c == '\t');
            let value = match self.rest.starts_with('"') {
                true => self.quoted()?,
                false => self.token68().to_owned(),
            };
            if parameters.len() == PARAMETERS_MAX {
                return None;
            }
            parameters.push((name.to_ascii_lowercase(), value));
        }
    }

    fn skip(&mut self, condition: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(condition);
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let length = self.rest.bytes().take_while(|b| is_token(*b)).count();
        (length > 0).then(|| self.cut(length))
    }

    /// What stands unquoted after `=`; registries put URLs there too.
    fn token68(&mut self) -> &'a str {
        let length = self.rest.bytes().take_while(|b| !b", \t\"".contains(b)).count();
        self.cut(length)
    }

    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut is_escaped = false;
        for (at, character) in self.rest.char_indices().skip(1) {
            match character {
                _ if is_escaped => {
                    value.push(character);
                    is_escaped = false;
                }
                '\\' => is_escaped = true,
                '"' => {
                    self.cut(at + 1);
                    return Some(value);
                }
                _ => value.push(character),
            }
        }
        None
    }

    fn cut(&mut self, length: usize) -> &'a str {
        let (cut, rest) = self.rest.split_at(length);
        self.rest = rest;
        cut
    }
}

fn challenge(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let value = |name: &str| {
        let found = parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    Some(Challenge::Bearer {
        realm: value("realm")?,
        service: value("service"),
        scope: value("scope"),
        is_invalid_token: value("error").as_deref() == Some("invalid_token"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, http::HeaderValue::from_str(value).unwrap());
        }
        parse(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (service, scope) = (owned(service), owned(scope));
        Challenge::Bearer { realm: realm.into(), service, scope, is_invalid_token: false }
    }

    #[test]
    fn reads_what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull,push""#;
        let scope = Some("repository:library/nginx:pull,push");
        let expected = bearer("https://auth.docker.io/token", Some("registry.docker.io"), scope);
        assert_eq!(read(&[hub]), [expected]);
        assert_eq!(read(&["Basic realm=\"a, Bearer realm=b\""]), [Challenge::Basic]);
        assert_eq!(
            read(&["BEARER Realm = https://r.example/t , error=\"insufficient_scope\""]),
            [bearer("https://r.example/t", None, None)]
        );
        assert_eq!(
            read(&[r#"Bearer realm="https://r/\"t\"",service="""#]),
            [bearer("https://r/\"t\"", None, None)]
        );
    }

    #[test]
    fn an_invalid_token_is_told_from_one_that_is_not_enough() {
        let read = read(&["Bearer realm=\"https://r/t\",error=\"invalid_token\""]);
        assert!(matches!(read[..], [Challenge::Bearer { is_invalid_token: true, .. }]));
    }

    #[test]
    fn reads_several_challenges_in_one_header_or_more() {
        let both = r#"Negotiate, Basic realm="x", charset="UTF-8", Bearer realm="https://r/t""#;
        let expected = [Challenge::Basic, bearer("https://r/t", None, None)];
        assert_eq!(read(&[both]), expected);
        assert_eq!(read(&["Basic realm=x", "Bearer realm=https://r/t"]), expected);
    }

    #[test]
    fn nonsense_and_excess_are_no_challenge() {
        let long = format!("Bearer realm=\"{}\"", "x".repeat(HEADER_BYTES_MAX));
        let many = format!("Bearer {}", "a=b,".repeat(PARAMETERS_MAX + 1));
        for text in
            ["", "Bearer", "Bearer service=\"x\"", "Bearer realm=\"open", "=,=", &long, &many]
        {
            assert_eq!(read(&[text]), [], "{text}");
        }
        assert_eq!(read(&["Basic, ".repeat(100).as_str()]).len(), CHALLENGES_MAX);
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_stays_bounded(text in "[A-Za-z=\", \\\\\t:/.]{0,120}|[ -~]{0,120}") {
            let found = read(&[&text]);
            proptest::prop_assert!(found.len() <= CHALLENGES_MAX);
        }

        #[test]
        fn what_is_quoted_comes_back(
            realm in "[ -~]{1,60}", service in "[ -~]{1,40}", other in "[ -~]{0,40}"
        ) {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!(
                "Digest nonce=\"{}\", Bearer realm=\"{}\", service=\"{}\"",
                quote(&other), quote(&realm), quote(&service)
            );
            proptest::prop_assert_eq!(read(&[&header]), [bearer(&realm, Some(&service), None)]);
        }
    }
}
