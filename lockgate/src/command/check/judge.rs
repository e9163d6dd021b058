//! Who answers: a plane that runs, or one that lives as long as the questions.

use super::offline::{self, Alone, Owners};
use crate::client::Api;
use crate::exit::Failure;
use crate::flags::PlaneFlags;
use plane::{CheckReport, CheckRequest};
use std::path::Path;

/// The one that is asked.
pub(super) enum Judge {
    Running(Box<Api>),
    Alone(Box<Alone>),
}

impl Judge {
    pub(super) async fn find(
        flags: &PlaneFlags,
        resources: Option<&Path>,
    ) -> Result<Self, Failure> {
        match resources {
            Some(resources) => Ok(Self::Alone(Box::new(Box::pin(Alone::start(resources)).await?))),
            None => {
                let api = Api::find(flags).map_err(Failure::no_verdict)?;
                Ok(Self::Running(Box::new(api)))
            }
        }
    }

    /// Asks one question.
    pub(super) async fn ask(&self, request: &CheckRequest) -> Result<CheckReport, Failure> {
        match self {
            Self::Alone(alone) => Box::pin(alone.check(request)).await,
            Self::Running(api) => {
                let body = serde_json::to_value(request)
                    .map_err(|error| Failure::cannot_tell("the question").because(&error))?;
                api.post("checks", Some(&body)).await.map_err(Failure::no_verdict)
            }
        }
    }

    /// Who answers for the policies of the revision that was asked. Nobody, where it cannot be read:
    /// whoever may ask about others may not need to see all of it.
    pub(super) async fn owners(&self, revision: Option<&str>) -> Owners {
        match (self, revision) {
            (Self::Alone(alone), _) => alone.owners.clone(),
            (Self::Running(_), None) => Owners::default(),
            (Self::Running(api), Some(revision)) => {
                let text = api.text(&format!("revisions/{revision}")).await;
                let set = text.ok().and_then(|it| resources::read_text("revision", &it).ok());
                set.map(|set| offline::owners_in(&set)).unwrap_or_default()
            }
        }
    }

    pub(super) async fn stop(self) {
        if let Self::Alone(alone) = self {
            alone.stop().await;
        }
    }
}
