"""The series of the project's own metrics that the dashboard of the template shows."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.unit.conftest import ROOT
from tools import cfn

NAMESPACE = "Perennial"
Series = tuple[str, frozenset[str]]


def series() -> set[Series]:
    """Return name and names of the dimensions of each; CloudWatch User Guide, "Dashboard body structure and syntax"."""
    body = cfn.load(ROOT / "template.yaml")["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    shown, before = set(), list[Any]()
    for widget in json.loads(body)["widgets"]:
        for metric in widget["properties"]["metrics"]:
            if isinstance(metric[0], dict):
                shown.add(_searched(metric[0]["expression"]))
                continue
            names = [part for part in metric if isinstance(part, str)]
            if names[0] == "...":
                names = before[: len(before) - len(names) + 1] + names[1:]
            before = [before[place] if part == "." else part for place, part in enumerate(names)]
            if before[0] == NAMESPACE:
                shown.add((before[1], frozenset(before[2::2])))
    return shown


def _searched(expression: str) -> Series:
    """Return what a search looks for; CloudWatch User Guide, "Search expression syntax"."""
    match = re.match(r"SEARCH\('\{(\w+),([\w,]+)\} MetricName=\"(\w+)\"", expression)
    assert match is not None
    assert match[1] == NAMESPACE
    return match[3], frozenset(match[2].split(","))


def published(lines: str) -> set[Series]:
    """Return the series among the lines of a function's log that have metrics; "Embedded metric format"."""
    found = set()
    for line in lines.splitlines():
        if "CloudWatchMetrics" in line:
            for one in json.loads(line)["_aws"]["CloudWatchMetrics"]:
                assert one["Namespace"] == NAMESPACE
                found |= {(m["Name"], frozenset(d)) for m in one["Metrics"] for d in one["Dimensions"]}
    return found
