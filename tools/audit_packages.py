"""Ask OSV whether a locked package has a known vulnerability.

    python -m tools.audit_packages [LOCK...]

Reads requirements/*.txt and asks once for all of them: OSV, "POST /v1/querybatch" (google.github.io/osv.dev). Prints
a line for each finding and exits with 1 if there is any. Where OSV does not answer within seconds, says so and exits
with 0: a machine without a network can still check everything else.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tools.terminal import run

ROOT = Path(__file__).parents[1]
URL = "https://api.osv.dev/v1/querybatch"
TIMEOUT_SECONDS = 5
MOST = 1000  # queries in one request
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)

Package = tuple[str, str]
Ask = Callable[[list[Package]], list[list[str]]]


def pinned(locks: list[Path]) -> dict[Package, list[str]]:
    """Return each locked (name, version) with the names of the locks that have it."""
    locks_by_package: dict[Package, list[str]] = {}
    for lock in locks:
        for name, version in PIN.findall(lock.read_text("utf-8")):
            locks_by_package.setdefault((name, version), []).append(lock.name)
    return locks_by_package


def ask_osv(packages: list[Package]) -> list[list[str]]:
    """Return the ids of the known vulnerabilities of each package. Raises OSError or ValueError without an answer."""
    answers: list[list[str]] = []
    for start in range(0, len(packages), MOST):
        queries = [
            {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
            for name, version in packages[start : start + MOST]
        ]
        body = json.dumps({"queries": queries}).encode()
        request = Request(URL, body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=TIMEOUT_SECONDS) as reply:  # noqa: S310  (https, above)
            results: list[dict[str, Any]] = json.load(reply)["results"]
        answers += [[vulnerability["id"] for vulnerability in result.get("vulns", [])] for result in results]
    return answers


def main(argv: list[str], ask: Ask = ask_osv) -> int:
    """Audit the locks. Return the exit code."""
    packages = pinned([Path(name) for name in argv] or sorted((ROOT / "requirements").glob("*.txt")))
    try:
        answers = ask(list(packages))
        findings = [(package, ids) for package, ids in zip(packages, answers, strict=True) if ids]
    except (OSError, HTTPException, ValueError, LookupError) as error:
        print(f"audit of {len(packages)} locked packages skipped: {URL} did not answer ({error})")
        return 0
    for (name, version), ids in findings:
        locks = ", ".join(packages[name, version])
        print(
            f"{name} {version} ({locks}) has {', '.join(ids)}: see https://osv.dev/{ids[0]}; make lock takes newer ones"
        )
    return 1 if findings else 0


if __name__ == "__main__":
    run(main, sys.argv[1:])
