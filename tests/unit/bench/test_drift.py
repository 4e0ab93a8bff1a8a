"""The rule of drift keeps what is promised of it, with the defaults and on the windows of bench.bench_drift."""

import pytest

from bench.bench_drift import judged

UNCHANGED, SHIFTED = 200, 20  # windows of 1,000 records of 12 features


@pytest.mark.parametrize(
    ("what", "windows", "least", "most"), [("none", UNCHANGED, 0, 0.01), ("mean", SHIFTED, 0.95, 1)]
)
def test_unchanged_windows_are_hardly_ever_raised_and_half_a_standard_deviation_is(
    what: str, windows: int, least: float, most: float
) -> None:
    raised = sum(judged(1_000, what, seed)[0] != "Healthy" for seed in range(windows)) / windows
    assert least <= raised <= most
