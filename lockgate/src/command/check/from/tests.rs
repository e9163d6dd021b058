//! Whole files: what they are taken for, and what is asked because of them.

use super::*;
use std::io::Write;

/// What is collected of these texts: reference, who, count.
fn collect(flags: &[&str], texts: &[&str]) -> Result<Vec<(String, Option<String>, u64)>, Failure> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        files: FromFlags,
    }
    let dir = tempfile::tempdir().unwrap();
    let mut words = vec!["check".to_owned()];
    for (number, text) in texts.iter().enumerate() {
        let path = dir.path().join(number.to_string());
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        words.extend(["--from".to_owned(), path.display().to_string()]);
    }
    words.extend(flags.iter().map(|it| (*it).to_owned()));
    let line = <Line as clap::Parser>::try_parse_from(words).unwrap();
    let asked = line.files.collect(None)?.into_asked().into_iter();
    Ok(asked
        .map(|it| {
            let count = it.count();
            (it.reference, it.who.as_deref().map(str::to_owned), count)
        })
        .collect())
}

const COMBINED: &str = "10.0.3.7 - - [25/Nov/2026:09:12:03 +0000] \"GET /v2/team/app/manifests/1.4 HTTP/1.1\" 200 7 \"\" \"c\"\n";
const LOGRUS: &str = "time=\"2026-11-25T09:12:03Z\" level=info msg=\"response completed\" \
                      http.request.host=registry.corp.example http.request.method=GET \
                      http.request.uri=\"/v2/team/app/manifests/1.4\" http.response.status=200\n";
const HARBOR: &str = "Nov 25 09:12:03 h proxy[1]: 10.0.3.7 - \"GET /v2/hub/library/nginx/manifests/1.27 HTTP/1.1\" 200 7 \"-\" \"c\" 0.1 0.1 .\n";
const ARTIFACTORY: &str = "2026-11-25T09:12:03.402Z|7b4e|10.0.3.7|u|GET|/api/docker/hub/v2/library/nginx/manifests/1.27|200|-1|7|25|c\n";
const CONTAINERD: &str = "Nov 25 09:12:03 n containerd[8]: time=\"2026-11-25T09:12:03Z\" level=info msg=\"PullImage \\\"nginx:1.27\\\"\"\n";
const OWN: &str = "{\"target\":\"access\",\"request_id\":\"0\",\"method\":\"GET\",\"repository\":\"docker.io/library/nginx\",\"reference\":\"1.27\",\"status\":200,\"duration_us\":1}\n";

#[test]
fn the_content_says_what_a_file_is() {
    let kind = |text: &str| detect("x", text.as_bytes(), None).ok();
    let hello =
        "time=\"2026-11-25T09:12:03Z\" level=info msg=\"listening\" http.request.method=GET\n";
    for (text, expected) in [
        ("", Some(Kind::List)),
        ("# nothing\n\nnginx\n", Some(Kind::List)),
        ("ghcr.io/a/b:1 12\n", Some(Kind::List)),
        ("{\n  \"apiVersion\": \"v1\",\n  \"items\": [", Some(Kind::Pods)),
        ("{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[]}\n", Some(Kind::Pods)),
        ("[\n  {", Some(Kind::Pods)),
        (COMBINED, Some(Kind::Log(Writer::Registry))),
        (LOGRUS, Some(Kind::Log(Writer::Registry))),
        (hello, Some(Kind::Log(Writer::Registry))),
        (HARBOR, Some(Kind::Log(Writer::Harbor))),
        (&format!("{LOGRUS}{HARBOR}"), Some(Kind::Log(Writer::Harbor))),
        (ARTIFACTORY, Some(Kind::Log(Writer::Artifactory))),
        (CONTAINERD, Some(Kind::Log(Writer::Containerd))),
        (OWN, Some(Kind::Log(Writer::Lockgate))),
        ("apiVersion: v1\nkind: List\n", None),
        ("what is this?\n", None),
        ("\u{1f}garbage", None),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
    let zipped = detect("x", b"\x1f\x8b\x08", None).unwrap_err().whole();
    assert!(zipped.contains("gzip -dc FILE | lockgate check --from -"), "{zipped}");
}

#[test]
fn all_files_are_one_question() {
    let asked = collect(
        &["--prefix", "hub=docker.io"],
        &[
            "nginx:1.27 # the same as below\nghcr.io/a/b:1 40\nghcr.io/a/b:1 2\n",
            &HARBOR.repeat(3),
            ARTIFACTORY,
            CONTAINERD,
            &format!("{LOGRUS}{LOGRUS}"),
            OWN,
        ],
    );
    let nginx = ("docker.io/library/nginx:1.27".to_owned(), None, 5);
    let ghcr = ("ghcr.io/a/b:1".to_owned(), None, 42);
    let own = ("registry.corp.example/team/app:1.4".to_owned(), None, 2);
    assert_eq!(asked.unwrap(), [nginx, ghcr, own]);
}

#[test]
fn a_registry_that_tells_a_pull_twice_is_counted_once() {
    let both = format!("{LOGRUS}{COMBINED}{LOGRUS}{COMBINED}");
    let asked = collect(&["--prefix", "r.example/p"], &[&both]).unwrap();
    assert_eq!(asked, [("r.example/p/team/app:1.4".to_owned(), None, 2)]);
}

#[test]
fn names_without_a_registry_need_one() {
    for text in [COMBINED, HARBOR, ARTIFACTORY] {
        let error = collect(&[], &[text]).unwrap_err().whole();
        assert!(error.contains("--prefix registry.example makes registry.example/"), "{error}");
    }
}

#[test]
fn a_format_that_is_named_leaves_out_the_lines_of_others() {
    let mixed = format!("{CONTAINERD}{ARTIFACTORY}{OWN}");
    let prefix = ["--prefix", "hub=docker.io"];
    let one = [("docker.io/library/nginx:1.27".to_owned(), None, 1)];
    for format in ["containerd", "artifactory", "lockgate"] {
        let asked = collect(&[&prefix[..], &["--format", format]].concat(), &[&mixed]);
        assert_eq!(asked.unwrap(), one, "{format}");
    }
    assert_eq!(collect(&["--format", "harbor"], &[&mixed]).unwrap(), []);
    assert!(collect(&["--format", "pods"], &[&mixed]).is_err());
}

#[test]
fn what_is_no_reference_is_left_to_the_plane() {
    let asked = collect(&["--format", "list"], &["a b c\n???\nnginx 5x\n"]).unwrap();
    let references: Vec<&str> = asked.iter().map(|(reference, ..)| reference.as_str()).collect();
    assert_eq!(references, ["a b c", "docker.io/library/???:latest", "nginx 5x"]);
}
