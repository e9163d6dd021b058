//! What a rule looks at, from its document.

use super::super::access;
use super::{Wrong, names};
use policy::cel::{Expect, Expression, Schema, VersionRange};
use policy::{
    Age, BaseImage, Cel, Check, Evidence, Lists, Pairs, Promotion, TagPattern, Tags, TextPattern,
};
use resources::v1alpha1::{GlobsCheck, PairsCheck, PolicyRule, TagsCheck};
use resources::{TagGlob, TextGlob, WireDuration};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The one schema of facts.
static FACTS: LazyLock<Schema> = LazyLock::new(Schema::facts);

/// The one check of a rule; reading made sure that there is one.
pub(super) fn check(rule: &PolicyRule, path: &str, wrong: &mut Wrong<'_>) -> Option<Check> {
    let at = |field: &str| format!("{path}.{field}");
    if let Some(check) = &rule.repositories {
        let allow = names(&at("repositories.allow"), &check.allow, wrong);
        let deny = names(&at("repositories.deny"), &check.deny, wrong);
        return Some(Check::Repositories(Lists { allow: allow?, deny: deny? }));
    }
    if let Some(check) = &rule.upstreams {
        let lists = lists(&at("upstreams"), &check.allow, &check.deny, wrong);
        return lists.map(Check::Upstreams);
    }
    if let Some(check) = &rule.tags {
        return tags(&at("tags"), check, wrong).map(Check::Tags);
    }
    if let Some(check) = &rule.platforms {
        let parse = |it: &resources::PlatformGlob| TextPattern::parse(it.as_str());
        let parsed = check.allow.iter().map(parse).collect::<Result<_, _>>();
        return wrong.note(&at("platforms"), parsed).map(Check::Platforms);
    }
    if let Some(check) = &rule.size {
        return Some(Check::Size { max_bytes: check.max.bytes() });
    }
    if let Some(check) = &rule.media_types {
        return globs(&at("mediaTypes"), check, wrong).map(Check::MediaTypes);
    }
    if let Some(check) = &rule.age {
        return Some(Check::Age(Age {
            since_published: check.since_published.as_ref().map(WireDuration::get),
            since_first_seen: check.since_first_seen.as_ref().map(WireDuration::get),
            except: names(&at("age.except"), &check.except, wrong)?,
        }));
    }
    if let Some(check) = &rule.labels {
        return pairs(&at("labels"), check, wrong).map(Check::Labels);
    }
    if let Some(check) = &rule.annotations {
        return pairs(&at("annotations"), check, wrong).map(Check::Annotations);
    }
    if let Some(check) = &rule.base_image {
        let allow = names(&at("baseImage.allow"), &check.allow, wrong)?;
        return Some(Check::BaseImage(BaseImage { allow }));
    }
    if let Some(check) = &rule.licences {
        return globs(&at("licences"), check, wrong).map(Check::Licences);
    }
    if let Some(check) = &rule.promotion {
        return Some(Check::Promotion(Promotion {
            admitted_in: check.admitted_in.to_string(),
            lasting: check.r#for.as_ref().map(WireDuration::get),
        }));
    }
    evidence(rule).map(Check::Evidence).or_else(|| cel(rule, path, wrong).map(Check::Cel))
}

fn evidence(rule: &PolicyRule) -> Option<Evidence> {
    if rule.signatures.is_some() {
        Some(Evidence::Signatures)
    } else if rule.provenance.is_some() {
        Some(Evidence::Provenance)
    } else if rule.sbom.is_some() {
        Some(Evidence::Sbom)
    } else {
        rule.vulnerabilities.as_ref().map(|_| Evidence::Vulnerabilities)
    }
}

fn cel(rule: &PolicyRule, path: &str, wrong: &mut Wrong<'_>) -> Option<Cel> {
    let (field, text) = match (&rule.deny, &rule.warn) {
        (Some(text), _) => ("deny", text),
        (None, Some(text)) => ("warn", text),
        (None, None) => {
            wrong.say(path, "a rule needs a check");
            return None;
        }
    };
    let compiled = Expression::compile(text.as_str(), &FACTS, Expect::Bool);
    let condition = wrong.note_cel(&format!("{path}.{field}"), compiled);
    let message = match &rule.message {
        Some(text) => {
            let compiled = Expression::compile(text.as_str(), &FACTS, Expect::String);
            Some(wrong.note_cel(&format!("{path}.message"), compiled)?)
        }
        None => None,
    };
    Some(Cel { condition: condition?, message, warns: field == "warn" })
}

fn tags(path: &str, check: &TagsCheck, wrong: &mut Wrong<'_>) -> Option<Tags> {
    let mut patterns = |field: &str, globs: &[TagGlob]| -> Option<Vec<TagPattern>> {
        let parsed = globs.iter().map(|glob| TagPattern::parse(glob.as_str()));
        wrong.note(&format!("{path}.{field}"), parsed.collect::<Result<_, _>>())
    };
    let deny = patterns("deny", &check.deny);
    let allow = patterns("allow", &check.allow);
    let semver = match &check.semver {
        Some(text) => Some(wrong.note(&format!("{path}.semver"), VersionRange::parse(text))?),
        None => None,
    };
    let require_digest = check.require_digest.unwrap_or(false);
    Some(Tags { deny: deny?, require_digest, allow: allow?, semver })
}

fn globs(path: &str, check: &GlobsCheck, wrong: &mut Wrong<'_>) -> Option<Lists<TextPattern>> {
    lists(path, &check.allow, &check.deny, wrong)
}

fn lists(
    path: &str,
    allow: &[TextGlob],
    deny: &[TextGlob],
    wrong: &mut Wrong<'_>,
) -> Option<Lists<TextPattern>> {
    let allow = wrong.note(&format!("{path}.allow"), access::texts(allow));
    let deny = wrong.note(&format!("{path}.deny"), access::texts(deny));
    Some(Lists { allow: allow?, deny: deny? })
}

fn pairs(path: &str, check: &PairsCheck, wrong: &mut Wrong<'_>) -> Option<Pairs> {
    let mut side = |field: &str, pairs: &BTreeMap<String, TextGlob>| {
        let parse = |(key, glob): (&String, &TextGlob)| {
            TextPattern::parse(glob.as_str()).map(|pattern| (key.clone(), pattern))
        };
        wrong.note(&format!("{path}.{field}"), pairs.iter().map(parse).collect::<Result<_, _>>())
    };
    let require = side("require", &check.require);
    let deny = side("deny", &check.deny);
    Some(Pairs { require: require?, deny: deny? })
}
