"""Unseen values are counted by set, and the most frequent of them are named."""

import numpy as np
import pyarrow as pa
import pytest

from perennial.data import coverage
from perennial.data.coverage import MAX_TEXT, NAMED, Coverage
from perennial.data.encoder_fit import EncoderFit


def cars(makes: list[str | None]) -> pa.Table:
    return pa.table({"make": pa.array(makes, pa.string()).dictionary_encode()})


def covered(*batches: list[str | None], makes: tuple[str, ...] = ("Audi", "Fiat")) -> dict[str, object]:
    train, fit = cars([*makes]), EncoderFit(frozenset(), 100)
    fit.update(train)
    rows = (train, np.arange(1.0, len(makes) + 1), np.arange(len(makes), dtype=np.uint64))
    found = Coverage(fit.finish(lambda task: [task([rows])]))
    found.update("train", train)
    for batch in batches:
        found.update("test", cars(batch))
    made: dict[str, object] = found.as_json()["make"]
    return made


def test_the_most_frequent_unseen_values_are_named_with_their_rows() -> None:
    found = covered(["Lada", "Audi", None, "Saab"], ["Saab", "Fiat", "Yugo", "Saab"])
    assert found == {
        "encoding": "category",
        "values": 2,
        "unseen_share": {"train": 0, "test": 0.625},
        "unseen": {"Saab": 3, "Lada": 1, "Yugo": 1},
    }
    assert list(found["unseen"]) == ["Saab", "Lada", "Yugo"]  # type: ignore[call-overload]


def test_a_column_of_categories_and_their_means_is_counted_once() -> None:
    found = covered(["Lada", "a"], makes=tuple("abcdefgh"))
    assert (found["encoding"], found["values"], found["unseen"]) == ("category", 8, {"Lada": 1})
    assert found["unseen_share"] == {"train": 0, "test": 0.5}


def test_names_are_few_short_and_printable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "MAX_COUNTED", 20)
    found = covered(["x" * 1_000, "bell\a"] * 2, [f"new {number}" for number in range(100)])
    assert list(found["unseen"])[:2] == ["bell\\u0007", "x" * (MAX_TEXT - 3) + "..."]  # type: ignore[call-overload]
    assert len(found["unseen"]) == NAMED  # type: ignore[arg-type]
    assert found["unseen_share"] == {"train": 0, "test": 1}
