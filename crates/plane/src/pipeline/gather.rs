//! Stage 4, gather: what the decision needs to know of the target.
//!
//! So far that is what it is and whom it is private to; evidence joins here when policies ask for
//! it.

use super::resolve::Target;
use policy::Facts;

pub(super) fn gather(target: &Target) -> Facts {
    match target {
        Target::Manifest { content, private_to, .. } => Facts {
            private_to: private_to.as_deref().map(str::to_owned),
            digest: Some(content.digest),
        },
        Target::Blob { digest, private_to, .. } => {
            Facts { private_to: private_to.as_deref().map(str::to_owned), digest: Some(*digest) }
        }
        Target::Write { write, .. } => Facts { private_to: None, digest: write.digest() },
        Target::Base | Target::Tags { .. } | Target::Referrers { .. } | Target::Catalog { .. } => {
            Facts::default()
        }
    }
}
