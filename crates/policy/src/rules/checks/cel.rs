//! Rules in CEL.

use super::content::{base_of, licences_of};
use super::{Finding, time};
use crate::cel::{Expression, Roots, Value};
use crate::rules::Question;
use crate::rules::check::earlier;
use crate::rules::evaluation::Outcome;
use crate::{EnvironmentName, Fact, Needs, Object, Purpose};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// An expression over the facts, and what to say when it is true.
#[derive(Clone, Debug)]
pub struct Cel {
    /// True: it has something against the artifact.
    pub condition: Expression,
    /// The reason; the expression itself, if left out.
    pub message: Option<Expression>,
    /// It only warns.
    pub warns: bool,
}

impl Cel {
    fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.condition.needs().chain(self.message.iter().flat_map(Expression::needs))
    }

    pub(in crate::rules) fn needs(&self) -> Needs {
        let reads = |paths: &[&str]| self.paths().any(|path| paths.contains(&path));
        Needs {
            config: reads(&CONFIG) || reads(&["artifact.licences", "artifact.baseImage"]),
            parents: false,
            tags: reads(&["artifact.tags"]),
            first_seen: reads(&["artifact.firstSeen"]),
            admissions: self.paths().any(|path| path.starts_with("admission.")),
        }
    }

    /// An index has no labels: what reads them is judged at each image.
    pub(in crate::rules) fn is_of_images(&self) -> bool {
        let image_alone = ["artifact.licences", "artifact.baseImage", "artifact.sizeBytes"];
        let layers = ["artifact.layerCount"];
        self.condition.needs().any(|path| {
            CONFIG.contains(&path) || image_alone.contains(&path) || layers.contains(&path)
        })
    }

    pub(in crate::rules) fn looks_at_principal(&self) -> bool {
        let of_asker = |path: &str| path.starts_with("principal.") || path == "request.address";
        self.paths().any(of_asker)
    }

    /// Where the client asked to be judged more strictly, what it was found in has its say too: an
    /// expression that names one of them must not be lost by a wish.
    pub(in crate::rules) fn judge(&self, question: &Question<'_>) -> Finding {
        let setting = &question.caller.setting;
        let reads_setting =
            self.paths().any(|path| path == "request.environment" || path == "request.purpose");
        let mut worst = self.judge_in(question, setting.environment(), setting.purpose());
        if !reads_setting {
            return worst;
        }
        for environment in setting.environments() {
            for purpose in setting.purposes() {
                if (environment, purpose) != (setting.environment(), setting.purpose()) {
                    worst = worst.or_worse(self.judge_in(question, environment, purpose));
                }
            }
        }
        worst
    }

    fn judge_in(
        &self,
        question: &Question<'_>,
        environment: &EnvironmentName,
        purpose: Purpose,
    ) -> Finding {
        let roots = FactRoots::new(question, environment, purpose);
        // `now` changes all the time: what reads it holds for this moment.
        let reads_now = self.paths().any(|path| path == "now");
        let until = reads_now.then_some(question.now);
        let finding = match self.condition.evaluate_bool(&roots) {
            Ok(false) => Finding::pass(),
            Ok(true) => Finding::refuses(self.reason(&roots), "see the rule's message"),
            Err(error) => match error.missing_fact() {
                Some(path) => roots.missing(path),
                None => Finding::new(
                    Outcome::Error,
                    format!("the expression cannot be evaluated: {error}"),
                    "ask the policy's owner to mend the rule",
                ),
            },
        };
        let until = earlier(until, roots.until.get());
        Finding { warns: self.warns, ..finding.until(until) }
    }

    fn reason(&self, roots: &FactRoots<'_>) -> String {
        match &self.message {
            None => format!("{} is true", self.condition.text()),
            Some(message) => match message.evaluate_string(roots) {
                Ok(text) => text,
                Err(error) => format!("{} is true ({error})", self.condition.text()),
            },
        }
    }
}

/// Facts that only an image's config has.
const CONFIG: [&str; 3] = ["artifact.labels", "artifact.platforms", "artifact.published"];

/// The facts of a question, by their paths.
struct FactRoots<'q> {
    question: &'q Question<'q>,
    /// The ones it is judged in.
    environment: &'q EnvironmentName,
    purpose: Purpose,
    reference: String,
    address: String,
    first: BTreeMap<String, jiff::Timestamp>,
    last: BTreeMap<String, jiff::Timestamp>,
    environments: Vec<String>,
    /// Why a fact was not there.
    missed: RefCell<Option<Finding>>,
    /// When a fact that was not there will be.
    until: Cell<Option<jiff::Timestamp>>,
}

static NO_PAIRS: BTreeMap<String, String> = BTreeMap::new();

impl<'q> FactRoots<'q> {
    fn new(question: &'q Question<'q>, environment: &'q EnvironmentName, purpose: Purpose) -> Self {
        let reference = match &question.intent.object {
            Object::Manifest(reference) => reference.to_string(),
            _ => String::new(),
        };
        let address = question.caller.principal.address();
        let admissions = question.facts.admissions.known();
        let all = || admissions.iter().flat_map(|it| it.by_environment.iter());
        Self {
            question,
            environment,
            purpose,
            reference,
            address: address.map(|it| it.to_canonical().to_string()).unwrap_or_default(),
            first: all().map(|(name, it)| (name.clone(), it.first)).collect(),
            last: all().map(|(name, it)| (name.clone(), it.last)).collect(),
            environments: all().map(|(name, _)| name.clone()).collect(),
            missed: RefCell::new(None),
            until: Cell::new(None),
        }
    }

    fn missing(&self, path: &str) -> Finding {
        self.missed.borrow_mut().take().unwrap_or_else(|| {
            let reason = format!("{path} is not known");
            Finding::new(Outcome::Unknown, reason, "ask the policy's owner")
        })
    }

    /// The value of a fact, or a note why there is none.
    fn of<'f, T>(&self, fact: &'f Fact<T>, path: &str) -> Option<&'f T> {
        match super::known(fact, path) {
            Ok(value) => Some(value),
            Err(finding) => {
                *self.missed.borrow_mut() = Some(finding);
                None
            }
        }
    }

    fn of_principal(&self, field: &str) -> Option<Value<'_>> {
        let principal = &self.question.caller.principal;
        let identity = principal.identity();
        let text = |text: Option<&'q str>| Some(Value::from(text.unwrap_or_default()));
        let identity: Option<&'q crate::Identity> = identity.map(|it| &**it);
        match field {
            "kind" => Some(Value::from(principal.kind().as_str())),
            "provider" => text(identity.map(crate::Identity::provider)),
            "name" => text(identity.map(crate::Identity::name)),
            "issuer" => text(identity.map(crate::Identity::issuer)),
            "groups" => Some(Value::list(
                identity.into_iter().flat_map(|it| it.groups()).map(|it| it.as_str().into()),
            )),
            "attributes" => {
                Some(Value::from(identity.map_or(&NO_PAIRS, crate::Identity::attributes)))
            }
            _ => None,
        }
    }

    fn of_request(&self, field: &str) -> Option<Value<'_>> {
        let (intent, caller) = (self.question.intent, self.question.caller);
        let tag = intent.object.tag();
        Some(match field {
            "action" => match intent.action {
                crate::Action::Pull => "pull",
                crate::Action::Push => "push",
                crate::Action::List => "list",
                crate::Action::Delete => "delete",
                crate::Action::Referrers => "referrers",
                crate::Action::Administer => "administer",
            }
            .into(),
            "reference" => self.reference.as_str().into(),
            "tag" => tag.map_or("", |tag| tag.as_str()).into(),
            "isByDigest" => Value::Bool(tag.is_none()),
            "environment" => self.environment.as_str().into(),
            "purpose" => self.purpose.as_str().into(),
            "cluster" => caller.cluster().unwrap_or_default().into(),
            "address" => self.address.as_str().into(),
            _ => return None,
        })
    }

    fn of_artifact(&self, field: &str) -> Option<Value<'_>> {
        let (intent, facts) = (self.question.intent, self.question.facts);
        match field {
            "name" => return Some(intent.name.as_ref().map_or("", |it| it.as_str()).into()),
            "repository" => return Some(self.question.repository.into()),
            "upstream" => return Some(facts.upstream.as_deref().unwrap_or_default().into()),
            "tags" => {
                let tags = self.of(&facts.tags, "artifact.tags")?;
                return Some(Value::list(tags.iter().map(|tag| tag.as_str().into())));
            }
            "firstSeen" => {
                return Some(Value::Timestamp(*self.of(&facts.first_seen, "artifact.firstSeen")?));
            }
            _ => {}
        }
        let manifest = facts.manifest.as_ref()?;
        Some(match field {
            "digest" => manifest.digest.to_string().into(),
            "mediaType" => manifest.media_type.as_str().into(),
            "artifactType" => manifest.artifact_type.as_deref().unwrap_or_default().into(),
            "kind" => manifest.kind.as_str().into(),
            "sizeBytes" => Value::Int(i64::try_from(manifest.size_bytes).unwrap_or(i64::MAX)),
            "layerCount" => Value::Int(i64::try_from(manifest.layer_count).unwrap_or(i64::MAX)),
            "annotations" => Value::from(&manifest.annotations),
            "labels" => Value::from(&self.of(&facts.config, "the image's config")?.labels),
            "platforms" => {
                let config = self.of(&facts.config, "the image's config")?;
                Value::list(config.platform.iter().map(|it| it.as_str().into()))
            }
            "published" => match time::published(self.question) {
                Ok(made) => Value::Timestamp(made),
                Err(finding) => {
                    self.until.set(earlier(self.until.get(), finding.until));
                    *self.missed.borrow_mut() = Some(finding);
                    return None;
                }
            },
            "licences" => {
                let config = self.of(&facts.config, "the image's config")?;
                let all = licences_of(manifest, Some(config));
                Value::list(all.into_iter().map(Value::from))
            }
            "baseImage" => {
                let config = self.of(&facts.config, "the image's config")?;
                Value::from(base_of(manifest, Some(config)))
            }
            _ => return None,
        })
    }
}

impl Roots for FactRoots<'_> {
    fn fact(&self, path: &str) -> Option<Value<'_>> {
        let (root, field) = path.split_once('.').unwrap_or((path, ""));
        match root {
            "principal" => self.of_principal(field),
            "request" => self.of_request(field),
            "artifact" => self.of_artifact(field),
            "admission" => {
                self.of(&self.question.facts.admissions, "where it was before")?;
                match field {
                    "environments" => Some(Value::from(&self.environments)),
                    "first" => Some(Value::from(&self.first)),
                    "last" => Some(Value::from(&self.last)),
                    _ => None,
                }
            }
            "now" => Some(Value::Timestamp(self.question.now)),
            _ => None,
        }
    }
}
