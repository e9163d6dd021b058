//! What was found, and what to do about it.

use crate::exit::Exit;
use crate::output::{self, CYAN, GREEN, RED, YELLOW, paint};
use serde::Serialize;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum State {
    /// As it should be.
    Right,
    /// It works, and soon will not, or not well.
    Warning,
    /// It does not work.
    Wrong,
    /// It could not be found out.
    Unknown,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    state: State,
    check: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn right(&mut self, check: &'static str, text: String) {
        self.findings.push(Finding { state: State::Right, check, text, remedy: None });
    }

    pub(super) fn warning(&mut self, check: &'static str, text: String, remedy: impl Into<String>) {
        self.push(State::Warning, check, text, remedy);
    }

    pub(super) fn wrong(&mut self, check: &'static str, text: String, remedy: impl Into<String>) {
        self.push(State::Wrong, check, text, remedy);
    }

    pub(super) fn unknown(&mut self, check: &'static str, text: String, remedy: impl Into<String>) {
        self.push(State::Unknown, check, text, remedy);
    }

    /// With a remedy, whatever the state.
    pub(super) fn push(
        &mut self,
        state: State,
        check: &'static str,
        text: String,
        remedy: impl Into<String>,
    ) {
        self.findings.push(Finding { state, check, text, remedy: Some(remedy.into()) });
    }

    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// One line for each, and one for what to do.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let mark = match finding.state {
                State::Right => paint(GREEN, "✓"),
                State::Warning => paint(YELLOW, "!"),
                State::Wrong => paint(RED, "✗"),
                State::Unknown => paint(CYAN, "?"),
            };
            text.push_str(&format!(
                "{mark} {:<12} {}\n",
                finding.check,
                output::clean(&finding.text)
            ));
            if let Some(remedy) = &finding.remedy {
                text.push_str(&format!("  {:<12} → {}\n", "", output::clean(remedy)));
            }
        }
        text
    }

    /// Something wrong weighs more than something unknown.
    pub(super) fn exit(&self) -> Exit {
        let has = |state| self.findings.iter().any(|finding| finding.state == state);
        match (has(State::Wrong), has(State::Unknown)) {
            (true, _) => Exit::No,
            (false, true) => Exit::CannotTell,
            (false, false) => Exit::Yes,
        }
    }

    #[cfg(test)]
    pub(super) fn states(&self) -> Vec<State> {
        self.findings.iter().map(|finding| finding.state).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_the_exit_status_and_a_warning_does_not() {
        let mut report = Report::default();
        report.right("a", "fine".to_owned());
        report.warning("b", "soon".to_owned(), "do");
        assert_eq!(report.exit(), Exit::Yes);
        report.unknown("c", "dark".to_owned(), "look");
        assert_eq!(report.exit(), Exit::CannotTell);
        report.wrong("d", "bad".to_owned(), "mend");
        assert_eq!(report.exit(), Exit::No);
        let text = report.text();
        assert!(text.contains("✗\u{1b}[0m d            bad\n               → mend\n"), "{text:?}");
    }
}
