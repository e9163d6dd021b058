//! The HTTP server below HTTP's meaning: listeners, TLS, connections and their bounds. It knows
//! nothing of artifacts.
//!
//! [`bind`] opens every listener, so that a wrong address is told before anything starts; [`serve`]
//! runs them with a handler until it is told to stop, then drains.
//!
//! What is bounded, and by what ([`Limits`]): the number of connections; a request's head in size
//! and time; the time a connection may idle; the time a client may go without reading an answer;
//! the streams of an HTTP/2 connection; the drain. A client in no hurry is fine as long as it makes
//! progress.
//!
//! Half-closed connections count as closed: a client that shuts its side down has left, and what
//! was being done for it stops at once.

mod accept;
mod activity;
mod bind;
mod certificates;
mod client_certificates;
mod connection;
mod drive;
mod error;
mod forwarded;
mod own_words;
mod port_owner;
mod proxy_protocol;
mod request_body;
mod settings;
mod stream;

pub use accept::{Drained, Handler, serve};
pub use bind::{Bound, bind};
pub use certificates::{Certificate, Certificates};
pub use connection::{Connection, ListenerInfo, PublicBase, Scheme, TlsInfo, UnixPeer};
pub use error::Error;
pub use request_body::{BodyError, read_body};
pub use settings::{Address, ForwardedStyle, Limits, ListenerSettings, TlsFiles};
