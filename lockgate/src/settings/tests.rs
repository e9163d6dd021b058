//! Settings as people write them, in every layer.

use super::*;

fn sources(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> Sources {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.keep().join("lockgate.yaml");
    std::fs::write(&path, file).expect("can write");
    Sources {
        file: Some(path),
        variables: variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        flags: flags
            .iter()
            .map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned()))
            .collect(),
    }
}

fn problems(sources: &Sources) -> String {
    let file = sources.file.as_ref().unwrap().display().to_string();
    load(sources).map_or_else(|e| e.to_string().replace(&file, "FILE"), |_| "none".to_owned())
}

#[test]
fn nothing_written_gives_defaults_that_work() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.settings.listeners[0].address.as_str(), "127.0.0.1:5050");
    assert_eq!(loaded.settings.cache.reserve.bytes(), 256 << 20);
    assert_eq!(loaded.settings.fills.parts_max_bytes.bytes(), 20 << 30);
    assert!(loaded.settings.data_dir.is_some());
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let sources = sources(
        "cache: { maxBytes: 1GiB, reserve: 1GiB, grace: 1m }\nlisteners:\n- address: '127.0.0.1:1'\n  http2: true\n",
        &[
            ("LOCKGATE_CACHE__MAX_BYTES", "2GiB"),
            ("LOCKGATE_CACHE__RESERVE", "2GiB"),
            ("LOCKGATE_LISTENERS__0__ADDRESS", "127.0.0.1:2"),
            ("LOCKGATE_LISTENERS__1__ADDRESS", "127.0.0.1:3"),
            ("LOCKGATE_LISTENERS__1__TRUSTED_PROXIES", "[10.0.0.0/8]"),
            ("LOCKGATE_LOG__ACCESS", "false"),
            ("LOCKGATE_LOG__FORMAT", "json"),
            ("LOCKGATE_WORKERS", "3"),
            ("LOCKGATE_TOKEN", "secret"),
            ("LOCKGATE_RESOURCES_DIR", ""),
            ("PATH", "/bin"),
        ],
        &[("--set cache.maxBytes", "cache.maxBytes", "3GiB")],
    );
    let loaded = load(&sources).unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.cache.max_bytes.as_ref().unwrap().bytes(), 3 << 30);
    assert_eq!(settings.cache.reserve.bytes(), 2 << 30);
    assert_eq!(settings.cache.grace.get().as_secs(), 60);
    assert_eq!(settings.listeners[0].address.as_str(), "127.0.0.1:2");
    assert!(settings.listeners[0].http2, "the file's other fields stay");
    assert_eq!(settings.listeners[1].trusted_proxies.len(), 1);
    assert_eq!(settings.workers, Some(3));
    assert!(!settings.log.access);
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.resources_dir, None);
    let printed = print(settings, &loaded.written);
    let origin = |option: &str| {
        let line = printed.lines().find(|line| line.trim_start().starts_with(option)).unwrap();
        line.split("  # ").nth(1).unwrap().to_owned()
    };
    assert_eq!(origin("maxBytes"), "--set cache.maxBytes");
    assert_eq!(origin("reserve"), "environment LOCKGATE_CACHE__RESERVE");
    assert!(origin("grace").ends_with("lockgate.yaml:1:48"), "{printed}");
    assert_eq!(origin("lowWatermark"), "default");
    assert!(!printed.contains("secret"));
}

#[test]
fn what_is_printed_reads_back_as_the_same_settings() {
    let sources = sources(
        "listeners: [{address: '[::1]:5', tls: {certFile: 'a: b', keyFile: '#k'}}, {address: '0.0.0.0:80', publicUrls: [https://a.example]}]\nlog: {level: 'info,upstream=debug'}\n",
        &[],
        &[],
    );
    let loaded = load(&sources).unwrap();
    let printed = print(&loaded.settings, &loaded.written);
    let again = resources::from_yaml::<Settings>("printed", &printed);
    assert_eq!(again.unwrap_or_else(|e| panic!("{e}\n{printed}")), loaded.settings);
}

#[test]
fn every_mistake_is_told_with_its_place_and_the_nearest_name() {
    for (file, variables, flags, wanted) in [
        ("cahce: {}\n", vec![], vec![], "FILE:1:1: cahce: unknown field; did you mean `cache`?"),
        (
            "maxBytes: 1GiB\n",
            vec![],
            vec![],
            "FILE:1:1: maxBytes: unknown field; did you mean `cache.maxBytes`?",
        ),
        (
            "log: { format: xml }\n",
            vec![],
            vec![],
            "FILE:1:16: log.format: \"xml\" is not one of: text, json",
        ),
        ("workers: 0\n", vec![], vec![], "FILE:1:10: workers: 0 is not between 1 and 1024"),
        (
            "listeners: [{ address: localhost }]\n",
            vec![],
            vec![],
            "FILE:1:24: listeners[0].address: not an address to listen on; write one such as \
             127.0.0.1:5050, 0.0.0.0:5050 or [::]:5050",
        ),
        ("listeners: []\n", vec![], vec![], "FILE:1:12: listeners: at least one entry is needed"),
        (
            "listeners: [{ address: '127.0.0.1:5' }, { address: '127.0.0.1:5' }]\n",
            vec![],
            vec![],
            "FILE:1:52: listeners[1].address: another listener has this address",
        ),
        (
            "listeners: [{ proxyProtocol: true, publicUrls: ['https://a/b'] }]\n",
            vec![],
            vec![],
            "FILE:1:30: listeners[0].proxyProtocol: needs trustedProxies: whose headers are to be \
             believed?\nFILE:1:49: listeners[0].publicUrls[0]: clients know no path before /v2/; \
             write scheme, host and port",
        ),
        (
            "cache: { lowWatermark: 95% }\n",
            vec![],
            vec![],
            "FILE:1:24: cache.lowWatermark: must be below cache.highWatermark",
        ),
        (
            "",
            vec![("LOCKGATE_CACHE__MAX_BYTE", "1GiB")],
            vec![],
            "environment LOCKGATE_CACHE__MAX_BYTE: no option is named CACHE__MAX_BYTE; did you \
             mean `LOCKGATE_CACHE__MAX_BYTES`?",
        ),
        (
            "",
            vec![("LOCKGATE_CAHCE__MAX_BYTE", "1GiB")],
            vec![],
            "environment LOCKGATE_CAHCE__MAX_BYTE: no option is named CAHCE__MAX_BYTE; did you \
             mean `LOCKGATE_CACHE__MAX_BYTES`?",
        ),
        (
            "",
            vec![("LOCKGATE_CACHE__MAX_BYTES", "lots")],
            vec![],
            "environment LOCKGATE_CACHE__MAX_BYTES: cache.maxBytes: \"lots\" is no size; write one \
             such as 512MiB, 200GiB or 1.5TiB",
        ),
        (
            "",
            vec![("LOCKGATE_DATADIR", "/x")],
            vec![],
            "environment LOCKGATE_DATADIR: no option is named DATADIR; did you mean \
             `LOCKGATE_DATA_DIR`?",
        ),
        (
            "",
            vec![("LOCKGATE_LISTENERS__4__HTTP2", "true")],
            vec![],
            "environment LOCKGATE_LISTENERS__4__HTTP2: entry 4 of a list that has 0 entries",
        ),
        (
            "",
            vec![],
            vec![("--set cache.maxByte", "cache.maxByte", "1")],
            "--set cache.maxByte: no option is named cache.maxByte; did you mean `cache.maxBytes`?",
        ),
    ] {
        assert_eq!(problems(&sources(file, &variables, &flags)), wanted, "{file} {variables:?}");
    }
}

#[test]
fn variables_of_a_kubernetes_service_named_lockgate_are_no_mistake() {
    let sources = sources(
        "",
        &[
            ("LOCKGATE_SERVICE_HOST", "10.0.0.1"),
            ("LOCKGATE_PORT", "tcp://10.0.0.1:5050"),
            ("LOCKGATE_PORT_5050_TCP_ADDR", "10.0.0.1"),
        ],
        &[],
    );
    assert_eq!(load(&sources).unwrap().foreign_variables.len(), 3);
}

#[test]
fn every_option_is_described_and_has_a_default_in_the_schema() {
    let schema = json_schema();
    let mut maps = vec![&schema];
    maps.extend(schema["$defs"].as_object().unwrap().values());
    for map in maps {
        for (name, field) in map["properties"].as_object().into_iter().flatten() {
            assert!(field["description"].is_string(), "{name} has no description");
        }
    }
    assert_eq!(schema["properties"]["cache"]["default"]["reserve"], "256MiB");
}

#[test]
fn the_reference_names_every_option_with_its_default() {
    let reference = include_str!("../../../docs/reference/settings.md");
    let schema = json_schema();
    let mut paths = Vec::new();
    option_paths(&schema, &schema, "", &mut paths);
    assert!(paths.contains(&"listeners[].tls.certFile".to_owned()), "{paths:?}");
    let defaults = serde_json::to_value(Settings::default()).unwrap();
    for path in paths {
        let row = reference.lines().find(|line| line.starts_with(&format!("| `{path}` |")));
        let row = row.unwrap_or_else(|| panic!("settings.md does not name {path}"));
        let pointer = format!("/{}", path.replace("[]", "/0").replace('.', "/"));
        let default = match defaults.pointer(&pointer) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(value) if !value.is_null() && !value.is_array() => value.to_string(),
            _ => continue,
        };
        assert!(row.contains(&format!("| `{default}` |")), "default of {path} is {default}");
    }
}

/// The paths of all options that hold no others, lists of others apart.
fn option_paths(
    root: &serde_json::Value,
    schema: &serde_json::Value,
    path: &str,
    paths: &mut Vec<String>,
) {
    let branches = schema["anyOf"].as_array().into_iter().flatten();
    let target = branches.chain([schema]).find_map(|schema| schema["$ref"].as_str());
    let name = target.and_then(|target| target.strip_prefix("#/$defs/"));
    let schema = name.map_or(schema, |name| &root["$defs"][name]);
    match (schema["properties"].as_object(), &schema["items"]["$ref"]) {
        (Some(fields), _) => {
            for (name, field) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                option_paths(root, field, &format!("{path}{dot}{name}"), paths);
            }
        }
        (None, serde_json::Value::String(_)) => {
            option_paths(root, &schema["items"], &format!("{path}[]"), paths);
        }
        _ => paths.push(path.to_owned()),
    }
}
