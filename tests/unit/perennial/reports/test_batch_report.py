"""The report of a file says what its check and its predictions say, whatever the data say."""

from __future__ import annotations

from typing import Any

from perennial.reports.batch import BatchFile, report
from tests.pages import Page
from tests.unit.perennial.reports.test_window_report import CONFIG, HOSTILE, NOW, THEN, VERDICT

BATCH = {"id": "20261129101500-1a2b", "key": "cars.csv", "version": None}
CHECKED: dict[str, Any] = {
    "verdict": "Healthy", "reasons": [], "notes": [], "file": "cars.csv", "rows": 1000, "refused": 3,
    "refusals": {"mileage: minimum": 3}, "analyses": {"data_quality": VERDICT["analyses"]["data_quality"]},
}  # fmt: skip


def read(verdict: dict[str, Any] = CHECKED, joined: dict[str, Any] | None = None) -> Page:
    return Page(report(BatchFile(verdict, {**CONFIG, "batch": BATCH}, THEN, NOW, joined)))


def test_rows_why_they_are_refused_and_distances_are_on_the_page() -> None:
    text = read().text
    for said in ("Healthy: cars.csv", "rows 1,000", "refused 3", "mileage: minimum 3", "0.287", "0.0% -> 12.5%"):
        assert said in text, said
    assert "Predictions" not in text


def test_where_a_copy_is_from_is_said_as_text() -> None:
    about = {**BATCH, "source": f"s3://lake/{HOSTILE}"}
    page = Page(report(BatchFile(CHECKED, {**CONFIG, "batch": about}, THEN, NOW)))
    assert "Copied from s3://lake/" in page.text
    assert list(page.unsafe()) == []
    assert "Copied from" not in read().text


def test_of_classes_the_rows_of_each_are_there() -> None:
    joined = {"scored": 997, "predictions": None, "distribution": {"classes": ["Adelie", "Gentoo"], "rows": [900, 97]}}
    assert "Adelie 900 Gentoo 97" in read(joined=joined).text


def test_what_data_say_stands_there_as_text() -> None:
    hostile = {**CHECKED, "file": HOSTILE, "reasons": [HOSTILE], "notes": [HOSTILE], "refusals": {HOSTILE: 1}}
    joined = {"scored": 1, "predictions": None, "distribution": {"classes": [HOSTILE], "rows": [1]}}
    assert list(read(hostile, joined).unsafe()) == []
