//! What production would say, before anybody asks it: the stages of the pipeline without the last two,
//! for `lockgate check`, for people at their desks and for the gate of a pipeline.
//!
//! It is the same code that decides pulls, so it cannot say anything else. Manifests are fetched as a
//! pull would; nothing is leased, admitted or served.

mod suppose;

pub(crate) use suppose::{Supposed, principal as supposed};

use crate::candidates::{Asking, Candidate, Found, intent};
use crate::decisions::{DecisionView, OutcomeView, facts_view};
use crate::govern::{self, Case, Judged};
use crate::hosted;
use crate::plane::{Core, Plane};
use crate::refusal::Refusal;
use crate::tags::Resolved;
use crate::view::View;
use crate::{AdminError, ManifestContent};
use oci::{Digest, Manifest, Reference, Tag};
use policy::{Action, Caller, DecisionId, Facts, Intent, Object};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use upstream::Class;

/// References of one request.
const REFERENCES_MAX: usize = 1000;
/// Children of an index that are looked at.
const CHILDREN_MAX: usize = 32;

/// A question: may these be had, by whom, in which setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckRequest {
    /// What is asked for, as clients write it: `name:tag`, `name@digest`, or a name alone (`latest`).
    pub references: Vec<String>,
    /// Who asks: `anonymous`, `system:serviceaccount:<namespace>:<name>`, `user:<name>`,
    /// `node:<cluster>`, `ci:<repository>[@<ref>]`, a SPIFFE id. Left out: the one who sends this.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub r#as: Option<String>,
    /// Groups of the one who asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The cluster of the one who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// For which environment; left out: what the one who asks settles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// What for; left out: by kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// `Pull`, if left out, or `Push`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// The answers, in the order of the references.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// One per reference.
    pub results: Vec<CheckResult>,
}

/// One answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// As it was asked.
    pub reference: String,
    /// The canonical name; empty where there is none.
    pub name: String,
    /// What it leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Of an entry of an index: its platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// `Allow`, `Warn`, `Deny` or `CannotTell`.
    pub verdict: String,
    /// In one line.
    pub message: String,
    /// What every rule said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionView>,
    /// Of an index: its entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<CheckResult>,
}

impl CheckRequest {
    /// Whether it is about somebody else than the one who sends it, or another setting than theirs.
    pub fn asks_for_another(&self) -> bool {
        let Self { references: _, r#as, groups, cluster, environment, purpose, action: _ } = self;
        r#as.is_some()
            || !groups.is_empty()
            || cluster.is_some()
            || environment.is_some()
            || purpose.is_some()
    }
}

impl Plane {
    /// Answers what a pull or a push would be answered. `by`: who asks this; stands where the request
    /// names nobody.
    ///
    /// # Errors
    /// When the question makes no sense.
    pub async fn check(
        &self,
        request: &CheckRequest,
        by: &Caller,
    ) -> Result<CheckReport, AdminError> {
        if request.references.is_empty() || request.references.len() > REFERENCES_MAX {
            let message = format!("1 to {REFERENCES_MAX} references are taken at once");
            return Err(AdminError::Invalid(message));
        }
        let view = self.core.view();
        let caller = suppose::caller(&view, request, by)?;
        let action = match request.action.as_deref() {
            None | Some("Pull") => Action::Pull,
            Some("Push") => Action::Push,
            Some(other) => {
                return Err(AdminError::Invalid(format!(
                    "action {other:?} is neither Pull nor Push"
                )));
            }
        };
        let mut results = Vec::with_capacity(request.references.len());
        for reference in &request.references {
            let check = Check { core: &self.core, view: &view, caller: &caller, action };
            results.push(check.one(reference).await);
        }
        Ok(CheckReport { results })
    }
}

/// One question with who asks it.
#[derive(Clone, Copy)]
struct Check<'a> {
    core: &'a Arc<Core>,
    view: &'a View,
    caller: &'a Caller,
    action: Action,
}

impl<'a> Check<'a> {
    fn asking(self) -> Asking<'a> {
        let now = self.core.shelf.clock.now();
        Asking { governance: &self.view.governance, caller: self.caller, now }
    }

    async fn one(self, text: &str) -> CheckResult {
        let (name, reference) = match split(text) {
            Ok(parts) => parts,
            Err(message) => return plain(text, "CannotTell", message),
        };
        let found = match self.view.routes.locate(name, None, None) {
            Ok(found) => found,
            Err(refusal) => return self.refused(text, "", None, &refusal, None),
        };
        let object = Object::Manifest(reference.clone());
        let asked = found.may_ask(self.asking(), self.action, &object);
        if let Err(refusal) = asked {
            let canonical = found.first().map(|it| it.name().to_string()).unwrap_or_default();
            return self.refused(text, &canonical, None, &refusal, None);
        }
        match Box::pin(self.first_that_has(&found, &reference)).await {
            Ok((candidate, resolved)) => {
                let intent = intent(self.action, candidate.name(), &object);
                Box::pin(self.judged(text, candidate, &intent, &resolved)).await
            }
            Err(refusal) => {
                let canonical = found.first().map(|it| it.name().to_string()).unwrap_or_default();
                self.refused(text, &canonical, None, &refusal, None)
            }
        }
    }

    async fn first_that_has<'f>(
        self,
        found: &'f Found,
        reference: &Reference,
    ) -> Result<(&'f Candidate, Resolved), Refusal> {
        let mut absent = None;
        for candidate in &found.candidates {
            match resolve(self.core, candidate, reference).await {
                Ok(resolved) => return Ok((candidate, resolved)),
                Err(refusal @ Refusal::Absent { .. }) => absent = absent.or(Some(refusal)),
                Err(refusal) => return Err(refusal),
            }
        }
        let none = || Refusal::NoRepository("no repository is asked for this name".to_owned());
        Err(absent.unwrap_or_else(none))
    }

    async fn judged(
        self,
        text: &str,
        candidate: &Candidate,
        intent: &Intent,
        resolved: &Resolved,
    ) -> CheckResult {
        let mut result = self
            .alone(text, candidate, intent, &resolved.content, resolved.private_to.clone())
            .await;
        if result.verdict == "Allow" || result.verdict == "Warn" {
            result.children = self.children(candidate, &resolved.content).await;
            sum_up(&mut result);
        }
        result
    }

    /// The entries of an index, each as if it were asked for.
    async fn children(
        self,
        candidate: &Candidate,
        index: &Arc<ManifestContent>,
    ) -> Vec<CheckResult> {
        let intent = |digest: &Digest| {
            let object = Object::Manifest(Reference::Digest(*digest));
            intent(self.action, candidate.name(), &object)
        };
        let mut results = Vec::new();
        let Ok(parsed) = Manifest::parse(&index.bytes, Some(&index.media_type)) else {
            return results;
        };
        if self.view.governance.policies.is_empty() {
            return results;
        }
        for child in parsed.manifests.iter().take(CHILDREN_MAX) {
            let text = format!("{}@{}", candidate.name(), child.digest);
            let intent = intent(&child.digest);
            let reference = Reference::Digest(child.digest);
            let mut result = match Box::pin(resolve(self.core, candidate, &reference)).await {
                Ok(resolved) => {
                    let private_to = resolved.private_to.clone();
                    self.alone(&text, candidate, &intent, &resolved.content, private_to).await
                }
                Err(refusal) => {
                    self.refused(&text, candidate.name().as_str(), None, &refusal, None)
                }
            };
            result.platform = child.platform.as_ref().map(ToString::to_string);
            results.push(result);
        }
        results
    }

    async fn alone(
        self,
        text: &str,
        candidate: &Candidate,
        intent: &Intent,
        content: &Arc<ManifestContent>,
        private_to: Option<Arc<str>>,
    ) -> CheckResult {
        let asking = self.asking();
        let needs = policy::needs_evaluation(asking.governance, self.caller, intent);
        let judged = match needs {
            true => {
                let case = Case { candidate, intent, content };
                Some(govern::judge(self.core, asking, case).await)
            }
            false => None,
        };
        let digest = Some(content.digest);
        let private_to = private_to.as_deref().map(str::to_owned);
        let facts = Facts { private_to, digest, ..Facts::default() };
        let evaluation = judged.as_ref().map(|judged| &judged.evaluation);
        let name = candidate.name().as_str();
        match policy::decide(asking.governance, self.caller, intent, &facts, evaluation) {
            Ok(permit) => {
                let warnings = permit.warnings();
                let (verdict, message) = match warnings.first() {
                    Some(first) => ("Warn", first.clone()),
                    None => ("Allow", "permitted".to_owned()),
                };
                let view = self.view_of(permit.id(), intent, judged.as_ref(), verdict, &message);
                CheckResult {
                    name: name.to_owned(),
                    digest,
                    decision: Some(view),
                    ..plain(text, verdict, message)
                }
            }
            Err(refused) => {
                let refusal = Refusal::from(refused);
                self.refused(text, name, digest, &refusal, Some((intent, judged.as_ref())))
            }
        }
    }

    fn refused(
        self,
        text: &str,
        name: &str,
        digest: Option<Digest>,
        refusal: &Refusal,
        judged: Option<(&Intent, Option<&Arc<Judged>>)>,
    ) -> CheckResult {
        let (verdict, id, rule) = match refusal {
            Refusal::Denied(denial) | Refusal::LoginNeeded(denial) => {
                ("Deny", Some(denial.id()), Some((denial.policy(), denial.rule())))
            }
            Refusal::CannotTell(cannot) => ("CannotTell", Some(cannot.id()), None),
            _ => ("CannotTell", None, None),
        };
        let message = refusal.to_string();
        let decision = match (id, judged) {
            (Some(id), Some((intent, judged))) => {
                let mut view = self.view_of(id, intent, judged, verdict, &message);
                if let Some((policy, rule)) = rule {
                    (view.policy, view.rule) = (policy.to_owned(), rule.to_owned());
                }
                Some(view)
            }
            _ => None,
        };
        CheckResult { name: name.to_owned(), digest, decision, ..plain(text, verdict, message) }
    }

    fn view_of(
        self,
        id: DecisionId,
        intent: &Intent,
        judged: Option<&Arc<Judged>>,
        verdict: &str,
        message: &str,
    ) -> DecisionView {
        let setting = &self.caller.setting;
        let outcomes = judged.iter().flat_map(|it| it.evaluation.outcomes());
        let name = intent.name.as_ref().map(ToString::to_string).unwrap_or_default();
        DecisionView {
            id: id.to_string(),
            at: self.core.shelf.clock.now(),
            principal: self.caller.principal.to_string(),
            principal_key: self.caller.principal.key().to_owned(),
            environment: setting.environment().to_string(),
            purpose: setting.purpose().to_string(),
            request: format!("{} {name}{}", intent.action, intent.object),
            verdict: verdict.to_owned(),
            policy: String::new(),
            rule: String::new(),
            message: message.to_owned(),
            revision: self.view.revision,
            outcomes: outcomes.map(OutcomeView::of).collect(),
            facts: judged.map_or(serde_json::Value::Null, |it| facts_view(&it.facts)),
            waivers: Vec::new(),
        }
    }
}

/// What an index is that may be had itself: a no for each of its platforms is a no, and one of which nobody
/// can tell makes it something nobody can tell.
fn sum_up(index: &mut CheckResult) {
    let of = |verdict: &str| {
        let mut all = index.children.iter().filter(|it| it.verdict == verdict);
        (all.clone().count(), all.next().map(|it| it.message.clone()).unwrap_or_default())
    };
    let ((denied, denial), (unknown, why)) = (of("Deny"), of("CannotTell"));
    let all = index.children.len();
    let (verdict, message) = match (denied, unknown) {
        (0, 0) => return,
        (_, 1..) => ("CannotTell", format!("{unknown} of {all} platforms cannot be told: {why}")),
        (_, 0) if denied == all => ("Deny", format!("every platform is refused: {denial}")),
        (_, 0) => ("Warn", format!("{denied} of {all} platforms would be refused")),
    };
    (index.verdict, index.message) = (verdict.to_owned(), message);
}

async fn resolve(
    core: &Arc<Core>,
    candidate: &Candidate,
    reference: &Reference,
) -> Result<Resolved, Refusal> {
    match candidate {
        Candidate::Remote(located) => {
            core.resolver.resolve(located, reference, Class::Waiting).await
        }
        Candidate::Hosted(hosted) => hosted::manifest(core, hosted, reference).await,
    }
}

fn plain(reference: &str, verdict: &str, message: String) -> CheckResult {
    CheckResult {
        reference: reference.to_owned(),
        name: String::new(),
        digest: None,
        platform: None,
        verdict: verdict.to_owned(),
        message,
        decision: None,
        children: Vec::new(),
    }
}

/// A reference as people write it: a digest wins over a tag, and `latest` stands where there is neither.
fn split(text: &str) -> Result<(&str, Reference), String> {
    let bad = |what: &dyn std::fmt::Display| format!("{text:?} is no reference: {what}");
    if let Some((name, digest)) = text.split_once('@') {
        let digest = Digest::parse(digest).map_err(|error| bad(&error))?;
        let name = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => name,
        };
        return Ok((name, Reference::Digest(digest)));
    }
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => {
            let tag = Tag::parse(tag).map_err(|error| bad(&error))?;
            Ok((name, Reference::Tag(tag)))
        }
        _ => {
            let tag = Tag::parse("latest").map_err(|error| bad(&error))?;
            Ok((text, Reference::Tag(tag)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_what_its_platforms_are() {
        let of = |verdicts: &[&str]| {
            let mut index = plain("a", "Allow", "permitted".to_owned());
            let child = |verdict: &&str| plain("a@b", verdict, format!("because {verdict}"));
            index.children = verdicts.iter().map(child).collect();
            sum_up(&mut index);
            (index.verdict, index.message)
        };
        for (verdicts, verdict, message) in [
            (&[][..], "Allow", "permitted"),
            (&["Allow", "Warn"], "Allow", "permitted"),
            (&["Allow", "Deny"], "Warn", "1 of 2 platforms would be refused"),
            (&["Deny", "Deny"], "Deny", "every platform is refused: because Deny"),
            (&["CannotTell"], "CannotTell", "1 of 1 platforms cannot be told: because CannotTell"),
            (
                &["Allow", "CannotTell"],
                "CannotTell",
                "1 of 2 platforms cannot be told: because CannotTell",
            ),
            (
                &["Deny", "CannotTell"],
                "CannotTell",
                "1 of 2 platforms cannot be told: because CannotTell",
            ),
        ] {
            assert_eq!(of(verdicts), (verdict.to_owned(), message.to_owned()), "{verdicts:?}");
        }
    }
}
