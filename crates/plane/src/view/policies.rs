//! `ArtifactPolicy` documents, compiled. What cannot be compiled is told with its line and column, also
//! inside an expression.

mod checks;
#[cfg(test)]
mod tests;

use super::{access, outranking};
use jiff::Timestamp;
use policy::cel::CelError;
use policy::{
    Action, AlreadyAdmitted, ArtifactKind, ArtifactPolicy, CompiledRule, Enforcement, Match, Mode,
    NamePattern, OnUnknown, Policies, Posture, Purpose,
};
use resources::v1alpha1 as wire;
use resources::{Document, Glob, Problem, Set, WireTime};

/// The policies of a set.
pub(super) fn build(set: &Set, problems: &mut Vec<Problem>) -> Policies {
    let posture = match set.plane().and_then(|plane| plane.posture) {
        Some(wire::Posture::Observe) => Posture::Observe,
        Some(wire::Posture::Enforce) | None => Posture::Enforce,
    };
    let mut list = Vec::new();
    for (document, spec) in set.artifact_policies() {
        let mut wrong = Wrong { document, problems: Vec::new() };
        let policy = convert(document, spec, &mut wrong);
        match wrong.problems.is_empty() {
            true => list.extend(policy),
            false => problems.append(&mut wrong.problems),
        }
    }
    Policies::new(list, posture)
        .with_waivers(outranking::waivers(set, problems))
        .with_blocks(outranking::blocks(set, problems))
}

/// Where what is wrong with a document is collected.
struct Wrong<'d> {
    document: &'d Document,
    problems: Vec<Problem>,
}

impl Wrong<'_> {
    fn say(&mut self, path: &str, message: impl ToString) {
        let place = self.document.place_of(path).clone();
        self.problems.push(Problem::new(place, path, message.to_string()));
    }

    /// The value, or a note of what is wrong at a path.
    fn note<T, E: ToString>(&mut self, path: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.say(path, error)).ok()
    }

    /// As [`Self::note`], of an expression, whose errors have places of their own.
    fn note_cel<T>(&mut self, path: &str, result: Result<T, CelError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let place = self.document.place_in_text(path, error.line(), error.column());
                let problem = Problem::new(place, path, error.message());
                self.problems.push(problem.with_nearest(error.nearest().map(str::to_owned)));
                None
            }
        }
    }
}

fn convert(
    document: &Document,
    spec: &wire::ArtifactPolicySpec,
    wrong: &mut Wrong<'_>,
) -> Option<ArtifactPolicy> {
    let matches = match &spec.r#match {
        Some(matches) => matching(matches, wrong)?,
        None => Match::default(),
    };
    let mut enforcement_list = Vec::new();
    for (index, entry) in spec.enforcement.iter().enumerate() {
        let path = format!("spec.enforcement[{index}]");
        enforcement_list.extend(wrong.note(&path, enforcement(entry)));
    }
    let mut rules = Vec::new();
    for (index, rule) in spec.rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        let Some(check) = checks::check(rule, &path, wrong) else { continue };
        rules.push(CompiledRule {
            name: rule.name.as_str().into(),
            on_unknown: rule.on_unknown.map(on_unknown),
            remedy: rule.remedy.as_ref().map(|remedy| remedy.as_str().into()),
            check,
        });
    }
    Some(ArtifactPolicy {
        name: document.name().into(),
        owner: spec.owner.as_ref().map(|owner| owner.as_str().into()),
        matches,
        enforcement: enforcement_list,
        on_unknown: spec.on_unknown.map_or(OnUnknown::Deny, on_unknown),
        already_admitted: spec.already_admitted.as_ref().map(|already| AlreadyAdmitted {
            mode: match already.mode {
                wire::SoftenedMode::Warn => Mode::Warn,
                wire::SoftenedMode::Audit => Mode::Audit,
            },
            lasting: already.r#for.get(),
        }),
        hides: spec.hide.unwrap_or(false),
        rules,
    })
}

fn matching(spec: &wire::PolicyMatch, wrong: &mut Wrong<'_>) -> Option<Match> {
    let path = |field: &str| format!("spec.match.{field}");
    let environments = wrong.note(&path("environments"), access::texts(&spec.environments));
    let clusters = wrong.note(&path("clusters"), access::texts(&spec.clusters));
    let repositories = names(&path("repositories"), &spec.repositories, wrong);
    Some(Match {
        environments: environments?,
        clusters: clusters?,
        repositories: repositories?,
        actions: spec
            .actions
            .iter()
            .map(|action| match action {
                wire::PolicyAction::Pull => Action::Pull,
                wire::PolicyAction::Push => Action::Push,
            })
            .collect(),
        purposes: spec
            .purposes
            .iter()
            .map(|purpose| match purpose {
                wire::Purpose::Deploy => Purpose::Deploy,
                wire::Purpose::Build => Purpose::Build,
                wire::Purpose::Develop => Purpose::Develop,
                wire::Purpose::Scan => Purpose::Scan,
                wire::Purpose::Replicate => Purpose::Replicate,
            })
            .collect(),
        artifacts: spec
            .artifacts
            .iter()
            .map(|kind| match kind {
                wire::ArtifactKind::Image => ArtifactKind::Image,
                wire::ArtifactKind::Index => ArtifactKind::Index,
                wire::ArtifactKind::HelmChart => ArtifactKind::HelmChart,
                wire::ArtifactKind::Bundle => ArtifactKind::Bundle,
                wire::ArtifactKind::File => ArtifactKind::File,
                wire::ArtifactKind::Evidence => ArtifactKind::Evidence,
                wire::ArtifactKind::Other => ArtifactKind::Other,
            })
            .collect(),
    })
}

fn enforcement(entry: &wire::Enforcement) -> Result<Enforcement, String> {
    Ok(Enforcement {
        environments: access::texts(&entry.environments)?,
        clusters: access::texts(&entry.clusters)?,
        mode: match entry.mode {
            wire::EnforcementMode::Enforce => Mode::Enforce,
            wire::EnforcementMode::Warn => Mode::Warn,
            wire::EnforcementMode::Audit => Mode::Audit,
        },
        from: entry.from.as_ref().map(WireTime::get).filter(|at| *at != Timestamp::UNIX_EPOCH),
        until: entry.until.as_ref().map(WireTime::get),
    })
}

fn on_unknown(wire: wire::OnUnknown) -> OnUnknown {
    match wire {
        wire::OnUnknown::Deny => OnUnknown::Deny,
        wire::OnUnknown::Warn => OnUnknown::Warn,
        wire::OnUnknown::Allow => OnUnknown::Allow,
    }
}

fn names(path: &str, globs: &[Glob], wrong: &mut Wrong<'_>) -> Option<Vec<NamePattern>> {
    let parsed = globs.iter().map(|glob| NamePattern::parse(glob.as_str()));
    wrong.note(path, parsed.collect::<Result<_, _>>())
}
