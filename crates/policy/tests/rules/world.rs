//! One image, one person who asks for it, and policies around them.

use jiff::{SignedDuration, Timestamp};
use oci::{Digest, MediaType, Name, Reference, Tag};
use policy::{
    Action, Admissions, Admitted, ArtifactKind, ArtifactPolicy, Caller, Check, CompiledRule,
    ConfigFacts, Environment, EnvironmentName, Environments, Evaluation, Fact, Facts, Identity,
    Intent, Lists, ManifestFacts, Match, NamePattern, Object, OnUnknown, Outcome, Policies,
    Posture, Principal, PrincipalKind, Purpose, Question, RuleOutcome, Said, Setting, TextPattern,
    attribute,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const NAME: &str = "docker.io/team/app";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const IMAGE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The moment of all tests, and so many hours after it.
pub(crate) fn at(hours: i64) -> Timestamp {
    let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
    now + SignedDuration::from_hours(hours)
}

pub(crate) fn name(pattern: &str) -> NamePattern {
    NamePattern::parse(pattern).unwrap()
}

pub(crate) fn text(pattern: &str) -> TextPattern {
    TextPattern::parse(pattern).unwrap()
}

pub(crate) fn texts(allow: &[&str], deny: &[&str]) -> Lists<TextPattern> {
    let all = |list: &[&str]| list.iter().map(|it| text(it)).collect();
    Lists { allow: all(allow), deny: all(deny) }
}

pub(crate) fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A question, and all that it is asked about.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) caller: Caller,
    pub(crate) intent: Intent,
    pub(crate) facts: Facts,
    pub(crate) now: Timestamp,
}

impl World {
    /// An image that is asked for by a tag.
    pub(crate) fn by_tag(tag: &str) -> Self {
        Self::of(Reference::Tag(Tag::parse(tag).unwrap()))
    }

    /// The image, by its digest.
    pub(crate) fn by_digest() -> Self {
        Self::of(Reference::Digest(Digest::sha256(b"image")))
    }

    fn of(reference: Reference) -> Self {
        let media_type = |text: &str| MediaType::parse(text).unwrap();
        let digest = Digest::sha256(b"image");
        let manifest = ManifestFacts {
            digest,
            kind: ArtifactKind::Image,
            media_type: MediaType::OCI_MANIFEST,
            artifact_type: Some(IMAGE_CONFIG.to_owned()),
            size_bytes: 1000,
            part_types: vec![media_type(IMAGE_CONFIG), media_type(IMAGE_LAYER)],
            layer_count: 1,
            index_platforms: Vec::new(),
            lists_referrers: false,
            annotations: BTreeMap::new(),
        };
        let config = ConfigFacts {
            platform: Some("linux/arm64/v8".to_owned()),
            labels: pairs(&[("team", "shop"), ("stage", "beta")]),
            created: Some(at(-100)),
        };
        let facts = Facts {
            digest: Some(digest),
            upstream: Some("hub".into()),
            manifest: Some(Arc::new(manifest)),
            config: Fact::Known(Arc::new(config)),
            tags: Fact::Known([Tag::parse("v1.2.3").unwrap()].into()),
            first_seen: Fact::Known(at(-50)),
            admissions: Fact::Known(Arc::default()),
            ..Facts::default()
        };
        let intent = Intent {
            action: Action::Pull,
            name: Some(Name::parse(NAME).unwrap()),
            object: Object::Manifest(reference),
        };
        Self { caller: caller("prod", "prod-eu"), intent, facts, now: at(0) }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Facts)) -> Self {
        change(&mut self.facts);
        self
    }

    pub(crate) fn manifest(self, change: impl FnOnce(&mut ManifestFacts)) -> Self {
        self.with(|facts| change(Arc::make_mut(facts.manifest.as_mut().unwrap())))
    }

    pub(crate) fn config(self, change: impl FnOnce(&mut ConfigFacts)) -> Self {
        self.with(|facts| match &mut facts.config {
            Fact::Known(config) => change(Arc::make_mut(config)),
            _ => panic!("the config is known"),
        })
    }

    pub(crate) fn kind(self, kind: ArtifactKind) -> Self {
        self.manifest(|manifest| manifest.kind = kind)
    }

    pub(crate) fn asked_by(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    pub(crate) fn later(mut self, hours: i64) -> Self {
        self.now = at(hours);
        self
    }

    /// These environments were served it, since so many hours before.
    pub(crate) fn admitted(self, environments: &[(&str, i64)]) -> Self {
        let by_environment = environments
            .iter()
            .map(|(name, hours)| {
                ((*name).to_owned(), Admitted { first: at(-hours), last: at(-hours) })
            })
            .collect();
        let admissions = Admissions { by_environment, ..Admissions::default() };
        self.with(|facts| facts.admissions = Fact::Known(Arc::new(admissions)))
    }

    /// A policy's refusal is softened since so many hours before.
    pub(crate) fn softened(self, environment: &str, policy: &str, hours: i64) -> Self {
        self.with(|facts| match &mut facts.admissions {
            Fact::Known(admissions) => {
                let key = (environment.to_owned(), policy.to_owned());
                Arc::make_mut(admissions).softened_since.insert(key, at(-hours));
            }
            _ => panic!("admissions are known"),
        })
    }

    pub(crate) fn question(&self) -> Question<'_> {
        Question {
            caller: &self.caller,
            intent: &self.intent,
            repository: "docker.io",
            facts: &self.facts,
            now: self.now,
        }
    }

    pub(crate) fn evaluate(&self, policies: &[ArtifactPolicy]) -> Evaluation {
        Policies::new(policies.to_vec(), Posture::Enforce).evaluate(&self.question())
    }

    /// What one check says.
    pub(crate) fn judge(&self, check: Check) -> RuleOutcome {
        let evaluation = self.evaluate(&[policy("p", vec![check])]);
        let [outcome] = evaluation.outcomes() else { panic!("one rule") };
        outcome.clone()
    }
}

/// A node of a cluster, in an environment.
pub(crate) fn caller(environment: &str, cluster: &str) -> Caller {
    let setting = Setting::new(EnvironmentName::new(environment), Purpose::Deploy);
    Caller::new(node(cluster), setting)
}

fn node(cluster: &str) -> Principal {
    let identity = Identity::new(PrincipalKind::Node, "p", "iss", "system:node:n")
        .with_attribute(attribute::CLUSTER, cluster);
    Principal::identified(Arc::new(identity), None, false)
}

/// Somebody of `dev` who asks for `prod`: both have a say.
pub(crate) fn raised() -> Caller {
    let environment = |name: &str, strictness, host: &str| Environment {
        name: EnvironmentName::new(name),
        strictness,
        subjects: Vec::new(),
        networks: Vec::new(),
        listener_hosts: vec![text(host)],
    };
    let all = Environments::new(vec![
        environment("dev", 10, "dev.example"),
        environment("prod", 100, "prod.example"),
    ]);
    let said = Said { host: Some("dev.example"), environment: Some("prod"), purpose: None };
    all.settle(node("prod-eu"), said).unwrap()
}

pub(crate) fn rule(name: &str, check: Check) -> CompiledRule {
    CompiledRule { name: name.into(), on_unknown: None, remedy: None, check }
}

/// A policy of these checks that matches every pull.
pub(crate) fn policy(name: &str, checks: Vec<Check>) -> ArtifactPolicy {
    let named = |(index, check)| rule(&format!("r{index}"), check);
    ArtifactPolicy {
        name: name.into(),
        owner: None,
        matches: Match::default(),
        enforcement: Vec::new(),
        on_unknown: OnUnknown::Deny,
        already_admitted: None,
        hides: false,
        rules: checks.into_iter().enumerate().map(named).collect(),
    }
}

/// A check that refuses the image of every test.
pub(crate) fn refusing() -> Check {
    Check::Size { max_bytes: 1 }
}

/// The outcome, and that the reason and the remedy say what they should.
#[track_caller]
pub(crate) fn says(found: &RuleOutcome, outcome: &Outcome, reason: &str, remedy: &str) {
    assert_eq!(&found.outcome, outcome, "{found:?}");
    assert!(found.reason.contains(reason), "{found:?} says {reason}");
    assert!(found.remedy.contains(remedy), "{found:?} advises {remedy}");
    let is_good = matches!(outcome, Outcome::Pass | Outcome::NotApplicable);
    assert_eq!(found.reason.is_empty(), is_good, "{found:?} gives a reason where there is one");
    assert_eq!(found.remedy.is_empty(), is_good, "{found:?} says what to do where there is need");
}

pub(crate) const FAILED: Outcome = Outcome::Failed { retry_after: None };
