#!/usr/bin/env python3
"""Beginnings for the fuzzer out of what stands in the repository: the examples of documents, the scenarios and
the expressions that other tests use. `seeds.py DIR` writes DIR/<target>/<name>."""

import hashlib
import pathlib
import re
import sys

top = pathlib.Path(__file__).resolve().parent.parent
out = pathlib.Path(sys.argv[1])


def write(target, text):
    place = out / target
    place.mkdir(parents=True, exist_ok=True)
    (place / hashlib.sha256(text.encode()).hexdigest()[:16]).write_text(text)


def blocks(text):
    return re.findall(r"^```ya?ml\n(.*?)^```", text, re.M | re.S)


for path in sorted((top / "tests/scenarios").rglob("*.yaml")):
    text = path.read_text()
    write("scenarios", text)
    found = re.search(r"^resources: \|\n((?:  .*\n|\n)+)", text, re.M)
    if found:
        write("resources", re.sub(r"^  ", "", found.group(1), flags=re.M))

for path in sorted((top / "docs").rglob("*.md")):
    for block in blocks(path.read_text()):
        if "apiVersion: lockgate.dev" in block:
            write("resources", block)

for path in sorted((top / "crates/policy/tests/cel").glob("*.txt")):
    for line in path.read_text().splitlines():
        if line and not line.startswith("//"):
            write("cel", line + "\0\x01\x02\x03")
