//! Scenarios: policies tested like code, without a network, a cluster or a clock that runs.
//!
//! A plane is started on a directory of its own with the documents of the scenario, its artifacts are put
//! into the store as pulls and pushes would have left them, and each question goes through the stages of
//! the pipeline, from the second to the last. So there is no second opinion that could differ from what
//! is served. Upstreams are cut off: what a scenario does not describe cannot be told.

mod artifact;
mod question;
mod seed;

use crate::clock::Clock;
use crate::fill::FillSettings;
use crate::hosted::PushSettings;
use crate::keep::KeepSettings;
use crate::plane::{Options, Plane};
use crate::{AdminError, ApplyError, GcSettings};
use artifact::Artifacts;
use catalog::Catalog;
use jiff::Timestamp;
use resources::{Problems, Scenario, ScenarioAnswer, Set};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use telemetry::{Metrics, Registry};

/// When a scenario begins that does not say it.
const BEGINNING: &str = "2026-01-01T00:00:00Z";

/// How a scenario went.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScenarioReport {
    /// What it shows.
    pub about: String,
    /// Its questions, in order.
    pub cases: Vec<CaseReport>,
}

/// How one question went.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseReport {
    /// What it shows.
    pub it: String,
    /// What was expected.
    pub expected: ScenarioAnswer,
    /// What was answered.
    pub answered: ScenarioAnswer,
    /// What was said with it, in one line.
    pub message: String,
    /// What differs from what was expected; empty: nothing.
    pub differences: Vec<String>,
}

impl CaseReport {
    /// Whether all is as expected.
    pub fn is_as_expected(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Why a scenario could not be played.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// What is written in it is wrong.
    #[error("{0}")]
    Problems(Problems),
    /// A question or an artifact makes no sense.
    #[error("{place}: {reason}")]
    Senseless {
        /// Which.
        place: String,
        /// Why, and what to write instead.
        reason: String,
    },
    /// The plane could not be set up.
    #[error("the plane of the scenario: {0}")]
    Plane(String),
}

impl ScenarioError {
    fn senseless(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Senseless { place: place.into(), reason: reason.into() }
    }
}

/// Plays the scenario of a text. `file`: what it is called in messages. `scratch`: an empty directory for its
/// plane. To be called inside a tokio runtime.
///
/// # Errors
/// When the scenario cannot be played. Answers that were not expected are in the report.
pub async fn play_scenario(
    file: &str,
    text: &str,
    scratch: &Path,
) -> Result<ScenarioReport, ScenarioError> {
    let (scenario, set) = resources::read_scenario(file, text).map_err(ScenarioError::Problems)?;
    let artifacts = Artifacts::make(&scenario)?;
    let beginning = || BEGINNING.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let now = scenario.now.as_ref().map_or_else(beginning, resources::WireTime::get);
    let first = artifacts.first_time().map_or(now, |first| first.min(now));
    let clock = Clock::standing_at(first);
    let plane = start(set, scratch, clock.clone()).await?;
    for upstream in plane.core.view().upstreams.values() {
        upstream.cut_off();
    }
    let played = play(&plane, &scenario, &artifacts, &clock, now).await;
    plane.stop(Duration::from_secs(5)).await;
    Ok(ScenarioReport { about: scenario.about, cases: played? })
}

async fn play(
    plane: &Plane,
    scenario: &Scenario,
    artifacts: &Artifacts,
    clock: &Clock,
    now: Timestamp,
) -> Result<Vec<CaseReport>, ScenarioError> {
    seed::put(plane, artifacts, clock, now).await?;
    let mut reports = Vec::with_capacity(scenario.cases.len());
    for case in &scenario.cases {
        if let Some(after) = &case.after {
            clock.advance(after.get());
            // As if each tag had been asked for: whether it still leads there is not what is tested.
            seed::confirm(plane, artifacts);
        }
        let (answered, message) = question::ask(plane, artifacts, case).await?;
        seed::settle(plane).await?;
        let mut differences = Vec::new();
        if answered != case.expect {
            differences.push(format!("expected {}, got {}", word(case.expect), word(answered)));
        }
        for text in case.says.iter().filter(|text| !message.contains(text.as_str())) {
            differences.push(format!("does not say {text:?}"));
        }
        for text in case.says_not.iter().filter(|text| message.contains(text.as_str())) {
            differences.push(format!("says {text:?}"));
        }
        let (it, expected) = (case.it.clone(), case.expect);
        reports.push(CaseReport { it, expected, answered, message, differences });
    }
    Ok(reports)
}

/// As it stands in scenarios.
fn word(answer: ScenarioAnswer) -> &'static str {
    match answer {
        ScenarioAnswer::Allow => "allow",
        ScenarioAnswer::Warn => "warn",
        ScenarioAnswer::Deny => "deny",
        ScenarioAnswer::Login => "login",
        ScenarioAnswer::CannotTell => "cannotTell",
        ScenarioAnswer::Absent => "absent",
        ScenarioAnswer::Invalid => "invalid",
    }
}

async fn start(
    set: Set,
    scratch: &Path,
    clock: Clock,
) -> Result<std::sync::Arc<Plane>, ScenarioError> {
    let cannot = |error: &dyn std::fmt::Display| ScenarioError::Plane(error.to_string());
    let store = blobs::Store::open(blobs::Options::new(scratch.to_owned()));
    let catalog = Catalog::open(&scratch.join("catalog.sqlite"));
    let options = Options {
        data_dir: scratch.to_owned(),
        store: store.map_err(|error| cannot(&error))?,
        catalog: catalog.map_err(|error| cannot(&error))?.0,
        metrics: Metrics::new(Registry::default(), "scenario", None),
        access_log: None,
        keep: KeepSettings::default(),
        gc: GcSettings::default(),
        fills: FillSettings::default(),
        pushes: PushSettings::default(),
        clock,
        keys_dir: None,
    };
    match Plane::start(options, Ok(set), "a scenario").await {
        Ok(plane) => Ok(plane),
        Err(ApplyError::Documents(problems)) => Err(ScenarioError::Problems(problems)),
        Err(error) => Err(cannot(&error)),
    }
}

impl From<AdminError> for ScenarioError {
    fn from(error: AdminError) -> Self {
        Self::senseless("as", error.to_string())
    }
}
