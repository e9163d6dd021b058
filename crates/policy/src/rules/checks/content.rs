//! What an artifact is made of, as far as its own bytes say.

use super::names::Lists;
use super::{Finding, known, some};
use crate::rules::Question;
use crate::rules::evaluation::Outcome;
use crate::{ConfigFacts, ManifestFacts, NamePattern, TextPattern};
use std::sync::Arc;

/// Where images say what they are made from (image-spec, "Pre-Defined Annotation Keys").
const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// Where images say which licences they have.
const LICENCES: &str = "org.opencontainers.image.licenses";
/// Licences that are looked at; one more is kept, so that it can be told that there are more.
const LICENCES_MAX: usize = 64;

pub(in crate::rules) fn manifest<'q>(
    question: &'q Question<'_>,
) -> Result<&'q Arc<ManifestFacts>, Finding> {
    question.facts.manifest.as_ref().ok_or_else(|| {
        Finding::new(Outcome::Unknown, "the manifest cannot be read", "ask the policy's owner")
    })
}

pub(in crate::rules) fn config<'q>(
    question: &'q Question<'_>,
) -> Result<&'q Arc<ConfigFacts>, Finding> {
    known(&question.facts.config, "the image's config")
}

pub(in crate::rules) fn platforms(allow: &[TextPattern], question: &Question<'_>) -> Finding {
    let config = match config(question) {
        Ok(config) => config,
        Err(finding) => return finding,
    };
    let Some(platform) = &config.platform else {
        return Finding::new(
            Outcome::Unknown,
            "the image does not say its platform",
            "build it with os and architecture",
        );
    };
    // A variant is a refinement: linux/arm64 speaks of linux/arm64/v8, too.
    let general: String = platform.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
    if allow.iter().any(|pattern| pattern.matches(platform) || pattern.matches(&general)) {
        return Finding::pass();
    }
    let allowed = some(allow.iter().map(TextPattern::as_str));
    Finding::refuses(format!("its platform is {platform}"), format!("use an image for {allowed}"))
}

pub(in crate::rules) fn size(max_bytes: u64, question: &Question<'_>) -> Finding {
    let manifest = match manifest(question) {
        Ok(manifest) => manifest,
        Err(finding) => return finding,
    };
    match manifest.size_bytes > max_bytes {
        true => Finding::refuses(
            format!(
                "it has {}, more than {}",
                crate::denials::size(manifest.size_bytes),
                crate::denials::size(max_bytes)
            ),
            "make it smaller",
        ),
        false => Finding::pass(),
    }
}

pub(in crate::rules) fn media_types(
    lists: &Lists<TextPattern>,
    question: &Question<'_>,
) -> Finding {
    let manifest = match manifest(question) {
        Ok(manifest) => manifest,
        Err(finding) => return finding,
    };
    let types = std::iter::once(&manifest.media_type).chain(&manifest.part_types);
    for media_type in types.map(|it| it.as_str()) {
        let is_denied = lists.deny.iter().any(|pattern| pattern.matches(media_type));
        let is_allowed =
            lists.allow.is_empty() || lists.allow.iter().any(|it| it.matches(media_type));
        if is_denied || !is_allowed {
            let reason = format!("media type {media_type} is not allowed");
            return Finding::refuses(reason, "use an artifact without it");
        }
    }
    Finding::pass()
}

/// The licences that an artifact says it has: annotations of the manifest first, then labels.
pub(in crate::rules) fn licences_of(
    manifest: &ManifestFacts,
    config: Option<&ConfigFacts>,
) -> Vec<String> {
    let label = || config.and_then(|config| config.labels.get(LICENCES));
    let Some(text) = manifest.annotations.get(LICENCES).or_else(label) else { return Vec::new() };
    let is_word = |word: &&str| !matches!(*word, "" | "AND" | "OR" | "WITH");
    // Not all write SPDX: `MIT/Apache-2.0` is two licences, too.
    let words = text.split(|c: char| c.is_whitespace() || "(),;/".contains(c)).filter(is_word);
    words.take(LICENCES_MAX + 1).map(str::to_owned).collect()
}

/// The name that an artifact says it is made from, without tag and digest; empty: it does not say.
pub(in crate::rules) fn base_of(manifest: &ManifestFacts, config: Option<&ConfigFacts>) -> String {
    let label = || config.and_then(|config| config.labels.get(BASE_NAME));
    let text = manifest.annotations.get(BASE_NAME).or_else(label);
    let text = text.map(String::as_str).unwrap_or_default();
    let text = text.split_once('@').map_or(text, |(name, _)| name);
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name.to_owned(),
        _ => text.to_owned(),
    }
}

pub(in crate::rules) fn licences(lists: &Lists<TextPattern>, question: &Question<'_>) -> Finding {
    let manifest = match manifest(question) {
        Ok(manifest) => manifest,
        Err(finding) => return finding,
    };
    // The manifest's word is enough; else the config has to be asked.
    let mut found = licences_of(manifest, None);
    if found.is_empty() {
        match config(question) {
            Ok(config) => found = licences_of(manifest, Some(config)),
            Err(finding) => return finding,
        }
    }
    if found.is_empty() {
        let reason = format!("it names no licence ({LICENCES})");
        return Finding::new(Outcome::Unknown, reason, format!("set the label {LICENCES}"));
    }
    if found.len() > LICENCES_MAX {
        let reason = format!("it names more than {LICENCES_MAX} licences");
        return Finding::new(Outcome::Unknown, reason, format!("shorten {LICENCES}"));
    }
    for licence in &found {
        let is_denied = lists.deny.iter().any(|pattern| pattern.matches(licence));
        let is_allowed = lists.allow.is_empty() || lists.allow.iter().any(|it| it.matches(licence));
        if is_denied || !is_allowed {
            let reason = format!("licence {licence} is not allowed");
            return Finding::refuses(reason, "use an artifact with another licence");
        }
    }
    Finding::pass()
}

/// What an image may be made from.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// Names, without tag and digest; any of these.
    pub allow: Vec<NamePattern>,
}

impl BaseImage {
    pub(in crate::rules) fn judge(&self, question: &Question<'_>) -> Finding {
        let manifest = match manifest(question) {
            Ok(manifest) => manifest,
            Err(finding) => return finding,
        };
        let mut base = base_of(manifest, None);
        if base.is_empty() {
            match config(question) {
                Ok(config) => base = base_of(manifest, Some(config)),
                Err(finding) => return finding,
            }
        }
        if base.is_empty() {
            let reason = format!("it does not say what it is made from ({BASE_NAME})");
            return Finding::new(
                Outcome::Unknown,
                reason,
                format!("set the annotation {BASE_NAME}"),
            );
        }
        // As a text: it may name a registry with a port, which no name here has.
        let fits = |pattern: &NamePattern| pattern.matches_text(&base);
        if self.allow.iter().any(fits) {
            return Finding::pass();
        }
        let allowed = some(self.allow.iter().map(NamePattern::as_str));
        Finding::refuses(format!("it is made from {base}"), format!("build it from {allowed}"))
    }
}

/// What this version does not verify yet. Rules about it answer "unknown", and `onUnknown` says what that
/// means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Who signed it.
    Signatures,
    /// Who built it from what.
    Provenance,
    /// What is in it.
    Sbom,
    /// What is wrong with it.
    Vulnerabilities,
}

impl Evidence {
    pub(in crate::rules) fn judge(self) -> Finding {
        let what = match self {
            Self::Signatures => "signatures are",
            Self::Provenance => "provenance is",
            Self::Sbom => "SBOMs are",
            Self::Vulnerabilities => "vulnerabilities are",
        };
        let reason = format!("{what} not verified by this version, so it is unknown");
        Finding::new(
            Outcome::Unknown,
            reason,
            "set onUnknown of the rule, or ask the policy's owner",
        )
    }
}
