//! Documents as kubectl prints them, and torn ones.

use super::*;

/// Reference, who, pods, names, digests that run.
type Told = (String, String, u64, Vec<String>, usize);

/// How many objects there are, and what was collected of them.
fn read_all(text: &str) -> (u64, Vec<Told>) {
    let mut collected = Collected::new(None);
    let objects = read(text.as_bytes(), &mut collected).unwrap();
    let asked = collected.into_asked().into_iter().map(|it| {
        let who = it.who.as_deref().unwrap_or_default().to_owned();
        (it.reference, who, it.pods.len() as u64, it.names, it.running.len())
    });
    (objects, asked.collect())
}

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn pods() -> String {
    let pod = |name: &str, account: &str, image: &str, id: &str| {
        format!(
            r#"{{ "apiVersion": "v1", "kind": "Pod",
              "metadata": {{ "name": "{name}", "namespace": "shop", "labels": {{ "a": "b" }} }},
              "spec": {{ {account}
                "initContainers": [{{ "name": "init", "image": "busybox" }}],
                "containers": [
                  {{ "name": "web", "image": "{image}", "ports": [{{ "containerPort": 80 }}] }},
                  {{ "name": "again", "image": "{image}" }}],
                "volumes": [
                  {{ "name": "conf", "configMap": {{ "name": "c" }} }},
                  {{ "name": "model", "image": {{ "reference": "quay.io/m/model:v1" }} }}] }},
              "status": {{ "phase": "Running", "containerStatuses": [
                {{ "name": "web", "imageID": "{id}", "image": "x" }}] }} }}"#
        )
    };
    let account = r#""serviceAccountName": "web", "#;
    format!(
        r#"{{ "apiVersion": "v1", "items": [{}, {}, {}], "kind": "List", "metadata": {{}} }}"#,
        pod("web-1", account, "nginx:1.27", &format!("docker.io/library/nginx@{DIGEST}")),
        pod("web-2", account, "docker.io/library/nginx:1.27", DIGEST),
        pod("old", "", &format!("nginx@{DIGEST}"), &format!("nginx@{DIGEST}")),
    )
}

#[test]
fn each_image_of_a_pod_is_asked_for_by_its_account() {
    let (objects, asked) = read_all(&pods());
    assert_eq!(objects, 3);
    let web = "system:serviceaccount:shop:web".to_owned();
    let other = "system:serviceaccount:shop:default".to_owned();
    let both = vec!["shop/web-1".to_owned(), "shop/web-2".to_owned()];
    let old = vec!["shop/old".to_owned()];
    let expected = [
        ("docker.io/library/busybox:latest".to_owned(), web.clone(), 2, both.clone(), 0),
        ("docker.io/library/nginx:1.27".to_owned(), web.clone(), 2, both.clone(), 1),
        ("quay.io/m/model:v1".to_owned(), web, 2, both, 0),
        ("docker.io/library/busybox:latest".to_owned(), other.clone(), 1, old.clone(), 0),
        (format!("docker.io/library/nginx@{DIGEST}"), other.clone(), 1, old.clone(), 0),
        ("quay.io/m/model:v1".to_owned(), other, 1, old, 0),
    ];
    assert_eq!(asked, expected);
}

#[test]
fn whatever_makes_pods_is_read_by_its_template() {
    let template = r#"{ "spec": { "serviceAccountName": "job",
        "containers": [{ "name": "a", "image": "ghcr.io/a/b:1" }] } }"#;
    for (kind, spec) in [
        ("Deployment", format!(r#"{{ "replicas": 3, "selector": {{}}, "template": {template} }}"#)),
        ("StatefulSet", format!(r#"{{ "template": {template} }}"#)),
        ("DaemonSet", format!(r#"{{ "template": {template} }}"#)),
        ("Job", format!(r#"{{ "template": {template} }}"#)),
        ("CronJob", format!(r#"{{ "jobTemplate": {{ "spec": {{ "template": {template} }} }} }}"#)),
    ] {
        let object = format!(
            r#"{{ "kind": "{kind}", "metadata": {{ "name": "x", "namespace": "n" }}, "spec": {spec} }}"#
        );
        let name = format!("n/{}/x", kind.to_ascii_lowercase());
        let who = "system:serviceaccount:n:job".to_owned();
        let expected = vec![("ghcr.io/a/b:1".to_owned(), who, 1, vec![name], 0)];
        // Alone, in a list, in an array, and one after the other.
        assert_eq!(read_all(&object), (1, expected.clone()), "{kind}");
        let list = format!(r#"{{ "kind": "List", "items": [{object}] }}"#);
        assert_eq!(read_all(&list), (1, expected.clone()), "{kind}");
        assert_eq!(read_all(&format!("[{object}]")), (1, expected), "{kind}");
        let (objects, asked) = read_all(&format!("{object}\n{object}\n"));
        assert_eq!((objects, asked[0].2), (2, 2), "{kind}");
    }
}

#[test]
fn what_is_no_pod_is_passed_over_and_what_is_no_json_is_told() {
    for text in [
        "{}",
        r#"{ "items": [] }"#,
        r#"{ "kind": "Service", "spec": { "ports": [] } }"#,
        r#"{ "items": [{ "spec": null, "metadata": null, "status": null }] }"#,
        r#"{ "spec": { "containers": [{ "image": null }, {}], "volumes": null } }"#,
    ] {
        assert_eq!(read_all(text).1, [], "{text}");
    }
    let deep = "[".repeat(100_000);
    let nested = format!("{}{}", r#"{"spec":{"template":"#.repeat(5000), "}".repeat(10_000));
    for text in ["", "{", "[1]", "nonsense", r#"{ "items": 5 }"#, &deep, &nested] {
        let mut collected = Collected::new(None);
        assert!(read(text.as_bytes(), &mut collected).is_err(), "{}", &text[..text.len().min(40)]);
    }
}

#[test]
fn an_object_that_does_not_end_is_given_up() {
    let begin = &br#"{ "kind": ""#[..];
    let mut collected = Collected::new(None);
    let endless = begin.chain(io::repeat(b'x').take(1 << 30));
    let error = read(endless, &mut collected).unwrap_err();
    assert!(error.to_string().contains("longer than 16 MiB"), "{error}");
}

#[test]
fn a_list_is_as_long_as_it_likes() {
    let one = r#"{ "metadata": { "name": "p", "namespace": "n" }, "spec": { "containers": [{ "image": "a" }] } }"#;
    let padding = " ".repeat(1 << 20);
    let items: Vec<String> = (0..40).map(|_| format!("{padding}{one}")).collect();
    let (objects, asked) = read_all(&format!(r#"{{ "items": [{}] }}"#, items.join(",")));
    assert_eq!((objects, asked.len(), asked[0].2), (40, 1, 40));
}

/// Cut, doubled and torn anywhere: an error or objects, nothing else.
#[test]
fn hostile_documents_never_panic() {
    let whole = pods();
    let mut objects = 0;
    for at in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
        let (before, after) = whole.split_at(at);
        for text in [
            before.to_owned(),
            after.to_owned(),
            format!("{before}[{after}"),
            format!("{before}\"{after}"),
            format!("{before}{{}}{after}"),
            format!("{before}null{after}"),
        ] {
            let mut collected = Collected::new(None);
            objects += read(text.as_bytes(), &mut collected).unwrap_or(0);
        }
    }
    assert!(objects > 0);
}
