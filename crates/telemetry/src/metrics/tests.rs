//! What a scrape shows after things happened.

use super::*;

fn metrics() -> Arc<Metrics> {
    Metrics::new(Registry::default(), "1.2.3", None)
}

fn sample() -> RequestSample {
    RequestSample {
        method: MethodClass::Get,
        route: Route::Blob,
        status: 200,
        outcome: Outcome::Hit,
        cache: CacheStatus::Hit,
        bytes: 1000,
        duration: Duration::from_millis(3),
    }
}

/// The value of the one series that starts with `series`.
fn value(text: &str, series: &str) -> f64 {
    let found: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(series)).collect();
    assert_eq!(found.len(), 1, "{series} in\n{text}");
    found[0].trim().parse().unwrap()
}

#[test]
fn requests_are_counted_by_closed_labels() {
    let metrics = metrics();
    metrics.request(&sample());
    metrics.request(&sample());
    let denied = RequestSample {
        method: MethodClass::of("BREW"),
        route: Route::Manifest,
        status: 403,
        outcome: Outcome::Denied,
        cache: CacheStatus::None,
        ..sample()
    };
    metrics.request(&denied);
    let text = metrics.render();
    let hit = r#"lockgate_requests_total{method="get",route="blob",status="2xx",outcome="hit"}"#;
    assert_eq!(value(&text, hit), 2.0);
    let denied =
        r#"lockgate_requests_total{method="other",route="manifest",status="4xx",outcome="denied"}"#;
    assert_eq!(value(&text, denied), 1.0);
    assert_eq!(text.lines().filter(|line| line.starts_with("lockgate_requests_total")).count(), 2);
    assert_eq!(value(&text, "lockgate_sent_bytes_total"), 3000.0);
    assert_eq!(value(&text, r#"lockgate_artifact_sent_bytes_total{cache="hit"}"#), 2000.0);
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn every_label_value_has_its_own_cell() {
    let counters = Counters::new("x", "", [("a", &["1", "2", "3"]), ("b", &["x", "y"])]);
    let mut registry = Registry::default();
    for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)] {
        counters.add([a, b], (10 * a + b + 1) as u64);
    }
    registry.register_collector(Box::new(counters));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for (labels, count) in [(r#"a="1",b="y""#, 2.0), (r#"a="3",b="x""#, 21.0)] {
        assert_eq!(value(&text, &format!("x_total{{{labels}}}")), count);
    }
}

#[test]
fn durations_fall_into_cumulative_buckets() {
    let metrics = metrics();
    for millis in [0, 3, 3, 400, 1_000_000] {
        metrics.request(&RequestSample { duration: Duration::from_millis(millis), ..sample() });
    }
    let text = metrics.render();
    let name = "lockgate_request_duration_seconds";
    for (le, count) in [("0.0001", 1.0), ("0.005", 3.0), ("0.5", 4.0), ("+Inf", 5.0)] {
        let series = format!(r#"{name}_bucket{{le="{le}",route="blob"}}"#);
        assert_eq!(value(&text, &series), count, "{le}");
    }
    assert_eq!(value(&text, &format!(r#"{name}_count{{route="blob"}}"#)), 5.0);
    assert!((value(&text, &format!(r#"{name}_sum{{route="blob"}}"#)) - 1000.406).abs() < 1e-6);
}

#[test]
fn upstreams_are_bounded_and_retire() {
    let metrics = metrics();
    let hub = metrics.upstream("docker.io");
    let latency = Duration::from_millis(80);
    hub.request(UpstreamOutcome::Found, UpstreamClass::Waiting, latency);
    hub.received(77);
    hub.set_rate_limit(100, 42);
    let text = metrics.render();
    let series =
        r#"lockgate_upstream_requests_total{upstream="docker.io",outcome="found",class="waiting"}"#;
    assert_eq!(value(&text, series), 1.0);
    let remaining = r#"lockgate_upstream_rate_limit_remaining_requests{upstream="docker.io"}"#;
    assert_eq!(value(&text, remaining), 42.0);
    assert_eq!(
        value(&text, r#"lockgate_upstream_received_bytes_total{upstream="docker.io"}"#),
        77.0
    );
    metrics.retire_upstream("docker.io");
    let text = metrics.render();
    assert!(!text.contains(remaining) && text.contains(series), "{text}");
    for n in 0..2000 {
        metrics.upstream(&format!("u{n}")).received(1);
    }
    let text = metrics.render();
    let series = text.lines().filter(|line| line.starts_with("lockgate_upstream_received_bytes_t"));
    assert_eq!(series.count(), 512);
    assert!(text.contains(r#"{upstream="other"}"#));
}

#[test]
fn gauges_show_the_last_state() {
    let metrics = metrics();
    metrics.fill_started();
    metrics.fill_started();
    metrics.fill_finished(FillResult::Complete);
    metrics.connection_opened();
    metrics.connection_cut(CutReason::Idle);
    metrics.set_store(StoreGauges { blobs: 3, bytes: 5 << 40, ..StoreGauges::default() });
    metrics.set_catalog(CatalogGauges { writable: true, waiting_batches: 4, gaps: 1 });
    metrics.set_certificate("/tls/tls.crt", 4_102_444_800);
    metrics.set_revision("sha256:aa", "files");
    metrics.set_revision("sha256:bb", "files");
    metrics.reload_failed(ReloadTarget::Certificate);
    metrics.evicted(2, 2000);
    metrics.damaged_blob();
    let text = metrics.render();
    for (series, expected) in [
        ("lockgate_build_info{version=\"1.2.3\"}", 1.0),
        ("lockgate_fills_running", 1.0),
        ("lockgate_fills_started_total", 2.0),
        ("lockgate_fills_finished_total{result=\"complete\"}", 1.0),
        ("lockgate_connections_open", 1.0),
        ("lockgate_connections_cut_total{reason=\"idle\"}", 1.0),
        ("lockgate_store_bytes", (5_u64 << 40) as f64),
        ("lockgate_catalog_waiting_batches", 4.0),
        ("lockgate_catalog_writable", 1.0),
        (
            "lockgate_certificate_not_after_timestamp_seconds{path=\"/tls/tls.crt\"}",
            4_102_444_800.0,
        ),
        ("lockgate_revision_info{digest=\"sha256:bb\",source=\"files\"}", 1.0),
        ("lockgate_reload_failures_total{what=\"certificate\"}", 1.0),
        ("lockgate_evicted_bytes_total", 2000.0),
        ("lockgate_damaged_blobs_total", 1.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    assert!(!text.contains("sha256:aa"));
}

#[test]
fn lost_log_lines_are_shown() {
    let lines = Lines::new(std::io::sink(), 3).unwrap();
    lines.push(b"too long\n");
    let metrics = Metrics::new(Registry::default(), "1", Some(lines));
    assert_eq!(value(&metrics.render(), "lockgate_log_lines_lost_total"), 1.0);
}
