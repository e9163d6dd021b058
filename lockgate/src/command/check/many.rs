//! Many questions: in pieces, some at a time, with the answers in order.

use super::from::Asked;
use super::judge::Judge;
use crate::command::offline::bar;
use crate::exit::Failure;
use futures_util::stream::{self, StreamExt};
use indicatif::ProgressBar;
use plane::{CheckRequest, CheckResult};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

/// References of one request. The plane looks at them one after the other, and has a minute for all
/// of them before nobody waits any more.
const BATCH: usize = 20;
/// Requests at a time.
const IN_FLIGHT: usize = 4;
/// Requests in a row that may fail before no more are sent.
const FAILURES_MAX: usize = 3;
/// Fewer are answered before anybody wonders.
const WATCHED_MIN: usize = 20;

/// Something that takes the answers, one by one.
pub(super) trait Sink {
    fn take(&mut self, asked: Asked, result: CheckResult);
}

/// Asks everything, as `question` has it. Once there were answers, what cannot be asked is an answer too.
///
/// # Errors
/// When the question makes no sense, or nobody answers the first.
pub(super) async fn ask(
    judge: &Judge,
    question: &CheckRequest,
    asked: Vec<Asked>,
    sink: &mut impl Sink,
) -> Result<(), Failure> {
    let progress = match asked.len() {
        0..=WATCHED_MIN => ProgressBar::hidden(),
        _ => bar("{wide_bar} {pos} of {len} references"),
    };
    progress.set_length(asked.len() as u64);
    let has_given_up = Cell::new(false);
    let has_given_up = &has_given_up;
    let answers = batches(asked).into_iter().map(async |batch: Vec<Asked>| {
        let request = CheckRequest {
            references: batch.iter().map(|it| it.reference.clone()).collect(),
            r#as: batch[0].who.as_deref().map(str::to_owned).or_else(|| question.r#as.clone()),
            ..question.clone()
        };
        let answer = match has_given_up.get() {
            false => judge.ask(&request).await,
            true => Err(Failure::cannot_tell("not asked: nobody answered any more")),
        };
        (batch, answer)
    });
    let mut answers = stream::iter(answers).buffered(IN_FLIGHT);
    let (mut has_answers, mut failures) = (false, 0);
    while let Some((batch, answer)) = answers.next().await {
        let mut results = match answer {
            Ok(report) => {
                (has_answers, failures) = (true, 0);
                report.results
            }
            Err(failure) if !failure.is_cannot_tell() || !has_answers => {
                progress.finish_and_clear();
                return Err(failure);
            }
            Err(failure) => {
                failures += 1;
                batch.iter().map(|it| unknown(&it.reference, &failure.one_line())).collect()
            }
        };
        let told = results.len();
        let missing = batch.iter().skip(told);
        results.extend(missing.map(|it| unknown(&it.reference, "the plane did not answer this")));
        progress.inc(batch.len() as u64);
        progress.suspend(|| {
            batch.into_iter().zip(results).for_each(|(asked, result)| sink.take(asked, result))
        });
        has_given_up.set(failures >= FAILURES_MAX);
    }
    progress.finish_and_clear();
    Ok(())
}

/// Pieces of those who ask, in the order in which they were seen.
fn batches(asked: Vec<Asked>) -> Vec<Vec<Asked>> {
    let mut open: HashMap<Option<Arc<str>>, usize> = HashMap::new();
    let mut batches: Vec<Vec<Asked>> = Vec::new();
    for asked in asked {
        match open.get(&asked.who) {
            Some(at) if batches[*at].len() < BATCH => batches[*at].push(asked),
            _ => {
                open.insert(asked.who.clone(), batches.len());
                batches.push(vec![asked]);
            }
        }
    }
    batches
}

fn unknown(reference: &str, message: &str) -> CheckResult {
    CheckResult {
        reference: reference.to_owned(),
        name: String::new(),
        digest: None,
        platform: None,
        verdict: "CannotTell".to_owned(),
        message: message.to_owned(),
        decision: None,
        children: Vec::new(),
    }
}
