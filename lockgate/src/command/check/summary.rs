//! Many answers, by what is in the way: how much each rule stops, what to do, and what that frees.

use super::from::Asked;
use super::offline::Owners;
use super::reasons::{self, Class, Reason, Rule};
use crate::output::{GREEN, RED, YELLOW, clean, paint};
use plane::CheckResult;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

/// Examples of each rule.
const EXAMPLES_MAX: usize = 3;
/// Rules that are told apart. A plane has far fewer; hosts that it does not know may be more.
const GROUPS_MAX: usize = 10_000;

/// How many references, and what they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    references: u64,
    /// A pod with several of the references is one.
    pods: HashSet<u32>,
    requests: u64,
}

impl Count {
    fn add(&mut self, asked: &Asked) {
        self.references += 1;
        self.pods.extend(&asked.pods);
        self.requests = self.requests.saturating_add(asked.requests());
    }

    fn join(&mut self, other: &Self) {
        self.references += other.references;
        self.pods.extend(&other.pods);
        self.requests = self.requests.saturating_add(other.requests);
    }

    /// Pods and requests.
    fn weight(&self) -> u64 {
        (self.pods.len() as u64).saturating_add(self.requests)
    }

    fn json(&self) -> Value {
        let Self { references, pods, requests } = self;
        json!({ "references": references, "pods": pods.len(), "requests": requests })
    }

    fn text(&self) -> String {
        let mut text = number(self.references, "reference");
        for (count, what) in [(self.pods.len() as u64, "pod"), (self.requests, "request")] {
            if count > 0 {
                text += &format!(", {}", number(count, what));
            }
        }
        text
    }
}

fn number(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// What one rule stops.
#[derive(Debug, Default)]
struct Group {
    remedy: String,
    all: Count,
    frees: Count,
    is_at_most: bool,
    examples: Vec<String>,
}

/// All that was answered.
#[derive(Debug, Default)]
pub(super) struct Summary {
    groups: BTreeMap<(Class, Rule), Group>,
    classes: BTreeMap<Class, Count>,
    /// Tags that lead to something else than what runs.
    moved: u64,
    /// The revision that was asked.
    pub(super) revision: Option<String>,
}

impl Summary {
    pub(super) fn add(&mut self, asked: &Asked, result: &CheckResult) {
        let class = Class::of(result);
        self.classes.entry(class).or_default().add(asked);
        self.moved += u64::from(has_moved(asked, result));
        if let (None, Some(decision)) = (&self.revision, &result.decision) {
            self.revision = Some(decision.revision.to_string());
        }
        for (rule, reason) in reasons::of(result) {
            self.add_reason(class, rule, &reason, asked, result);
        }
    }

    fn add_reason(
        &mut self,
        class: Class,
        rule: Rule,
        reason: &Reason,
        asked: &Asked,
        result: &CheckResult,
    ) {
        let key = (class, rule);
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&key) {
            return;
        }
        let has_message = key.1.policy.is_empty() && class != Class::Elsewhere;
        let group = self.groups.entry(key).or_default();
        if group.remedy.is_empty() {
            group.remedy.clone_from(&reason.remedy);
        }
        group.all.add(asked);
        if reason.is_alone {
            group.frees.add(asked);
            group.is_at_most |= reason.is_first_of_more;
        }
        if group.examples.len() < EXAMPLES_MAX {
            let message = has_message.then_some(result.message.as_str());
            group.examples.push(example(asked, message));
        }
    }

    pub(super) fn of(&self, class: Class) -> u64 {
        self.classes.get(&class).map_or(0, |count| count.references)
    }

    /// For people.
    pub(super) fn table(&self, owners: &Owners) -> String {
        let mut text = String::new();
        for (class, colour) in [
            (Class::Refused, RED),
            (Class::Unknown, YELLOW),
            (Class::Elsewhere, YELLOW),
            (Class::Warned, YELLOW),
        ] {
            let of_class = self.groups.iter().filter(|((of, _), _)| *of == class);
            let mut groups: Vec<(&Rule, &Group)> =
                of_class.map(|((_, rule), group)| (rule, group)).collect();
            if groups.is_empty() {
                continue;
            }
            // What stops most comes first.
            groups.sort_by_key(|(_, group)| {
                std::cmp::Reverse((group.all.weight(), group.all.references))
            });
            text += &format!("{}\n", paint(colour, class.title()));
            groups.iter().for_each(|(rule, group)| group.print(&mut text, class, rule, owners));
            text.push('\n');
        }
        text + &self.totals()
    }

    fn totals(&self) -> String {
        let mut all = Count::default();
        self.classes.values().for_each(|count| all.join(count));
        let order = [
            (Class::Allowed, GREEN),
            (Class::Warned, YELLOW),
            (Class::Refused, RED),
            (Class::Unknown, YELLOW),
            (Class::Elsewhere, YELLOW),
        ];
        let told = order.map(|(class, colour)| {
            let text = format!("{} {}", self.of(class), class.title());
            if self.of(class) == 0 { text } else { paint(colour, &text) }
        });
        let mut text = format!("{}: {}\n", all.text(), told.join(", "));
        if self.moved > 0 {
            let (verb, one) = if self.moved == 1 { ("leads", "") } else { ("lead", "s") };
            let moved = self.moved;
            text += &format!("{moved} tag{one} {verb} to another image than the one that runs\n");
        }
        text
    }

    /// For tools: the groups, and the counts.
    pub(super) fn json(&self, owners: &Owners) -> (Value, Value) {
        let groups = self.groups.iter().map(|((class, rule), group)| {
            let mut value = group.all.json();
            value["verdict"] = class.title().into();
            value["policy"] = rule.policy.as_str().into();
            value["rule"] = rule.rule.as_str().into();
            value["owner"] = owners.get(&rule.policy).map_or(Value::Null, |it| it.as_str().into());
            value["remedy"] = group.remedy.as_str().into();
            if matches!(class, Class::Refused | Class::Unknown) {
                value["frees"] = group.frees.json();
                value["freesAtMost"] = group.is_at_most.into();
            }
            value
        });
        let count = |class: Class| self.classes.get(&class).cloned().unwrap_or_default().json();
        let counts = json!({
            "allowed": count(Class::Allowed),
            "warned": count(Class::Warned),
            "refused": count(Class::Refused),
            "cannotTell": count(Class::Unknown),
            "notBehindThisPlane": count(Class::Elsewhere),
            "moved": self.moved,
        });
        (groups.collect(), counts)
    }
}

impl Group {
    fn print(&self, text: &mut String, class: Class, rule: &Rule, owners: &Owners) {
        let owner = owners.get(&rule.policy).map(|owner| format!(" (owner: {})", clean(owner)));
        let owner = owner.unwrap_or_default();
        let title = clean(&rule.title());
        *text += &format!("  {title}{owner}: {}\n", self.all.text());
        if !self.remedy.is_empty() {
            *text += &format!("    what to do: {}\n", clean(&self.remedy));
        }
        let is_rule = !rule.policy.is_empty();
        if is_rule && matches!(class, Class::Refused | Class::Unknown) {
            let up_to = if self.is_at_most { "up to " } else { "" };
            let frees = match self.frees.references {
                0 => "nothing alone: other rules are in the way too".to_owned(),
                _ => format!("{up_to}{}", self.frees.text()),
            };
            *text += &format!("    frees: {frees}\n");
        }
        for example in &self.examples {
            *text += &format!("    - {}\n", clean(example));
        }
        let more = self.all.references - self.examples.len() as u64;
        if more > 0 {
            *text += &format!("    - and {more} more\n");
        }
    }
}

fn example(asked: &Asked, message: Option<&str>) -> String {
    let mut text = asked.reference.clone();
    if let Some(who) = &asked.who {
        text += &format!(" for {who}");
    }
    if !asked.pods.is_empty() {
        let more = if asked.pods.len() > asked.names.len() { ", …" } else { "" };
        let names = asked.names.join(", ");
        text += &format!(" ({}: {names}{more})", number(asked.pods.len() as u64, "pod"));
    }
    if asked.requests() > 0 {
        text += &format!(" ({})", number(asked.requests(), "request"));
    }
    match message {
        Some(message) => format!("{text}: {message}"),
        None => text,
    }
}

/// Whether a tag leads to nothing of what runs by it.
fn has_moved(asked: &Asked, result: &CheckResult) -> bool {
    let Some(digest) = &result.digest else { return false };
    // An index whose entries nobody looked at may have what runs among them.
    let is_judged = result.decision.as_ref().is_some_and(|it| !it.facts.is_null());
    let is_known = match result.verdict.as_str() {
        "Allow" | "Warn" => is_judged || !result.children.is_empty(),
        _ => !result.children.is_empty(),
    };
    if !is_known {
        return false;
    }
    let digest = digest.to_string();
    let is_it = |running: &String| {
        *running == digest
            || result.children.iter().any(|it| it.reference.ends_with(running.as_str()))
    };
    !asked.running.is_empty() && !asked.running.iter().any(is_it)
}

/// An answer with who asks, and what it stands for.
pub(super) fn entry(asked: &Asked, result: &CheckResult) -> Value {
    let mut value = serde_json::to_value(result).unwrap_or(Value::Null);
    value["count"] = asked.count().into();
    if let Some(who) = &asked.who {
        value["who"] = (**who).into();
    }
    if !asked.pods.is_empty() {
        value["pods"] = asked.pods.len().into();
        value["podNames"] = asked.names.clone().into();
    }
    if asked.requests() > 0 {
        value["requests"] = asked.requests().into();
    }
    if !asked.running.is_empty() {
        value["running"] = asked.running.clone().into();
        value["hasMoved"] = has_moved(asked, result).into();
    }
    value["isBehindThisPlane"] = (Class::of(result) != Class::Elsewhere).into();
    value
}
