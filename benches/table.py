#!/usr/bin/env python3
"""Medians of the figures of side-by-side.sh as a table, and the project's aims as ratios of the same run.

    table.py FIGURES.TSV COLUMN...
    table.py --hosted FIGURES.TSV COLUMN...     those of hosted.sh; the first column is compared with the best of the others

A line of the file is: metric, column, value. A metric that nothing was recorded for is left out."""

import statistics
import sys

LABELS = {
    "cold_first_byte_ms": "cold 8 MiB layer: first byte, ms",
    "cold_256m_ms": "cold 256 MiB layer: time, ms",
    "cold_256m_cpu_s": "cold 256 MiB layer: CPU s of the proxy",
    "cold_slow_ms": "cold 64 MiB layer, upstream at 100 MB/s: time, ms",
    "herd_last_ms": "16 clients at once, cold 64 MiB at 100 MB/s: last done, ms",
    "herd_first_byte_ms": "16 clients, the same: first byte (median), ms",
    "herd_downloads": "16 clients, the same: downloads from upstream",
    **{
        f"manifest_{kind}_c{connections}_{unit}": f"manifest by {kind}, {connections} connections: {text}"
        for connections in (16, 256)
        for kind in ("tag", "digest")
        for unit, text in (("rps", "requests/s"), ("p50_ms", "p50, ms"), ("p99_ms", "p99, ms"))
    },
    **{
        f"warm_c{clients}_{unit}": f"warm layer, {clients} client{'s' if clients > 1 else ''}: {text}"
        for clients in (1, 4, 64)
        for unit, text in (("gb_s", "GB/s"), ("cpu_s_per_gb", "CPU s per GB"))
    },
    "upstream_requests_per_1000_tag_pulls": "upstream requests per 1000 cached tag pulls",
    "memory_idle_mib": "memory: idle, MiB",
    "memory_high_water_mib": "memory: high water, mapped files included, MiB",
    "memory_own_mib": "memory: its own pages at the end, MiB",
}


WORKS = {"push": "push in one piece", "push_chunked": "push in chunks", "pull": "pull", "mixed": "3 pulls to 1 push"}
UNITS = {"per_second": "images/s", "mb_per_second": "MB/s", "p50_ms": "p50, ms", "p99_ms": "p99, ms"}
LISTS = {
    "seed_tags": "tags of one image, pushed",
    "tags_whole": "list of all tags, one page",
    "tags_paged": "list of all tags, pages of 1000",
    "seed_names": "repositories, pushed by mount",
    "catalog_whole": "catalog, pages of 1000",
}
HOSTED_LABELS = {
    **{f"{work}_{size}m_{unit}": f"{text}, {size} MB: {shown}" for size in (1, 10, 100) for work, text in WORKS.items() for unit, shown in UNITS.items()},
    **{f"{work}_{unit}": f"{text}: {UNITS[unit] if unit != 'per_second' else 'per second'}" for work, text in LISTS.items() for unit in ("per_second", "p99_ms")},
    **{key: text for key, text in LABELS.items() if key.startswith("memory")},
}


def read(path):
    figures = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            metric, column, value = line.rstrip("\n").split("\t")
            figures.setdefault((metric, column), []).append(float(value))
    return {key: statistics.median(values) for key, values in figures.items()}


def shown(value):
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(medians, columns, labels=None):
    rows = [["", *columns]]
    for metric, label in (labels or LABELS).items():
        values = [medians.get((metric, column)) for column in columns]
        if any(value is not None for value in values):
            rows.append([label, *map(shown, values)])
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def aims(medians):
    """The aims of the project: text, the figure that is compared, and its bound."""

    def of(metric, column="lockgate"):
        return medians.get((metric, column))

    def ratio(one, other):
        return None if one is None or not other else one / other

    def more(one, other):
        return None if one is None or other is None else one - other

    tag, digest, cpu = "manifest_tag_c16_rps", "manifest_digest_c16_rps", "_cpu_s_per_gb"
    yield "cold first byte after the upstream's own, ms", "<= 3", more(of("cold_first_byte_ms"), of("cold_first_byte_ms", "direct"))
    yield "cold time / direct download, upstream at 100 MB/s", "<= 1.2", ratio(of("cold_slow_ms"), of("cold_slow_ms", "direct"))
    yield "cold time / direct download, upstream as fast as it can", "<= 1.2", ratio(of("cold_256m_ms"), of("cold_256m_ms", "direct"))
    yield "cold herd: last done / one download", "<= 1.1", ratio(of("herd_last_ms"), of("cold_slow_ms", "direct"))
    yield "cold herd: downloads from upstream", "<= 1", of("herd_downloads")
    yield "manifests by tag / nginx's", ">= 0.5", ratio(of(tag), of(tag, "nginx"))
    yield "manifests by tag / distribution's by digest", ">= 5", ratio(of(tag), of(digest, "distribution"))
    for clients in (1, 4, 64):
        metric = f"warm_c{clients}{cpu}"
        yield f"warm CPU per GB / nginx's, {clients} client{'s' if clients > 1 else ''}", "<= 1.3", ratio(of(metric), of(metric, "nginx"))
    yield "idle memory, MiB", "<= 40", of("memory_idle_mib")


def compared(medians, columns):
    """For every row the first column against the best of the others: how many times better, worst row first."""
    ours, *others = columns
    for metric, label in HOSTED_LABELS.items():
        own = medians.get((metric, ours))
        values = [value for value in (medians.get((metric, other)) for other in others) if value]
        if not own or not values:
            continue
        is_less_better = metric.endswith("_ms") or metric.startswith("memory")
        yield (min(values) / own if is_less_better else own / max(values)), label


def hosted(path, columns):
    medians = read(path)
    table(medians, columns, HOSTED_LABELS)
    rows = sorted(compared(medians, columns))
    behind = [row for row in rows if row[0] < 1]
    print(f"\n{columns[0]} against the best of the others: ahead on {len(rows) - len(behind)} of {len(rows)} rows")
    for ratio, label in behind:
        print(f"  behind: {label}: {ratio:.2f}")


def main():
    if sys.argv[1] == "--hosted":
        hosted(sys.argv[2], sys.argv[3:])
        return
    medians, columns = read(sys.argv[1]), sys.argv[2:]
    table(medians, columns)
    print("\nAims (ratios of this run):")
    for text, aim, value in aims(medians):
        print(f"  {text}: aim {aim}, got {shown(value)}")


main()
