//! Who may have a name: one repository, or the members of a virtual one in their order.
//!
//! Which of them has it is found out by asking in this order ([`crate::pipeline`]); only "not there,
//! for certain" moves on to the next. Resolution does not depend on who asks (contracts §1).

use crate::refusal::Refusal;
use crate::routes::Routes;
use crate::view::{Hosted, Kind, Member, Remote, Repository, Virtual};
use jiff::Timestamp;
use oci::{Name, NameError};
use policy::{Action, Caller, Denial, Governance, Intent, Leave, Object, Place};
use std::sync::Arc;

/// Virtual repositories within virtual repositories; loading refuses cycles, this bounds the rest.
const DEPTH_MAX: usize = 16;
/// Candidates of one name; loading refuses more members, those of nested ones counted.
const CANDIDATES_MAX: usize = 64;

/// Who asks, under what is in force, and when.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) governance: &'a Governance,
    pub(crate) caller: &'a Caller,
    pub(crate) now: Timestamp,
}

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

    /// Where it is, for rules about that.
    pub(crate) fn place(&self) -> Place<'_> {
        let repository = self.repository().document_name();
        match self {
            Self::Remote(located) => {
                Place { repository, upstream: Some(&located.remote.upstream_name) }
            }
            Self::Hosted(_) => Place { repository, upstream: None },
        }
    }

    /// Whether this may be asked of it: by access, and by the rules that need no more than the
    /// question. Costs no I/O.
    pub(crate) fn may(
        &self,
        asking: Asking<'_>,
        action: Action,
        object: &Object,
    ) -> Result<Leave, Denial> {
        let Asking { governance, caller, now } = asking;
        let (intent, scope) = (intent(action, self.name(), object), self.scope());
        let leave = policy::may_ask_one(&governance.access, caller, &intent, scope.as_deref())?;
        policy::judge_intent(governance, caller, &intent, self.place(), now)?;
        Ok(leave)
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
    /// A member of a virtual repository claims the name, so that no other is asked for it.
    is_claimed: bool,
    /// Of a virtual repository: the candidate that takes pushes.
    target: Option<HostedName>,
    /// The registry named by `?ns=`, if the request was routed by it.
    pub(crate) namespace: Option<String>,
}

/// Where a push goes.
pub(crate) enum PushTo<'f> {
    Hosted(&'f HostedName),
    /// A remote repository takes none.
    Remote(&'f Located),
    /// The virtual repository names no target, or its target is not asked for this name: what is
    /// pushed there could not be pulled here.
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
    /// is asked and nothing is said about existence. Fails with the denial of the first.
    pub(crate) fn may_ask(
        &self,
        asking: Asking<'_>,
        action: Action,
        object: &Object,
    ) -> Result<Leave, Refusal> {
        if matches!(action, Action::Push | Action::Delete) {
            return self.may_push(asking, action, object);
        }
        let mut first = None;
        for candidate in &self.candidates {
            match candidate.may(asking, action, object) {
                Ok(leave) => return Ok(leave),
                Err(denial) => first = first.or(Some(denial)),
            }
        }
        Err(first.map_or_else(|| self.nobody_is_asked(), Refusal::from))
    }

    fn nobody_is_asked(&self) -> Refusal {
        Refusal::NoRepository(format!(
            "no member of the virtual repository {} is asked for this name; see include, exclude, \
             rewrite and claims of its members",
            self.repository.name()
        ))
    }

    fn may_push(
        &self,
        asking: Asking<'_>,
        action: Action,
        object: &Object,
    ) -> Result<Leave, Refusal> {
        let name = match self.push_to() {
            PushTo::Hosted(hosted) => &hosted.name,
            PushTo::Remote(located) => &located.name,
            PushTo::Nowhere => return Err(self.no_target().into()),
        };
        let intent = intent(action, name, object);
        let Asking { governance, caller, now } = asking;
        let leave = policy::may_ask_one(&governance.access, caller, &intent, None)?;
        let repository = self.target_name();
        let place = Place { repository, upstream: None };
        policy::judge_intent(governance, caller, &intent, place, now)?;
        Ok(leave)
    }

    /// The repository that takes pushes, by the name of its document.
    fn target_name(&self) -> &str {
        match self.push_to() {
            PushTo::Hosted(hosted) => hosted.repository.document_name(),
            PushTo::Remote(_) | PushTo::Nowhere => self.repository.document_name(),
        }
    }

    /// Where a push goes.
    pub(crate) fn push_to(&self) -> PushTo<'_> {
        match (&self.repository.kind, self.candidates.first()) {
            (Kind::Virtual(_), _) => self.target.as_ref().map_or(PushTo::Nowhere, PushTo::Hosted),
            (_, Some(Candidate::Hosted(hosted))) => PushTo::Hosted(hosted),
            (_, Some(Candidate::Remote(located))) => PushTo::Remote(located),
            (_, None) => PushTo::Nowhere,
        }
    }

    fn no_target(&self) -> Denial {
        let whole = self.repository.name();
        let members = self.candidates.iter().map(|candidate| candidate.repository().name());
        let members: Vec<&Name> = members.collect();
        match self.is_claimed {
            true => Denial::claimed_elsewhere(whole, &members),
            false => Denial::no_push_target(whole),
        }
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
    let Union { candidates, is_claimed } = union(routes, repository, rest, DEPTH_MAX)?;
    let target = match &repository.kind {
        Kind::Virtual(members) => target(routes, members, rest, DEPTH_MAX),
        _ => None,
    };
    // A target that is no candidate (somebody else claims the name) would hold what nobody finds.
    let is_found = |target: &HostedName| candidates.iter().any(|it| *it.name() == target.name);
    let target = target.filter(is_found);
    Ok(Found { repository: repository.clone(), candidates, is_claimed, target, namespace: None })
}

fn union(
    routes: &Routes,
    repository: &Arc<Repository>,
    rest: &str,
    depth: usize,
) -> Result<Union, NameError> {
    let one = |candidate| Union { candidates: vec![candidate], is_claimed: false };
    Ok(match &repository.kind {
        Kind::Remote(remote) => one(Candidate::Remote(remote_name(repository, remote, rest)?)),
        Kind::Hosted(hosted) => one(Candidate::Hosted(hosted_name(repository, hosted, rest)?)),
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
        let named = name_below(member, repository, rest);
        let of_member = named.map(|name| union(routes, repository, &name, depth - 1));
        let of_member = match of_member {
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
        for candidate in of_member.candidates {
            // Two ways may lead to the same; it is asked once.
            let is_known = into.candidates.iter().any(|it| it.name() == candidate.name());
            if !is_known && into.candidates.len() < CANDIDATES_MAX {
                into.candidates.push(candidate);
            }
        }
    }
    if all.is_claimed { claimed } else { all }
}

/// What a name below a virtual repository is called below a member; `None`: it is not asked for it.
/// Patterns speak of Docker Hub's official images with the `library/` that nobody writes.
fn name_below(member: &Member, repository: &Repository, rest: &str) -> Option<String> {
    let name = member.rewritten(rest)?;
    let name = match &repository.kind {
        Kind::Remote(remote) => remote.below(&name).ok()?.to_string(),
        _ => name.into_owned(),
    };
    member.takes(&name).then_some(name)
}

/// The hosted repository that takes pushes of a name below a virtual one.
fn target(routes: &Routes, members: &Virtual, rest: &str, depth: usize) -> Option<HostedName> {
    let wanted = members.push_to.as_ref().filter(|_| depth > 0)?;
    let member = members.members.iter().find(|it| it.repository == *wanted)?;
    let repository = routes.repository(wanted)?;
    let name = name_below(member, repository, rest)?;
    match &repository.kind {
        Kind::Remote(_) => None,
        Kind::Hosted(hosted) => hosted_name(repository, hosted, &name).ok(),
        Kind::Virtual(inner) => target(routes, inner, &name, depth - 1),
    }
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
