//! What is printed, word for word: people paste it.

use super::*;

fn wanted(registries: &[&str], planes: &[&str], ca_file: Option<&str>) -> Wanted {
    let args = Args {
        engine: Engine::Containerd,
        registry: registries.iter().map(|&name| name.to_owned()).collect(),
        plane: planes.iter().map(|url| url.parse().unwrap()).collect(),
        ca_file: ca_file.map(PathBuf::from),
        dial_timeout: "3s".to_owned(),
        audience: kubelet::AUDIENCE.to_owned(),
        cluster: "my-cluster".to_owned(),
        match_images: Vec::new(),
    };
    args.wanted().unwrap()
}

/// The lines of a file that are no comments.
fn lines(printed: &str) -> String {
    let kept = printed.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    kept.map(|line| format!("{line}\n")).collect()
}

fn file(engine: Engine, wanted: &Wanted) -> String {
    print(engine, wanted).unwrap().file
}

const PLAIN: &[&str] = &["http://127.0.0.1:5050"];
const TLS: &[&str] = &["https://plane.example.com"];

#[test]
fn containerd_has_server_and_host_that_both_name_the_plane() {
    let text = file(Engine::Containerd, &wanted(&["docker.io"], PLAIN, None));
    assert!(text.starts_with("# /etc/containerd/certs.d/docker.io/hosts.toml\n"), "{text}");
    assert_eq!(
        lines(&text),
        "server = \"http://127.0.0.1:5050\"\n\
         capabilities = [\"pull\", \"resolve\"]\n\
         dial_timeout = \"3s\"\n\
         [host.\"http://127.0.0.1:5050\"]\n  \
           capabilities = [\"pull\", \"resolve\"]\n  \
           dial_timeout = \"3s\"\n"
    );
    let planes = ["https://one.example.com", "https://two.example.com:8443"];
    let text = file(Engine::Containerd, &wanted(&["docker.io"], &planes, Some("/etc/ca.pem")));
    assert_eq!(
        lines(&text),
        "server = \"https://one.example.com\"\n\
         capabilities = [\"pull\", \"resolve\"]\n\
         ca = \"/etc/ca.pem\"\n\
         dial_timeout = \"3s\"\n\
         [host.\"https://one.example.com\"]\n  \
           capabilities = [\"pull\", \"resolve\"]\n  \
           ca = \"/etc/ca.pem\"\n  \
           dial_timeout = \"3s\"\n\
         [host.\"https://two.example.com:8443\"]\n  \
           capabilities = [\"pull\", \"resolve\"]\n  \
           ca = \"/etc/ca.pem\"\n  \
           dial_timeout = \"3s\"\n"
    );
    let all = file(Engine::Containerd, &wanted(&[], PLAIN, None));
    for name in WELL_KNOWN_REGISTRIES {
        assert!(all.contains(&format!("# /etc/containerd/certs.d/{name}/hosts.toml\n")), "{name}");
    }
}

#[test]
fn no_form_names_a_real_registry_as_a_place_to_pull_from() {
    let wanted = wanted(&["docker.io"], TLS, None);
    for engine in Engine::value_variants().iter().filter(|engine| !matches!(engine, Engine::Docker))
    {
        for line in lines(&file(*engine, &wanted)).lines() {
            let is_place = line.contains("docker.io") && line.contains("://");
            assert!(!is_place, "{engine:?}: {line}");
        }
    }
}

#[test]
fn docker_gets_json_and_its_warnings_beside_it() {
    let printed = print(Engine::Docker, &wanted(&["docker.io"], PLAIN, None)).unwrap();
    assert_eq!(
        printed.file,
        "{\n  \"insecure-registries\": [\n    \"127.0.0.1:5050\"\n  ],\n  \"registry-mirrors\": [\n    \
         \"http://127.0.0.1:5050\"\n  ]\n}\n"
    );
    assert!(printed.notes.iter().any(|note| note.contains("Docker Hub itself whenever")));
    let printed = print(Engine::Docker, &wanted(&["quay.io"], TLS, Some("/ca.pem"))).unwrap();
    assert_eq!(printed.file, "{}\n");
    assert!(
        printed
            .notes
            .iter()
            .any(|note| note.contains("/etc/docker/certs.d/plane.example.com/ca.crt"))
    );
}

#[test]
fn podman_and_crio_rewrite_and_have_no_mirror() {
    for engine in [Engine::Podman, Engine::Crio] {
        assert_eq!(
            lines(&file(engine, &wanted(&["docker.io", "quay.io"], PLAIN, None))),
            "[[registry]]\nprefix = \"docker.io\"\nlocation = \"127.0.0.1:5050/docker.io\"\ninsecure = true\n\
             [[registry]]\nprefix = \"quay.io\"\nlocation = \"127.0.0.1:5050/quay.io\"\ninsecure = true\n"
        );
        assert_eq!(
            lines(&file(engine, &wanted(&["docker.io"], TLS, None))),
            "[[registry]]\nprefix = \"docker.io\"\nlocation = \"plane.example.com/docker.io\"\n"
        );
        let two = wanted(&["docker.io"], &["http://a", "http://b"], None);
        assert!(print(engine, &two).is_err());
    }
}

#[test]
fn forms_that_were_not_tested_say_so() {
    let wanted = wanted(&["docker.io"], TLS, Some("/ca.pem"));
    for engine in [Engine::Buildkit, Engine::K3s, Engine::Rke2, Engine::Kind, Engine::Talos] {
        assert!(file(engine, &wanted).contains("# Not tested."), "{engine:?}");
    }
    assert_eq!(
        lines(&file(Engine::K3s, &wanted)),
        "mirrors:\n  \"docker.io\":\n    endpoint:\n      - \"https://plane.example.com\"\nconfigs:\n  \
         \"plane.example.com\":\n    tls:\n      ca_file: \"/ca.pem\"\n"
    );
    assert_eq!(
        lines(&file(Engine::Talos, &wanted)),
        "machine:\n  registries:\n    mirrors:\n      docker.io:\n        endpoints:\n          \
         - https://plane.example.com\n        skipFallback: true\n"
    );
    assert_eq!(
        lines(&file(Engine::Buildkit, &wanted)),
        "[registry.\"docker.io\"]\n  mirrors = [\"plane.example.com/docker.io\"]\n\
         [registry.\"plane.example.com\"]\n  ca = [\"/ca.pem\"]\n"
    );
}

#[test]
fn the_kubelets_provider_answers_for_every_plane_with_the_pods_token() {
    let wanted = wanted(&[], &["https://a.example:5050", "https://b.example"], None);
    let images = kubelet::match_images(Vec::new(), &wanted).unwrap();
    let file = kubelet::credential_provider(&images, "plane", "east").file;
    assert_eq!(
        lines(&file),
        "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n  \
         - name: lockgate-credential-provider\n    matchImages:\n      - \"a.example:5050\"\n      \
         - \"b.example\"\n    defaultCacheDuration: \"0s\"\n    \
         apiVersion: credentialprovider.kubelet.k8s.io/v1\n    tokenAttributes:\n      \
         serviceAccountTokenAudience: \"plane\"\n      cacheType: Token\n      \
         requireServiceAccount: true\n"
    );
    // The comments name what else has to agree with it.
    for named in [
        "request-serviceaccounts-token-audience",
        "resources: [\"plane\"]",
        "--image-credential-provider-bin-dir",
        "audience: plane\n",
        "cluster: east\n",
    ] {
        assert!(file.contains(named), "{named}");
    }
    assert!(quotable("a\"b").is_err() && quotable("a\nb").is_err());
}

#[test]
fn the_kubelet_may_ask_for_other_hosts() {
    let wanted = wanted(&[], TLS, None);
    let images = |patterns: &[&str]| {
        kubelet::match_images(patterns.iter().map(|&it| it.to_owned()).collect(), &wanted)
    };
    let some = ["*.plane.example.com", "a.example:5050/team", "docker.io"];
    let file = kubelet::credential_provider(&images(&some).unwrap(), "a", "b").file;
    let list = "matchImages:\n      - \"*.plane.example.com\"\n      - \"a.example:5050/team\"\n      \
                - \"docker.io\"\n    default";
    assert!(file.contains(list), "{file}");
    for wrong in ["", "*", "*.*", "https://a.example", "a b", "a\"b", "a..b", "/team"] {
        assert!(images(&[wrong]).is_err(), "{wrong}");
    }
}

#[test]
fn what_would_make_a_wrong_file_is_refused() {
    let args = |registry: &str, plane: &str, ca_file: Option<&str>, dial: &str| Args {
        engine: Engine::Containerd,
        registry: vec![registry.to_owned()],
        plane: vec![plane.parse().unwrap()],
        ca_file: ca_file.map(PathBuf::from),
        dial_timeout: dial.to_owned(),
        audience: kubelet::AUDIENCE.to_owned(),
        cluster: "my-cluster".to_owned(),
        match_images: Vec::new(),
    };
    assert_eq!(args("docker.io", "http://a", None, "1m").wanted().unwrap().dial_timeout, "60s");
    assert_eq!(
        args("docker.io", "http://a", None, "500ms").wanted().unwrap().dial_timeout,
        "500ms"
    );
    for wrong in [
        args("docker.io/library", "http://a", None, "3s"),
        args("a\"b", "http://a", None, "3s"),
        args("docker.io", "http://a/v2", None, "3s"),
        args("docker.io", "ftp://a", None, "3s"),
        args("docker.io", "http://a", Some("ca.pem"), "3s"),
        args("docker.io", "https://a", Some("/a\"b"), "3s"),
        args("docker.io", "http://a", None, "3"),
        args("docker.io", "http://a", None, "0s"),
    ] {
        let text = format!("{wrong:?}");
        assert!(wrong.wanted().is_err(), "{text}");
    }
}
