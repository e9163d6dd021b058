#!/usr/bin/env python3
"""Reads what the conformance program reports and judges the registry by it.

    judge.py MODE VERSION REPORT_DIRECTORY...      MODE: hosted, remote or virtual; VERSION: 1.1 or dev

Several reports are counted as one. Prints one line of counts and exits 0 if nothing failed and nothing was left out because of an answer of the registry;
else prints every such test with the request and the answer, and exits 1.

The program itself exits 0 when a registry lacks something optional, and calls such a test "skipped". What the settings of
a run leave out is "skipped" in its XML too, and is told apart by what the test printed.
"""

import re
import sys
import xml.etree.ElementTree as ET

# So many tests run at least, counted over a whole pass; a run that tested less was cut short.
TESTS_MIN = {("hosted", "1.1"): 850, ("hosted", "dev"): 970}
READ_ONLY_PASSES_MIN = 30
# Version 1.1 of the specification has no cancelling of uploads, and the program leaves it out by itself.
LEFT_OUT_BY_VERSION = {"1.1": {"Blob upload cancel"}, "dev": set()}
# What a client that may only read is not asked to try.
WRITING = re.compile(r"^(Blob (push|post|chunked|streaming|mount|anonymous mount|upload cancel|delete)|Manifest (put|delete)|Tag delete)")
SHOWN_BYTES = 6000


def left_out(case):
    """The APIs that settings disabled for this test; empty if it was not disabled."""
    return set(re.findall(r"api ([\w ]+?) is disabled in the configuration", case.findtext("system-err") or ""))


def main(mode, version, *directories):
    roots = [ET.parse(f"{directory}/junit.xml").getroot() for directory in directories]
    counts = {name: sum(int(root.get(name) or 0) for root in roots) for name in ("tests", "errors", "failures", "skipped", "disabled")}
    passed, bad = 0, []
    for case in (case for root in roots for case in root.iter("testcase")):
        status, name = case.get("status"), case.get("name")
        if status == "passed":
            passed += 1
            continue
        if status == "skipped" and not (case.findtext("system-out") or "").strip():
            apis = left_out(case)
            fine = apis and (apis <= LEFT_OUT_BY_VERSION[version] if mode == "hosted" else all(WRITING.match(api) for api in apis))
            if fine:
                continue
        bad.append(f"{status}: {name}\n{case.findtext('system-out') or ''}\n{(case.findtext('system-err') or '')[:SHOWN_BYTES]}")
    few = counts["tests"] < TESTS_MIN.get((mode, version), 0) or passed < READ_ONLY_PASSES_MIN
    if few:
        bad.append(f"only {counts['tests']} tests, {passed} passed")
    if counts["errors"] or counts["failures"] or counts["skipped"]:
        bad.insert(0, "the registry did not do all that it was asked")
    line = ", ".join(f"{value} {name}" for name, value in counts.items())
    print("\n".join([line, *bad]))
    return 1 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
