//! Labels and annotations.

use super::Finding;
use super::content::{config, manifest};
use crate::TextPattern;
use crate::rules::Question;
use std::collections::BTreeMap;

/// Keys with values.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    /// Each has to be there with a value that fits.
    pub require: Vec<(String, TextPattern)>,
    /// None may be there with a value that fits.
    pub deny: Vec<(String, TextPattern)>,
}

pub(in crate::rules) fn labels(pairs: &Pairs, question: &Question<'_>) -> Finding {
    match config(question) {
        Ok(config) => pairs.judge(&config.labels, "label"),
        Err(finding) => finding,
    }
}

pub(in crate::rules) fn annotations(pairs: &Pairs, question: &Question<'_>) -> Finding {
    match manifest(question) {
        Ok(manifest) => pairs.judge(&manifest.annotations, "annotation"),
        Err(finding) => finding,
    }
}

impl Pairs {
    fn judge(&self, held: &BTreeMap<String, String>, what: &str) -> Finding {
        for (key, pattern) in &self.deny {
            if let Some(value) = held.get(key).filter(|value| pattern.matches(value)) {
                let reason = format!("{what} {key} is {}, which is not allowed", cut(value));
                return Finding::refuses(reason, "use an artifact without it");
            }
        }
        for (key, pattern) in &self.require {
            match held.get(key) {
                None => {
                    let reason = format!("it has no {what} {key}");
                    return Finding::refuses(reason, format!("set the {what} {key}"));
                }
                Some(value) if !pattern.matches(value) => {
                    let reason = format!("{what} {key} is {}", cut(value));
                    let remedy = format!("set it to fit {}", pattern.as_str());
                    return Finding::refuses(reason, remedy);
                }
                Some(_) => {}
            }
        }
        Finding::pass()
    }
}

/// The beginning of what an artifact says.
fn cut(text: &str) -> String {
    format!("{:?}", text.chars().take(60).collect::<String>())
}
