//! The answers, for people and for the tools that read them.

use super::from::Asked;
use super::reasons::{self, Class};
use crate::exit::Failure;
use crate::output::{GREEN, RED, YELLOW, clean, paint, xml};
use plane::{CheckReport, CheckResult};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An answer, with what it stands for where a file told that.
pub(super) struct Item {
    pub(super) result: CheckResult,
    pub(super) asked: Option<Asked>,
}

impl Item {
    /// Of a question on the command line.
    pub(super) fn alone(result: CheckResult) -> Self {
        Self { result, asked: None }
    }

    fn who(&self) -> Option<&str> {
        self.asked.as_ref()?.who.as_deref()
    }
}

/// For people.
pub(super) fn table(report: &CheckReport) -> String {
    let mut text = String::new();
    for result in &report.results {
        line(&mut text, result, "");
        for child in &result.children {
            line(&mut text, child, "  ");
        }
    }
    text
}

fn line(text: &mut String, result: &CheckResult, indent: &str) {
    let colour = match result.verdict.as_str() {
        "Allow" => GREEN,
        "Deny" => RED,
        _ => YELLOW,
    };
    let what = match &result.platform {
        Some(platform) => clean(platform),
        None => clean(&result.reference),
    };
    *text += &format!("{indent}{}  {what}\n", paint(colour, &format!("{:<10}", result.verdict)));
    if result.verdict != "Allow" {
        *text += &format!("{indent}            {}\n", clean(&result.message));
    }
    for outcome in result.decision.iter().flat_map(|it| &it.outcomes) {
        if matches!(outcome.effect.as_str(), "None") {
            continue;
        }
        let (policy, rule) = (clean(&outcome.policy), clean(&outcome.rule));
        let reason = clean(&outcome.reason);
        *text += &format!("{indent}            - {policy}/{rule} {}: {reason}\n", outcome.effect);
    }
}

/// The whole of it.
pub(super) fn json(report: &CheckReport) -> Result<String, Failure> {
    pretty(&serde_json::to_value(report).unwrap_or(Value::Null))
}

fn pretty(value: &Value) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|error| Failure::cannot_tell("the answer").because(&error))
}

/// SARIF 2.1.0: one result for each rule that has something against an artifact.
pub(super) fn sarif(items: &[Item]) -> Result<String, Failure> {
    let mut findings = Findings::default();
    for item in items {
        let results = std::iter::once(&item.result).chain(&item.result.children);
        results.for_each(|result| findings.add(item, result));
    }
    pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "lockgate", "version": env!("CARGO_PKG_VERSION"),
                "rules": findings.rules.into_values().collect::<Vec<_>>(),
            } },
            "results": findings.results,
        }],
    }))
}

#[derive(Default)]
struct Findings {
    /// By their ids.
    rules: BTreeMap<String, Value>,
    results: Vec<Value>,
}

impl Findings {
    fn add(&mut self, item: &Item, result: &CheckResult) {
        let outcomes = result.decision.iter().flat_map(|it| &it.outcomes);
        let mut is_told = false;
        for outcome in outcomes.filter(|it| it.effect != "None") {
            is_told = true;
            let level = match outcome.effect.as_str() {
                "Refuse" | "CannotTell" => "error",
                "Warn" => "warning",
                _ => "note",
            };
            let message = match outcome.remedy.is_empty() {
                true => outcome.reason.clone(),
                false => format!("{}; {}", outcome.reason, outcome.remedy),
            };
            let id = format!("{}/{}", outcome.policy, outcome.rule);
            self.put(item, result, (id, &outcome.remedy), (level, &message));
        }
        if is_told || !matches!(result.verdict.as_str(), "Deny" | "CannotTell") {
            return;
        }
        let (id, remedy) = match reasons::denied_by(&result.message) {
            Some((rule, remedy)) => (rule.title(), remedy),
            None if Class::of(result) == Class::Elsewhere => {
                ("not-behind-this-plane".to_owned(), String::new())
            }
            None => ("cannot-tell".to_owned(), String::new()),
        };
        self.put(item, result, (id, &remedy), ("error", &result.message));
    }

    fn put(
        &mut self,
        item: &Item,
        result: &CheckResult,
        (id, remedy): (String, &str),
        (level, message): (&str, &str),
    ) {
        let rule = || match remedy {
            "" => json!({ "id": id }),
            remedy => json!({ "id": id, "help": { "text": remedy } }),
        };
        self.rules.entry(id.clone()).or_insert_with(rule);
        let location = json!({ "artifactLocation": { "uri": uri(&result.reference) } });
        let mut value = json!({
            "ruleId": id, "level": level, "message": { "text": message },
            "locations": [{ "physicalLocation": location }],
        });
        if let Some(asked) = &item.asked {
            value["occurrenceCount"] = asked.count().into();
            value["properties"] = json!({ "who": item.who(), "pods": asked.names });
        }
        self.results.push(value);
    }
}

/// A reference as the URI reference that SARIF asks for: what cannot stand in one is percent-encoded.
fn uri(reference: &str) -> String {
    let mut text = String::with_capacity(reference.len());
    for byte in reference.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@+".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text += &format!("%{byte:02X}");
        }
    }
    text
}

/// JUnit XML: a test case for each reference.
pub(super) fn junit(items: &[Item]) -> String {
    let count = |verdict: &str| items.iter().filter(|it| it.result.verdict == verdict).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"lockgate check\" tests=\"{}\" \
         failures=\"{}\" errors=\"{}\">\n",
        items.len(),
        count("Deny"),
        count("CannotTell")
    );
    for item in items {
        let result = &item.result;
        let (name, message) = (xml(&result.reference), xml(&result.message));
        let class = xml(item.who().unwrap_or("lockgate"));
        let stands_for = match &item.asked {
            Some(asked) => format!(
                "<properties><property name=\"count\" value=\"{}\"/></properties>",
                asked.count()
            ),
            None => String::new(),
        };
        let inside = match result.verdict.as_str() {
            "Deny" => format!("<failure message=\"{message}\"/>"),
            "CannotTell" => format!("<error message=\"{message}\"/>"),
            "Warn" => format!("<system-out>{message}</system-out>"),
            _ => String::new(),
        };
        text += &format!(
            "  <testcase classname=\"{class}\" name=\"{name}\">{stands_for}{inside}</testcase>\n"
        );
    }
    text + "</testsuite>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> CheckReport {
        let result = json!({
            "reference": "a/b:\"<1>", "name": "a/b", "verdict": "Deny", "message": "no & never",
        });
        CheckReport { results: vec![serde_json::from_value(result).unwrap()] }
    }

    #[test]
    fn every_form_tells_a_denial() {
        let items: Vec<Item> = report().results.into_iter().map(Item::alone).collect();
        assert!(table(&report()).contains("no & never"));
        assert!(
            junit(&items)
                .contains("name=\"a/b:&quot;&lt;1&gt;\"><failure message=\"no &amp; never\"/>")
        );
        let sarif: Value = serde_json::from_str(&sarif(&items).unwrap()).unwrap();
        let result = &sarif["runs"][0]["results"][0];
        assert_eq!(result["level"], "error");
        let place = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(place, "a/b:%22%3C1%3E");
        assert!(json(&report()).unwrap().contains("\"verdict\": \"Deny\""));
    }
}
