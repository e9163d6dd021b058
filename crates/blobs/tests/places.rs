//! One contract for every place: the data directory, another directory, an object store.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "says which clause failed")]

mod common;

use blobs::Place;
use common::contract::{Bench, CONTRACT};
use testkit::FakeS3;

fn holds(bench: impl Fn() -> Bench) {
    for (name, clause) in CONTRACT {
        println!("{name}");
        clause(&bench());
    }
}

#[test]
fn the_data_directory_keeps_the_contract() {
    holds(|| Bench::new(Place::DataDir, None));
}

#[test]
fn another_directory_keeps_the_contract() {
    holds(|| {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("blobs");
        Bench::new(Place::File { directory }, Some(Box::new(dir)))
    });
}

#[test]
fn an_object_store_keeps_the_contract() {
    holds(|| {
        let server = FakeS3::start();
        Bench::new(common::s3(&server), Some(Box::new(server)))
    });
}
