//! From each schema to the next, and back by the copy.

use super::*;
use crate::{Batch, Catalog, Opened, SchemaVersion, file};
use oci::{Digest, Name, Tag};
use rusqlite::params;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const NEXT: &[&str] =
    &[MIGRATIONS[0], MIGRATIONS[1], MIGRATIONS[2], "ALTER TABLE pin ADD COLUMN why TEXT"];

fn columns_of_pin(connection: &Connection) -> i64 {
    let sql = "SELECT COUNT(*) FROM pragma_table_info('pin')";
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn an_older_schema_is_copied_then_migrated_and_the_copy_is_the_way_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.sqlite");
    let (mut open, _) = file::open(&path).unwrap();
    open.connection.execute("INSERT INTO pin VALUES ('a', 't', 1)", []).unwrap();
    // A copy that a crash cut short does not stand in the way.
    std::fs::write(directory.path().join("catalog.sqlite.before-4.part"), "half").unwrap();
    run(&mut open.connection, Some(&path), NEXT).unwrap();
    run(&mut open.connection, Some(&path), NEXT).unwrap();
    assert_eq!(columns_of_pin(&open.connection), 4);
    drop(open);
    let copy = directory.path().join("catalog.sqlite.before-4");
    let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");

    let Err(error) = file::open(&path) else { panic!("an older program opened it") };
    let text = error.to_string();
    assert!(text.contains("has schema 4") && text.contains("up to 3"), "{text}");
    assert!(text.contains(copy.to_str().unwrap()), "{text}");

    // The way back: as the text says.
    std::fs::remove_file(&path).unwrap();
    std::fs::rename(&copy, &path).unwrap();
    let (open, opened) = file::open(&path).unwrap();
    assert_eq!(opened, Opened::Existing);
    assert_eq!(columns_of_pin(&open.connection), 3);
    let pins = "SELECT COUNT(*) FROM pin";
    assert_eq!(open.connection.query_row(pins, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let mut connection = file::open_in_memory().unwrap();
    let wrong = "ALTER TABLE pin ADD COLUMN why TEXT; SELECT nonsense";
    let bad: &[&str] = &[MIGRATIONS[0], MIGRATIONS[1], MIGRATIONS[2], wrong];
    assert!(run(&mut connection, None, bad).is_err());
    assert_eq!(columns_of_pin(&connection), 3);
    assert_eq!(pragma(&connection, "user_version").unwrap(), 3);
}

/// A file as the first version of this program made it, with content in every table.
fn first_version(directory: &Path) -> PathBuf {
    let path = directory.join("catalog.sqlite");
    let mut connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    run(&mut connection, None, &MIGRATIONS[..1]).unwrap();
    let (image, layer) = (Digest::sha256(b"image"), Digest::sha256(b"layer"));
    let content = "INSERT INTO content VALUES (?1, ?2, ?3, ?4, 7, NULL, ?5, 1000, 2000, ?6)";
    for (name, repository) in [("docker.io/library/alpine", "docker.io"), ("ghcr.io/x", "ghcr.io")]
    {
        for (digest, is_manifest, scope) in [(image, 1, None), (layer, 0, Some("corp/"))] {
            let params = params![name, digest.to_string(), repository, is_manifest, scope, 1];
            connection.execute(content, params).unwrap();
        }
    }
    for (digest, is_manifest) in [(image, 1), (layer, 0)] {
        let blob = "INSERT INTO blob VALUES (?1, 7, ?2, 2000, NULL, 0)";
        connection.execute(blob, params![digest.to_string(), is_manifest]).unwrap();
    }
    let tag = "INSERT INTO tag VALUES (?1, 'latest', ?2, 1, 1, NULL)";
    for name in ["docker.io/library/alpine", "quay.io/only/tags", "alone"] {
        connection.execute(tag, params![name, image.to_string()]).unwrap();
    }
    let rows = "INSERT INTO pin VALUES ('ghcr.io/x', 'latest', 5); \
        INSERT INTO listing VALUES ('ghcr.io/x', 'tags', x'00', 5); \
        INSERT INTO job VALUES ('j', 'prefetch', '{}', 'done', '{}', 1, 2);";
    connection.execute_batch(rows).unwrap();
    path
}

#[test]
fn the_first_schema_becomes_the_last_with_all_it_knew() {
    let directory = tempfile::tempdir().unwrap();
    let path = first_version(directory.path());
    let (catalog, opened) = Catalog::open(&path).unwrap();
    assert_eq!(opened, Opened::Existing);

    let names = ["alone", "docker.io/library/alpine", "ghcr.io/x", "quay.io/only/tags"];
    let parsed = names.map(|text| Name::parse(text).unwrap());
    assert_eq!(catalog.names(None, 9).unwrap(), parsed);
    assert_eq!(catalog.names_of("quay.io", None, 9).unwrap(), parsed[3..]);
    assert_eq!(catalog.names_of("alone", None, 9).unwrap(), parsed[..1]);
    let row = catalog.content(&parsed[2], &Digest::sha256(b"layer")).unwrap().unwrap();
    assert!(row.present && !row.is_hosted);
    assert_eq!(row.private_to.as_deref(), Some("corp/"));
    assert_eq!(catalog.victims(None, 9).unwrap().len(), 2, "cached content is held by nobody");
    assert_eq!(catalog.lost(None, 9).unwrap(), []);
    assert_eq!(catalog.hosted_use("ghcr.io").unwrap(), crate::HostedUse::default());
    let tag = Tag::parse("latest").unwrap();
    assert!(catalog.tag(&parsed[0], &tag).unwrap().is_some());
    assert_eq!((catalog.pins().unwrap().len(), catalog.jobs(9).unwrap().len()), (1, 1));
    // A name of before goes as any other.
    let mut batch = Batch::new();
    batch.remove_tag(&parsed[0], &tag);
    catalog.submit(batch).wait().unwrap();
    assert_eq!(catalog.names(None, 9).unwrap(), parsed[1..]);
    assert!(catalog.close(std::time::Duration::from_secs(30)));
}

#[test]
fn a_program_that_knows_only_the_first_schema_names_the_copy_to_go_back_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = first_version(directory.path());
    drop(file::open(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    let refused = check(&connection, &path, &MIGRATIONS[..1]);
    let Err(error @ Error::Newer { found: 3, known: 1, .. }) = refused else {
        panic!("{refused:?}")
    };
    let copy = directory.path().join("catalog.sqlite.before-3");
    assert!(error.to_string().contains(copy.to_str().unwrap()), "{error}");

    let copied = Connection::open(&copy).unwrap();
    check(&copied, &copy, &MIGRATIONS[..1]).unwrap();
    assert!(is_latest(&copied, &MIGRATIONS[..1]).unwrap());
    let contents = "SELECT COUNT(*) FROM content";
    assert_eq!(copied.query_row(contents, [], |row| row.get::<_, i64>(0)).unwrap(), 4);
}

#[test]
fn the_second_schema_becomes_the_last_with_its_hosted_content() {
    let directory = tempfile::tempdir().unwrap();
    let path = first_version(directory.path());
    let mut connection = Connection::open(&path).unwrap();
    run(&mut connection, None, &MIGRATIONS[..2]).unwrap();
    let hosted = "UPDATE content SET is_hosted = 1 WHERE name = 'ghcr.io/x'; \
        UPDATE blob SET is_held = 1; INSERT INTO hosted_use VALUES ('ghcr.io', 2, 14);";
    connection.execute_batch(hosted).unwrap();
    assert_eq!(pragma(&connection, "user_version").unwrap(), 2);
    drop(connection);

    let (catalog, opened) = Catalog::open(&path).unwrap();
    assert_eq!(opened, Opened::Existing);
    let (name, image) = (Name::parse("ghcr.io/x").unwrap(), Digest::sha256(b"image"));
    assert!(catalog.content(&name, &image).unwrap().unwrap().is_hosted);
    assert_eq!(catalog.hosted_use("ghcr.io").unwrap().bytes, 14);
    assert!(catalog.admissions(&name, &image).unwrap().is_empty());
    let prod = policy::EnvironmentName::new("prod");
    let at = jiff::Timestamp::UNIX_EPOCH;
    let mut batch = Batch::new();
    batch.note_admission(&prod, &name, &image, at);
    batch.note_softening(&prod, &name, &image, "baseline", at);
    batch.note_lease("anonymous", &prod, &name, &image, at);
    catalog.submit(batch).wait().unwrap();
    assert!(catalog.close(std::time::Duration::from_secs(30)));

    let (catalog, _) = Catalog::open(&path).unwrap();
    assert_eq!(catalog.admissions(&name, &image).unwrap().len(), 1);
    assert_eq!(catalog.softenings(&name, &image).unwrap().len(), 1);
    assert_eq!(catalog.leases("anonymous", &prod, &name, &[image]).unwrap(), [(image, at)]);
    assert!(catalog.close(std::time::Duration::from_secs(30)));
    // What it was before is beside it.
    let copy = directory.path().join("catalog.sqlite.before-3");
    let found = Catalog::check_file(&copy).unwrap();
    assert_eq!(found, SchemaVersion { found: 2, known: 3 });
}
