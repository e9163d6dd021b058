//! One rule: what it looks at, and what it finds.

use super::checks::{self, Age, BaseImage, Cel, Evidence, Lists, Pairs, Promotion, Tags};
use super::evaluation::Outcome;
use super::{OnUnknown, Question};
use crate::{ArtifactKind, NamePattern, Needs, TextPattern};
use jiff::Timestamp;
use std::sync::Arc;

/// One rule of a policy.
#[derive(Clone, Debug)]
pub struct CompiledRule {
    /// Its name, unique in its policy.
    pub name: Arc<str>,
    /// What becomes of it when a fact is unknown; the policy's, if left out.
    pub on_unknown: Option<OnUnknown>,
    /// What to do, in the words of the policy's author.
    pub remedy: Option<Arc<str>>,
    /// What it looks at.
    pub check: Check,
}

/// What a rule looks at.
#[derive(Clone, Debug)]
pub enum Check {
    /// Canonical names.
    Repositories(Lists<NamePattern>),
    /// Names of Upstreams; what is hosted here has none, and passes.
    Upstreams(Lists<TextPattern>),
    /// Tags.
    Tags(Tags),
    /// `os/architecture[/variant]` of an image; any of these.
    Platforms(Vec<TextPattern>),
    /// Most bytes of manifest, config and layers together.
    Size {
        /// The bound.
        max_bytes: u64,
    },
    /// Of manifest, config and layers.
    MediaTypes(Lists<TextPattern>),
    /// How old it is.
    Age(Age),
    /// Labels of an image.
    Labels(Pairs),
    /// Annotations of a manifest.
    Annotations(Pairs),
    /// What an image says that it is made from.
    BaseImage(BaseImage),
    /// Licences that it says it has.
    Licences(Lists<TextPattern>),
    /// That another environment was served it for so long.
    Promotion(Promotion),
    /// What this version does not verify yet.
    Evidence(Evidence),
    /// An expression.
    Cel(Cel),
}

/// What one rule found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    pub(super) outcome: Outcome,
    pub(crate) reason: String,
    pub(crate) remedy: String,
    /// When time alone changes it.
    pub(super) until: Option<Timestamp>,
    /// It only ever warns.
    pub(super) warns: bool,
}

impl Finding {
    pub(super) fn new(
        outcome: Outcome,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (reason, remedy) = (reason.into(), remedy.into());
        Self { outcome, reason, remedy, until: None, warns: false }
    }

    pub(super) fn pass() -> Self {
        Self::new(Outcome::Pass, "", "")
    }

    pub(super) fn not_applicable() -> Self {
        Self::new(Outcome::NotApplicable, "", "")
    }

    pub(super) fn refuses(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Outcome::Refuses, reason, remedy)
    }

    /// Whether nothing can come of it, in whatever mode.
    pub(super) fn is_good(&self) -> bool {
        matches!(self.outcome, Outcome::Pass | Outcome::NotApplicable)
    }

    /// That time alone changes it then, if nothing does earlier.
    pub(super) fn until(mut self, until: Option<Timestamp>) -> Self {
        self.until = earlier(self.until, until);
        self
    }

    /// Of two that judge one thing, the one that weighs more: what is known to be wrong before what is
    /// not known. It holds as long as both do.
    pub(super) fn or_worse(self, other: Self) -> Self {
        let until = earlier(self.until, other.until);
        let weight = |finding: &Self| match finding.outcome {
            Outcome::Pass | Outcome::NotApplicable => 0,
            Outcome::Unknown => 1,
            Outcome::Failed { .. } => 2,
            Outcome::Error => 3,
            Outcome::Refuses => 4,
        };
        let worse = if weight(&other) > weight(&self) { other } else { self };
        Self { until, ..worse }
    }
}

/// The earlier of two moments, as far as there are any.
pub(super) fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Check {
    /// What it finds.
    pub(super) fn judge(&self, question: &Question<'_>) -> Finding {
        if self.is_of_images() && is_index(question) {
            return Finding::not_applicable();
        }
        match self {
            Self::Repositories(lists) => checks::repositories(lists, question),
            Self::Upstreams(lists) => checks::upstreams(lists, question),
            Self::Tags(tags) => tags.judge(question),
            Self::Platforms(allow) => checks::platforms(allow, question),
            Self::Size { max_bytes } => checks::size(*max_bytes, question),
            Self::MediaTypes(lists) => checks::media_types(lists, question),
            Self::Age(age) => age.judge(question),
            Self::Labels(pairs) => checks::labels(pairs, question),
            Self::Annotations(pairs) => checks::annotations(pairs, question),
            Self::BaseImage(base) => base.judge(question),
            Self::Licences(lists) => checks::licences(lists, question),
            Self::Promotion(promotion) => promotion.judge(question),
            Self::Evidence(evidence) => evidence.judge(),
            Self::Cel(cel) => cel.judge(question),
        }
    }

    /// What it finds from the question alone, before anything is asked of anybody; `None`: it needs
    /// more.
    pub(super) fn judge_intent(&self, question: &Question<'_>) -> Option<Finding> {
        match self {
            Self::Repositories(lists) => Some(checks::repositories(lists, question)),
            Self::Upstreams(lists) => Some(checks::upstreams(lists, question)),
            Self::Tags(tags) => tags.judge_intent(question),
            _ => None,
        }
    }

    /// Which facts it needs.
    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::Repositories(_)
            | Self::Upstreams(_)
            | Self::Size { .. }
            | Self::MediaTypes(_)
            | Self::Annotations(_)
            | Self::Evidence(_) => Needs::default(),
            Self::Tags(tags) => Needs { tags: tags.judges_artifacts(), ..Needs::default() },
            Self::Platforms(_) | Self::Labels(_) | Self::BaseImage(_) | Self::Licences(_) => {
                Needs { config: true, ..Needs::default() }
            }
            Self::Age(age) => age.needs(),
            Self::Promotion(_) => Needs { admissions: true, ..Needs::default() },
            Self::Cel(cel) => cel.needs(),
        }
    }

    /// Whether an index is not judged by it, but each image in it.
    fn is_of_images(&self) -> bool {
        match self {
            Self::Platforms(_)
            | Self::Size { .. }
            | Self::Labels(_)
            | Self::BaseImage(_)
            | Self::Licences(_) => true,
            Self::Age(age) => age.needs().config,
            Self::Cel(cel) => cel.is_of_images(),
            _ => false,
        }
    }

    /// Whether it looks at who asks or from where.
    pub(super) fn looks_at_principal(&self) -> bool {
        matches!(self, Self::Cel(cel) if cel.looks_at_principal())
    }
}

fn is_index(question: &Question<'_>) -> bool {
    question.facts.manifest.as_ref().is_some_and(|it| it.kind == ArtifactKind::Index)
}
