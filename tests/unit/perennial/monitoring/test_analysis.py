"""Clarify's metrics by hand, of granted loans: who counts where, and what has no value."""

from __future__ import annotations

import json
from math import log, sqrt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from perennial.monitoring import analysis
from perennial.monitoring.analysis import METRICS, NO_GROUP, OutcomeCounter, Outcomes, flip_test
from perennial.monitoring.bias import NO_VALUE, POST, PRE
from perennial.monitoring.facets import FacetCounter

WOMEN = {"column": "sex", "values": ["f"], "above": None}
SECTION = {"positive": {"values": [1], "above": None}}
# Rows are labels (not granted, granted), columns are answers.
MEN_OF_TOWNS, MEN_ELSEWHERE = [[200, 40], [30, 200]], [[100, 20], [10, 100]]
WOMEN_OF_TOWNS, WOMEN_ELSEWHERE = [[60, 5], [10, 50]], [[100, 15], [20, 40]]
COUNTS = np.array([[MEN_OF_TOWNS, MEN_ELSEWHERE], [WOMEN_OF_TOWNS, WOMEN_ELSEWHERE]])
LOANS = Outcomes(WOMEN, COUNTS, flipped=0.25)


def values(outcomes: Outcomes, stage: str | None = None) -> dict[str, float]:
    return {one.name: one.value(outcomes) for one in METRICS if stage in (None, one.stage)}


def test_metrics_of_the_data_are_those_that_clarify_documents() -> None:
    """Of 700 men 340 had their loan granted, of 300 women 120."""
    granted, refused = (340 / 700, 120 / 300), (360 / 700, 180 / 300)
    apart = granted[0] - granted[1]
    middle = [(one + other) / 2 for one, other in (granted, refused)]
    halves = [granted[side] * log(granted[side] / middle[0]) + refused[side] * log(refused[side] / middle[1])
              for side in (0, 1)]  # fmt: skip
    # In towns 595 loans were asked for: 290 granted, of them 60 to women; 305 refused, 65 of them to women.
    # Elsewhere 405: 170 granted, 60 to women; 235 refused, 115 to women.
    disparity = (595 * (65 / 305 - 60 / 290) + 405 * (115 / 235 - 60 / 170)) / 1000
    assert values(LOANS, PRE) == pytest.approx(
        {
            "CI": (700 - 300) / 1000,
            "DPL": apart,
            "KL": granted[0] * log(granted[0] / granted[1]) + refused[0] * log(refused[0] / refused[1]),
            "JS": sum(halves) / 2,
            "LP": sqrt(2 * apart**2),
            "TVD": apart,
            "KS": apart,
            "CDDL": disparity,
        }
    )


def test_metrics_of_the_model_are_those_that_clarify_documents() -> None:
    """Men: TN 300, FP 60, FN 40, TP 300. Women: TN 160, FP 20, FN 30, TP 90."""
    # In towns 295 were answered yes, 55 of them women, and 300 no, 70 of them; elsewhere 175, 55, and 230, 120.
    disparity = (595 * (70 / 300 - 55 / 295) + 405 * (120 / 230 - 55 / 175)) / 1000
    mean = (390 + 460 + 2 * 80) / 1000  # benefit 1 where it was right, 2 where it said yes and it was no, else 0
    assert values(LOANS, POST) == pytest.approx(
        {
            "DPPL": 360 / 700 - 110 / 300,
            "DI": (110 / 300) / (360 / 700),
            "DCA": 340 / 360 - 120 / 110,
            "DCR": 180 / 190 - 360 / 340,
            "RD": 300 / 340 - 90 / 120,
            "SD": 160 / 180 - 300 / 360,
            "DAR": 300 / 360 - 90 / 110,
            "DRR": 160 / 190 - 300 / 340,
            "AD": 600 / 700 - 250 / 300,
            "TE": 30 / 20 - 40 / 60,
            "CDDPL": disparity,
            "FT": 0.25,
            "GE": ((390 + 460 + 4 * 80) / 1000 / mean**2 - 1) / 2,
        }
    )


def test_metrics_are_what_clarifys_open_source_computes() -> None:
    """amazon-sagemaker-clarify 0.5 was asked about 600 drawn records of these counts, in three groups."""
    men = [[[61, 11], [19, 50]], [[51, 16], [12, 64]], [[51, 18], [17, 46]]]
    women = [[[24, 3], [11, 21]], [[20, 6], [8, 24]], [[36, 6], [7, 18]]]
    theirs = {
        "CI": 0.386666666667, "DPL": 0.016304347826, "KL": 0.000531946383, "JS": 0.000132957121, "LP": 0.023057829821,
        "TVD": 0.016304347826, "KS": 0.016304347826, "CDDL": 0.010967195219, "DPPL": 0.06887541806,
        "DI": 0.860233297985, "DCA": -0.126391494684, "DCR": -0.089555575427, "RD": 0.061365600691,
        "SD": 0.058451417004, "DAR": -0.027204502814, "DRR": -0.017794867209, "AD": -0.000731605351,
        "TE": 0.666666666667, "CDDPL": 0.057073853046, "GE": 0.116780626449,
    }  # fmt: skip
    ours = values(Outcomes(WOMEN, np.array([men, women]), flipped=0.0))
    assert {name: value for name, value in ours.items() if name != "FT"} == pytest.approx(theirs, abs=1e-12)


def errors(counts: Any, **given: Any) -> dict[str, str]:
    """What a document says of the metrics that have no value."""
    outcomes = Outcomes(WOMEN, np.array(counts)[:, None], **given)
    made = analysis.document("granted", SECTION, [outcomes], [outcomes], {})
    found = [one for stage in (PRE, POST) for one in made[stage]["facets"]["sex"][0]["metrics"]]
    assert [one["value"] is None for one in found] == ["error" in one for one in found]
    return {one["name"]: one["error"] for one in found if "error" in one}


def test_what_is_a_share_of_nothing_has_no_value_and_says_so() -> None:
    men = [[300, 60], [40, 300]]
    assert errors([men, [[160, 20], [30, 90]]], flipped="not encoded", ungrouped=NO_GROUP) == {
        "CDDL": NO_GROUP, "CDDPL": NO_GROUP, "FT": "not encoded",
    }  # fmt: skip
    never = errors([men, [[160, 0], [0, 0]]], flipped=0.0)
    assert never == {
        "KL": "infinite: the members have no label of one kind",
        "DCA": "one side has no positive answer",
        "RD": "one side has no positive label",
        "DAR": "one side has no positive answer",
        "TE": "one side has no false positive answer",
    }
    assert set(errors([men, [[0, 0], [0, 0]]])) == {one.name for one in METRICS} - {"CI", "CDDL", "CDDPL", "GE"}
    assert errors([[[9, 0], [0, 0]], [[9, 0], [0, 0]]])["CDDL"] == "all outcomes are of one kind"
    assert errors([[[0, 0], [9, 0]], [[0, 0], [9, 0]]])["GE"] == "no record has any benefit"


def test_members_flip_where_the_nearest_others_are_answered_otherwise() -> None:
    """With ten others five decide; with nine the nearest one alone."""
    others = [(0.0, True)] * 3 + [(0.1, False)] * 2 + [(9.0, False)] * 3 + [(9.1, True)] * 2
    members = [(0.0, False), (0.1, True), (9.0, True), (9.0, True)]
    rows = [*others, *members]
    sides = np.array([0] * len(others) + [1] * len(members), np.int8)
    features, answers = np.array([[place, 5.0] for place, _ in rows]), np.array([said for _, said in rows])
    assert flip_test(features, sides, answers) == (1 - 2) / 4  # one is granted what he was not, two are not
    nine = np.arange(1, len(rows))
    assert flip_test(features[nine], sides[nine], answers[nine]) == (1 - 3) / 4
    assert flip_test(features, np.zeros(len(rows), np.int8), answers) == NO_VALUE


DEFINITION = {
    "problem": "binary_classification",
    "target": "granted",
    "monitoring": {
        "bias": {
            "enabled": True,
            "facets": [WOMEN, {"column": "age", "values": None, "above": 40}],
            "positive": {"values": [1.0], "above": None},
            "group": "town",
        }
    },
}


def counted(*tables: pa.Table) -> list[Outcomes]:
    counter = OutcomeCounter(FacetCounter(DEFINITION), "town")
    assert counter.columns == ["sex", "age", "town"]
    for table in tables:
        granted, said = (np.array(table[name], np.float64) for name in ("granted", "said"))
        counter.add(table, granted, said)
    return counter.outcomes([0.0, 0.0])


def people(rows: list[tuple[str | None, int | None, str | None, int, int]]) -> pa.Table:
    names = ("sex", "age", "town", "granted", "said")
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def test_records_are_counted_by_side_group_label_and_answer_however_they_come() -> None:
    first = [("f", 50, "A", 1, 0), ("m", None, "A", 0, 1), ("m", 30, None, 1, 1)]
    second = [("f", 20, "B", 0, 0), (None, 60, "A", 1, 1), ("f", 41, "A", 1, 0)]
    women, older = counted(people(first), people(second))
    assert women.cells.tolist() == [[[0, 1], [0, 1]], [[1, 0], [2, 0]]]
    assert women.counts[1, :3].tolist() == [[[0, 0], [2, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 0]]]  # A, none, B
    assert older.cells.tolist() == [[[1, 0], [0, 1]], [[0, 0], [2, 1]]]
    assert [one.counts.tolist() for one in (women, older)] == [
        one.counts.tolist() for one in counted(people(first + second))
    ]


def test_a_group_of_too_many_values_is_none() -> None:
    rows = [("f" if place % 2 else "m", 30, str(place), place % 3 == 0, 1) for place in range(1_002)]
    women, _ = counted(people(rows))
    assert women.ungrouped == "town has more than 1,000 values"
    assert women.cells.sum() == 1_002


def test_the_document_has_clarifys_form() -> None:
    explained = {"version": "1.0", "explanations": {"kernel_shap": {}}, "dataset": {"item_count": 3}, "means": [1.0]}
    made = analysis.document("granted", SECTION, [LOANS], [LOANS], explained)
    assert list(made) == ["version", PRE, POST, "explanations", "dataset"]
    assert {name: made[PRE][name] for name in ("label", "label_value_or_threshold")} == {
        "label": "granted", "label_value_or_threshold": "1",
    }  # fmt: skip
    (entry,) = made[POST]["facets"]["sex"]
    assert (entry["value_or_threshold"], entry["records"]) == ("f", {"facet": 300, "others": 700})
    assert entry["metrics"][4] == {
        "name": "RD",
        "description": "Recall Difference (RD)",
        "value": pytest.approx(0.1324, abs=1e-4),
    }
    assert json.loads(json.dumps(made, allow_nan=False)) == made
