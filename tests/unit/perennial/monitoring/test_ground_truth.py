"""Labels in both forms, and their merge with requests: every kind of label is counted."""

from __future__ import annotations

import gzip
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial.features.column import Column
from perennial.monitoring import ground_truth
from perennial.monitoring.capture import Tally
from perennial.monitoring.ground_truth import Joined, Labels, Requests
from tests.memory import bounded

END = datetime(2026, 11, 29, 12)  # noqa: DTZ001 - UTC
PRICE, SOLD = Column("price", "float"), Column("sold", "boolean")


def line(identifier: Any, data: Any, encoding: str = "CSV") -> str:
    truth = {"groundTruthData": {"data": data, "encoding": encoding}, "eventMetadata": {"eventId": identifier}}
    return json.dumps({**truth, "eventVersion": "0"})


def write(folder: Path, name: str, *lines: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def joined(folder: Path, ids: list[str], target: Column = PRICE) -> tuple[dict[float, float], dict[str, Any]]:
    """Label by score, where the score of request n is n; and what was counted."""
    tally, asked = Tally(), Requests()
    for number, identifier in enumerate(ids):
        asked.add(identifier, float(number))
    labels = Labels(target, asked, tally)
    labels.read(folder)
    found = labels.joined(END)
    return dict(zip(found.scores[found.has_label].tolist(), found.labels.tolist(), strict=True)), tally.as_json()


NONE = dict.fromkeys(("contradicting", "duplicate", "labels", "late", "matched", "missing", "unmatched"), 0)


def test_labels_of_both_forms_find_their_requests(tmp_path: Path) -> None:
    write(tmp_path, "2026/11/29/11/a.jsonl", line("car-1", "100.5"))
    write(tmp_path, "2026/11/29/11/b.jsonl.gz", line("car-2", " 200\n"))
    write(tmp_path, "c.csv", "inference_id,label", "car-3,300", '"car-4","1e3"')
    write(tmp_path, "d.csv", "\ufefflabel,note,inference_id", "500,x,car-5")
    found, counts = joined(tmp_path, [f"car-{number}" for number in range(6)])
    assert found == {1: 100.5, 2: 200, 3: 300, 4: 1000, 5: 500}
    assert counts == {**NONE, "labels": 5, "matched": 5, "missing": 1, "examples": []}


def test_of_several_labels_the_last_counts_and_contradictions_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "2026/11/29/12/late.jsonl", line("car-0", "9"))
    write(
        tmp_path,
        "2026/11/29/10/a.jsonl",
        line("car-0", "1"),
        line("car-0", "9"),
        line("car-1", "5"),
        line("car-1", "5"),
    )
    found, counts = joined(tmp_path, ["car-0", "car-1"])
    assert found == {0: 9, 1: 5}
    assert counts == {**NONE, "labels": 5, "matched": 2, "duplicate": 3, "contradicting": 1, "late": 1, "examples": []}


def test_a_file_that_is_in_no_hour_is_never_late_and_beaten_by_all_that_are_in_one(tmp_path: Path) -> None:
    write(tmp_path, "2026/11/29/10/a.jsonl", line("car-0", "1"))
    write(tmp_path, "corrected.csv", "inference_id,label", "car-0,2", "car-1,3")
    write(tmp_path, "corrected-again.csv", "inference_id,label", "car-0,4", "car-1,5")
    found, counts = joined(tmp_path, ["car-0", "car-1"])
    assert found == {0: 1, 1: 3}
    assert (counts["late"], counts["duplicate"], counts["contradicting"]) == (0, 3, 3)


def test_labels_that_meet_are_told_apart_however_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any batches: of 40 requests, two of which were sent twice, each with up to six labels in three hours."""
    random = np.random.default_rng(0)
    ids = [f"car-{number}" for number in (*range(40), 3, 7)]
    last: dict[str, tuple[int, float]] = {}
    labels: list[tuple[str, float]] = []
    for hour in (10, 11, 12):
        read = [(str(random.choice(ids)), float(random.integers(0, 3))) for _ in range(80)]
        write(tmp_path, f"2026/11/29/{hour}/a.jsonl", *(line(identifier, str(value)) for identifier, value in read))
        last.update({identifier: (hour, value) for identifier, value in read})
        labels += read
    contradicting = sum(value != last[identifier][1] for identifier, value in labels)
    for batch in (1, 7, 8192):
        monkeypatch.setattr(ground_truth, "BATCH", batch)
        found, counts = joined(tmp_path, ids)
        assert found == {place: last[identifier][1] for place, identifier in enumerate(ids) if identifier in last}
        assert (counts["duplicate"], counts["contradicting"]) == (240 - len(last), contradicting)
        assert counts["late"] == sum(hour == 12 for hour, _ in last.values())
        assert counts["matched"] + counts["missing"] == len(ids)


def test_labels_of_other_requests_take_no_memory() -> None:
    labels = Labels(PRICE, Requests(), Tally())
    before = sys.getsizeof(labels._beaten[0]) + labels._values.nbytes
    labels._join(np.arange(100_000, dtype=np.uint64), np.zeros(100_000, np.int32), np.ones(100_000))
    assert sys.getsizeof(labels._beaten[0]) + labels._values.nbytes == before
    assert labels.joined(END).size == 0


def test_of_very_many_labels_some_are_measured_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Requests()
    for number in range(1000):
        asked.add(f"car-{number}", float(number))
    values = np.where(np.arange(1000) % 2, np.arange(1000) + 0.5, np.nan)
    labelled = Joined(*asked.sort(), values, asked.scores)
    assert labelled.measured[0].tolist() == labelled.labels.tolist()
    monkeypatch.setattr(ground_truth, "MEASURED", 100)
    some, scores = Joined(labelled.ids, labelled.places, values, asked.scores).measured
    assert (some - 0.5).tolist() == scores.tolist() == sorted(set(scores.tolist()))
    assert len(some) == 100
    assert some.mean() == pytest.approx(500, abs=80)


def test_labels_of_unknown_requests_and_requests_without_labels_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "inference_id,label", "other-1,3", "other-2,4", "car-0,5")
    found, counts = joined(tmp_path, ["car-0", "car-1", "car-2"])
    assert found == {0: 5}
    assert counts == {**NONE, "labels": 3, "matched": 1, "unmatched": 2, "missing": 2, "examples": []}


def test_one_label_serves_requests_that_were_sent_twice(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "inference_id,label", "car-0,5")
    assert joined(tmp_path, ["car-0", "car-0"])[0] == {0: 5, 1: 5}


def test_labels_are_read_as_the_targets_values_are(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "inference_id,label", "car-0,true", "car-1,No", "car-2,maybe", "car-3,")
    found, counts = joined(tmp_path, [f"car-{number}" for number in range(4)], SOLD)
    assert found == {0: 1, 1: 0}
    assert counts["unreadable_labels"] == 2
    assert counts["examples"][0] == "a.csv, line 4: expected true or false"


def test_labels_that_the_definition_does_not_allow_are_none(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "inference_id,label", "car-0,1", "car-1,2", "car-2,-1")
    found, counts = joined(tmp_path, ["car-0", "car-1"], Column("sold", "integer", minimum=0, maximum=1))
    assert (found, counts["unreadable_labels"]) == ({0: 1}, 2)
    assert counts["examples"][0] == "a.csv, line 3: expected a whole number, at least 0, at most 1"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", "nonsense"), ("a.jsonl", "3"), ("a.jsonl", "{}"), ("a.jsonl", line(7, "1")),
        ("a.jsonl", line("car-0", "secret", "BASE64")), ("a.csv", "car-0,secret"), ("a.jsonl", line("car-0", "1,2")),
        ("a.jsonl", line("car-0", "\ud800")), ("a.jsonl", line("car-0", "secret")),
        ("a.csv", "inference_id,label\ncar-0"),
    ],
)  # fmt: skip
def test_an_example_of_what_is_no_label_says_where_it_stands_and_not_what(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, name, text)
    found, counts = joined(tmp_path, ["car-0"])
    (example,) = counts["examples"]
    assert (found, counts["unreadable_labels"]) == ({}, 1)
    assert example.startswith(f"{name}, line ")
    assert "car-0" not in example
    assert "secret" not in example


def test_without_labels_or_requests_there_is_nothing_to_join(tmp_path: Path) -> None:
    assert joined(tmp_path, ["car-0"]) == ({}, {**NONE, "missing": 1, "examples": []})
    write(tmp_path, "a.csv", "inference_id,label", "car-0,5")
    assert joined(tmp_path, []) == ({}, {**NONE, "labels": 1, "unmatched": 1, "examples": []})


@pytest.mark.parametrize(
    "bad", ['"never closed,1', "x" * 200_000 + ",1", f'"{"x" * 200_000}",1', "a\x00,\x00", "one field"]
)
def test_a_line_of_csv_that_is_none_hides_no_other_label(tmp_path: Path, bad: str) -> None:
    write(tmp_path, "c.csv", "inference_id,label", "car-0,100", bad, "car-1,300")
    found, counts = joined(tmp_path, ["car-0", "car-1"])
    assert found == {0: 100, 1: 300}
    assert counts.get("unreadable_labels", 0) + counts["unmatched"] == 1


def test_a_header_that_is_longer_than_any_row_is_none(tmp_path: Path) -> None:
    write(tmp_path, "c.csv", f'"{"x" * 200_000}",label', "car-0,100")
    write(tmp_path, "d.csv", "inference_id,label", "car-0,200")
    assert joined(tmp_path, ["car-0"])[0] == {0: 200}


def test_labels_of_ten_megabytes_wait_for_no_others(tmp_path: Path) -> None:
    """Ids and texts of a batch are held together: those of the longest lines one after the other."""
    long = "x" * 10_000_000
    write(tmp_path, "c.csv", "inference_id,label", *[f"{long},1", f"car-1,{long}"] * 13, "car-0,100")
    with bounded():
        found, counts = joined(tmp_path, ["car-0", "car-1"])
    assert (found, counts["unmatched"], counts["unreadable_labels"]) == ({0: 100}, 13, 13)
