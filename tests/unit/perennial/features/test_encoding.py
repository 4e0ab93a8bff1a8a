"""Encodings against scikit-learn, which is computed independently here."""

import io
import json
import re
from contextlib import nullcontext as does_not_raise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from perennial.data import encoder_fit
from perennial.data.encoder_fit import EncoderFit, TrainingRows
from perennial.features.encoding import Encoder, load_hook, prepared
from perennial.features.few_records import FewRecords
from perennial.features.values import STRING, DataError
from perennial.hooks import HookError


def cars(count: int, seed: int, makes: str = "abcdef") -> pa.Table:
    """Random rows, a tenth of the values missing."""
    random = np.random.default_rng(seed)

    def column(values: Any, kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind, mask=random.random(count) < 0.1)

    return pa.table(
        {
            "mileage": column(random.normal(20_000, 5_000, count), pa.float64()),
            "doors": column(random.integers(2, 6, count), pa.int64()),
            "cruise": column(random.random(count) < 0.7, pa.bool_()),
            "make": column(random.choice(list(makes), count).astype(object), pa.string()).dictionary_encode(),
        }
    )


def fitted(*batches: pa.Table, nullable: set[str] | None = None, most: int = 100, hook: Any = None) -> Encoder:
    fit = EncoderFit(frozenset(nullable or ()), most, hook)
    for batch in batches:
        fit.update(batch)
    return fit.finish(lambda task: [task(map(shown, batches))])


def shown(batch: pa.Table) -> TrainingRows:
    return batch, np.zeros(batch.num_rows), np.arange(batch.num_rows, dtype=np.uint64)


def matrix(encoder: Encoder, table: pa.Table) -> npt.NDArray[np.float64]:
    return np.loadtxt(io.BytesIO(bytes(encoder.encode(table))), delimiter=",", ndmin=2)


def reference(train: pa.Table, rows: pa.Table) -> npt.NDArray[np.float64]:
    """The same features by scikit-learn."""
    train_frame, frame = train.to_pandas(), rows.to_pandas()
    numbers = ["mileage", "doors", "cruise"]
    impute = SimpleImputer(strategy="mean").fit(train_frame[numbers].astype(float))
    known = train_frame[["make"]].astype(object).dropna()
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(known)
    makes = frame[["make"]].astype(object).where(frame[["make"]].notna(), None)
    return np.hstack([impute.transform(frame[numbers].astype(float)), one_hot.transform(makes)])


def test_features_are_those_of_scikit_learn_also_for_unseen_categories() -> None:
    train, rows = cars(5_000, 1), cars(1_000, 2, makes="abcdefgh")
    encoder = fitted(train.slice(0, 1_700), train.slice(1_700, 1), train.slice(1_701))
    np.testing.assert_allclose(matrix(encoder, rows), reference(train, rows), rtol=1e-11)  # means have 12 digits
    assert encoder.feature_names == ["mileage", "doors", "cruise", *(f"make={make}" for make in "abcdef")]


def test_missing_values_of_nullable_columns_get_a_feature_of_their_own() -> None:
    train = cars(500, 3)
    encoder = fitted(train, nullable={"mileage", "cruise", "make"})
    features = pd.DataFrame(matrix(encoder, train), columns=encoder.feature_names)
    for name in ("mileage", "cruise", "make"):
        np.testing.assert_array_equal(features[f"{name}=missing"], train[name].is_null().to_numpy())
    assert "doors=missing" not in features
    assert features.loc[features["make=missing"] == 1, [f"make={make}" for make in "abcdef"]].to_numpy().sum() == 0
    assert len(encoder.feature_names) == features.shape[1]


def test_texts_with_more_values_than_the_most_are_target_encoded() -> None:
    values = pa.table({"make": pa.array(["z"] * 3 + ["b", "a", "c"] + [None]).dictionary_encode()})
    assert fitted(values, most=4).feature_names == ["make=a", "make=b", "make=c", "make=z"]
    assert fitted(values, most=3).feature_names == ["make=mean", "make=rows"]


def test_more_categories_than_a_few_have_their_means_beside_them() -> None:
    train, rows = cars(3_000, 14, makes="abcdefg"), cars(50, 15, makes="abcdefgh")
    encoder = fitted(train, nullable={"make"})
    names = [
        "mileage",
        "doors",
        "cruise",
        *(f"make={make}" for make in "abcdefg"),
        "make=missing",
        "make=mean",
        "make=rows",
    ]
    assert encoder.feature_names == names
    again = Encoder.from_json(json.loads(json.dumps(encoder.as_json())))
    assert bytes(again.encode(rows)) == bytes(encoder.encode(rows))
    np.testing.assert_allclose(matrix(encoder, rows)[:, 3:10], reference(train, rows)[:, 3:], rtol=1e-12)


def test_training_rows_are_read_again_only_where_a_text_has_many_values() -> None:
    def refused(task: Any) -> list[Any]:
        raise AssertionError("read again")

    again = pytest.raises(AssertionError, match="read again")
    for makes, most, reading in (("abcdef", 100, does_not_raise()), ("abcdefg", 100, again), ("abcdef", 5, again)):
        fit = EncoderFit(frozenset(), most)
        fit.update(cars(500, 12, makes=makes))
        with reading:
            fit.finish(refused)


def test_means_are_of_the_logarithm_less_what_other_columns_explain_where_all_targets_are_above_0() -> None:
    random = np.random.default_rng(13)
    model, age = random.integers(0, 8, 4_000), random.gamma(2, 3, 4_000)
    age[model == 7] += 10  # whose prices are therefore low
    price = np.exp(9 + model / 4 - age / 10 + random.normal(0, 0.05, 4_000))
    table = pa.table({"model": pa.array([f"M{number}" for number in model]).dictionary_encode(), "age": age})
    asked = pa.table({"model": pa.array([f"M{n}" for n in range(8)]).dictionary_encode(), "age": np.zeros(8)})

    def means(target: Any) -> Any:
        fit, batch = EncoderFit(frozenset(), 5), (table, target, np.arange(4_000, dtype=np.uint64))
        fit.update(table)
        return matrix(fit.finish(lambda task: [task([batch])]), asked)[:, 0]

    np.testing.assert_allclose(np.diff(means(price)), 1 / 4, rtol=0.1)
    price[17] = 0
    assert means(price).max() > 1_000


def test_column_that_is_always_missing_in_training_becomes_zero() -> None:
    encoder = fitted(pa.table({"x": pa.nulls(3, pa.float64()), "y": pa.array([1, 2, 3])}))
    assert matrix(encoder, pa.table({"x": pa.array([None, 7.0]), "y": pa.array([1, 1])})).tolist() == [[0, 1], [7, 1]]


def test_category_that_was_never_seen_and_has_no_others_takes_no_feature() -> None:
    encoder = fitted(pa.table({"x": pa.array([1.0]), "make": pa.array([None], STRING)}))
    assert encoder.feature_names == ["x"]
    assert bytes(encoder.encode(pa.table({"x": [2.0], "make": pa.array(["a"]).dictionary_encode()}))) == b"2\n"


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(DataError, match="no feature has a value"):
        fitted(pa.table({"make": pa.array([None, None], STRING)}))


def test_encoder_survives_json_exactly() -> None:
    train, rows = cars(300, 4), cars(50, 5)
    encoder = fitted(train, nullable={"make", "mileage"})
    again = Encoder.from_json(json.loads(json.dumps(encoder.as_json())))
    assert again == encoder
    assert bytes(again.encode(rows)) == bytes(encoder.encode(rows))


def test_mean_does_not_overflow_where_the_sum_would() -> None:
    column = np.full(1_000, 3e38)
    assert matrix(fitted(pa.table({"x": column})), pa.table({"x": pa.nulls(1, pa.float64())}))[0, 0] == pytest.approx(
        3e38
    )


def test_text_with_too_many_values_is_no_category(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_fit, "MAX_DISTINCT", 10)
    names = pa.array([f"vin-{number}" for number in range(11)]).dictionary_encode()
    with pytest.raises(DataError, match="column 'vin' has more than 10 different texts"):
        fitted(pa.table({"vin": names}))


# ---- features.py


def hook(table: pa.Table) -> pa.Table:
    return pa.table({"miles_a_door": np.asarray(table["mileage"]) / np.asarray(table["doors"]), "make": table["make"]})


def test_hook_makes_the_columns_that_are_encoded() -> None:
    train = cars(200, 6)
    encoder = fitted(train, hook=hook)
    assert encoder.feature_names == ["miles_a_door", *(f"make={make}" for make in "abcdef")]
    ratio = train.to_pandas().eval("mileage / doors")
    np.testing.assert_allclose(matrix(encoder, train)[:, 0], ratio.fillna(ratio.mean()), rtol=1e-12)


def test_hook_sees_plain_strings_and_may_return_infinities() -> None:
    def divide(table: pa.Table) -> pa.Table:
        assert table.schema.field("make").type == pa.string()
        return pa.table({"x": pa.array([np.inf, 1.0, np.nan])})

    assert matrix(fitted(cars(3, 7), hook=divide), cars(3, 7)).tolist() == [[1], [1], [1]]


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (lambda table: table.slice(1), "expected a pyarrow.Table with 20 rows"),
        (lambda table: table.to_pandas(), "returned DataFrame"),
        (lambda table: pa.table({"x": pa.array([[1]] * table.num_rows)}), "column 'x' has type list"),
    ],
)
def test_hook_that_breaks_its_promise_is_named(broken: Any, problem: str) -> None:
    with pytest.raises(HookError, match=problem):
        fitted(cars(20, 8), hook=broken)


def test_hook_that_returns_other_columns_in_serving_is_named() -> None:
    encoder = Encoder(fitted(cars(20, 8)).encodings, lambda table: table.select(["make"]))
    with pytest.raises(HookError, match=r"returned the columns \['make'\]"):
        encoder.encode(cars(2, 9))


def by_first_value(table: pa.Table) -> pa.Table:
    """What Arrow takes for numbers or for texts by what is there."""
    return pa.table({"x": pa.array([1.5 if "a" in table["make"].to_pylist() else "1.5"] * table.num_rows)})


@pytest.mark.parametrize(("trained", "asked"), [("a", "b"), ("b", "a")])
def test_hook_that_returns_texts_for_numbers_in_serving_is_named(trained: str, asked: str) -> None:
    encoder, kinds = fitted(cars(20, 8, trained), hook=by_first_value), {"a": "numbers", "b": "texts"}
    few = FewRecords(["make"], [(asked,)], pa.struct([("make", pa.string())]))
    for records in (few, cars(20, 9, asked)):
        with pytest.raises(HookError, match=f"column 'x' is of {kinds[asked]}, in training of {kinds[trained]}"):
            encoder.encode(records)


def test_hook_that_returns_texts_for_numbers_in_training_is_named() -> None:
    said = "column 'x' is of numbers for some rows and of texts for others"
    with pytest.raises(HookError, match=said):
        fitted(cars(20, 8, "a"), cars(20, 8, "b"), hook=by_first_value)
    one, other = (EncoderFit(frozenset(), 100, by_first_value) for _ in range(2))
    one.update(cars(20, 8, "a"))
    other.update(cars(20, 8, "b"))
    with pytest.raises(HookError, match=said):
        one.merge(other)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def transform(table:\n", "features.py, line 1: SyntaxError: '(' was never closed"),
        ("import pyarrow\nimport pandaz\n", "features.py, line 2: ModuleNotFoundError: No module named 'pandaz'"),
        ("def transform(table):\n    return help_me(table)\n\ndef help_me(table):\n    return table['yaer']\n",
         "features.py, line 5: KeyError: 'Field \"yaer\" does not exist in schema'"),
        ("def transform(table):\n    raise SystemExit(0)\n", "features.py, line 2: SystemExit: 0"),
        ("x = 1\n", "features.py: has no function transform"),
    ],
)  # fmt: skip
def test_a_mistake_in_features_says_file_line_and_exception(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "features.py").write_text(text)
    with pytest.raises(HookError, match=re.escape(said)):
        prepared(cars(3, 1), load_hook(tmp_path / "features.py"))


def test_a_machine_that_is_too_small_is_no_mistake_in_features(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text("def transform(table):\n    raise MemoryError\n")
    with pytest.raises(MemoryError):
        prepared(cars(3, 1), load_hook(tmp_path / "features.py"))


def test_hook_is_loaded_from_a_file(tmp_path: Path) -> None:
    assert load_hook(tmp_path / "features.py") is None
    (tmp_path / "features.py").write_text("def transform(table):\n    return table\n")
    loaded = load_hook(tmp_path / "features.py")
    assert loaded is not None
    assert loaded(cars(1, 1)) == cars(1, 1)
    (tmp_path / "features.py").write_text("transforms = 1\n")
    with pytest.raises(HookError, match="no function transform"):
        load_hook(tmp_path / "features.py")
