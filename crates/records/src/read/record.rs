//! From a line back to a decision.

use crate::chain::Hash;
use crate::detail::{Text, Texts};
use crate::line::{self, DecisionBody, FactsBody, Head, Kind, OutcomesBody, RepeatBody, TextBody};
use crate::{Decision, Detail, Instance};
use jiff::Timestamp;
use oci::Name;
use policy::{Action, DecisionId, EnvironmentName, PrincipalKind, Purpose};
use std::collections::HashMap;
use std::sync::Arc;

/// A decision that was recorded.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whose record it is in.
    pub instance: Instance,
    /// The number of its line.
    pub seq: u64,
    /// The decision; of repeats the first one of those that are counted here.
    pub decision: Decision,
    /// Of a line that counts repeats: what it counts. A decision is written whole, with none; later
    /// ones that are the same are only counted.
    pub repeats: Option<Repeats>,
}

impl Record {
    /// How many decisions this stands for.
    pub fn times(&self) -> u64 {
        self.repeats.as_ref().map_or(1, |repeats| repeats.count)
    }
}

/// How often a decision was made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// The decision that was written whole.
    pub of: DecisionId,
    /// How often it was made again after that.
    pub count: u64,
    /// The last of these.
    pub last_id: DecisionId,
    /// When that was.
    pub last_at: Timestamp,
    /// Of refusals, some ids of those between.
    pub ids: Vec<DecisionId>,
}

/// The texts that decisions of a segment name by their hash. Bounded by the segment.
#[derive(Default)]
pub(crate) struct TextTable {
    texts: HashMap<Hash, Arc<Text>>,
    details: HashMap<(Hash, Hash), Arc<Detail>>,
}

impl TextTable {
    /// Takes a line that has a text; others are passed over. A text that is not what its hash says is
    /// none.
    pub(crate) fn take(&mut self, head: &Head<'_>, text: &[u8]) -> Result<(), serde_json::Error> {
        let json = match head.kind {
            Kind::Facts => line::read::<FactsBody<'_>>(text)?.facts.get(),
            Kind::Outcomes => line::read::<OutcomesBody<'_>>(text)?.outcomes.get(),
            _ => return Ok(()),
        };
        let TextBody { text: hash } = line::read(text)?;
        let text = Text { json: json.into(), hash: Hash::of(json.as_bytes()) };
        if text.hash == hash {
            self.texts.insert(hash, Arc::new(text));
        }
        Ok(())
    }

    fn detail(&mut self, body: &DecisionBody<'_>) -> Result<Option<Arc<Detail>>, String> {
        let (Some(facts), Some(outcomes)) = (body.facts, body.outcomes) else { return Ok(None) };
        if let Some(detail) = self.details.get(&(facts, outcomes)) {
            return Ok(Some(detail.clone()));
        }
        let text = |hash: Hash| {
            let text = self.texts.get(&hash).cloned();
            text.ok_or_else(|| {
                format!("it names the text {hash}, which this segment does not have")
            })
        };
        let texts = Texts { facts: text(facts)?, outcomes: text(outcomes)? };
        let detail = Arc::new(Detail::of_texts(texts));
        self.details.insert((facts, outcomes), detail.clone());
        Ok(Some(detail))
    }
}

/// Reads the decision of a line that has one.
pub(crate) fn record(
    instance: &Instance,
    head: &Head<'_>,
    text: &[u8],
    texts: &mut TextTable,
) -> Result<Option<Record>, String> {
    let bad = |error: serde_json::Error| error.to_string();
    let at = head.time().ok_or("its time is none")?;
    if !matches!(head.kind, Kind::Decision | Kind::Repeat) {
        return Ok(None);
    }
    let body: DecisionBody<'_> = line::read(text).map_err(bad)?;
    let (id, at, repeats) = match head.kind {
        Kind::Repeat => {
            let repeat: RepeatBody = line::read(text).map_err(bad)?;
            let repeats = Repeats {
                of: id(&repeat.of)?,
                count: repeat.count,
                last_id: id(&repeat.last_id)?,
                last_at: repeat.last_at,
                ids: repeat.ids.iter().map(|it| id(it)).collect::<Result<_, _>>()?,
            };
            (id(&repeat.first_id)?, repeat.first_at, Some(repeats))
        }
        _ => (id(&body.id)?, at, None),
    };
    let detail = texts.detail(&body)?;
    let decision = decision(id, at, &body, detail)?;
    Ok(Some(Record { instance: instance.clone(), seq: head.seq, decision, repeats }))
}

fn id(text: &str) -> Result<DecisionId, String> {
    DecisionId::parse(text).ok_or_else(|| format!("{text:?} is no id of a decision"))
}

fn decision(
    id: DecisionId,
    at: Timestamp,
    body: &DecisionBody<'_>,
    detail: Option<Arc<Detail>>,
) -> Result<Decision, String> {
    let unknown = |what: &str, text: &str| format!("{text:?} is no {what}");
    let optional = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
    let action = Action::ALL.into_iter().find(|action| action.as_str() == body.action);
    let name = match &*body.name {
        "" => None,
        name => Some(Name::parse(name).map_err(|error| error.to_string())?),
    };
    Ok(Decision {
        id,
        at,
        principal_kind: PrincipalKind::parse(&body.principal_kind)
            .ok_or_else(|| unknown("kind of principal", &body.principal_kind))?,
        principal: Arc::from(&*body.principal),
        environment: EnvironmentName::new(&body.environment),
        purpose: Purpose::parse(&body.purpose).ok_or_else(|| unknown("purpose", &body.purpose))?,
        cluster: optional(&body.cluster),
        action: action.ok_or_else(|| unknown("action", &body.action))?,
        name,
        reference: Arc::from(&*body.reference),
        digest: body.digest,
        verdict: body.verdict,
        policy: Arc::from(&*body.policy),
        rule: Arc::from(&*body.rule),
        message: body.message.replace("{id}", &id.to_string()),
        revision: body.revision,
        enforced: body.enforced,
        waivers: body.waivers.iter().map(|it| Arc::from(&**it)).collect(),
        break_glass: optional(&body.break_glass),
        detail,
    })
}
