//! Why a server cannot start.

use std::io;
use std::path::PathBuf;

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {hint}")]
    Listen {
        /// As configured.
        address: String,
        /// The cause in words, and what to do.
        hint: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file of certificates or keys cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of certificates or keys does not hold what it should.
    #[error("{}: {problem}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// PROXY protocol without anybody who may speak it.
    #[error(
        "listener {address}: proxyProtocol needs trustedProxies, the networks of the proxies \
         that connect to it"
    )]
    NoTrustedProxies {
        /// The listener.
        address: String,
    },
    /// Not the base of a URL.
    #[error("public URL {0:?}: write it as https://registry.example.com, without a path")]
    PublicUrl(String),
}
