//! Places inside texts: an error of an expression is told where it stands in the file.

use resources::{Document, Kind, read_text};

fn policy(rules: &str) -> Document {
    let text = format!(
        "apiVersion: lockgate.dev/v1alpha1\nkind: ArtifactPolicy\nmetadata: {{ name: x }}\n\
         spec:\n  rules:\n{rules}"
    );
    let set = read_text("a.yaml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    set.get(Kind::ArtifactPolicy, "x").expect("the policy was read").clone()
}

/// Where a place in `spec.rules[0].deny` is, without the file.
fn inside(rules: &str, line: u32, column: u32) -> String {
    let place = policy(rules).place_in_text("spec.rules[0].deny", line, column).to_string();
    place.strip_prefix("a.yaml:").expect("the file is named").to_owned()
}

#[test]
fn every_value_of_a_policy_has_its_place() {
    let document = policy(
        "  - name: one\n    tags: { deny: [latest, \"v*\"] }\n  - name: two\n    size:\n      max: 1GiB\n",
    );
    for (path, wanted) in [
        ("spec", "a.yaml:5:3"),
        ("spec.rules[0]", "a.yaml:6:5"),
        ("spec.rules[0].tags.deny[1]", "a.yaml:7:28"),
        ("spec.rules[1].name", "a.yaml:8:11"),
        ("spec.rules[1].size.max", "a.yaml:10:12"),
        ("spec.rules[7].name", "a.yaml:1:1"),
    ] {
        assert_eq!(document.place_of(path).to_string(), wanted, "{path}");
    }
}

#[test]
fn places_inside_texts_of_one_line_are_exact() {
    for (rules, column, wanted) in [
        ("  - { name: a, deny: a == b }\n", 1, "6:22"),
        ("  - { name: a, deny: a == b }\n", 6, "6:27"),
        ("  - name: a\n    deny: a == b # why\n", 6, "7:16"),
        ("  - name: a\n    deny: 'a == b'\n", 1, "7:12"),
        ("  - name: a\n    deny: \"a == 'ü' || b\"\n", 13, "7:24"),
        ("  - {\"name\":\"a\",\"deny\":\"a == b\"}\n", 6, "6:30"),
    ] {
        assert_eq!(inside(rules, 1, column), wanted, "{rules}");
    }
}

#[test]
fn places_inside_blocks_are_exact() {
    for (rules, line, column, wanted) in [
        ("  - name: a\n    deny: |\n      a ==\n        b\n", 1, 1, "8:7"),
        ("  - name: a\n    deny: |\n      a ==\n        b\n", 2, 3, "9:9"),
        ("  - name: a\n    deny: |-\n\n      a ==\n\n        b\n    owner: x\n", 4, 3, "11:9"),
        ("  - name: a\n    deny: |2\n        a ==\n       b\n", 2, 2, "9:8"),
        ("  - name: a\n    deny: >\n      a == b\n", 1, 6, "8:12"),
    ] {
        let rules = rules.replace("    owner: x\n", "    remedy: x\n");
        assert_eq!(inside(&rules, line, column), wanted, "{rules}");
    }
}

#[test]
fn where_the_source_is_not_the_value_the_field_has_the_place() {
    for (rules, line, column, wanted) in [
        ("  - name: a\n    deny: 'a == ''b'''\n", 1, 6, "7:11"),
        ("  - name: a\n    deny: \"a == \\\"b\\\"\"\n", 1, 6, "7:11"),
        ("  - name: a\n    deny: a ==\n      b\n", 1, 6, "7:11"),
        ("  - name: a\n    deny: >\n      a ==\n      b\n", 1, 6, "8:7"),
        ("  - name: a\n    deny: a == b\n", 3, 1, "7:11"),
    ] {
        assert_eq!(inside(rules, line, column), wanted, "{rules}");
    }
    let long = format!("  - name: a\n    deny: a == b #{}\n", "x".repeat(9000));
    assert_eq!(inside(&long, 1, 6), "7:11", "long lines are not searched");
}

#[test]
fn line_ends_and_further_documents_move_nothing() {
    let head = "apiVersion: lockgate.dev/v1alpha1\r\nkind: ArtifactPolicy\r\n";
    let spec = "spec:\r\n  rules:\r\n  - name: r\r\n    deny: |\r\n      a\r\n      b\r\n";
    let text = format!(
        "{head}metadata: {{ name: x }}\r\n{spec}---\r\n{head}metadata: {{ name: y }}\r\n{spec}"
    );
    let set = read_text("a.yaml", &text).unwrap();
    let document = set.get(Kind::ArtifactPolicy, "y").unwrap();
    let place = document.place_in_text("spec.rules[0].deny", 2, 1);
    assert_eq!(place.to_string(), "a.yaml:19:7");
}

#[test]
fn expressions_of_claims_have_places_too() {
    let text = "apiVersion: lockgate.dev/v1alpha1\nkind: IdentityProvider\nmetadata: { name: x }\n\
        spec:\n  oidc:\n    issuer: https://a.example\n    audiences: [lockgate]\n    claims:\n      \
        name: claims.sub\n      attributes: { a.b: claims.x }\n";
    let set = read_text("a.yaml", text).unwrap();
    let document = set.get(Kind::IdentityProvider, "x").unwrap();
    for (path, wanted) in [
        ("spec.oidc.claims.name", "a.yaml:9:20"),
        ("spec.oidc.claims.attributes.a.b", "a.yaml:10:33"),
    ] {
        assert_eq!(document.place_in_text(path, 1, 8).to_string(), wanted, "{path}");
    }
}

proptest::proptest! {
    #[test]
    fn a_place_that_is_claimed_inside_a_text_is_right(
        text in "[ -~ü]{1,24}(\n[ -~]{1,24}){0,2}",
        style in 0..4usize,
    ) {
        let written = match style {
            0 => text.clone(),
            1 => format!("'{text}'"),
            2 => format!("\"{text}\""),
            _ => format!("|\n      {}", text.replace('\n', "\n      ")),
        };
        let whole = format!(
            "apiVersion: lockgate.dev/v1alpha1\nkind: ArtifactPolicy\nmetadata: {{ name: x }}\n\
             spec:\n  rules:\n  - name: r\n    deny: {written}\n"
        );
        let Ok(set) = read_text("a.yaml", &whole) else { return Ok(()) };
        let document = set.get(Kind::ArtifactPolicy, "x").unwrap();
        let (_, spec) = set.artifact_policies().next().unwrap();
        let Some(value) = &spec.rules[0].deny else { return Ok(()) };
        let path = "spec.rules[0].deny";
        let lines: Vec<&str> = whole.lines().collect();
        for (index, line) in value.as_str().lines().enumerate() {
            for (column, letter) in line.chars().enumerate() {
                let (line, column) = (index as u32 + 1, column as u32 + 1);
                let place = document.place_in_text(path, line, column);
                if &place == document.place_of(path) {
                    continue;
                }
                let source = lines[place.line() as usize - 1];
                let found = source.chars().nth(place.column() as usize - 1);
                proptest::prop_assert_eq!(found, Some(letter), "{} in {:?}", place, &whole);
            }
        }
    }
}
