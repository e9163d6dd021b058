//! A pull budget with Docker Hub's headers: `ratelimit-limit: 100;w=21600` and friends.

use crate::wire::{Answer, Request};

/// How many manifests may be fetched. GET costs one, HEAD nothing, as on Docker Hub; the window does
/// not pass on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// What a full budget holds.
    pub limit: u64,
    /// The window that the headers name.
    pub window_seconds: u64,
    /// What is left.
    pub remaining: u64,
}

impl RateLimit {
    /// A full budget of `limit` per six hours.
    pub fn new(limit: u64) -> Self {
        Self { limit, window_seconds: 21600, remaining: limit }
    }

    /// Takes the cost of `request`: the headers for its answer, or a 429 when nothing is left.
    pub(crate) fn spend(
        &mut self,
        request: &Request,
    ) -> Result<Vec<(String, String)>, Box<Answer>> {
        if request.method == "GET" {
            match self.remaining.checked_sub(1) {
                Some(remaining) => self.remaining = remaining,
                None => return Err(Box::new(self.refuse())),
            }
        }
        Ok(self.headers())
    }

    fn refuse(&self) -> Answer {
        let text = "the pull budget of this window is used up";
        let mut answer = Answer::error(429, "TOOMANYREQUESTS", text)
            .with("retry-after", self.window_seconds.to_string());
        answer.headers.extend(self.headers());
        answer
    }

    fn headers(&self) -> Vec<(String, String)> {
        let window = self.window_seconds;
        vec![
            ("ratelimit-limit".into(), format!("{};w={window}", self.limit)),
            ("ratelimit-remaining".into(), format!("{};w={window}", self.remaining)),
        ]
    }
}
