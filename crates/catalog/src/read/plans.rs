//! The questions of requests and of eviction must be answered by index, however much is kept.

use super::{content, governance, hosted, keep, manifests, mark, names, pins, tags};
use crate::columns::prepare;
use crate::file;
use crate::write::governance::{DROP_LEASES, FORGET};

/// The steps of SQLite's plan for a question.
fn plan(sql: &str) -> Vec<String> {
    let connection = file::open_in_memory().unwrap();
    let mut statement = prepare(&connection, &format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let count = statement.parameter_count();
    for parameter in 1..=count {
        statement.raw_bind_parameter(parameter, 1).unwrap();
    }
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get(3).unwrap());
    }
    steps
}

#[test]
fn every_question_of_a_request_is_answered_by_index() {
    for sql in [
        tags::TAG,
        content::CONTENT,
        content::PUBLIC,
        content::HOLDERS,
        content::LISTING,
        manifests::MANIFEST,
        manifests::EDGES,
        manifests::LISTED_BY,
        manifests::PARENTS,
        manifests::PARENTS_OF,
        manifests::REFERRERS,
        names::NEXT_CONTENT,
        names::NAMES,
        names::NAMES_OF,
        names::CHANGE,
        pins::CHILDREN,
        hosted::HOSTED_USE,
        hosted::IS_HERE,
        hosted::TAG_ENTRIES,
        hosted::TAGS_NAMING,
        hosted::HOSTED_HOLDERS,
        hosted::IS_NEEDED,
        hosted::BLOB_ROWS,
        mark::MANIFESTS,
        mark::TAGS,
        mark::PINS,
        mark::LISTED,
        mark::BLOBS,
        governance::ADMISSIONS,
        governance::ADMITTED_IN,
        governance::SOFTENINGS,
        governance::LEASE,
    ] {
        let steps = plan(sql);
        assert!(!steps.is_empty());
        assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{sql}\n{steps:#?}");
    }
}

#[test]
fn listed_by_starts_from_the_child() {
    for sql in [manifests::LISTED_BY, manifests::PARENTS] {
        let steps = plan(sql);
        assert!(steps[0].contains("edge_by_child (child=?)"), "{steps:#?}");
        assert!(steps[1].contains("(name=? AND digest=?)"), "{steps:#?}");
    }
}

#[test]
fn lists_are_read_in_the_order_of_an_index() {
    for (sql, index) in [
        (keep::VICTIMS, "blob_by_age"),
        (keep::VICTIMS_OF, "content_by_age"),
        (keep::CONDEMNED, "blob_condemned"),
        (names::NAMES_OF, "name_by_repository"),
        (hosted::HOSTED_HOLDERS, "COVERING INDEX content_by_digest"),
        (content::HOLDERS, "COVERING INDEX content_by_digest"),
        (hosted::OLD_MANIFESTS, "content_by_age"),
        (governance::ADMITTED_IN, "admission_by_environment"),
    ] {
        let steps = plan(sql);
        assert!(steps[0].starts_with("SEARCH") && steps[0].contains(index), "{sql}\n{steps:#?}");
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{sql}\n{steps:#?}");
        assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{sql}\n{steps:#?}");
    }
}

#[test]
fn lost_content_is_found_without_looking_at_the_rest() {
    let steps = plan(hosted::LOST);
    assert!(steps[0].contains("content_lost") && steps.len() == 1, "{steps:#?}");
}

#[test]
fn what_goes_is_found_by_index() {
    for sql in FORGET.into_iter().chain([DROP_LEASES]) {
        let steps = plan(sql);
        assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{sql}\n{steps:#?}");
    }
}
