//! Samples of every log that is read, as its writer documents it, and lines that nobody wrote.

use super::*;

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

const LOGRUS: &str = r#"time="2026-11-25T09:12:03.402Z" level=info msg="response completed" go.version=go1.20.8 http.request.host="registry.corp.example:5000" http.request.id=9e0c http.request.method=HEAD http.request.remoteaddr="10.0.3.7:42114" http.request.uri="/v2/team/app/manifests/1.4" http.request.useragent="docker/27 \"x\" http.response.status=500" http.response.contenttype="application/vnd.oci.image.index.v1+json" http.response.duration=2.1ms http.response.status=200 http.response.written=743"#;
const COMBINED: &str = r#"10.0.3.7 - - [25/Nov/2026:09:12:03 +0000] "GET /v2/team/app/manifests/1.4 HTTP/1.1" 200 743 "" "containerd/v2.1.0""#;
const HARBOR: &str = r#"Nov 25 09:12:03 172.18.0.1 proxy[1482]: 10.0.3.7 - "GET /v2/hub/library/nginx/manifests/1.27 HTTP/1.1" 200 1778 "-" "containerd/v2.1.0" 0.012 0.012 ."#;
const ARTIFACTORY: &str = "2026-11-25T09:12:03.402Z|7b4e8a8f3b2e1c4d|10.0.3.7|deployer|GET|/api/docker/docker-remote/v2/library/nginx/manifests/1.27|200|-1|1778|25|containerd/v2.1.0";
const CONTAINERD: &str = r#"Nov 25 09:12:03 node-1 containerd[812]: time="2026-11-25T09:12:03.402Z" level=info msg="PullImage \"nginx:1.27\"""#;
const OWN: &str = r#"{"timestamp":"2026-11-25T09:12:03.000000Z","level":"INFO","target":"access","request_id":"0abc","client":"10.0.3.7","method":"GET","repository":"docker.io/library/alpine","reference":"3","status":200,"bytes":9,"outcome":"hit","duration_us":12,"principal":"ServiceAccount:prod-eu:system:serviceaccount:shop:web","environment":"prod"}"#;

fn pull(text: &str) -> Option<Pull> {
    line(text)?.pull
}

fn under(host: Option<&str>, name: &str, reference: &str) -> Place {
    Place::Under {
        host: host.map(str::to_owned),
        name: name.to_owned(),
        reference: reference.to_owned(),
    }
}

/// The writer and the place of a line that tells an answered pull.
#[track_caller]
fn answered(text: &str) -> (Writer, Place) {
    let line = line(text).unwrap_or_else(|| panic!("not known: {text}"));
    let pull = line.pull.unwrap_or_else(|| panic!("no pull: {text}"));
    assert!(pull.is_answered, "{text}");
    (line.writer, pull.place)
}

#[test]
fn a_registry_writes_text_json_and_lines_of_a_web_server() {
    let host = Some("registry.corp.example:5000");
    assert_eq!(answered(LOGRUS), (Writer::Registry, under(host, "team/app", "1.4")));
    let json = r#"{"go.version":"go1.20.8","http.request.host":"registry.corp.example:5000","http.request.method":"GET","http.request.uri":"/v2/team/app/manifests/1.4?ns=quay.io","http.response.status":200,"level":"info","msg":"response completed"}"#;
    assert_eq!(answered(json), (Writer::Registry, Place::Whole("quay.io/team/app:1.4".to_owned())));
    assert_eq!(answered(COMBINED), (Writer::Registry, under(None, "team/app", "1.4")));
    let by_digest = COMBINED.replace("manifests/1.4", &format!("manifests/{DIGEST}"));
    assert_eq!(answered(&by_digest), (Writer::Registry, under(None, "team/app", DIGEST)));
    // A name inside a cluster is none that clients write.
    let inside = LOGRUS.replace("registry.corp.example:5000", "harbor-registry:5000");
    assert_eq!(answered(&inside).1, under(None, "team/app", "1.4"));
    // A line of docker compose, one of the CRI, and one that docker wrapped.
    for wrapped in [
        format!("registry_1  | {LOGRUS}"),
        format!("2026-11-25T09:12:03.4Z stdout F {LOGRUS}"),
        serde_json::json!({ "log": format!("{LOGRUS}\n"), "stream": "stdout" }).to_string(),
    ] {
        assert_eq!(answered(&wrapped).1, under(host, "team/app", "1.4"), "{wrapped}");
    }
}

#[test]
fn harbor_writes_as_its_parts_do() {
    let expected = (Writer::Harbor, under(None, "hub/library/nginx", "1.27"));
    assert_eq!(answered(HARBOR), expected);
    let bare = HARBOR.split_once("]: ").unwrap().1;
    assert_eq!(answered(bare), expected);
    let dated = format!("[25/Nov/2026:09:12:03 +0000]:{bare}");
    assert_eq!(answered(&dated), expected);
    let registry = format!("Nov 25 09:12:03 172.18.0.1 registry[77]: {COMBINED}");
    assert_eq!(answered(&registry), (Writer::Harbor, under(None, "team/app", "1.4")));
}

#[test]
fn artifactory_has_the_repository_in_the_path() {
    let expected = (Writer::Artifactory, under(None, "docker-remote/library/nginx", "1.27"));
    let path = "/api/docker/docker-remote/v2/library/nginx/manifests/1.27";
    for text in [
        ARTIFACTORY.to_owned(),
        ARTIFACTORY.replace(path, &format!("/artifactory{path}")),
        ARTIFACTORY.replace(path, "/v2/docker-remote/library/nginx/manifests/1.27"),
        // Of version 6.
        format!("20261125091203|25|REQUEST|10.0.3.7|deployer|GET|{path}|HTTP/1.1|200|1778"),
    ] {
        assert_eq!(answered(&text), expected, "{text}");
    }
    let router = serde_json::json!({
        "RequestMethod": "GET", "RequestPath": format!("/artifactory{path}"), "DownstreamStatus": 200,
        "RequestHost": "art.corp.example",
    });
    let host = Some("art.corp.example");
    let place = under(host, "docker-remote/library/nginx", "1.27");
    assert_eq!(answered(&router.to_string()), (Writer::Artifactory, place));
}

#[test]
fn containerd_says_what_it_pulls_and_what_came_of_it() {
    let place = || Place::Whole("docker.io/library/nginx:1.27".to_owned());
    let says = |message: &str| {
        let text = message.replace('"', "\\\"");
        format!(r#"time="2026-11-25T09:12:03Z" level=info msg="{text}""#)
    };
    for (message, witness) in [
        (r#"PullImage "nginx:1.27""#, Witness::Begun),
        (r#"PullImage "nginx:1.27" returns image reference "sha256:1""#, Witness::Returned),
        (r#"Pulled image "nginx:1.27" with image id "sha256:1", size "7" in 2s"#, Witness::Pulled),
        (r#"PullImage "nginx:1.27" failed"#, Witness::Failed),
        (r#"Pulling image "nginx:1.27""#, Witness::Begun),
        (r#"Successfully pulled image "nginx:1.27" in 2s"#, Witness::Pulled),
        (r#"Failed to pull image "nginx:1.27": not found"#, Witness::Failed),
    ] {
        let json = serde_json::json!({ "level": "info", "msg": message }).to_string();
        let journal = serde_json::json!({ "MESSAGE": says(message), "_PID": "1" }).to_string();
        for text in [says(message), json, journal, format!("Nov 25 node kubelet: {message}")] {
            let line = line(&text).unwrap();
            let pull = line.pull.unwrap();
            assert_eq!((line.writer, pull.witness), (Writer::Containerd, witness), "{text}");
            assert_eq!(pull.place, place(), "{text}");
            assert_eq!(pull.is_answered, witness != Witness::Failed);
        }
    }
    assert_eq!(answered(CONTAINERD), (Writer::Containerd, place()));
    assert_eq!(pull(&says("ImageCreate event name:\"docker.io/library/nginx:1.27\"")), None);
}

#[test]
fn our_own_log_tells_who_asked() {
    let own = pull(OWN).unwrap();
    assert_eq!(own.place, Place::Whole("docker.io/library/alpine:3".to_owned()));
    assert_eq!(own.who.as_deref(), Some("system:serviceaccount:shop:web"));
    let text = "2026-11-25T09:12:03.000000Z access request_id=0abc client=10.0.3.7 method=HEAD \
                repository=docker.io/library/alpine reference=3 status=200 bytes=0 outcome=hit \
                duration_us=12 principal=User:corp:ann";
    let own = pull(text).unwrap();
    assert_eq!((own.who.as_deref(), own.is_answered), (Some("user:ann"), true));
    // A blob, perhaps.
    assert_eq!(pull(&OWN.replace("\"3\"", &format!("{DIGEST:?}"))), None);
    for (key, who) in [
        ("anonymous", Some("anonymous")),
        ("Node:prod-eu:system:node:prod-eu", Some("node:prod-eu")),
        ("CI:github:repo:a/b", None),
        ("nonsense", None),
    ] {
        assert_eq!(supposed(key).as_deref(), who);
    }
}

#[test]
fn only_what_was_answered_is_a_pull() {
    for status in ["401", "404", "500", "-"] {
        for text in [
            COMBINED.replace(" 200 ", &format!(" {status} ")),
            HARBOR.replace(" 200 ", &format!(" {status} ")),
            ARTIFACTORY.replace("|200|", &format!("|{status}|")),
            LOGRUS.replace("status=200", &format!("status={status}")),
            OWN.replace("200", &format!("{status:?}")),
        ] {
            assert!(pull(&text).is_none_or(|it| !it.is_answered), "{text}");
        }
    }
    for text in [
        COMBINED.replace("GET", "PUT"),
        COMBINED.replace("/manifests/1.4", "/tags/list"),
        COMBINED.replace("/manifests/1.4", &format!("/blobs/{DIGEST}")),
        COMBINED.replace("/v2/team/app/manifests/1.4", "/v2/"),
        COMBINED.replace("team/app", "Team/../app"),
        COMBINED.replace("team/app", "team%2fapp"),
        HARBOR.replace("GET", "DELETE"),
        ARTIFACTORY.replace("GET", "PUT"),
        ARTIFACTORY.replace("docker-remote", "a b"),
        LOGRUS.replace("HEAD", "PATCH"),
        OWN.replace("GET", "PUT"),
        LOGRUS.replace("http.response.status=200", ""),
    ] {
        let line = line(&text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(line.pull, None, "{text}");
    }
}

#[test]
fn a_user_agent_is_no_field() {
    let forged = COMBINED.replace(" 200 ", " 401 ").replace("containerd/v2.1.0", "x\" 200 \"");
    assert!(!pull(&forged).unwrap().is_answered);
    let forged = LOGRUS.replace("http.response.status=200", "http.response.status=404");
    assert!(!pull(&forged.replace("status=500", "status=200")).unwrap().is_answered);
}

/// Pieces of lines in any order, cut and doubled anywhere: a fixed sequence, so that a failure stays.
#[test]
fn hostile_lines_never_panic() {
    let lines = [LOGRUS, COMBINED, HARBOR, ARTIFACTORY, CONTAINERD, OWN];
    let odd = [
        "\"",
        "\\",
        "|",
        "=",
        "{",
        "}",
        "\u{feff}",
        "\u{0}",
        "é",
        " ",
        "/v2/",
        "%3A",
        "\u{10ffff}",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below.max(1) as u64).unwrap()
    };
    let mut known = 0;
    for _ in 0..40_000 {
        let mut text = String::new();
        for _ in 0..=next(3) {
            let from = lines[next(lines.len())];
            let (a, b) = (next(from.len() + 1), next(from.len() + 1));
            let (a, b) = if next(2) == 0 { (0, from.len()) } else { (a.min(b), a.max(b)) };
            text.push_str(&from[from.floor_char_boundary(a)..from.floor_char_boundary(b)]);
            for _ in 0..next(3) {
                let at = text.floor_char_boundary(next(text.len() + 1));
                text.insert_str(at, odd[next(odd.len())]);
            }
        }
        if let Some(Pull { place: Place::Under { name, .. }, .. }) =
            line(&text).and_then(|it| it.pull)
        {
            assert!(!name.is_empty() && !name.contains(char::is_whitespace), "{text:?}");
            known += 1;
        }
    }
    assert!(known > 100, "the pieces are too small to mean anything: {known}");
}
