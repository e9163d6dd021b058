//! The answers, for people and for the tools that read them.

use crate::exit::Failure;
use crate::output::{GREEN, RED, YELLOW, clean, paint, xml};
use plane::{CheckReport, CheckResult};
use serde_json::{Value, json};

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
pub(super) fn sarif(report: &CheckReport) -> Result<String, Failure> {
    let (mut rules, mut results) = (Vec::<Value>::new(), Vec::<Value>::new());
    for result in report.results.iter().flat_map(|it| std::iter::once(it).chain(&it.children)) {
        let location = json!([{ "physicalLocation": { "artifactLocation": { "uri": uri(&result.reference) } } }]);
        let outcomes = result.decision.iter().flat_map(|it| &it.outcomes);
        let mut told = false;
        for outcome in outcomes.filter(|it| it.effect != "None") {
            told = true;
            let id = format!("{}/{}", outcome.policy, outcome.rule);
            if rules.iter().all(|rule| rule["id"] != id) {
                rules.push(json!({ "id": id, "help": { "text": outcome.remedy } }));
            }
            let level = match outcome.effect.as_str() {
                "Refuse" | "CannotTell" => "error",
                "Warn" => "warning",
                _ => "note",
            };
            let message = match outcome.remedy.is_empty() {
                true => outcome.reason.clone(),
                false => format!("{}; {}", outcome.reason, outcome.remedy),
            };
            results.push(json!({
                "ruleId": id, "level": level, "message": { "text": message }, "locations": location,
            }));
        }
        if !told && matches!(result.verdict.as_str(), "Deny" | "CannotTell") {
            results.push(json!({
                "ruleId": "access", "level": "error",
                "message": { "text": result.message }, "locations": location,
            }));
        }
    }
    pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "lockgate", "version": env!("CARGO_PKG_VERSION"), "rules": rules,
            } },
            "results": results,
        }],
    }))
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
pub(super) fn junit(report: &CheckReport) -> String {
    let count = |verdict: &str| report.results.iter().filter(|it| it.verdict == verdict).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"lockgate check\" tests=\"{}\" \
         failures=\"{}\" errors=\"{}\">\n",
        report.results.len(),
        count("Deny"),
        count("CannotTell")
    );
    for result in &report.results {
        let (name, message) = (xml(&result.reference), xml(&result.message));
        let inside = match result.verdict.as_str() {
            "Deny" => format!("<failure message=\"{message}\"/>"),
            "CannotTell" => format!("<error message=\"{message}\"/>"),
            "Warn" => format!("<system-out>{message}</system-out>"),
            _ => String::new(),
        };
        text +=
            &format!("  <testcase classname=\"lockgate\" name=\"{name}\">{inside}</testcase>\n");
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
        assert!(table(&report()).contains("no & never"));
        assert!(
            junit(&report())
                .contains("name=\"a/b:&quot;&lt;1&gt;\"><failure message=\"no &amp; never\"/>")
        );
        let sarif: Value = serde_json::from_str(&sarif(&report()).unwrap()).unwrap();
        let result = &sarif["runs"][0]["results"][0];
        assert_eq!(result["level"], "error");
        let place = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(place, "a/b:%22%3C1%3E");
        assert!(json(&report()).unwrap().contains("\"verdict\": \"Deny\""));
    }
}
