//! Who may have a name: one repository, or the members of a virtual one in their order.
//!
//! Which of them has it is found out by asking in this order ([`crate::pipeline`]); only "not there,
//! for certain" moves on to the next. Resolution does not depend on who asks (contracts §1).

use crate::refusal::Refusal;
use crate::routes::Routes;
use crate::view::{Hosted, Kind, Remote, Repository, Virtual};
use oci::{Name, NameError};
use policy::{Access, Action, Denial, Intent, Leave, Object, Principal};
use std::sync::Arc;

/// Virtual repositories within virtual repositories; loading refuses cycles, this bounds the rest.
const DEPTH_MAX: usize = 16;
/// Candidates of one name.
const CANDIDATES_MAX: usize = 64;

/// A name below a remote repository.
#[derive(Clone)]
pub(crate) struct Located {
    pub(crate) repository: Arc<Repository>,
    pub(crate) remote: Arc<Remote>,
    /// The canonical name.
    pub(crate) name: Name,
    /// What the upstream calls it.
    pub(crate) upstream_name: Name,
}

impl Located {
    /// The credential scope that the upstream would be asked with.
    pub(crate) fn scope(&self) -> Option<String> {
        self.remote.scope(&self.upstream_name)
    }
}

/// A name below a hosted repository.
#[derive(Clone)]
pub(crate) struct HostedName {
    pub(crate) repository: Arc<Repository>,
    pub(crate) hosted: Arc<Hosted>,
    /// The canonical name.
    pub(crate) name: Name,
}

impl HostedName {
    /// The name below its repository.
    pub(crate) fn below(&self) -> Option<Name> {
        self.name.below(self.repository.name())
    }
}

/// One that may have the name.
#[derive(Clone)]
pub(crate) enum Candidate {
    Remote(Located),
    Hosted(HostedName),
}

impl Candidate {
    /// The canonical name.
    pub(crate) fn name(&self) -> &Name {
        match self {
            Self::Remote(located) => &located.name,
            Self::Hosted(hosted) => &hosted.name,
        }
    }

    pub(crate) fn repository(&self) -> &Arc<Repository> {
        match self {
            Self::Remote(located) => &located.repository,
            Self::Hosted(hosted) => &hosted.repository,
        }
    }

    /// The credential scope its upstream would be asked with; a hosted one has none.
    pub(crate) fn scope(&self) -> Option<String> {
        match self {
            Self::Remote(located) => located.scope(),
            Self::Hosted(_) => None,
        }
    }

    /// How long a presigned URL may be good for, if blobs are redirected at all.
    pub(crate) fn redirect(&self) -> Option<std::time::Duration> {
        match self {
            Self::Remote(located) => located.remote.redirect,
            Self::Hosted(hosted) => hosted.hosted.redirect,
        }
    }
}

/// Who may have a name, and who takes pushes to it.
pub(crate) struct Found {
    /// The repository that the name begins with; perhaps virtual.
    pub(crate) repository: Arc<Repository>,
    /// In order. Empty: a virtual repository none of whose members is asked for this name.
    pub(crate) candidates: Vec<Candidate>,
    /// Where a push goes.
    pub(crate) push_to: PushTo,
    /// The registry named by `?ns=`, if the request was routed by it.
    pub(crate) namespace: Option<String>,
}

/// Where a push goes.
#[derive(Clone)]
pub(crate) enum PushTo {
    Hosted(HostedName),
    /// A remote repository takes none.
    Remote(Located),
    /// The virtual repository names no target, or its target does not take this name.
    Nowhere,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&Name> = self.candidates.iter().map(Candidate::name).collect();
        f.debug_struct("Found").field("candidates", &names).finish_non_exhaustive()
    }
}

impl Found {
    /// Whether the principal may ask this of any candidate. Costs no I/O; without it, no upstream
    /// is asked and nothing is said about existence.
    pub(crate) fn may_ask(
        &self,
        access: &Access,
        principal: &Principal,
        action: Action,
        object: &Object,
    ) -> Result<Leave, Refusal> {
        if matches!(action, Action::Push | Action::Delete) {
            return self.may_push(access, principal, action, object);
        }
        let asked: Vec<(Intent, Option<String>)> = self
            .candidates
            .iter()
            .map(|candidate| (intent(action, candidate.name(), object), candidate.scope()))
            .collect();
        if asked.is_empty() {
            return Err(Refusal::NoRepository(format!(
                "no member of the virtual repository {} is asked for this name; see include, \
                 exclude, rewrite and claims of its members",
                self.repository.name()
            )));
        }
        let candidates: Vec<policy::Candidate<'_>> = asked
            .iter()
            .map(|(intent, scope)| policy::Candidate { intent, private_to: scope.as_deref() })
            .collect();
        Ok(policy::may_ask(access, principal, &candidates)?)
    }

    fn may_push(
        &self,
        access: &Access,
        principal: &Principal,
        action: Action,
        object: &Object,
    ) -> Result<Leave, Refusal> {
        let name = match &self.push_to {
            PushTo::Hosted(hosted) => &hosted.name,
            PushTo::Remote(located) => &located.name,
            PushTo::Nowhere => {
                return Err(Denial::no_push_target(self.repository.name()).into());
            }
        };
        let intent = intent(action, name, object);
        let candidate = policy::Candidate { intent: &intent, private_to: None };
        Ok(policy::may_ask(access, principal, &[candidate])?)
    }

    /// The one candidate of a name that is not of a virtual repository, or the first.
    pub(crate) fn first(&self) -> Option<&Candidate> {
        self.candidates.first()
    }
}

/// What is asked of one candidate.
pub(crate) fn intent(action: Action, name: &Name, object: &Object) -> Intent {
    Intent { action, name: Some(name.clone()), object: object.clone() }
}

/// Candidates before they are put into a [`Found`].
#[derive(Default)]
struct Union {
    candidates: Vec<Candidate>,
    /// Some member claims the name.
    is_claimed: bool,
}

/// Everybody who may have `rest` below a repository.
pub(crate) fn of(
    routes: &Routes,
    repository: &Arc<Repository>,
    rest: &str,
) -> Result<Found, NameError> {
    let push_to = push_to(routes, repository, rest, DEPTH_MAX)?;
    let union = union(routes, repository, rest, DEPTH_MAX)?;
    let repository = repository.clone();
    Ok(Found { repository, candidates: union.candidates, push_to, namespace: None })
}

fn union(
    routes: &Routes,
    repository: &Arc<Repository>,
    rest: &str,
    depth: usize,
) -> Result<Union, NameError> {
    let is_claimed = false;
    Ok(match &repository.kind {
        Kind::Remote(remote) => {
            let candidates = vec![Candidate::Remote(remote_name(repository, remote, rest)?)];
            Union { candidates, is_claimed }
        }
        Kind::Hosted(hosted) => {
            let candidates = vec![Candidate::Hosted(hosted_name(repository, hosted, rest)?)];
            Union { candidates, is_claimed }
        }
        Kind::Virtual(members) => members_of(routes, members, rest, depth),
    })
}

/// A member that cannot have such a name (too long there, say) does not have it.
fn members_of(routes: &Routes, members: &Virtual, rest: &str, depth: usize) -> Union {
    let mut all = Union::default();
    let mut claimed = Union { candidates: Vec::new(), is_claimed: true };
    if depth == 0 {
        return all;
    }
    for member in &members.members {
        let Some(repository) = routes.repository(&member.repository) else { continue };
        let is_claimed = member.claims(rest);
        let named = member.name(rest).map(|name| union(routes, repository, &name, depth - 1));
        let of_member = match named {
            Some(Ok(union)) => union,
            // Claimed, and yet the member is not asked for it: then nobody is.
            _ => Union::default(),
        };
        let into = match is_claimed || of_member.is_claimed {
            true => {
                all.is_claimed = true;
                &mut claimed
            }
            false => &mut all,
        };
        let room = CANDIDATES_MAX.saturating_sub(into.candidates.len());
        into.candidates.extend(of_member.candidates.into_iter().take(room));
    }
    if all.is_claimed { claimed } else { all }
}

fn push_to(
    routes: &Routes,
    repository: &Arc<Repository>,
    rest: &str,
    depth: usize,
) -> Result<PushTo, NameError> {
    Ok(match &repository.kind {
        Kind::Remote(remote) => PushTo::Remote(remote_name(repository, remote, rest)?),
        Kind::Hosted(hosted) => PushTo::Hosted(hosted_name(repository, hosted, rest)?),
        Kind::Virtual(members) => {
            let target = members.push_to.as_ref().and_then(|target| {
                let member = members.members.iter().find(|it| it.repository == *target)?;
                // A name that somebody else claims would be pushed where nobody finds it.
                let is_anothers =
                    !member.claims(rest) && members.members.iter().any(|other| other.claims(rest));
                let name = member.name(rest).filter(|_| !is_anothers && depth > 0)?;
                Some((routes.repository(target)?, name))
            });
            match target {
                Some((repository, name)) => push_to(routes, repository, &name, depth - 1)?,
                None => PushTo::Nowhere,
            }
        }
    })
}

fn remote_name(
    repository: &Arc<Repository>,
    remote: &Arc<Remote>,
    rest: &str,
) -> Result<Located, NameError> {
    let below = remote.below(rest)?;
    let name = repository.name().join(&below)?;
    // A prefix in front of it may make it too long for the upstream.
    let upstream_name = remote.name_upstream(&below).ok_or(NameError::TooLong)?;
    Ok(Located { repository: repository.clone(), remote: remote.clone(), name, upstream_name })
}

fn hosted_name(
    repository: &Arc<Repository>,
    hosted: &Arc<Hosted>,
    rest: &str,
) -> Result<HostedName, NameError> {
    let name = repository.name().join(&Name::parse(rest)?)?;
    Ok(HostedName { repository: repository.clone(), hosted: hosted.clone(), name })
}
