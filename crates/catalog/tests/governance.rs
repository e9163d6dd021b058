//! What decisions leave behind, and what they find again.

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
    fn the_first_admission_never_moves_on_and_the_last_never_goes_back(
        seconds in proptest::collection::vec(0i64..1000, 1..12)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let catalog = Catalog::in_memory().unwrap();
            let digest = Digest::sha256(b"a");
            for second in &seconds {
                write(&catalog, |batch| {
                    batch.note_admission(&prod(), &name(), &digest, at(*second));
                })
                .await;
            }
            let rows = catalog.admissions(&name(), &digest).unwrap();
            let first = at(*seconds.iter().min().unwrap());
            let last = at(*seconds.iter().max().unwrap());
            assert_eq!((rows[0].first, rows[0].last), (first, last));
        });
    }
}
