//! Texts that were checked when they were read, one type per format.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A checked text: the same ten lines for each, which only differ in format and length.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $format:literal, $max_bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// As written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                if text.len() > $max_bytes {
                    return Err(format!("longer than {} characters", $max_bytes));
                }
                match crate::formats::find($format) {
                    Some(check) => check(&text)?,
                    None => return Err(format!("format {} has no check", $format)),
                }
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "maxLength": $max_bytes })
            }
        }
    };
}

checked_text! {
    /// An http or https URL without credentials, query or fragment.
    HttpUrl, "lockgate-http-url", 1024
}
checked_text! {
    /// Scheme, host and port of URLs that are trusted: `https://*.example`.
    UrlPattern, "lockgate-url-pattern", 512
}
checked_text! {
    /// A pattern of repository names: `docker.io/**`.
    Glob, "lockgate-glob", 512
}
checked_text! {
    /// A pattern of names, or of names with tags: `library/*:*-lts`.
    PinGlob, "lockgate-pin-glob", 512
}
checked_text! {
    /// A pattern of tags: `pr-*`.
    TagGlob, "lockgate-tag-glob", 256
}
checked_text! {
    /// A regular expression. Whether it compiles is judged by who compiles it.
    RegexText, "lockgate-regex", 256
}
checked_text! {
    /// The beginning of the keys in an object store, without slashes around: `lockgate/blobs`.
    ObjectPrefix, "lockgate-object-prefix", 255
}
checked_text! {
    /// A network in CIDR form.
    Cidr, "lockgate-cidr", 64
}
checked_text! {
    /// A host name, perhaps with a port.
    HostName, "lockgate-host-name", 260
}
checked_text! {
    /// An IP address and a port to listen on.
    SocketAddress, "lockgate-socket-address", 64
}
checked_text! {
    /// One or more segments of a repository name.
    RepositoryPath, "lockgate-repository-path", 255
}
checked_text! {
    /// The beginning of repository names; may be empty.
    NamePrefix, "lockgate-name-prefix", 255
}
checked_text! {
    /// A name of a document (DNS-1123 subdomain).
    ResourceName, "lockgate-resource-name", 253
}
checked_text! {
    /// A pattern of any text: `*` between slashes, `**` across them: `shop-*`, `refs/tags/v*`.
    TextGlob, "lockgate-text-glob", 512
}
checked_text! {
    /// A platform with stars: `linux/amd64`, `linux/*`.
    PlatformGlob, "lockgate-platform", 64
}
checked_text! {
    /// An expression in CEL. Whether it means something is judged by who compiles it.
    Expression, "lockgate-expression", 4096
}
checked_text! {
    /// A digest of content: `sha256:<64 hexadecimal digits>`.
    DigestText, "lockgate-digest", 160
}
checked_text! {
    /// One line of text.
    ShortText, "lockgate-short-text", 256
}
checked_text! {
    /// A moment, RFC 3339 in UTC or with an offset: `2026-12-01T00:00:00Z`.
    WireTime, "lockgate-time", 64
}

impl WireTime {
    /// The moment.
    pub fn get(&self) -> jiff::Timestamp {
        self.0.parse().unwrap_or_default()
    }
}
