//! Who is asking: credentials become identities.
//!
//! A provider is one `IdentityProvider` document: it knows its keys or users and says who somebody is.
//! Which provider speaks is settled by what verifies, never by what a credential says of itself: two
//! clusters that call themselves the same are told apart by their keys. What a provider cannot check now
//! is never taken for anonymous ([`IdentifyError::CannotTell`]).
//!
//! [`TokenKeys`] signs the tokens that clients get at `/token`; any replica with the same keys checks them.

mod authorization;
mod certificates;
mod claims;
mod error;
mod file;
mod jwks;
mod jwt;
mod local;
mod providers;
mod report;
mod settings;
mod spiffe;
mod subjects;
mod tokens;
pub mod users;

pub use authorization::{Authorization, AuthorizationError};
pub use error::{Error, IdentifyError};
pub use providers::{Presented, Providers};
pub use settings::{
    Algorithm, ClaimMapping, KeySource, Login, LoginOffer, ProviderKind, ProviderSettings,
};
pub use tokens::{AccessToken, TokenHolder, TokenKeys};
