//! Tags that say something about an artifact by their name: `sha256-<hex>`, `sha256-<hex>.sig`.
//!
//! Registries without the referrers API keep referrers under such a tag (distribution-spec,
//! "Referrers Tag Schema"), and cosign keeps signatures, attestations and SBOMs under others. They
//! are ordinary tags to everyone else, so that what is pushed under one must be found by the other.

use crate::{Algorithm, Digest, Tag};

/// What a tag of this kind holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EvidenceTag {
    /// The fallback of the referrers API: an index of what refers to the subject.
    Referrers,
    /// Signatures of cosign.
    Signature,
    /// Attestations of cosign.
    Attestation,
    /// An SBOM of cosign.
    Sbom,
}

impl EvidenceTag {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Referrers, Self::Signature, Self::Attestation, Self::Sbom];

    /// What follows the digest in the tag.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Referrers => "",
            Self::Signature => ".sig",
            Self::Attestation => ".att",
            Self::Sbom => ".sbom",
        }
    }
}

impl Tag {
    /// Hex characters of a digest that such a tag has room for (distribution-spec). A SHA-512 digest
    /// is cut to them.
    const HEX_CHARS: usize = 64;

    /// The tag under which evidence of this kind about `subject` is kept.
    pub fn evidence(subject: &Digest, kind: EvidenceTag) -> Self {
        let mut hex = subject.hex();
        hex.truncate(Self::HEX_CHARS);
        let text = format!("{}-{hex}{}", subject.algorithm(), kind.suffix());
        Self::parse(&text).expect("hex, dashes, dots and less than 128 of them")
    }

    /// What the tag is evidence about, if its name says so. Only SHA-256 digests can be read back;
    /// for others, ask [`Tag::is_evidence_about`] with the subject at hand.
    pub fn evidence_of(&self) -> Option<(Digest, EvidenceTag)> {
        let (hex, kind) = self.evidence_parts(Algorithm::Sha256)?;
        Some((Digest::from_hex(Algorithm::Sha256, hex).ok()?, kind))
    }

    /// Of which kind the tag is evidence about `subject`, if its name says so; also where the tag
    /// holds only the beginning of the digest.
    pub fn is_evidence_about(&self, subject: &Digest) -> Option<EvidenceTag> {
        let (hex, kind) = self.evidence_parts(subject.algorithm())?;
        let is_subject = hex.len() == Self::HEX_CHARS && subject.hex().starts_with(hex);
        is_subject.then_some(kind)
    }

    fn evidence_parts(&self, algorithm: Algorithm) -> Option<(&str, EvidenceTag)> {
        let rest = self.as_str().strip_prefix(algorithm.as_str())?.strip_prefix('-')?;
        let (hex, suffix) = rest.split_at_checked(Self::HEX_CHARS)?;
        let kind = EvidenceTag::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
        Some((hex, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_their_subject() {
        let subject = Digest::sha256(b"subject");
        for kind in EvidenceTag::ALL {
            let tag = Tag::evidence(&subject, kind);
            assert_eq!(tag.as_str(), format!("sha256-{}{}", subject.hex(), kind.suffix()));
            assert_eq!(tag.evidence_of(), Some((subject, kind)));
            assert_eq!(tag.is_evidence_about(&subject), Some(kind));
            assert_eq!(tag.is_evidence_about(&Digest::sha256(b"other")), None);
        }
        assert_eq!(
            Tag::evidence(&subject, EvidenceTag::Referrers),
            Tag::referrers_fallback(&subject)
        );
    }

    #[test]
    fn a_long_digest_is_cut_and_found_by_its_subject_only() {
        let subject = Digest::of(Algorithm::Sha512, b"subject");
        let tag = Tag::evidence(&subject, EvidenceTag::Signature);
        assert_eq!(tag.as_str(), format!("sha512-{}.sig", &subject.hex()[..64]));
        assert_eq!(tag.evidence_of(), None);
        assert_eq!(tag.is_evidence_about(&subject), Some(EvidenceTag::Signature));
        assert_eq!(tag.is_evidence_about(&Digest::of(Algorithm::Sha512, b"other")), None);
    }

    #[test]
    fn other_tags_are_no_evidence() {
        let hex = Digest::sha256(b"subject").hex();
        for text in [
            "latest".to_owned(),
            format!("sha256-{}", &hex[1..]),
            format!("sha256-{hex}.sigs"),
            format!("sha256-{hex}-sig"),
            format!("sha256_{hex}"),
            format!("sha256-{}", hex.to_uppercase()),
            format!("md5-{hex}"),
        ] {
            assert_eq!(Tag::parse(&text).unwrap().evidence_of(), None, "{text}");
        }
    }
}
