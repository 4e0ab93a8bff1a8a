"""Training runs of the DeepAR stand-in."""

import gzip
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from localcloud.sagemaker.algorithms import STAND_INS, deepar_hyperparameters, deepar_metrics, deepar_train
from localcloud.sagemaker.algorithms.autoregression import FILES, Model
from localcloud.sagemaker.algorithms.autoregression_fit import Epoch
from localcloud.sagemaker.algorithms.time_series import Frequency, TimeSeries, parse_record
from localcloud.sagemaker.algorithms.training_container import CustomerError, run
from tools import demo_data

MONTHLY = {"time_freq": "M", "context_length": "12", "prediction_length": "12", "epochs": "20"}
QUANTILES = [tenth / 10 for tenth in range(1, 10)]
Record = dict[str, Any]


@pytest.fixture(scope="module")
def employment() -> list[Record]:
    """148 monthly series of real people employed, in thousands."""
    return [json.loads(line) for line in demo_data.employment(sectors=True).splitlines()]


def seasonal(count: int, length: int = 60, **fields: Any) -> list[Record]:
    """Series with a year's season and some noise, around 100."""
    random = np.random.default_rng(7)
    season = 100 + 10 * np.sin(2 * np.pi * np.arange(length) / 12)
    targets = season + np.cumsum(random.normal(size=(count, length)), axis=1)
    return [{"start": "2001-01-01 00:00:00", "target": target.round(3).tolist(), **fields} for target in targets]


def without_last(records: list[Record], count: int) -> list[Record]:
    return [record | {"target": record["target"][:-count]} for record in records]


def lines(records: list[Record]) -> bytes:
    return "".join(f"{json.dumps(record)}\n" for record in records).encode()


def run_job(
    root: Path,
    channels: Mapping[str, list[Record] | bytes],
    *,
    name: str = "part-00000.json",
    content_type: str | None = None,
    **hyperparameters: str,
) -> int:
    config = root / "input/config"
    config.mkdir(parents=True, exist_ok=True)
    for channel, content in channels.items():
        path = root / "input/data" / channel / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else lines(content))
    said = {"TrainingInputMode": "File", **({"ContentType": content_type} if content_type else {})}
    (config / "hyperparameters.json").write_text(json.dumps(MONTHLY | hyperparameters))
    (config / "inputdataconfig.json").write_text(json.dumps(dict.fromkeys(channels, said)))
    return run(deepar_train.train, ["--root", str(root)])


def trained(root: Path, records: list[Record], **hyperparameters: str) -> Model:
    code = run_job(root, {"train": records}, **hyperparameters)
    assert code == 0, failure(root)
    return Model.load(root / "model")


def failure(root: Path) -> str:
    path = root / "output/failure"
    return path.read_text() if path.exists() else ""


def naive_loss(history: list[np.ndarray], actual: np.ndarray, *, spread: bool) -> float:
    """The mean weighted quantile loss of last year again; with `spread`, plus the quantiles of its own past errors."""
    errors = [values[12:] - values[:-12] for values in history]
    quantiles = [
        np.concatenate([
            values[-12:] + (np.quantile(past, tau) if spread else 0.0)
            for values, past in zip(history, errors, strict=True)
        ])
        for tau in QUANTILES
    ]  # fmt: skip
    return deepar_metrics.scores(actual, quantiles[4], np.array(quantiles), QUANTILES)["mean_wQuantileLoss"]


@pytest.mark.parametrize("end", ["2019-09", "2018-03"])
def test_forecasts_of_a_year_of_employment_beat_last_year_again(
    tmp_path: Path, employment: list[Record], capsys: pytest.CaptureFixture[str], end: str
) -> None:
    late = {"2019-09": 0, "2018-03": 18}[end]
    known = [
        record | {"target": record["target"][: len(record["target"]) - late]}
        for record in employment
        if record["item_id"] != "CEU4245210001"  # it ends in 2017
    ]
    assert run_job(tmp_path, {"train": without_last(known, 12), "test": known}) == 0

    (loss,) = re.findall(r"host=algo-1, test mean_wQuantileLoss <loss>=(\S+)", capsys.readouterr().out)
    history = [np.array(record["target"][:-12]) for record in known]
    actual = np.concatenate([record["target"][-12:] for record in known])
    assert float(loss) < 0.3 * naive_loss(history, actual, spread=False)
    assert float(loss) < 0.7 * naive_loss(history, actual, spread=True)


def test_four_of_five_months_of_employment_are_between_the_outer_tenths(
    tmp_path: Path, employment: list[Record]
) -> None:
    model = trained(tmp_path, without_last(employment, 12))
    inside = []
    for record in employment:
        low, high = np.quantile(model.sample(parse_record(without_last([record], 12)[0]), 100), [0.1, 0.9], axis=0)
        actual = np.array(record["target"][-12:])
        inside.append(np.mean((low <= actual) & (actual <= high)))
    assert 0.7 < np.mean(inside) < 0.95


def test_the_log_has_the_lines_of_deepar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = seasonal(8)
    assert run_job(tmp_path, {"train": without_last(records, 12), "test": records}, test_quantiles="[0.5, 0.9]") == 0

    log = capsys.readouterr().out
    assert "This is no DeepAR: a linear autoregression stands in for it in the local cloud.\n" in log
    assert re.search(r"#quality_metric: host=algo-1, epoch=0, train loss <loss>=\d+\.\d+\n", log)
    assert re.search(r"#progress_metric: host=algo-1, completed 5 % of epochs\n", log)
    (final,) = re.findall(r"#quality_metric: host=algo-1, train final_loss <loss>=(\S+)\n", log)
    assert f"Final loss: {final} (occurred at epoch " in log
    names = ["RMSE", "mean_absolute_QuantileLoss", "mean_wQuantileLoss", "wQuantileLoss[0.5]", "wQuantileLoss[0.9]"]
    scores = dict(re.findall(r"#test_score \(algo-1, (\S+)\): (\S+)\n", log))
    assert list(scores) == names
    metrics = {
        definition["Name"]: found[-1]
        for definition in STAND_INS["forecasting-deepar"].metrics
        if (found := re.findall(definition["Regex"], log))
    }
    assert metrics == {
        "train:final_loss": final,
        "test:RMSE": scores["RMSE"],
        "test:mean_wQuantileLoss": scores["mean_wQuantileLoss"],
    }


def test_scores_are_those_of_the_guide() -> None:
    actual, mean = np.array([10.0, np.nan, -30.0]), np.array([13.0, 5.0, -34.0])
    quantiles = np.array([[8.0, 0.0, -30.0], [14.0, 0.0, -40.0]])

    scores = deepar_metrics.scores(actual, mean, quantiles, [0.5, 0.9])

    assert scores["RMSE"] == np.sqrt((9 + 16) / 2)
    assert scores["wQuantileLoss[0.5]"] == 2 * (0.5 * 2) / 40
    assert scores["wQuantileLoss[0.9]"] == pytest.approx(2 * (0.1 * 4 + 0.9 * 10) / 40)
    assert scores["mean_wQuantileLoss"] == pytest.approx((2.0 + 18.8) / 2 / 40)
    assert scores["mean_absolute_QuantileLoss"] == pytest.approx((2.0 + 18.8) / 2)


def test_a_job_without_a_test_channel_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path, seasonal(8))
    log = capsys.readouterr().out
    assert "No test channel found" in log
    assert "#test_score" not in log


def test_the_artefact_has_the_names_of_deepars_and_the_same_bytes_again(tmp_path: Path) -> None:
    folders = [tmp_path / name / "model" for name in ("one", "other")]
    for folder in folders:
        trained(folder.parent, seasonal(8, cat=[1]))
    assert {path.name for path in folders[0].iterdir()} == {
        "model_algo-1-0000.params", "model_algo-1-config.json", "model_algo-1-symbol.json",
    }  # fmt: skip
    assert [(folders[0] / name).read_bytes() for name in FILES] == [(folders[1] / name).read_bytes() for name in FILES]


def test_another_model_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, seasonal(8))
    (tmp_path / "model/model_algo-1-symbol.json").write_text('{"nodes": []}')
    with pytest.raises(ValueError, match="is not of a model of the local DeepAR"):
        Model.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "content_type", "write"),
    [
        ("series.json", None, lines),
        ("below/series.json", None, lines),
        ("series.json.gz", None, lambda records: gzip.compress(lines(records))),
        ("series.txt", "json", lines),
        ("series", "json.gz", lambda records: gzip.compress(lines(records))),
    ],
)
def test_json_lines_are_read_plain_and_zipped(
    tmp_path: Path, name: str, content_type: str | None, write: Callable[[list[Record]], bytes]
) -> None:
    expected = trained(tmp_path / "plain", seasonal(8)).coefficients
    content = {"train": write(seasonal(8))}
    assert run_job(tmp_path / "other", content, name=name, content_type=content_type) == 0
    np.testing.assert_array_equal(Model.load(tmp_path / "other/model").coefficients, expected)


@pytest.mark.parametrize("start", ["2001-01-01 00:00:00", datetime.fromisoformat("2001-01-01")])
def test_parquet_is_read(tmp_path: Path, start: object) -> None:
    records = [record | {"start": start} for record in seasonal(8)]
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "series.parquet")
    content = {"train": (tmp_path / "series.parquet").read_bytes()}
    assert run_job(tmp_path, content, name="series.parquet") == 0
    expected = trained(tmp_path / "plain", seasonal(8))
    np.testing.assert_allclose(Model.load(tmp_path / "model").coefficients, expected.coefficients)


def test_hidden_files_and_spark_s_mark_are_no_series(tmp_path: Path) -> None:
    run_job(tmp_path, {"train": b"no series"}, name=".hidden")
    run_job(tmp_path, {"train": b""}, name="_SUCCESS")
    assert run_job(tmp_path, {"train": seasonal(8)}) == 0


def test_a_missing_value_is_null_or_nan_and_forecasts_go_on(tmp_path: Path) -> None:
    records = seasonal(8)
    for number, record in enumerate(records):
        record["target"][number + 20] = None
        record["target"][-1] = "NaN"
    model = trained(tmp_path, records)

    series = parse_record(records[0])
    assert np.flatnonzero(np.isnan(series.target)).tolist() == [20, 59]
    forecast = model.sample(series, 100).mean(axis=0)
    complete = model.sample(parse_record(seasonal(8)[0]), 100).mean(axis=0)
    assert np.abs(forecast - complete).max() < 5


@pytest.mark.parametrize(
    ("likelihood", "targets"),
    [
        ("student-T", lambda values: values),
        ("gaussian", lambda values: values),
        ("deterministic-L1", lambda values: values),
        ("negative-binomial", lambda values: np.round(np.maximum(values - 95, 0))),
        ("beta", lambda values: np.clip((values - 85) / 30, 0, 1)),
    ],
)
def test_samples_are_such_as_the_likelihood_has(
    tmp_path: Path, likelihood: str, targets: Callable[[np.ndarray], np.ndarray]
) -> None:
    records = [record | {"target": targets(np.array(record["target"])).tolist()} for record in seasonal(8)]
    model = trained(tmp_path, records, likelihood=likelihood)

    samples = model.sample(parse_record(records[0]), 50)

    assert samples.shape == (50, 12)
    assert np.isfinite(samples).all()
    assert (samples.std(axis=0) > 0).all() == (likelihood != "deterministic-L1")
    if likelihood == "beta":
        assert ((samples >= 0) & (samples <= 1)).all()
    if likelihood == "negative-binomial":
        assert ((samples >= 0) & (samples % 1 == 0)).all()


@pytest.mark.parametrize(
    ("likelihood", "text"),
    [
        ("beta", "The likelihood beta is for values from 0 to 1; the training time series have "),
        ("negative-binomial", "The likelihood negative-binomial is for whole numbers from 0; the training time series"),
    ],
)
def test_values_that_a_likelihood_has_none_of_are_refused(tmp_path: Path, likelihood: str, text: str) -> None:
    assert run_job(tmp_path, {"train": seasonal(8)}, likelihood=likelihood) == 1
    assert failure(tmp_path).startswith(f"ClientError: {text}")


def test_samples_of_a_series_are_the_same_each_time_and_independent_of_those_of_others(tmp_path: Path) -> None:
    model = trained(tmp_path, seasonal(8))
    first, second = (parse_record(record) for record in seasonal(2))
    samples = model.sample(first, 50)
    np.testing.assert_array_equal(samples, Model.load(tmp_path / "model").sample(first, 50))
    assert abs(np.corrcoef(samples[:, 0], model.sample(second, 50)[:, 0])[0, 1]) < 0.5


def test_the_spread_of_samples_is_that_of_the_last_seasons(tmp_path: Path) -> None:
    model = trained(tmp_path, seasonal(8, length=200))
    (record,) = seasonal(1, length=200)
    smooth = 100 + 10 * np.sin(2 * np.pi * np.arange(200) / 12)
    calmed, roused = (np.array(record["target"]), smooth.copy())
    calmed[100:] = smooth[100:]
    roused[100:] = record["target"][100:]
    calm, rough = (
        model.sample(TimeSeries(datetime.fromisoformat("2001-01-01"), target), 100)[:, 0].std()
        for target in (calmed, roused)
    )
    assert calm < 0.5 * rough


def test_errors_of_a_crisis_do_not_outweigh_years(tmp_path: Path) -> None:
    """By the likelihood: of a normal distribution every error counts by its square."""
    calm = seasonal(20, length=120)
    crisis = seasonal(20, length=120)
    for record in crisis:
        record["target"][-1] += 300

    def shift(likelihood: str) -> float:
        models = [
            trained(tmp_path / f"{likelihood}-{name}", records, likelihood=likelihood, context_length="1")
            for name, records in (("calm", calm), ("crisis", crisis))
        ]
        return float(np.abs(models[0].coefficients - models[1].coefficients).max())

    assert shift("student-T") < 0.5 * shift("gaussian")


def test_a_gap_is_filled_along_the_way_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """The forecast begins with the values of a season before, which are missing here."""
    records = [record | {"target": (np.array(record["target"]) + 5 * np.arange(60)).tolist()} for record in seasonal(8)]
    model = trained(tmp_path, records)
    series = parse_record(records[0])
    complete = model.sample(series, 100).mean(axis=0)
    series.target[48:54] = np.nan
    assert np.abs(model.sample(series, 100).mean(axis=0) - complete).max() < 20


def test_dynamic_features_tell_what_is_to_come(tmp_path: Path) -> None:
    """A promotion in some months adds 40; a year before and in the month before there was none."""
    random = np.random.default_rng(3)
    records = seasonal(20, length=72)
    for record in records:
        promoted = (random.random(72) < 0.2).astype(float)
        record["target"] = (np.array(record["target"]) + 40 * promoted).tolist()
        record["dynamic_feat"] = [promoted.tolist()]
    ended = [record | {"dynamic_feat": [record["dynamic_feat"][0][:60]]} for record in without_last(records, 12)]
    aware = trained(tmp_path / "aware", ended, num_dynamic_feat="1")
    unaware = trained(tmp_path / "unaware", ended, num_dynamic_feat="")

    def error(model: Model, features: np.ndarray | None) -> float:
        forecasts = []
        for record in records:
            series = replace(parse_record(record), target=np.array(record["target"][:-12]))
            series = series if features is None else replace(series, dynamic_feat=features)
            forecasts.append(model.sample(series, 100).mean(axis=0) - record["target"][-12:])
        return float(np.sqrt(np.mean(np.square(forecasts))))

    assert error(aware, None) < 0.3 * error(unaware, np.empty((0, 0)))


def test_what_a_feature_did_to_the_last_step_is_over_with_it(tmp_path: Path) -> None:
    """A promotion adds 40 in every eleventh month, and in the last one: it is not taken for a new level."""
    records = seasonal(20, length=120)
    promoted = np.zeros(132)
    promoted[9:120:11] = promoted[119] = 1.0
    for record in records:
        record["target"] = (np.array(record["target"]) + 40 * promoted[:120]).tolist()
        record["dynamic_feat"] = [promoted[:120].tolist()]
    model = trained(tmp_path, records)

    series = (replace(parse_record(record), dynamic_feat=promoted[None]) for record in records)
    jumps = [model.sample(one, 100)[:, 0].mean() - one.target[-1] for one in series]
    assert np.mean(jumps) == pytest.approx(-40 + 5, abs=3)


def test_a_category_is_drawn_on_where_a_series_is_too_short_to_tell(tmp_path: Path) -> None:
    """Those of category 1 grow by 24 a year."""
    records = seasonal(20, cat=[0])
    for record in records[10:]:
        record |= {"target": (np.array(record["target"]) + 2 * np.arange(60)).tolist(), "cat": [1]}
    model = trained(tmp_path, records)

    young = TimeSeries(datetime.fromisoformat("2005-01-01"), np.array([100.0, 105.0]))
    rests, grows = (model.sample(replace(young, cat=(group,)), 100).mean() for group in (0, 1))
    assert grows > rests + 5


def test_a_series_shorter_than_a_season_follows_the_season_of_the_others(tmp_path: Path) -> None:
    records = seasonal(20)
    for record in records[10:]:
        record |= {"start": "2001-05-01 00:00:00", "target": record["target"][4:]}
    model = trained(tmp_path, records)
    forecast = model.sample(TimeSeries(datetime.fromisoformat("2005-04-01"), np.array([100.0])), 200).mean(axis=0)
    season = np.sin(2 * np.pi * np.arange(4, 16) / 12)
    assert np.corrcoef(forecast, season)[0, 1] > 0.95
    unknown = model.sample(TimeSeries(datetime.fromisoformat("2005-01-01"), np.array([np.nan])), 200)
    assert 80 < unknown.mean() < 120


def test_of_series_without_two_seasons_a_step_is_the_season(tmp_path: Path) -> None:
    model = trained(tmp_path, seasonal(20, length=23))
    assert model.shape.season == 1
    last = seasonal(1, length=23)[0]["target"][-1]
    assert abs(model.sample(parse_record(seasonal(1, length=23)[0]), 100)[:, 0].mean() - last) < 10


@pytest.mark.parametrize(("freq", "hours"), [("H", 1), ("2H", 2), ("D", 24), ("15min", 0.25)])
def test_seasons_follow_from_the_frequency(tmp_path: Path, freq: str, hours: float) -> None:
    """A day is the season of hours and minutes, a week that of days."""
    season = round((168 if freq == "D" else 24) / hours)
    steps = np.arange(8 * season)
    values = 50 + 20 * np.sin(2 * np.pi * steps / season)
    records = [{"start": "2024-02-28 07:00:00", "target": (values + shift).tolist()} for shift in range(6)]
    model = trained(tmp_path, records, time_freq=freq, prediction_length="30")

    ahead = 50 + 20 * np.sin(2 * np.pi * (8 * season + np.arange(30)) / season)
    np.testing.assert_allclose(model.sample(parse_record(records[0]), 10).mean(axis=0), ahead, atol=0.5)


def test_a_forecast_may_be_longer_than_a_season(tmp_path: Path) -> None:
    model = trained(tmp_path, seasonal(8), prediction_length="30")
    forecast = model.sample(parse_record(seasonal(1)[0]), 100).mean(axis=0)
    assert len(forecast) == 30
    assert np.corrcoef(forecast[:12], forecast[12:24])[0, 1] > 0.9


@pytest.mark.parametrize(
    ("text", "moment", "later", "steps"),
    [
        ("M", "2001-11-30 05:00:00", "2002-01-01 00:00:00", 2),
        ("3M", "2001-03-31 00:00:00", "2001-04-01 00:00:00", 1),
        ("W", "2001-12-30 00:00:00", "2002-01-07 00:00:00", 2),
        ("2D", "1970-01-01 00:00:00", "1970-01-11 00:00:00", 5),
        ("6H", "1969-12-29 00:00:00", "1970-01-01 05:59:00", 12),
        ("15min", "1969-12-29 00:00:00", "1969-12-29 01:14:59", 4),
    ],
)
def test_steps_are_counted_from_one_that_all_series_share(text: str, moment: str, later: str, steps: int) -> None:
    freq = Frequency.parse(text)
    assert freq.number(datetime.fromisoformat(later)) - freq.number(datetime.fromisoformat(moment)) == steps


def test_series_that_are_shorter_than_a_forecast_are_not_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {"start": "2001-01-01", "target": [1.0] * 11}
    model = trained(tmp_path, [*seasonal(8), short])
    assert "Ignored 1 time series that are shorter than prediction_length." in capsys.readouterr().out
    np.testing.assert_array_equal(model.coefficients, trained(tmp_path / "other", seasonal(8)).coefficients)


def test_training_ends_when_it_gains_nothing_more_or_after_its_epochs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = []
    for number, said in enumerate(({"epochs": "2"}, {"early_stopping_patience": "1"}, {"early_stopping_patience": ""})):
        trained(tmp_path / str(number), seasonal(8), **{"epochs": "100", **said})
        epochs.append(capsys.readouterr().out.count("train loss <loss>="))
    assert epochs[0] == 2 < epochs[1] < epochs[2] < 30


def test_the_model_is_that_of_the_epoch_with_the_lowest_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained(tmp_path / "real", seasonal(8))
    losses = [3.0, 1.0, 2.0]
    epochs = [Epoch(n, loss, replace(model, error=loss)) for n, loss in enumerate(losses)]
    monkeypatch.setattr(deepar_train, "fit", lambda *_: iter(epochs))
    assert trained(tmp_path / "best", seasonal(8)).error == 1.0
    assert "Final loss: 1.0 (occurred at epoch 1)" in capsys.readouterr().out


def test_dropout_shrinks_the_coefficients(tmp_path: Path) -> None:
    sizes = [
        np.abs(trained(tmp_path / rate, seasonal(8), dropout_rate=rate).coefficients).sum() for rate in ("0", "0.9")
    ]
    assert sizes[0] > sizes[1]


def test_more_context_means_more_lags(tmp_path: Path) -> None:
    records = seasonal(8)
    lags = [trained(tmp_path / n, records, context_length=n).shape.lags for n in ("1", "3", "200")]
    assert lags == [(1, 12, 24), (1, 2, 3, 12, 24), tuple(range(1, 48))]


@pytest.mark.parametrize(
    ("name", "good", "bad", "expects"),
    [
        ("context_length", ["1", "200"], ["0", "1.5", "", "12 months"], "an integer of at least 1"),
        ("epochs", ["1"], ["0", "many"], "an integer of at least 1"),
        ("prediction_length", ["1"], ["0", "-3"], "an integer of at least 1"),
        ("time_freq", ["M", "W", "D", "H", "min", "2H", "15min"], ["", "Q", "0D", "month", "min15"], "a string which"),
        ("cardinality", ["auto", "ignore", "", "[2, 3]"], ["2", "[0]", "[]", "[1.5]", "[true]", "two"], "'auto'"),
        ("dropout_rate", ["0", "0.2"], ["1", "-0.1", "none"], "a number of at least 0 and below 1"),
        ("early_stopping_patience", ["", "40"], ["0", "x"], "an integer"),
        ("embedding_dimension", ["1"], ["0"], "an integer of at least 1"),
        ("learning_rate", ["5E-4"], ["0", "fast", "nan"], "a number above 0"),
        ("likelihood", ["student-T", "student-t", "deterministic-L1", "beta"], ["poisson", ""], "one of the following"),
        ("mini_batch_size", ["32"], ["0"], "an integer of at least 1"),
        ("num_cells", ["30"], ["0"], "an integer of at least 1"),
        ("num_dynamic_feat", ["auto", "ignore", "", "2"], ["0", "[1]"], "'auto'"),
        ("num_eval_samples", ["1"], ["0"], "an integer of at least 1"),
        ("num_layers", ["1"], ["0"], "an integer of at least 1"),
        ("test_quantiles", ["[0.5]", "[0.1, 0.95]"], ["0.5", "[]", "[0]", "[1]", '["0.5"]', "[" * 9999], "an array of"),
        ("_tuning_objective_metric", ["test:RMSE"], [], ""),
    ],
)
def test_each_hyperparameter_is_read_or_refused_in_the_words_of_amazons_algorithms(
    name: str, good: list[str], bad: list[str], expects: str
) -> None:
    for text in good:
        assert name in deepar_hyperparameters.read(MONTHLY | {name: text})
    for text in bad:
        with pytest.raises(CustomerError) as refused:
            deepar_hyperparameters.read(MONTHLY | {name: text})
        said = f"The value '{text}' is not valid for the '{name}' hyperparameter which expects {expects}"
        assert str(refused.value).startswith(said)
        assert str(refused.value).endswith(" (caused by ValidationError)")


def test_defaults_are_those_of_the_guide() -> None:
    assert deepar_hyperparameters.read(MONTHLY) == {
        "time_freq": "M", "context_length": 12, "prediction_length": 12, "epochs": 20, "cardinality": "auto",
        "dropout_rate": 0.1, "early_stopping_patience": None, "embedding_dimension": 10, "learning_rate": 0.001,
        "likelihood": "student-t", "mini_batch_size": 128, "num_cells": 40, "num_dynamic_feat": "auto",
        "num_eval_samples": 100, "num_layers": 2, "test_quantiles": QUANTILES, "_tuning_objective_metric": "",
    }  # fmt: skip


def test_missing_and_unknown_hyperparameters_are_named(tmp_path: Path) -> None:
    with pytest.raises(CustomerError) as missing:
        deepar_hyperparameters.read({"epochs": "1", "time_freq": "M"})
    assert str(missing.value) == (
        "No value(s) were specified for 'context_length', 'prediction_length' which are required hyperparameter(s) "
        "(caused by ValidationError)"
    )
    assert run_job(tmp_path, {"train": seasonal(8)}, horizon="3") == 1
    assert failure(tmp_path) == (
        "ClientError: Additional hyperparameters are not allowed ('horizon' was unexpected) (caused by ValidationError)"
    )


GOOD = {"start": "2001-01-01 00:00:00", "target": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ([1, 2], "a time series is an object with start and target, got [1, 2]"),
        ({"target": [1]}, "'start' is missing"),
        ({"start": "2001-01-01"}, "'target' is missing"),
        (GOOD | {"start": "January"}, "start is 'January', expected 'YYYY-MM-DD HH:MM:SS' without a time zone"),
        (GOOD | {"start": "2001-01-01T00:00:00+01:00"}, "without a time zone"),
        (GOOD | {"start": 2001}, "start is 2001, expected"),
        (GOOD | {"target": "1,2"}, "target is '1,2', expected a list"),
        (GOOD | {"target": [1, "2"]}, "value 1 of target is '2', expected a number"),
        (GOOD | {"target": [True]}, "value 0 of target is True, expected a number"),
        (GOOD | {"target": [1, float("inf")]}, "value 1 of target is larger than a 32-bit number can be"),
        (GOOD | {"target": [10**400]}, "too large"),
        (GOOD | {"cat": 0}, "cat is 0, expected a list"),
        (GOOD | {"cat": [-1]}, "cat is [-1], expected whole numbers from 0"),
        (GOOD | {"cat": ["a"]}, "cat is ['a'], expected whole numbers from 0"),
        (GOOD | {"dynamic_feat": [1, 2]}, "dynamic_feat is 1, expected a list"),
        (GOOD | {"dynamic_feat": [[1, "NaN"]]}, "value 1 of dynamic_feat is missing; only the target may miss some"),
        (GOOD | {"dynamic_feat": [[1, 2], [1]]}, "series of dynamic_feat differ in length: 2, 1"),
    ],
)
def test_what_is_no_series_is_refused_with_its_place(tmp_path: Path, record: object, text: str) -> None:
    content = lines([*seasonal(8), record])  # type: ignore[list-item]
    assert run_job(tmp_path, {"train": content}) == 1
    assert failure(tmp_path).startswith("ClientError: Time series 8 of part-00000.json: ")
    assert text in failure(tmp_path)


@pytest.mark.parametrize(
    ("train", "said", "text"),
    [
        (b"{]", {}, "Error when parsing json: line 0 of part-00000.json"),
        (b"\xff", {}, "Error when parsing json: line 0 of part-00000.json"),
        (b"[" * 100_000, {}, "Error when parsing json: line 0 of part-00000.json"),
        (b"x", {"name": "series.json.gz"}, "Error when parsing json: line 0 of series.json.gz"),
        (b"x", {"name": "series.parquet"}, "Error when parsing parquet: series.parquet"),
        (b"x", {"name": "series.csv"}, "The format of series.csv is not known: expected a name that ends in .json"),
        (b"x", {"content_type": "text/csv"}, "text/csv is not an accepted ContentType: json, json.gz, parquet."),
        (b"", {}, "No data in train channel path "),
        (seasonal(4), {}, "The training time series have 240 observations; expected at least 300."),
        ([GOOD | {"target": [0] * 300}], {}, "training time series consist of only zeros"),
        ([GOOD] * 150, {}, "No training time series has prediction_length (12) values."),
        ([GOOD | {"target": [1, None] * 300}], {}, "Nothing can be learned from the training time series: "),
        ([*seasonal(8, cat=[0]), GOOD], {}, "starts 2001-01-01 00:00:00: cat has 0 values, expected 1"),
        (seasonal(8, cat=[2]), {"cardinality": "[2]"}, "value 0 of cat is 2, expected one from 0 to 1"),
        (seasonal(8), {"cardinality": "[2]"}, "cat has 0 values, expected 1"),
        (seasonal(8), {"num_dynamic_feat": "1"}, "dynamic_feat has 0 series, expected 1"),
        (seasonal(8, dynamic_feat=[[1]]), {}, "dynamic_feat has 1 values a series, expected 60"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_data_that_cannot_be_trained_on_are_the_callers_error(
    tmp_path: Path, train: list[Record] | bytes, said: dict[str, str], text: str
) -> None:
    time_freq = "min" if text.startswith("Nothing") else "M"
    assert run_job(tmp_path, {"train": train}, **{"time_freq": time_freq, **said}) == 1  # type: ignore[arg-type]
    assert failure(tmp_path).startswith("ClientError: ")
    assert text in failure(tmp_path)


def test_what_the_job_ignores_is_not_looked_at(tmp_path: Path) -> None:
    plain = trained(tmp_path / "plain", seasonal(8))
    said = {"cardinality": "ignore", "num_dynamic_feat": ""}
    mixed = [*seasonal(8, cat=[1], dynamic_feat=[[1]])[:4], *seasonal(8)[4:]]
    np.testing.assert_array_equal(trained(tmp_path / "mixed", mixed, **said).coefficients, plain.coefficients)


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        ({"test": seasonal(8)}, "Missing required channel: train"),
        ({"train": seasonal(8), "validation": seasonal(8)}, "Unknown channel validation; expected some of train, test"),
        (
            {"train": seasonal(8), "test": seasonal(8, length=12)},
            "No test time series is longer than prediction_length",
        ),
        ({"train": seasonal(8), "test": [GOOD | {"target": [1.0] * 12 + [None] * 12}]}, "have no value among their"),
    ],
)
def test_channels_are_checked(tmp_path: Path, channels: dict[str, list[Record]], text: str) -> None:
    assert run_job(tmp_path, channels) == 1
    assert text in failure(tmp_path)


def test_test_series_that_are_too_short_are_not_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_job(tmp_path, {"train": seasonal(8), "test": [*seasonal(8), GOOD]}) == 0
    assert "Ignored 1 test time series that are not longer than prediction_length." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("resourceconfig.json", {"hosts": ["algo-1", "algo-2"]}, "Training on several hosts is not supported locally"),
        ("inputdataconfig.json", {"train": {"TrainingInputMode": "Pipe"}}, "Pipe mode is not supported by the local"),
    ],
)
def test_what_the_stand_in_cannot_do_is_refused(tmp_path: Path, file: str, content: Record, text: str) -> None:
    run_job(tmp_path, {"train": seasonal(8)})
    (tmp_path / "input/config" / file).write_text(json.dumps(content))
    assert run(deepar_train.train, ["--root", str(tmp_path)]) == 1
    assert text in failure(tmp_path)
