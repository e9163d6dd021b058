//! Uploads: every way to bring a blob in, broken off and gone on with, whoever ends first.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use bytes::Bytes;
use futures_util::stream;
use oci::{Algorithm, Digest};
use plane::{Incoming, IncomingError, Method, Peer, PushSettings, Refusal, UploadState, What};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{Rig, Setup, body, hosted, streamed};

const NAME: &str = "team/app";

async fn rig() -> Rig {
    Rig::with(&hosted(""), Setup::default()).await
}

fn path(session: &UploadState) -> String {
    format!("/v2/{NAME}/blobs/uploads/{}", session.id)
}

fn ranged(bytes: &[u8], range: &str) -> Incoming {
    body(bytes).with_lines(None, Some(range.to_owned()))
}

/// A body that breaks after these bytes.
fn broken(bytes: &[u8], length_bytes: u64) -> Incoming {
    let pieces = [Ok(Bytes::copy_from_slice(bytes)), Err(IncomingError::Broken)];
    Incoming::new(stream::iter(pieces), Some(length_bytes))
}

async fn finish(rig: &Rig, session: &UploadState, digest: &Digest) -> Result<(), Refusal> {
    let path = format!("{}?digest={digest}", path(session));
    match rig.send(Method::Put, &path, Incoming::none()).await?.what {
        What::BlobCreated { digest: created, .. } => assert_eq!(created, *digest),
        other => panic!("{other:?}"),
    }
    Ok(())
}

async fn there(rig: &Rig, name: &str, bytes: &[u8]) {
    let path = format!("/v2/{name}/blobs/{}", Digest::sha256(bytes));
    assert_eq!(&rig.blob(&path).await.unwrap().0[..], bytes);
}

async fn received(rig: &Rig, session: &UploadState) -> u64 {
    let state = rig.upload(Method::Get, &path(session), Incoming::none()).await.unwrap();
    assert!(state.is_status);
    state.received_bytes
}

/// Whether a request has a session open.
fn is_in_use(rig: &Rig) -> bool {
    rig.metric("lockgate_uploads_open") > 0.0
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[tokio::test]
async fn every_way_to_push_a_blob() {
    let rig = rig().await;
    let whole = noise(3 << 20);
    let digest = Digest::sha256(&whole);
    rig.push_blob(NAME, &whole).await.unwrap();
    there(&rig, NAME, &whole).await;

    for (name, pieces) in [("one", 1), ("three", 3), ("many", 50)] {
        let whole = [name.as_bytes(), &whole].concat();
        let session = rig.begin_upload(NAME).await;
        let mut at = 0;
        for piece in whole.chunks(whole.len().div_ceil(pieces)) {
            let range = format!("{at}-{}", at + piece.len() - 1);
            let state = rig.upload(Method::Patch, &path(&session), ranged(piece, &range)).await;
            at += piece.len();
            assert_eq!(state.unwrap().received_bytes, at as u64);
        }
        finish(&rig, &session, &Digest::sha256(&whole)).await.unwrap();
        there(&rig, NAME, &whole).await;
        let gone = rig.upload(Method::Get, &path(&session), Incoming::none()).await;
        assert!(matches!(gone, Err(Refusal::UploadUnknown)), "{gone:?}");
    }

    let session = rig.begin_upload(NAME).await;
    rig.upload(Method::Patch, &path(&session), streamed(&whole)).await.unwrap();
    finish(&rig, &session, &digest).await.unwrap();

    // The last bytes with the digest; all of them, in a hash that was not expected.
    let session = rig.begin_upload(NAME).await;
    rig.upload(Method::Patch, &path(&session), body(&whole[..1000])).await.unwrap();
    let wide = Digest::of(Algorithm::Sha512, &whole);
    let last = format!("{}?digest={wide}", path(&session));
    let incoming = ranged(&whole[1000..], &format!("1000-{}", whole.len() - 1));
    assert!(matches!(
        rig.send(Method::Put, &last, incoming).await.unwrap().what,
        What::BlobCreated { .. }
    ));
    let bytes = rig.blob(&format!("/v2/{NAME}/blobs/{wide}")).await.unwrap().0;
    assert_eq!(bytes.len(), whole.len());
}

#[tokio::test]
async fn nothing_is_a_blob_too() {
    let rig = rig().await;
    let digest = Digest::sha256(b"");
    rig.push_blob(NAME, b"").await.unwrap();
    let path = format!("/v2/{NAME}/blobs/{digest}");
    rig.ask(Method::Delete, &path).await.unwrap();
    let post = format!("/v2/{NAME}/blobs/uploads/?digest={digest}");
    let served = rig.send(Method::Post, &post, streamed(b"")).await.unwrap();
    assert!(matches!(served.what, What::BlobCreated { .. }));
    there(&rig, NAME, b"").await;
    // A digest without bytes announces an upload.
    let post = format!("/v2/{NAME}/blobs/uploads/?digest={}", Digest::sha256(b"x"));
    rig.upload(Method::Post, &post, Incoming::none()).await.unwrap();
}

#[tokio::test]
async fn chunks_out_of_order_change_nothing() {
    let rig = rig().await;
    let session = rig.begin_upload(NAME).await;
    let patch = async |range: &str, bytes: &[u8]| {
        rig.upload(Method::Patch, &path(&session), ranged(bytes, range)).await
    };
    assert!(matches!(
        patch("3-5", b"def").await,
        Err(Refusal::UploadRange { received_bytes: 0, .. })
    ));
    patch("0-2", b"abc").await.unwrap();
    assert!(matches!(
        patch("0-2", b"abc").await,
        Err(Refusal::UploadRange { received_bytes: 3, .. })
    ));
    let early = format!("{}?digest={}", path(&session), Digest::sha256(b"abcdef"));
    let put = rig.send(Method::Put, &early, ranged(b"f", "5-5")).await;
    assert!(matches!(put, Err(Refusal::UploadRange { received_bytes: 3, .. })), "{put:?}");
    for (range, bytes) in
        [("3-5", b"de".as_slice()), ("3-4", b"def"), ("x", b"def"), ("5-3", b"def")]
    {
        let refused = patch(range, bytes).await;
        assert!(matches!(refused, Err(Refusal::Invalid { .. })), "{range}: {refused:?}");
    }
    let longer = streamed(b"def").with_lines(None, Some("3-4".to_owned()));
    let longer = rig.upload(Method::Patch, &path(&session), longer).await;
    assert!(matches!(longer, Err(Refusal::Invalid { .. })), "{longer:?}");
    assert_eq!(received(&rig, &session).await, 3);
    patch("3-5", b"def").await.unwrap();
    finish(&rig, &session, &Digest::sha256(b"abcdef")).await.unwrap();
}

#[tokio::test]
async fn a_wrong_digest_ends_the_upload() {
    let rig = rig().await;
    let wrong = Digest::sha256(b"something else");
    let session = rig.begin_upload(NAME).await;
    rig.upload(Method::Patch, &path(&session), body(b"abc")).await.unwrap();
    let none = rig.send(Method::Put, &path(&session), Incoming::none()).await;
    assert!(matches!(none, Err(Refusal::Invalid { .. })), "{none:?}");
    let text = finish(&rig, &session, &wrong).await.unwrap_err().to_string();
    assert!(text.contains(&wrong.to_string()), "{text}");
    assert!(text.contains(&Digest::sha256(b"abc").to_string()), "{text}");
    let gone = finish(&rig, &session, &Digest::sha256(b"abc")).await;
    assert!(matches!(gone, Err(Refusal::UploadUnknown)), "{gone:?}");
    let post = format!("/v2/{NAME}/blobs/uploads/?digest={wrong}");
    assert!(rig.send(Method::Post, &post, body(b"abc")).await.is_err());
    assert!(rig.store.uploads().unwrap().is_empty());
    assert!(rig.get(&format!("/v2/{NAME}/blobs/{wrong}")).await.is_err());
    for bad in ["sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let post = format!("/v2/{NAME}/blobs/uploads/?digest={bad}");
        let refused = rig.send(Method::Post, &post, body(b"abc")).await;
        assert!(matches!(refused, Err(Refusal::Invalid { .. })), "{refused:?}");
    }
    let post = format!("/v2/{NAME}/blobs/uploads/?digest-algorithm=md5");
    let refused = rig.send(Method::Post, &post, Incoming::none()).await;
    assert!(matches!(refused, Err(Refusal::Invalid { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_session_is_of_one_name_and_one_principal() {
    let rig = rig().await;
    let session = rig.begin_upload(NAME).await;
    let operator = Peer { address: None, is_loopback: false, is_operator: true };
    let other = rig.send_as(operator, Method::Get, &path(&session), Incoming::none()).await;
    assert!(matches!(other, Err(Refusal::UploadUnknown)), "{other:?}");
    let elsewhere = format!("/v2/team/other/blobs/uploads/{}", session.id);
    for method in [Method::Get, Method::Patch, Method::Delete] {
        let other = rig.send(method, &elsewhere, Incoming::none()).await;
        assert!(matches!(other, Err(Refusal::UploadUnknown)), "{other:?}");
    }
    let cancelled = rig.send(Method::Delete, &path(&session), Incoming::none()).await.unwrap();
    assert!(matches!(cancelled.what, What::Cancelled));
    let again = rig.send(Method::Delete, &path(&session), Incoming::none()).await;
    assert!(matches!(again, Err(Refusal::UploadUnknown)), "{again:?}");
}

#[tokio::test]
async fn what_came_before_a_break_is_kept() {
    let rig = rig().await;
    let whole = noise(2 << 20);
    let session = rig.begin_upload(NAME).await;
    let cut = &whole[..700_001];
    let patch = rig.upload(Method::Patch, &path(&session), broken(cut, whole.len() as u64)).await;
    assert!(matches!(patch, Err(Refusal::Incoming(_))), "{patch:?}");
    assert_eq!(received(&rig, &session).await, 700_001);

    // A client that hangs up while its request waits for the next byte.
    let (send, more) = tokio::sync::mpsc::unbounded_channel::<Result<Bytes, IncomingError>>();
    let mut more = more;
    let body = stream::poll_fn(move |context| more.poll_recv(context));
    send.send(Ok(Bytes::copy_from_slice(&whole[700_001..800_000]))).unwrap();
    {
        let session_path = path(&session);
        let request = rig.upload(Method::Patch, &session_path, Incoming::new(body, None));
        let mut request = std::pin::pin!(request);
        tokio::select! {
            biased;
            _ = &mut request => panic!("the body is not over"),
            () = rig.eventually("it is in use", async |rig| is_in_use(rig)) => {}
        }
        let second = rig.upload(Method::Patch, &session_path, Incoming::none()).await;
        assert!(matches!(second, Err(Refusal::UploadBusy)), "{second:?}");
    }
    send.send(Err(IncomingError::Broken)).unwrap();
    rig.eventually("it is parked", async |rig| {
        let state = rig.upload(Method::Get, &path(&session), Incoming::none()).await;
        state.is_ok_and(|state| state.received_bytes == 800_000)
    })
    .await;
    rig.upload(Method::Patch, &path(&session), support::body(&whole[800_000..])).await.unwrap();
    finish(&rig, &session, &Digest::sha256(&whole)).await.unwrap();
    there(&rig, NAME, &whole).await;
}

#[tokio::test]
async fn who_lost_access_pushes_nothing_more() {
    let rig = rig().await;
    let (send, mut more) = tokio::sync::mpsc::unbounded_channel::<Result<Bytes, IncomingError>>();
    let incoming = Incoming::new(stream::poll_fn(move |context| more.poll_recv(context)), None);
    let digest = Digest::sha256(b"abc");
    let post = format!("/v2/{NAME}/blobs/uploads/?digest={digest}");
    let mut request = std::pin::pin!(rig.send(Method::Post, &post, incoming));
    send.send(Ok(Bytes::from_static(b"ab"))).unwrap();
    tokio::select! {
        biased;
        _ = &mut request => panic!("the body is not over"),
        () = rig.eventually("it comes in", async |rig| is_in_use(rig)) => {}
    }
    let closed = hosted("")
        .replace("[{ kind: Anonymous }]", "[{ kind: Anonymous, networks: [10.0.0.0/8] }]");
    rig.plane.apply(support::set_of(&closed), "test.yaml").await.unwrap();
    send.send(Ok(Bytes::from_static(b"c"))).unwrap();
    drop(send);
    let refused = request.await;
    assert!(matches!(refused, Err(Refusal::Denied(_))), "{refused:?}");
    assert!(rig.store.blob(&digest).unwrap().is_none());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&from, &to);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(from, to).unwrap();
        }
    }
}

#[tokio::test]
async fn an_upload_outlives_the_process_however_that_ends() {
    let whole = noise(1 << 20);
    let half = whole.len() / 2;
    let post = format!("/v2/{NAME}/blobs/uploads/?digest-algorithm=sha512");
    let first = rig().await;
    let image = first.push_image(NAME, "1", "before").await.unwrap();
    let session = first.upload(Method::Post, &post, Incoming::none()).await.unwrap();
    first.upload(Method::Patch, &path(&session), body(&whole[..half])).await.unwrap();
    // What a kill would leave now.
    let killed = Arc::new(tempfile::tempdir().unwrap());
    copy(first.dir.path(), killed.path());
    assert!(first.plane.stop(Duration::from_secs(10)).await);
    let stopped = first.dir.clone();
    drop(first);
    for dir in [stopped, killed] {
        let rig = Rig::with(&hosted(""), Setup { dir: Some(dir), ..Setup::default() }).await;
        let (bytes, _) = rig.manifest(&format!("/v2/{NAME}/manifests/1")).await.unwrap();
        assert_eq!(Digest::sha256(&bytes), image);
        assert_eq!(received(&rig, &session).await, half as u64);
        rig.upload(Method::Patch, &path(&session), body(&whole[half..])).await.unwrap();
        let digest = Digest::of(Algorithm::Sha512, &whole);
        finish(&rig, &session, &digest).await.unwrap();
        let bytes = rig.blob(&format!("/v2/{NAME}/blobs/{digest}")).await.unwrap().0;
        assert_eq!(&bytes[..], &whole[..]);
    }
}

#[tokio::test]
async fn sessions_are_bounded_and_those_that_end_make_room() {
    let pushes = PushSettings { sessions_max: 2, ..PushSettings::default() };
    let rig = Rig::with(&hosted(""), Setup { pushes, ..Setup::default() }).await;
    let post = format!("/v2/{NAME}/blobs/uploads/");
    let wrong = Digest::sha256(b"other");
    for _ in 0..5 {
        rig.push_blob(NAME, b"abc").await.unwrap();
        assert!(finish(&rig, &rig.begin_upload(NAME).await, &wrong).await.is_err());
        let whole = format!("{post}?digest={wrong}");
        let refused = rig.send(Method::Post, &whole, body(b"abc")).await;
        assert!(matches!(refused, Err(Refusal::Invalid { .. })), "{refused:?}");
    }
    let first = rig.begin_upload(NAME).await;
    rig.begin_upload(NAME).await;
    let third = rig.send(Method::Post, &post, Incoming::none()).await;
    assert!(matches!(third, Err(Refusal::Indeterminate { .. })), "{third:?}");
    rig.send(Method::Delete, &path(&first), Incoming::none()).await.unwrap();
    rig.begin_upload(NAME).await;
}

#[tokio::test]
async fn a_full_disk_takes_no_push_and_says_so() {
    let rig = rig().await;
    let session = rig.begin_upload(NAME).await;
    rig.upload(Method::Patch, &path(&session), body(&noise(1000))).await.unwrap();
    rig.store.fail_writes_after_bytes(Some(600_000));
    let patch = rig.upload(Method::Patch, &path(&session), body(&noise(2 << 20))).await;
    match &patch {
        Err(refusal @ Refusal::Indeterminate { retry_after: Some(_), .. }) => {
            assert!(refusal.to_string().contains("disk of the store is full"), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    let kept = received(&rig, &session).await as usize;
    assert!(kept >= 1000, "{kept}");
    rig.store.fail_writes_after_bytes(None);
    let rest = [&noise(1000)[..], &noise(2 << 20)].concat();
    rig.eventually("there is space again", async |rig| {
        rig.upload(Method::Patch, &path(&session), body(&rest[kept..])).await.is_ok()
    })
    .await;
    finish(&rig, &session, &Digest::sha256(&rest)).await.unwrap();
}

/// Whether a mount made the blob; if not, a session was begun.
async fn mounted(rig: &Rig, name: &str, query: &str) -> bool {
    let path = format!("/v2/{name}/blobs/uploads/?{query}");
    match rig.send(Method::Post, &path, Incoming::none()).await.unwrap().what {
        What::BlobCreated { .. } => true,
        What::Upload(_) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn mounts_take_what_one_may_pull() {
    let more = "apiVersion: lockgate.dev/v1alpha1\nkind: Repository\nmetadata: { name: secret }\n\
                spec:\n  hosted: {}\n---\n";
    let open = format!("{more}{}", hosted(""));
    let narrow = open.replace("repositories: [\"**\"]", "repositories: [\"team/**\"]");
    assert_ne!(open, narrow);
    let first = Rig::with(&open, Setup::default()).await;
    let digest = first.push_blob("team/from", b"shared").await.unwrap();
    let hidden = first.push_blob("secret/a", b"hidden").await.unwrap();
    assert!(first.plane.stop(Duration::from_secs(10)).await);
    let setup = Setup { dir: Some(first.dir.clone()), ..Setup::default() };
    drop(first);
    let rig = Rig::with(&narrow, setup).await;

    assert!(!mounted(&rig, "team/a", &format!("mount={digest}&from=team/nothing")).await);
    assert!(!mounted(&rig, "team/a", &format!("mount={digest}&from=Not-A-Name")).await);
    assert!(!mounted(&rig, "team/a", "mount=sha256:abc&from=team/from").await);
    assert!(rig.get(&format!("/v2/team/a/blobs/{digest}")).await.is_err());
    assert!(mounted(&rig, "team/a", &format!("mount={digest}&from=team/from")).await);
    there(&rig, "team/a", b"shared").await;
    assert!(mounted(&rig, "team/b", &format!("mount={digest}")).await, "from anywhere");
    assert!(!mounted(&rig, "team/a", &format!("mount={hidden}&from=secret/a")).await);
    assert!(!mounted(&rig, "team/a", &format!("mount={hidden}")).await);

    // Each name's own: taken from one, it stays in the others.
    rig.ask(Method::Delete, &format!("/v2/team/from/blobs/{digest}")).await.unwrap();
    there(&rig, "team/a", b"shared").await;
    rig.ask(Method::Delete, &format!("/v2/team/a/blobs/{digest}")).await.unwrap();
    assert!(rig.get(&format!("/v2/team/a/blobs/{digest}")).await.is_err());
    there(&rig, "team/b", b"shared").await;
}

/// Bytes that are removed just when they are pushed again: whoever is first, they are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_push_and_the_removal_of_the_same_bytes_lose_nothing() {
    let keep = plane::KeepSettings { grace: Duration::ZERO, ..plane::KeepSettings::default() };
    let text = hosted("");
    let rig = Arc::new(Rig::with(&text, Setup { keep, ..Setup::default() }).await);
    let digest = Digest::sha256(b"again and again");
    let path = format!("/v2/{NAME}/blobs/{digest}");
    for round in 0..60 {
        rig.push_blob(NAME, b"again and again").await.unwrap();
        rig.ask(Method::Delete, &path).await.unwrap();
        let purge = tokio::spawn({
            let rig = rig.clone();
            let target = plane::PurgeTarget::Digest(digest);
            async move { rig.plane.purge(target).await.map(drop) }
        });
        let pushed = rig.push_blob(NAME, b"again and again").await;
        let _ = purge.await.unwrap();
        pushed.unwrap();
        // Not from what is open: from where it lies.
        assert!(matches!(rig.store.blob(&digest), Ok(Some(_))), "round {round}");
        there(&rig, NAME, b"again and again").await;
        rig.ask(Method::Delete, &path).await.unwrap();
    }
}
