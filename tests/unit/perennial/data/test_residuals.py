"""What other columns leave of the target, against dummy variables by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import Ridge

from perennial.data import residuals
from perennial.data.residuals import RIDGE, Sample, fitted


def cars(count: int, seed: int) -> tuple[pa.Table, Any, Any]:
    """Dear models have large engines and are younger; the price is that of the model, less age, more for gas."""
    random = np.random.default_rng(seed)
    model = random.integers(0, 40, count)
    age = random.gamma(2, 3, count) + (40 - model) / 8
    engine = 1_000 + 50 * model + random.normal(0, 200, count)
    fuel = random.choice(["gas", "oil"], count)
    price = 100.0 * model - 300 * age + 0.1 * engine + 500 * (fuel == "gas") + random.normal(0, 50, count)
    table = pa.table(
        {
            "age": pa.array(age),
            "engine": pa.array(engine, mask=random.random(count) < 0.1),
            "fuel": pa.array(fuel).dictionary_encode(),
            "model": pa.array([f"M{number}" for number in model]).dictionary_encode(),
        }
    )
    return table, price, random.integers(0, 2**64 - 1, count, dtype=np.uint64)


def explained(table: pa.Table, price: Any, identity: Any, batches: int = 1) -> residuals.Explained:
    sample = Sample()
    for part in np.array_split(np.arange(len(price)), batches):
        sample.update(table.take(pa.array(part)), price[part], identity[part])
    columns, target = sample.rows()
    return fitted(columns, target, "model", {"fuel": ["gas", "oil"]})


def test_the_function_is_that_of_ridge_regression_with_a_dummy_for_each_value() -> None:
    table, price, identity = cars(3_000, 1)
    frame = table.to_pandas()
    features = pd.DataFrame({"age": frame["age"], "engine": frame["engine"]})
    features = ((features - features.mean()) / features.std(ddof=0)).clip(-5, 5).fillna(0)
    features["absent"] = frame["engine"].isna().astype(float)
    features = features.join(pd.get_dummies(frame["fuel"].astype(str), dtype=float))
    centred = features - features.groupby(frame["model"].astype(str)).transform("mean")
    reference = Ridge(alpha=RIDGE, fit_intercept=False).fit(
        centred, price - pd.Series(price).groupby(frame["model"].astype(str)).transform("mean")
    )
    found = explained(table, price, identity).of(table)
    np.testing.assert_allclose(found, features.to_numpy() @ reference.coef_, rtol=1e-6, atol=1e-6)


def test_means_of_what_is_left_are_the_effects_of_the_values() -> None:
    table, price, identity = cars(3_000, 2)
    models = pd.Series(table["model"].to_pylist()).str[1:].astype(int)
    plain = pd.Series(price).groupby(models).mean()
    left = pd.Series(price - explained(table, price, identity).of(table)).groupby(models).mean()
    slopes = [np.polyfit(means.index, means, 1)[0] for means in (plain, left)]
    assert slopes[0] > 130  # younger, and with larger engines
    assert slopes[1] == pytest.approx(100, rel=0.1)


def test_the_sample_is_the_same_however_rows_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residuals, "SAMPLE", 200)
    table, price, identity = cars(3_000, 3)
    order = np.random.default_rng(4).permutation(3_000)
    one = explained(table, price, identity)
    other = explained(table.take(pa.array(order)), price[order], identity[order], batches=17)
    assert one == other


def test_samples_that_are_merged_are_the_sample_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each has more rows than it keeps, and where rows are alike."""
    monkeypatch.setattr(residuals, "SAMPLE", 200)
    table, price, identity = cars(3_000, 3)
    identity %= 500
    whole, merged = Sample(), Sample()
    whole.update(table, price, identity)
    for part in np.array_split(np.arange(3_000), 5):
        some = Sample()
        some.update(table.take(pa.array(part)), price[part], identity[part])
        merged.merge(some)
    for one, other in zip(whole.rows(), merged.rows(), strict=True):
        np.testing.assert_equal(one, other)


def test_a_number_that_is_constant_enormous_or_always_missing_explains_nothing() -> None:
    table, price, identity = cars(500, 5)
    wild = {"same": np.full(500, 7.0), "huge": np.where(np.arange(500) % 2, 3e300, -3e300)}
    for name, values in wild.items():
        table = table.append_column(name, pa.array(values))
    table = table.append_column("never", pa.nulls(500, pa.float64()))
    found = explained(table, price, identity)
    assert [found.numbers[name][2] for name in ("same", "huge", "never")] == [0, 0, 0]
    assert np.isfinite(found.of(table)).all()


def test_what_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residuals, "MAX_FEATURES", 3)
    table, price, identity = cars(500, 6)
    found = explained(table, price, identity)
    assert (list(found.numbers), list(found.texts)) == (["age"], [])
