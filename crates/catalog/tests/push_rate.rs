//! Pushes from many connections share commits.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use catalog::*;
use std::time::Instant;
use support::*;

fn push(catalog: &Catalog, worker: usize, number: usize) -> Result<(), WriteError> {
    let word = format!("{worker}-{number}");
    let (config, layer) = (format!("config {word}"), format!("layer {word}"));
    let app = name(&format!("team/app{}", worker % 4));
    for part in [&config, &layer] {
        write(catalog, |w| {
            w.push_blob(&PushedBlob {
                name: app.clone(),
                digest: digest(part),
                size_bytes: 7,
                media_type: None,
                quota_bytes: Some(1 << 40),
                at: at(1),
            });
        })?;
    }
    let edges = vec![edge(&config, Role::Config), edge(&layer, Role::Layer)];
    write(catalog, |w| {
        w.push_manifest(&PushedManifest {
            name: app,
            manifest: manifest(&word, edges),
            requires: vec![digest(&config), digest(&layer)],
            tags: vec![tag(&word)],
            immutable: vec![tag(&word)],
            quota_bytes: Some(1 << 40),
            at: at(1),
        });
    })
}

#[test]
fn pushes_from_many_connections_all_arrive() {
    for workers in [1, 16, 64] {
        let directory = tempfile::tempdir().unwrap();
        let (catalog, _) = Catalog::open(&directory.path().join("catalog.sqlite")).unwrap();
        let (each, begun) = (256 / workers, Instant::now());
        std::thread::scope(|scope| {
            for worker in 0..workers {
                let catalog = &catalog;
                scope.spawn(move || {
                    for number in 0..each {
                        push(catalog, worker, number).unwrap();
                    }
                });
            }
        });
        let pushes = workers * each;
        println!(
            "{workers:3} at once: {:.0} images/s",
            pushes as f64 / begun.elapsed().as_secs_f64()
        );
        let used = catalog.hosted_use("team").unwrap();
        let expected = HostedUse { rows: 3 * pushes as u64, bytes: (7 + 7 + 500) * pushes as u64 };
        assert_eq!(used, expected);
        assert!(catalog.close(CLOSE));
    }
}
