"""Metrics that a model brings itself: what they are, and that what one of them does is its own affair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from perennial.evaluation import custom_metrics, resampling
from perennial.evaluation.custom_metrics import CustomMetricError, OwnMetrics
from perennial.evaluation.metrics import UndefinedMetricError, interval, interval_of_difference, metric_named
from processing.own_code import MEASURING

CODE = '''"""Metrics."""
import os, time
import numpy as np

print("what is printed is no answer")
CREDENTIALS = [name for name in os.environ if name.startswith("AWS_")]


def mean_error(actual, predicted):
    actual *= 1  # its own copy
    return np.abs(predicted - actual).mean()


def raises(actual, predicted):
    return actual.shape[1]


def nan(actual, predicted):
    return float("nan")


def array(actual, predicted):
    return predicted - actual


def text(actual, predicted):
    return "0.5"


def slow(actual, predicted):
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            pass


def slow_when_resampled(actual, predicted):
    if len(actual) < 100:
        slow(actual, predicted)
    return 1.0


def ends(actual, predicted):
    os._exit(3)


def leaves(actual, predicted):
    raise SystemExit(0)


def often_undefined(actual, predicted):
    return np.nan if 0 in actual else 1.0  # as it is in 63 % of draws


def sleeps(actual, predicted):
    import signal
    os.kill(os.getpid(), signal.SIGSTOP)


def credentials(actual, predicted):
    return len(CREDENTIALS)
'''
NAMES = (
    "mean_error", "raises", "nan", "array", "text", "slow", "slow_when_resampled", "ends", "leaves", "often_undefined",
    "credentials", "missing", "sleeps",
)  # fmt: skip
LABELS = np.arange(100.0)
SCORES = LABELS + np.sin(LABELS)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnMetrics]:
    file = tmp_path_factory.mktemp("model") / "metrics.py"
    file.write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SESSION_TOKEN", "secret")
        with OwnMetrics(MEASURING, file, "regression", dict.fromkeys(NAMES, "minimize"), seconds=1.0) as metrics:
            yield metrics


def test_a_function_is_a_metric_with_intervals_and_draws_like_any(own: OwnMetrics) -> None:
    metric, mae = own.by_name["mean_error"], metric_named("regression", "mae")
    assert metric.compute(LABELS, SCORES) == pytest.approx(mae.compute(LABELS, SCORES))
    assert metric.without_each(LABELS, SCORES) == pytest.approx(mae.without_each(LABELS, SCORES))
    assert interval(metric, LABELS, SCORES) == pytest.approx(interval(mae, LABELS, SCORES))
    assert metric.resampled(LABELS, SCORES) == pytest.approx(mae.resampled(LABELS, SCORES))
    differences = (interval_of_difference(one, LABELS, SCORES, LABELS + 1) for one in (metric, mae))
    assert next(differences) == pytest.approx(next(differences))


def test_rows_in_blocks_have_the_interval_of_single_rows(own: OwnMetrics) -> None:
    labels = np.random.default_rng(0).normal(size=5_000)
    mine, exact = (
        interval(one, labels, labels * 0) for one in (own.by_name["mean_error"], metric_named("regression", "mae"))
    )
    assert mine == pytest.approx(exact, abs=0.1 * (exact[1] - exact[0]))


def test_a_metric_of_unknown_scale_has_an_interval_beyond_0(own: OwnMetrics) -> None:
    low, _ = interval(own.by_name["mean_error"], np.zeros(3), np.array([0.0, 0.0, 1.0]))
    assert low < 0
    assert not own.by_name["mean_error"].is_bounded


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("raises", "metrics.py, line 15: IndexError: tuple index out of range"),
        ("nan", "metrics.py, line 18: nan returned nan for 100 rows; expected a finite number"),
        ("array", "metrics.py, line 22: array returned ndarray '["),
        ("text", "metrics.py, line 26: text returned str '0.5'; expected a finite number"),
        ("slow", "metrics.py, line 3"),
        ("leaves", "metrics.py, line 49: SystemExit: 0"),
        ("missing", "metrics.py: has no function missing(actual, predicted)"),
        ("ends", "metrics.py: ends has ended its process, exit code 3"),
    ],
)
def test_what_goes_wrong_is_told_by_file_and_line_and_the_next_is_measured(
    own: OwnMetrics, name: str, why: str
) -> None:
    with pytest.raises(CustomMetricError) as told:
        own.by_name[name].compute(LABELS, SCORES)
    assert str(told.value).startswith(why)
    assert own.by_name["mean_error"].compute(LABELS, SCORES) > 0


def test_a_function_that_has_used_up_its_time_is_not_asked_again(
    own: OwnMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = own.by_name["slow_when_resampled"]
    assert metric.compute(LABELS, SCORES) == 1.0
    for _ in range(2):
        with pytest.raises(CustomMetricError, match=r"line 3\d: slow_when_resampled takes longer than 1 s"):
            metric.without_each(LABELS, SCORES)
        monkeypatch.setattr(own, "_connected", None)


def test_a_function_that_no_timer_stops_is_ended_with_its_process(
    own: OwnMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custom_metrics, "SECONDS_TO_ANSWER", 0.2)
    with pytest.raises(CustomMetricError, match=r"metrics\.py: sleeps took longer than 1 s"):
        own.by_name["sleeps"].compute(LABELS, SCORES)
    monkeypatch.undo()
    assert own.by_name["mean_error"].compute(LABELS, SCORES) > 0


def test_all_are_measured_and_those_that_fail_say_why(own: OwnMetrics) -> None:
    values = own.values(LABELS, SCORES)
    assert values["mean_error"] == pytest.approx(np.abs(np.sin(LABELS)).mean())
    assert np.isnan(values["raises"])
    assert own.failed["raises"] == "metrics.py, line 15: IndexError: tuple index out of range"
    assert "mean_error" not in own.failed


def test_draws_without_a_value_are_left_out_while_most_have_one(own: OwnMetrics) -> None:
    metric = own.by_name["often_undefined"]
    with pytest.raises(CustomMetricError, match="often_undefined has no value for most draws of the 100 rows"):
        metric.resampled(LABELS, SCORES)
    drawn = metric.resampled(LABELS[1:], SCORES[1:])
    assert drawn.size == resampling.RESAMPLES


@pytest.mark.parametrize(("rows", "draws"), [(100, 2000), (150, 1333), (10_000, 400)])
def test_of_very_many_rows_there_are_fewer_draws(rows: int, draws: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "ROWS_OF_ALL_DRAWS", 100)
    drawn = list(resampling.ROW_SETS["drawn"](rows))
    assert len(drawn) == draws
    assert 0.9 * rows < np.mean([one.size for one in drawn]) < 1.1 * rows


def test_one_row_has_no_interval(own: OwnMetrics) -> None:
    with pytest.raises(UndefinedMetricError):
        interval(own.by_name["mean_error"], [1.0], [2.0])


def test_functions_have_none_of_the_credentials_of_whoever_asks(own: OwnMetrics) -> None:
    assert own.by_name["credentials"].compute(LABELS, SCORES) == 0


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda path: path.write_text("import numpy\nimport pandaz\n"), "line 2: ModuleNotFoundError: No module named"),
        (lambda path: None, "there is no such file in the model's folder"),
    ],
)
def test_a_file_that_cannot_be_loaded_fails_each_of_its_metrics(
    tmp_path: Path, write: Callable[[Path], None], why: str
) -> None:
    write(tmp_path / "metrics.py")
    with OwnMetrics(MEASURING, tmp_path / "metrics.py", "regression", {"one": "minimize", "two": "maximize"}) as own:
        assert np.isnan([*own.values(LABELS, SCORES).values()]).all()
    assert [why in own.failed[name] for name in ("one", "two")] == [True, True]


def test_a_model_without_metrics_of_its_own_starts_no_process() -> None:
    with OwnMetrics.none("regression") as own:
        assert own.values(LABELS, SCORES) == own.described(LABELS, SCORES) == {}
        assert own._process is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("print('x' * 100_000)", None),
        ("os.fork() or time.sleep(3) or os._exit(0)", None),
        ("os.closerange(3, 65_536)", "m has ended its process"),
        ("os.write(int(sys.argv[4]), b'\\0\\0\\0\\4evil')", "m writes where only the answer is written"),
        ("os.write(int(sys.argv[4]), b'\\0\\0\\0\\2[]')", "m writes where only the answer is written"),
        ("os.write(int(sys.argv[4]), b'\\x7f\\xff\\xff\\xffx')", "m has ended its process"),
        ("os.write(int(sys.argv[4]), b'\\0\\1\\0\\0x'); time.sleep(9)", "m has ended its process"),
    ],
    ids=[
        "prints",
        "forks",
        "closes",
        "answers nonsense",
        "answers a list",
        "promises gigabytes",
        "promises and sleeps",
    ],
)
def test_a_function_that_does_as_it_likes_is_one_that_fails_or_is_measured(
    tmp_path: Path, body: str, why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custom_metrics, "SECONDS_TO_ANSWER", 0.3)
    code = f"import os, sys, time\n\ndef m(actual, predicted):\n    {body}\n    return 1.0\n"
    (tmp_path / "metrics.py").write_text(code)
    with OwnMetrics(MEASURING, tmp_path / "metrics.py", "regression", {"m": "minimize"}, seconds=20.0) as metrics:
        assert metrics.values(LABELS, SCORES)["m"] == pytest.approx(np.nan if why else 1.0, nan_ok=True)
        assert why is None or metrics.failed["m"].startswith(f"metrics.py: {why}")
