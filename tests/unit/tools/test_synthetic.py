"""Generated used cars are like the real ones, and the same every time."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tools import demo_data, synthetic


def frame(rows: int, **options: Any) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(b"".join(synthetic.batches(rows, **{"seed": 1, **options}))))


def test_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    one, again, other = (b"".join(synthetic.batches(500, seed=seed, wide=True)) for seed in (1, 1, 2))
    assert one == again != other


def test_rows_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "BATCH_ROWS", 100)
    pieces = list(synthetic.batches(250, seed=1))
    assert [piece.count(b"\n") for piece in pieces] == [1, 100, 100, 50]


def test_generated_cars_are_like_the_real_ones() -> None:
    real, made = pd.read_csv(io.BytesIO(demo_data.used_cars())), frame(20_000)
    assert list(made.columns) == list(real.columns)
    for name in real.select_dtypes("number").columns:
        assert made[name].mean() == pytest.approx(real[name].mean(), rel=0.05)
        assert made[name].std() == pytest.approx(real[name].std(), rel=0.1)
    for name in ("make", "body"):
        difference = made[name].value_counts(normalize=True) - real[name].value_counts(normalize=True)
        assert difference.abs().max() < 0.02
    kind = ["make", "body", "cylinder", "doors"]
    assert set(made.groupby(kind).groups) == set(real.groupby(kind).groups)


def test_years_later_cars_have_more_miles_and_cost_less() -> None:
    today, later = frame(5_000), frame(5_000, years=2)
    assert later["mileage"].mean() - today["mileage"].mean() == pytest.approx(24_000, rel=0.05)
    assert later["price"].mean() / today["price"].mean() == pytest.approx(np.exp(-0.16 - 0.0807 * 2.4), rel=0.03)


def test_outliers_and_invalid_rows_come_in_their_shares() -> None:
    made = frame(20_000, outliers=0.01, invalid=0.02)
    assert made["mileage"].astype(str).str.endswith(" mi").mean() == pytest.approx(0.02, abs=0.004)
    typical = frame(20_000)["price"].max()
    assert 0.001 < (made["price"] > typical * 1.05).mean() < 0.01


def test_wide_rows_have_a_time_a_group_and_an_id() -> None:
    made = frame(2_000, wide=True)
    assert list(made.columns[-3:]) == ["sold_on", "seller", "vin"]
    assert made["vin"].is_unique
    assert pd.to_datetime(made["sold_on"]).between("2024-01-01", "2025-12-31").all()
    assert 1000 < made["seller"].nunique() < 2000


def test_command_writes_a_file(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert synthetic.main(["--rows", "10", "--seed", "3", "--years", "1", "--output", str(tmp_path / "cars.csv")]) == 0
    assert (tmp_path / "cars.csv").read_bytes() == b"".join(synthetic.batches(10, seed=3, years=1))
