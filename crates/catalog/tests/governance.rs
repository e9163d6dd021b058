//! What decisions leave behind, and what they find again.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use catalog::{Batch, Catalog};
use jiff::Timestamp;
use oci::{Digest, Name};
use policy::EnvironmentName;
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn prod() -> EnvironmentName {
    EnvironmentName::new("prod")
}

fn name() -> Name {
    Name::parse("docker.io/library/nginx").unwrap()
}

async fn write(catalog: &Catalog, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    catalog.submit(batch).await.unwrap();
}

#[tokio::test]
async fn leases_are_found_by_their_principal_and_setting_alone() {
    let catalog = Catalog::in_memory().unwrap();
    let (digest, other) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
    let lease = |batch: &mut Batch, second| {
        batch.note_lease("User:p:alice", &prod(), &name(), &digest, at(second));
    };
    write(&catalog, |batch| lease(batch, 10)).await;
    write(&catalog, |batch| lease(batch, 5)).await;
    let held = |who: &str, setting: &str| {
        let setting = EnvironmentName::new(setting);
        catalog.leases(who, &setting, &name(), &[other, digest]).unwrap()
    };
    assert_eq!(held("User:p:alice", "prod"), [(digest, at(10))], "a use never goes back");
    assert!(held("User:p:bob", "prod").is_empty());
    assert!(held("User:p:alice", "dev").is_empty());
    write(&catalog, |batch| batch.forget_unused(at(10), at(0), 100)).await;
    assert_eq!(held("User:p:alice", "prod").len(), 1);
    write(&catalog, |batch| batch.forget_unused(at(11), at(0), 100)).await;
    assert!(held("User:p:alice", "prod").is_empty());
}

#[tokio::test]
async fn a_softening_keeps_its_first_time_and_goes_with_its_admission() {
    let catalog = Catalog::in_memory().unwrap();
    let digest = Digest::sha256(b"a");
    for second in [7, 3, 9] {
        write(&catalog, |batch| {
            batch.note_admission(&prod(), &name(), &digest, at(second));
            batch.note_softening(&prod(), &name(), &digest, "baseline", at(second));
        })
        .await;
    }
    let [row] = &catalog.softenings(&name(), &digest).unwrap()[..] else { panic!() };
    assert_eq!((row.policy.as_str(), row.since), ("baseline", at(7)));
    write(&catalog, |batch| batch.forget_unused(at(0), at(9), 100)).await;
    assert_eq!(catalog.softenings(&name(), &digest).unwrap().len(), 1, "it is still admitted");
    write(&catalog, |batch| batch.forget_unused(at(0), at(20), 100)).await;
    write(&catalog, |batch| batch.forget_unused(at(0), at(20), 100)).await;
    assert!(catalog.admissions(&name(), &digest).unwrap().is_empty());
    assert!(catalog.softenings(&name(), &digest).unwrap().is_empty());
}

#[tokio::test]
async fn all_leases_under_a_name_are_taken_back_and_no_others() {
    let catalog = Catalog::in_memory().unwrap();
    let other = Name::parse("docker.io/library/nginx2").unwrap();
    let digests = [Digest::sha256(b"a"), Digest::sha256(b"b")];
    write(&catalog, |batch| {
        for (who, name) in
            [("User:p:alice", &name()), ("anonymous", &name()), ("anonymous", &other)]
        {
            for digest in &digests {
                batch.note_lease(who, &prod(), name, digest, at(1));
            }
        }
    })
    .await;
    let held = |who: &str, name: &Name| catalog.leases(who, &prod(), name, &digests).unwrap().len();
    assert_eq!((held("User:p:alice", &name()), held("anonymous", &name())), (2, 2));
    write(&catalog, |batch| batch.drop_leases(&name())).await;
    assert_eq!((held("User:p:alice", &name()), held("anonymous", &name())), (0, 0));
    assert_eq!(held("anonymous", &other), 2);
}

#[tokio::test]
async fn what_an_environment_was_served_comes_page_by_page() {
    let catalog = Catalog::in_memory().unwrap();
    let names = ["a/a", "a/b", "b"].map(|text| Name::parse(text).unwrap());
    let digests = [Digest::sha256(b"a"), Digest::sha256(b"b")];
    write(&catalog, |batch| {
        for name in names.iter().rev() {
            for digest in &digests {
                batch.note_admission(&prod(), name, digest, at(1));
                batch.note_admission(&prod(), name, digest, at(4));
            }
        }
        batch.note_admission(&EnvironmentName::new("dev"), &names[0], &digests[0], at(9));
    })
    .await;
    let mut expected: Vec<_> =
        names.iter().flat_map(|name| digests.map(|digest| (name.clone(), digest))).collect();
    expected.sort_by_key(|(name, digest)| (name.to_string(), digest.to_string()));
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = catalog.admitted_in(&prod(), after.as_ref(), 4).unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.iter().all(|row| (row.first, row.last) == (at(1), at(4))));
        after = Some(last.cursor());
        found.extend(page.iter().map(catalog::AdmittedRow::cursor));
    }
    assert_eq!(found, expected);
    assert!(catalog.admitted_in(&EnvironmentName::new("qa"), None, 4).unwrap().is_empty());
}

#[tokio::test]
async fn forgetting_is_bounded_and_takes_the_oldest_first() {
    let catalog = Catalog::in_memory().unwrap();
    let digests: Vec<_> = (0u8..5).map(|number| Digest::sha256(&[number])).collect();
    write(&catalog, |batch| {
        for (second, digest) in (0..).zip(&digests) {
            batch.note_lease("anonymous", &prod(), &name(), digest, at(second));
            batch.note_admission(&prod(), &name(), digest, at(second));
        }
    })
    .await;
    write(&catalog, |batch| batch.forget_unused(at(4), at(4), 2)).await;
    let held = catalog.leases("anonymous", &prod(), &name(), &digests).unwrap();
    assert_eq!(held.iter().map(|(_, used)| *used).collect::<Vec<_>>(), [at(2), at(3), at(4)]);
    assert_eq!(catalog.admitted_in(&prod(), None, 9).unwrap().len(), 3);
    write(&catalog, |batch| batch.forget_unused(at(4), at(4), 9)).await;
    assert_eq!(catalog.leases("anonymous", &prod(), &name(), &digests).unwrap().len(), 1);
    assert_eq!(catalog.admitted_in(&prod(), None, 9).unwrap()[0].last, at(4));
}

#[tokio::test]
async fn what_was_left_behind_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.sqlite");
    let digest = Digest::sha256(b"a");
    let (catalog, _) = Catalog::open(&path).unwrap();
    write(&catalog, |batch| {
        batch.note_admission(&prod(), &name(), &digest, at(1));
        batch.note_lease("anonymous", &prod(), &name(), &digest, at(1));
    })
    .await;
    assert!(catalog.close(std::time::Duration::from_secs(10)));
    let (catalog, _) = Catalog::open(&path).unwrap();
    assert_eq!(catalog.admissions(&name(), &digest).unwrap().len(), 1);
    assert_eq!(catalog.leases("anonymous", &prod(), &name(), &[digest]).unwrap().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_first_admission_never_moves_on_and_no_last_use_goes_back(
        seconds in proptest::collection::vec(0i64..1000, 1..12)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let catalog = Catalog::in_memory().unwrap();
            let digest = Digest::sha256(b"a");
            for second in &seconds {
                write(&catalog, |batch| {
                    batch.note_admission(&prod(), &name(), &digest, at(*second));
                    batch.note_softening(&prod(), &name(), &digest, "baseline", at(*second));
                    batch.note_lease("anonymous", &prod(), &name(), &digest, at(*second));
                })
                .await;
            }
            let rows = catalog.admissions(&name(), &digest).unwrap();
            let first = at(*seconds.iter().min().unwrap());
            let last = at(*seconds.iter().max().unwrap());
            assert_eq!((rows[0].first, rows[0].last), (first, last));
            let softened = catalog.softenings(&name(), &digest).unwrap();
            assert_eq!((softened.len(), softened[0].since), (1, at(seconds[0])));
            let held = catalog.leases("anonymous", &prod(), &name(), &[digest]).unwrap();
            assert_eq!(held, [(digest, last)]);
        });
    }
}
