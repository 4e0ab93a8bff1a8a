"""Metadata of a version: always such as SageMaker takes, and as much of them as it takes."""

from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.api import requests
from perennial.registry import metadata
from perennial.runs.run_record import RunRecord

texts = st.text(max_size=300)
VERSION = {"ModelPackageGroupName": "cars", "InferenceSpecification": {"Containers": [{"Image": "x"}]}}
ORIGIN = {
    "run": "r-1",
    "stack": "perennial-cars",
    "model": "cars",
    "problem": "regression",
    "target": "price",
    "threshold": "3000.0",
    "algorithm": "xgboost",
    "commit": "abc",
    "code": "0123",
    "data": "feed",
    "data-files": "2",
    "manifest": "s3://bucket/runs/r-1/manifest.json",
    "configuration": "s3://bucket/runs/r-1/config.json",
}


def of_run(
    hyperparameters: Mapping[str, str],
    target: str = "price",
    commit: str = "abc",
    own: Mapping[str, object] | None = None,
) -> dict[str, str]:
    """The metadata of a run that begins with these."""
    record = {
        "run_id": "r-1",
        "stack": "perennial-cars",
        "model": "cars",
        "bucket": "bucket",
        "code": {"hash": "0123", "commit": commit},
        "data": {"fingerprint": "feed", "file_count": 2, "manifest": "s3://bucket/runs/r-1/manifest.json"},
        "configuration": {
            "definition": {"problem": "regression", "target": target, "hyperparameters": {"xgboost": own or {}}},
            "gate": {"threshold": 3000.0},
            "algorithm": {"name": "xgboost", "hyperparameters": hyperparameters},
        },
    }
    return metadata.of_run(cast(RunRecord, record))


def test_origin_and_hyperparameters_stand_beside_each_other() -> None:
    learned = {"hyperparameter:eta": "0.2", "hyperparameter:num_round": "10"}
    assert of_run({"num_round": "10", "eta": "0.2"}) == ORIGIN | learned


def test_characters_that_sagemaker_refuses_become_a_space_and_what_is_empty_is_left_out() -> None:
    entries = of_run({"eval_metric": "rmse,mae", "interaction": "[[0, 1]]", "none": "[]"}, target='"')
    learned = {"hyperparameter:eval_metric": "rmse mae", "hyperparameter:interaction": "0 1"}
    assert entries == {name: text for name, text in ORIGIN.items() if name != "target"} | learned


def test_hyperparameters_that_find_no_room_are_counted() -> None:
    entries = of_run({f"h{number:02}": "1" for number in range(60)})
    assert len(entries) == metadata.MAX_ENTRIES - metadata.MEASURED
    named = [name for name in entries if name.startswith("hyperparameter:")]
    assert entries[metadata.LEFT_OUT] == str(60 - len(named))
    assert named == [f"hyperparameter:h{number:02}" for number in range(len(named))]


def test_there_is_room_left_for_those_that_are_tuned() -> None:
    own = {"eta": {"min": 0.1, "max": 0.3}, "use_bias": ["true", "false"], "seed": 1}
    entries = of_run({f"h{number:02}": "1" for number in range(60)}, own=own)
    assert len(entries) == metadata.MAX_ENTRIES - metadata.MEASURED - 2


def test_as_many_as_there_is_room_for_are_all_there() -> None:
    entries = of_run({f"h{number:02}": "1" for number in range(46 - len(ORIGIN))})
    assert len(entries) == metadata.MAX_ENTRIES - metadata.MEASURED
    assert metadata.LEFT_OUT not in entries


@pytest.mark.parametrize("learned", [10, 60])
def test_a_version_that_was_promoted_says_from_where_and_finds_room_for_it(learned: int) -> None:
    measured = dict.fromkeys(("metric", "candidate", "champion", "compared-with"), "1")
    entries = metadata.promoted(of_run({f"h{number:02}": "1" for number in range(learned)}) | measured, "arn:aws:1")
    assert entries["promoted-from"] == "arn:aws:1"
    assert len(entries) <= metadata.MAX_ENTRIES
    named = [name for name in entries if name.startswith("hyperparameter:")]
    assert len(named) + int(entries.get(metadata.LEFT_OUT, "0")) == learned


@given(st.dictionaries(texts, texts, max_size=60), texts, texts)
def test_sagemaker_takes_whatever_comes_out(hyperparameters: dict[str, str], target: str, commit: str) -> None:
    entries = of_run(hyperparameters, target, commit)
    assert len(entries) <= metadata.MAX_ENTRIES - metadata.MEASURED
    requests.check("CreateModelPackage", {**VERSION, "CustomerMetadataProperties": entries})
