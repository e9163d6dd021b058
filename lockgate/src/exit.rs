//! How a command ends: its exit status, and what it says when it fails.
//!
//! Scripts decide by the status, people by the text: what is wrong, why, what to do.

use crate::output;
use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

/// The exit status of a command (contracts §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Yes, or done.
    Yes,
    /// No, refused, or different.
    No,
    /// Cannot tell.
    CannotTell,
    /// Wrong use (as `EX_USAGE` of sysexits.h).
    Usage,
}

impl Exit {
    fn status(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::CannotTell => 2,
            Self::Usage => 64,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    is_senseless: bool,
}

impl Failure {
    /// The answer is no.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self::new(Exit::No, message)
    }

    /// There is no answer.
    pub(crate) fn cannot_tell(message: impl Into<String>) -> Self {
        Self::new(Exit::CannotTell, message)
    }

    /// The question makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hint: None, is_senseless: false }
    }

    /// Adds an error and everything below it, without saying anything twice.
    pub(crate) fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            let above = self.causes.last().unwrap_or(&self.message);
            if !above.contains(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Adds what to do.
    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// It was the question that made no sense.
    pub(crate) fn senseless(mut self) -> Self {
        self.is_senseless = true;
        self
    }

    /// Where a no would be taken for an answer, and is none: who was not allowed to ask knows nothing.
    pub(crate) fn no_verdict(mut self) -> Self {
        self.exit = match self.exit {
            Exit::No if self.is_senseless => Exit::Usage,
            Exit::No => Exit::CannotTell,
            other => other,
        };
        self
    }

    /// Whether nothing could be found out, rather than that the answer is no.
    pub(crate) fn is_cannot_tell(&self) -> bool {
        self.exit == Exit::CannotTell
    }

    /// The whole story in one line, for those who list it among others.
    pub(crate) fn one_line(&self) -> String {
        let mut line = self.message.clone();
        for cause in &self.causes {
            line.push_str(": ");
            line.push_str(cause);
        }
        line.replace('\n', "; ")
    }

    /// The same with what to do.
    pub(crate) fn whole(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {}", self.one_line(), hint.replace('\n', "; ")),
            None => self.one_line(),
        }
    }

    /// For those who keep the first line of what is said, such as the kubelet.
    pub(crate) fn in_one_line(self) -> Self {
        Self { message: self.whole(), causes: Vec::new(), hint: None, ..self }
    }

    /// Prints it, and gives the status to end with.
    pub(crate) fn report(self) -> Exit {
        output::headed("error", output::RED, &self.message);
        for cause in &self.causes {
            output::headed("caused by", output::RED, cause);
        }
        if let Some(hint) = &self.hint {
            output::headed("hint", output::CYAN, hint);
        }
        self.exit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: inner")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_cause_that_its_error_already_told_is_not_told_again() {
        let failure = Failure::no("start").because(&Outer(std::io::Error::other("inner")));
        assert_eq!(failure.causes, ["outer: inner"]);
        let failure = Failure::no("start").because(&Outer(std::io::Error::other("deep")));
        assert_eq!(failure.one_line(), "start: outer: inner: deep");
    }
}
