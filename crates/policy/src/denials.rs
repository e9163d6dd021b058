//! What each refusal says: the reason and what to do, one function each.
//!
//! They stand together so that they speak alike, and so that a reader can go through all of them.
//! What comes from outside is cut short here, because the line has room for little.

use crate::rules::{Block, Effect, Evaluation, RuleOutcome};
use crate::{Access, Action, Caller, Denial, Intent, Principal, PrincipalKind, TagPattern};
use oci::{Digest, Name, Tag};
use std::sync::Arc;

/// Characters of a pattern or of a name in a remedy, which is never cut afterwards.
const SHOWN_CHARS: usize = 40;
/// The same in a document to copy, which has much else in it.
const COPIED_CHARS: usize = 24;
/// Of a remedy that a policy's author wrote.
const REMEDY_CHARS: usize = 120;

impl Denial {
    /// A request that names a registry no repository stands for (no open proxy).
    pub fn foreign_namespace(namespace: &str) -> Self {
        let shown: String = namespace.chars().filter(|c| !c.is_control()).take(80).collect();
        Self::new(
            "routing",
            "namespace",
            format!("no repository here stands for registry {shown}"),
            "add a Repository whose spec.hosts names it".to_owned(),
        )
    }

    /// A push to a virtual repository that has no target for it.
    pub fn no_push_target(repository: &Name) -> Self {
        Self::new(
            repository.as_str(),
            "pushTo",
            format!("no member of the virtual Repository {repository} takes pushes of this name"),
            "push to a hosted repository by its own name, or see pushTo and claims in spec.virtual"
                .to_owned(),
        )
    }

    /// A push by a virtual repository's name that other members claim. `members`: those that are
    /// asked for it.
    pub fn claimed_elsewhere(repository: &Name, members: &[&Name]) -> Self {
        let shown: Vec<String> = members.iter().take(2).map(|it| short(it.as_str())).collect();
        let members = match shown.as_slice() {
            [] => "a member that is not asked for it".to_owned(),
            shown => format!("member {}", shown.join(" and ")),
        };
        Self::new(
            repository.as_str(),
            "claims",
            format!(
                "in the virtual Repository {repository}, this name is claimed by {members}, where \
                 pushes by this name do not go"
            ),
            "push to the member by its own name, or change claims or pushTo in spec.virtual"
                .to_owned(),
        )
    }

    /// A push that would move a tag which must not move. `held`: what it names; `pattern`: the entry
    /// of `immutableTags` of `repository` that it fits.
    pub fn immutable_tag(
        name: &Name,
        tag: &Tag,
        held: &Digest,
        pattern: &TagPattern,
        repository: &Name,
    ) -> Self {
        let pattern = short(pattern.as_str());
        Self::new(
            repository.as_str(),
            "immutableTags",
            format!("tag {tag} is {held} and fits {pattern:?}, so it cannot move in {name}"),
            "push another tag".to_owned(),
        )
    }

    /// A delete of a tag that must stay, or of the manifest that it names. Arguments as for
    /// [`Denial::immutable_tag`].
    pub fn immutable_delete(
        name: &Name,
        tag: &Tag,
        held: &Digest,
        pattern: &TagPattern,
        repository: &Name,
    ) -> Self {
        let pattern = short(pattern.as_str());
        let owner = short(repository.as_str());
        Self::new(
            repository.as_str(),
            "immutableTags",
            format!("tag {tag} is {held} and fits {pattern:?}, so both stay in {name}"),
            format!("ask the owner of Repository {owner} to change spec.hosted.immutableTags"),
        )
    }

    /// A push for which a repository has no room. `used_bytes`: what it holds, each content row in
    /// full; `asked_bytes`: what the push would add; `untagged_bytes`: how much of what it holds no
    /// tag needs.
    pub fn over_quota(
        repository: &Name,
        used_bytes: u64,
        quota_bytes: u64,
        asked_bytes: u64,
        untagged_bytes: u64,
    ) -> Self {
        let [used, quota] = [used_bytes, quota_bytes].map(size);
        let [asked, untagged] = [asked_bytes, untagged_bytes].map(size);
        let could_go = match untagged_bytes {
            0 => "all of it is reached by tags".to_owned(),
            _ => format!("{untagged} of it is reached by no tag"),
        };
        Self::new(
            repository.as_str(),
            "quota",
            format!("{used} of {quota} are used, {asked} more do not fit; {could_go}"),
            "delete tags, set retention or raise spec.hosted.quota; `lockgate gc --dry-run` shows \
             what can go"
                .to_owned(),
        )
    }

    /// No repository may have the name, so none can be asked.
    pub(crate) fn no_candidate() -> Self {
        Self::new(
            "routing",
            "members",
            "no repository is asked for this name".to_owned(),
            "see include, exclude and rewrite of the members of the virtual Repository".to_owned(),
        )
    }

    /// Content that was fetched with a credential, asked for by someone whom only the built-in access
    /// lets in.
    pub(crate) fn private_content(intent: &Intent) -> Self {
        let name = intent.name.as_ref().map(ToString::to_string).unwrap_or_default();
        Self::new(
            "built-in",
            "private-content",
            format!("{name} is fetched with a credential, so it is private"),
            format!("allow {} to someone by an AccessPolicy", intent.action),
        )
    }

    /// No rule allows it.
    pub(crate) fn not_allowed(caller: &Caller, intent: &Intent, access: &Access) -> Self {
        let principal = &caller.principal;
        let what = match &intent.name {
            Some(name) => format!("{} on {name}", intent.action),
            None => intent.action.to_string(),
        };
        if !principal.is_in_scope(intent.action, intent.name.as_ref()) {
            let reason = format!("the token of {principal} is not for {what}");
            let remedy = "make one with these actions and repositories".to_owned();
            return Self::new("access", "token-scope", reason, remedy);
        }
        let is_explicit = access.is_explicit();
        let could_log_in = access.has_providers() && principal.kind() == PrincipalKind::Anonymous;
        let remedy = match (is_explicit, intent.action) {
            _ if could_log_in => "log in (docker login, lockgate login)".to_owned(),
            (false, Action::Push | Action::Delete) => policy_to_write(principal, intent),
            (false, _) => {
                "without an AccessPolicy only loopback may pull and list; add an AccessPolicy"
                    .to_owned()
            }
            (true, Action::Push | Action::Delete) => format!(
                "ask the owner of the AccessPolicy documents for actions: [{}] on '{}'",
                intent.action,
                whole_repository(intent)
            ),
            (true, _) => "ask the owner of the AccessPolicy documents".to_owned(),
        };
        let policy = if is_explicit { "access" } else { "built-in" };
        let environments: Vec<&str> = caller.setting.environments().map(|it| it.as_str()).collect();
        let place = match environments.as_slice() {
            ["default"] => String::new(),
            names => format!(" in {}", names.join(" and ")),
        };
        let reason = format!("no AccessPolicy allows {what} to {principal}{place}");
        Self::new(policy, "access", reason, remedy)
    }

    /// A header names an environment that does not exist. `names`: some that do.
    pub(crate) fn unknown_environment(asked: &str, names: &[&str]) -> Self {
        let asked = short(&asked.chars().filter(|c| !c.is_control()).collect::<String>());
        Self::new(
            "environment",
            "environment",
            format!("no Environment is named {asked}"),
            short_line(&format!("send Lockgate-Environment with one of {}", names.join(", "))),
        )
    }

    /// A header names a purpose that does not exist.
    pub(crate) fn unknown_purpose(asked: &str) -> Self {
        let asked = short(&asked.chars().filter(|c| !c.is_control()).collect::<String>());
        Self::new(
            "purpose",
            "purpose",
            format!("there is no purpose {asked}"),
            "send Lockgate-Purpose with one of Scan, Replicate, Develop, Build, Deploy".to_owned(),
        )
    }

    /// A blob by its digest alone, where artifact policies speak: nobody permitted a manifest that has it.
    pub(crate) fn blob_alone(intent: &Intent) -> Self {
        let name = intent.name.as_ref().map(ToString::to_string).unwrap_or_default();
        Self::new(
            "policy",
            "blob-without-manifest",
            format!("no manifest of {name} that you were permitted has this blob"),
            "ask for the manifest first".to_owned(),
        )
    }

    /// A path on which the policies were not asked although they may speak. It is closed.
    pub(crate) fn undecided(intent: &Intent) -> Self {
        let name = intent.name.as_ref().map(ToString::to_string).unwrap_or_default();
        Self::new(
            "policy",
            "undecided",
            format!("{} on {name} cannot be judged on this path", intent.action),
            "ask for the manifest by its tag or digest".to_owned(),
        )
    }

    /// A block is about bytes.
    pub fn blocked(block: &Block) -> Self {
        let finding = block.finding();
        Self::new(&block.name, &Block::rule(), finding.reason, short_line(&finding.remedy))
    }

    /// Rules refuse: the first is told, the others go along.
    pub(crate) fn by_policy(
        caller: &Caller,
        intent: &Intent,
        evaluation: &Arc<Evaluation>,
    ) -> Self {
        let Some(first) = evaluation.with_effect(Effect::Refuse).next() else {
            return Self::undecided(intent);
        };
        let environment = caller.setting.environment();
        let place = match environment.as_str() {
            "default" => String::new(),
            name => format!(" ({name})"),
        };
        let reason = format!("{}{place}", first.reason);
        let denial = Self::new(&first.policy, &first.rule, reason, short_line(&first.remedy));
        denial.with_evaluation(evaluation)
    }
}

/// One rule that refuses, on one line.
pub(crate) fn line(outcome: &RuleOutcome) -> String {
    let RuleOutcome { policy, rule, reason, remedy, .. } = outcome;
    one_line(&format!("{policy}/{rule}: {reason}; {remedy}"))
}

/// One rule that warns, on one line.
pub fn warning(outcome: &RuleOutcome) -> String {
    let RuleOutcome { policy, rule, reason, softened, .. } = outcome;
    let softened = softened.as_ref().map(|it| format!("; {it}")).unwrap_or_default();
    one_line(&format!("{policy}/{rule}: {reason}{softened}"))
}

fn one_line(text: &str) -> String {
    let cut = text.chars().take(Denial::MAX_MESSAGE_CHARS);
    cut.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A remedy that somebody wrote is no longer than the line has room for.
fn short_line(text: &str) -> String {
    match text.chars().count() > REMEDY_CHARS {
        true => text.chars().take(REMEDY_CHARS - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// The document that would allow it, for this client alone: whoever copies it opens no more than
/// what was asked for. Pulls stand in it because the first AccessPolicy ends the built-in access.
fn policy_to_write(principal: &Principal, intent: &Intent) -> String {
    let networks = match principal.address() {
        Some(address) => format!(", networks: ['{}']", address.to_canonical()),
        None => String::new(),
    };
    let also = if intent.action == Action::Delete { ", Delete" } else { "" };
    format!(
        "write kind: AccessPolicy, spec: {{allow: [{{subjects: [{{kind: Anonymous{networks}}}], \
         actions: [Pull, Push{also}], repositories: ['{}']}}]}}",
        whole_repository(intent)
    )
}

/// The pattern of every name in the repository that the intent is about.
fn whole_repository(intent: &Intent) -> String {
    match intent.name.as_ref().and_then(|name| name.segments().next()) {
        Some(repository) if repository.len() <= COPIED_CHARS => format!("{repository}/**"),
        _ => "…/**".to_owned(),
    }
}

fn short(text: &str) -> String {
    match text.chars().count() > SHOWN_CHARS {
        true => text.chars().take(SHOWN_CHARS - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// A size for people, with one decimal where it is not whole.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    let scale = 1u64 << (10 * unit);
    match bytes.is_multiple_of(scale) {
        true => format!("{}{}", bytes / scale, units[unit]),
        false => format!("{:.1}{}", bytes as f64 / scale as f64, units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Object, Setting};

    fn not_allowed(who: &Principal, intent: &Intent, is_explicit: bool) -> Denial {
        let access = if is_explicit { explicit() } else { Access::built_in() };
        Denial::not_allowed(&Caller::new(who.clone(), Setting::default()), intent, &access)
    }

    fn explicit() -> Access {
        Access::new(vec![crate::AccessRule {
            policy: "p".to_owned(),
            subjects: Vec::new(),
            actions: Vec::new(),
            repositories: Vec::new(),
            environments: Vec::new(),
            is_explicit: true,
        }])
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// A message without the id at its end.
    fn told(denial: &Denial) -> String {
        let message = denial.message();
        let id = format!("; lockgate why {}", denial.id());
        message.strip_suffix(&id).expect("the id ends the line").to_owned()
    }

    fn push(action: Action, of: &str) -> Intent {
        Intent { action, name: Some(name(of)), object: Object::Upload }
    }

    #[test]
    fn refused_pushes_say_what_is_and_what_to_do() {
        let (held, v) = (Digest::sha256(b"x"), TagPattern::parse("v*").unwrap());
        let (app, team, tag) = (name("team/app"), name("team"), Tag::parse("v1.2").unwrap());
        assert_eq!(
            told(&Denial::immutable_tag(&app, &tag, &held, &v, &team)),
            format!(
                "denied by team/immutableTags: tag v1.2 is {held} and fits \"v*\", so it cannot \
                 move in team/app; push another tag"
            )
        );
        assert_eq!(
            told(&Denial::immutable_delete(&app, &tag, &held, &v, &team)),
            format!(
                "denied by team/immutableTags: tag v1.2 is {held} and fits \"v*\", so both stay in \
                 team/app; ask the owner of Repository team to change spec.hosted.immutableTags"
            )
        );
        assert_eq!(
            told(&Denial::over_quota(&team, 499 << 30, 500 << 30, 3 << 29, 1500)),
            "denied by team/quota: 499GiB of 500GiB are used, 1.5GiB more do not fit; 1.5KiB of it \
             is reached by no tag; delete tags, set retention or raise spec.hosted.quota; \
             `lockgate gc --dry-run` shows what can go"
        );
        assert_eq!(
            told(&Denial::claimed_elsewhere(&name("all"), &[&name("quay.io")])),
            "denied by all/claims: in the virtual Repository all, this name is claimed by member \
             quay.io, where pushes by this name do not go; push to the member by its own name, or \
             change claims or pushTo in spec.virtual"
        );
        assert_eq!(
            told(&Denial::no_push_target(&name("all"))),
            "denied by all/pushTo: no member of the virtual Repository all takes pushes of this \
             name; push to a hosted repository by its own name, or see pushTo and claims in \
             spec.virtual"
        );
    }

    #[test]
    fn without_a_policy_a_refused_push_shows_the_one_to_write() {
        let here = Principal::anonymous("127.0.0.1".parse().unwrap(), true);
        assert_eq!(
            told(&not_allowed(&here, &push(Action::Push, "team/app"), false)),
            "denied by built-in/access: no AccessPolicy allows Push on team/app to anonymous at \
             127.0.0.1; write kind: AccessPolicy, spec: {allow: [{subjects: [{kind: Anonymous, \
             networks: ['127.0.0.1']}], actions: [Pull, Push], repositories: ['team/**']}]}"
        );
        assert_eq!(
            told(&not_allowed(&here, &push(Action::Delete, "team/app"), true)),
            "denied by access: no AccessPolicy allows Delete on team/app to anonymous at \
             127.0.0.1; ask the owner of the AccessPolicy documents for actions: [Delete] on \
             'team/**'"
        );
    }

    #[test]
    fn the_longest_of_everything_still_fits_the_line() {
        let long = name(&"a".repeat(255));
        let tag = Tag::parse(&"t".repeat(128)).unwrap();
        let pattern = TagPattern::parse(&"t*".repeat(128)).unwrap();
        let held = Digest::of(oci::Algorithm::Sha512, b"x");
        let six = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff".parse().unwrap();
        let who = Principal::anonymous(six, false);
        let intents = [push(Action::Delete, long.as_str()), push(Action::Push, &"b".repeat(24))];
        let mut denials = vec![
            Denial::immutable_tag(&long, &tag, &held, &pattern, &long),
            Denial::immutable_delete(&long, &tag, &held, &pattern, &long),
            Denial::over_quota(&long, u64::MAX, u64::MAX, u64::MAX, u64::MAX),
            Denial::no_push_target(&long),
            Denial::claimed_elsewhere(&long, &[&long, &long, &long]),
            Denial::no_candidate(),
            Denial::foreign_namespace(&"x".repeat(1000)),
        ];
        for intent in &intents {
            denials.push(Denial::private_content(intent));
            denials.push(not_allowed(&who, intent, true));
            denials.push(not_allowed(&who, intent, false));
        }
        for denial in denials {
            let message = denial.message();
            assert!(message.chars().count() <= Denial::MAX_MESSAGE_CHARS, "{message}");
            assert!(message.ends_with(&denial.id().to_string()), "{message}");
        }
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in
            [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (1 << 30, "1GiB"), (u64::MAX, "16.0EiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
