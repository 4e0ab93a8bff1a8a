"""The jobs of a forecasting: what is prepared of series, their baselines, and a window of questions about them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial.data.ingest import ChampionData
from perennial.data.rows import FOLDER
from perennial.evaluation import forecasts
from perennial.features.values import DataError
from perennial.model import definition
from perennial.model.problem_types import FORECAST_QUANTILES
from processing import analyze_data_quality, analyze_model_quality, monitor, preprocess
from tests.pages import Page

START = datetime(2026, 11, 29, 10, tzinfo=UTC)
MODEL = """
problem: forecasting
target: sold
columns:
  item_id: {type: string, feature: false}
  month: {type: timestamp, feature: false}
  sold: {type: float, unit: t, min: 0}
  town: {type: string, categories: [Oslo, Rome]}
  days: {type: integer}
series: {key: item_id, time: month, frequency: M, context_length: 12, prediction_length: 3}
quality: {max_invalid_share: 0.05}
algorithm: deepar
gate: {metric: mean_wql, threshold: 0.2}
monitoring:
  min_records: 10
  model_quality: {min_labels: 20}
  data_quality: {distance: 0.9, stability: 50}
"""
MONTHS = 120
Series = dict[str, Any]


def defined(text: str = MODEL) -> dict[str, Any]:
    return definition.parse(text, "model.yaml").as_json()


def series(name: str, months: int = MONTHS, start: str = "2010-01-01 00:00:00", **other: Any) -> Series:
    """A series that repeats each year and grows by 0.5 a month, and by 0.05 more for each number of its name."""
    growth = 0.5 + 0.05 * int(name.partition("-")[2])
    target = [100.0 + growth * month + 10 * (month % 12) for month in range(months)]
    days = [20 + month % 3 for month in range(months)]
    number = int(name[-1]) % 2
    return {"item_id": name, "start": start, "target": target, "cat": [number], "dynamic_feat": [days], **other}


def lines(*some: Series) -> str:
    return "".join(f"{json.dumps(one)}\n" for one in some)


SHOPS = [series(f"shop-{number}") for number in range(4)]


def prepare(tmp_path: Path, *files: str | bytes, model: str = MODEL, champion: ChampionData | None = None) -> Path:
    data, output = tmp_path / "data", tmp_path / "output"
    data.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(files):
        body = content if isinstance(content, bytes) else content.encode()
        (data / f"{number}").write_bytes(body)
    config = {"model": "shops", "definition": defined(model), "data": {"listed_at": START.isoformat()}}
    preprocess.run(config, data, output, champion or preprocess.NO_CHAMPION)
    return output


def read(output: Path, name: str, part: str = "part-00000") -> list[Any]:
    (path,) = (output / name).glob(f"{part}.*")
    return [json.loads(line) for line in path.read_text().splitlines()]


def points(output: Path) -> forecasts.Points:
    return forecasts.points((output / "labels/part-00000.csv").read_text().splitlines(), "labels")


def hashes(output: Path, name: str) -> np.ndarray[Any, Any]:
    return np.concatenate([np.fromfile(path, "<u8") for path in sorted((output / FOLDER / name).glob("*"))])


def report(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / "report/report.json").read_text()))


def quarantined(output: Path) -> list[str]:
    written = [path.read_text().splitlines() for path in (output / "quarantine").glob("*")]
    return [json.loads(line)["reasons"][0] for part in written for line in part]


# ---- Sets


def test_series_are_cut_by_time_and_none_learns_from_what_tests(tmp_path: Path) -> None:
    output = prepare(tmp_path, lines(*SHOPS))
    train, validation, test = (read(output, name)[0] for name in ("train", "validation", "test"))
    assert [len(one["target"]) for one in (train, validation, test)] == [MONTHS - 6, MONTHS - 3, MONTHS - 3]
    assert [len(one["dynamic_feat"][0]) for one in (train, validation, test)] == [MONTHS - 6, MONTHS - 3, MONTHS]
    assert (test["start"], test["cat"], set(test)) == (
        "2010-01-01 00:00:00",
        [0],
        {"start", "target", "cat", "dynamic_feat"},
    )
    assert test["dynamic_feat"] == SHOPS[0]["dynamic_feat"]
    assert [one["cat"] for one in read(output, "train")] == [[0], [1], [0], [1]]
    known = points(output)
    assert known.labels[:3].tolist() == SHOPS[0]["target"][-3:]
    assert known.steps.tolist() == [1, 2, 3] * 4
    assert known.lines.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert known.labels - known.naive == pytest.approx(np.repeat([6.0, 6.6, 7.2, 7.8], 3))  # a year's growth
    assert report(output)["sets"] == {"train": 4 * (MONTHS - 6), "validation": 12, "test": 12}


def test_a_series_and_what_happened_to_it_are_in_parts_of_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preprocess, "ROWS_PER_PART", 7)  # two series of three values each
    output = prepare(tmp_path, lines(*(series(f"shop-{number}") for number in range(5))))
    for part, count in (("part-00000", 2), ("part-00001", 2), ("part-00002", 1)):
        assert len(read(output, "test", part)) == count
        known = forecasts.points((output / f"labels/{part}.csv").read_text().splitlines(), part)
        assert known.lines.tolist() == sorted([*range(count)] * 3)
    last = read(output, "test", "part-00002")[0]
    assert last["target"][-1] == series("shop-4")["target"][-4]


def test_a_later_run_knows_which_points_the_model_in_service_has_seen(tmp_path: Path) -> None:
    before = prepare(tmp_path / "before", lines(*SHOPS))
    longer = [series(f"shop-{number}", MONTHS + 2) for number in range(4)]
    output = prepare(tmp_path / "now", lines(*longer))
    tested, seen = hashes(output, "test"), set(hashes(before, "seen"))
    assert report(before)["identity"] == report(output)["identity"]
    assert len(seen) == 4 * (MONTHS - 3)
    assert not seen & set(tested)
    known = np.isin(tested, hashes(before, "test"))
    assert known.tolist() == [True, False, False] * 4  # of three months one was tested before, two are new


def test_a_later_drop_extends_series_and_of_a_point_that_comes_again_its_value_counts(tmp_path: Path) -> None:
    months = [*SHOPS[0]["target"][-2:], 500.0]
    later = series("shop-0", start="2019-11-01 00:00:00", target=[*months[:1], 7.0, 500.0], dynamic_feat=[[20, 20, 20]])
    others = [series(f"shop-{number}", MONTHS + 1) for number in range(1, 4)]
    output = prepare(tmp_path, lines(*SHOPS), lines(later, *others))
    assert points(output).labels[:3].tolist() == [months[0], 7.0, 500.0]
    assert report(output)["new_files"]["replaced"] == 0
    assert len(read(output, "test")[0]["target"]) == MONTHS - 2


def test_a_series_that_ended_earlier_is_asked_with_missing_values_and_one_that_ended_long_ago_trains_alone(
    tmp_path: Path,
) -> None:
    late, gone = series("shop-4", MONTHS - 2), series("shop-5", MONTHS - 30)
    late["target"][-2:] = [None, "NaN"]
    late["target"].append(150.0)
    late["dynamic_feat"] = [[20] * MONTHS]
    late["target"] += [None]
    output = prepare(tmp_path, lines(*SHOPS, late, gone))
    test, train = read(output, "test"), read(output, "train")
    assert (len(test), len(train)) == (5, 6)
    assert test[4]["target"][-2:] == [late["target"][MONTHS - 5], None]
    known = points(output)
    assert (known.labels[-1], known.steps[-1], known.lines[-1]) == (150.0, 2, 4)
    assert len(train[5]["target"]) == MONTHS - 30


def test_a_series_without_the_very_last_period_tests_with_the_numbers_of_the_one_before(tmp_path: Path) -> None:
    closed = series("shop-4", MONTHS - 1, dynamic_feat=[[20] * (MONTHS - 2) + [9]])
    output = prepare(tmp_path, lines(*SHOPS, closed))
    assert read(output, "test")[4]["dynamic_feat"] == [[20] * (MONTHS - 2) + [9, 9]]
    assert points(output).labels[-2:].tolist() == closed["target"][-2:]
    assert report(output)["sets"]["test"] == 14


def test_what_is_dated_after_the_run_does_not_decide_which_periods_test(tmp_path: Path) -> None:
    mistyped = series("shop-4", 3, "2039-01-01 00:00:00")
    output = prepare(tmp_path, lines(*SHOPS, mistyped))
    assert report(output)["sets"] == {"train": 4 * (MONTHS - 6), "validation": 12, "test": 12}
    assert report(output)["rows"]["in_no_set"] == 3
    assert report(output)["late"] == {"column": "month", "rows": 3, "latest": "2039-03-01T00:00:00"}


def test_points_that_are_in_no_set_are_counted(tmp_path: Path) -> None:
    """Those of a series that began when the periods that test had begun, and periods that test without a value."""
    young, silent = series("shop-4", 2, "2019-10-01 00:00:00"), series("shop-5")
    silent["target"][-1] = None
    output = prepare(tmp_path, lines(*SHOPS, young, silent))
    assert report(output)["sets"]["test"] == 14
    assert report(output)["rows"]["in_no_set"] == 3


def test_series_that_are_all_dated_after_the_run_are_cut_as_any(tmp_path: Path) -> None:
    output = prepare(tmp_path, lines(*(series(f"shop-{number}", start="2039-01-01 00:00:00") for number in range(4))))
    assert report(output)["sets"] == {"train": 4 * (MONTHS - 6), "validation": 12, "test": 12}


def test_tables_of_points_make_the_same_sets_as_series(tmp_path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["item_id", "month", "sold", "town", "days"])
    for one in SHOPS:
        for month, (value, days) in enumerate(zip(one["target"], one["dynamic_feat"][0], strict=True)):
            town = ["Oslo", "Rome"][one["cat"][0]]
            writer.writerow([one["item_id"], f"{2010 + month // 12}-{month % 12 + 1:02}-01", value, town, days])
    of_table = prepare(tmp_path / "table", text.getvalue())
    of_series = prepare(tmp_path / "series", gzip.compress(lines(*SHOPS).encode()))
    for name in ("train", "validation", "test", "labels", "baseline", f"{FOLDER}/seen", f"{FOLDER}/test"):
        assert [path.read_bytes() for path in sorted((of_table / name).glob("*"))] == [
            path.read_bytes() for path in sorted((of_series / name).glob("*"))
        ], name


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"start": "1 May 2010"}, "start '1 May 2010' is no time such as 2009-11-01 00:00:00, without a time zone"),
        ({"start": "2010-01-01T00:00:00+02:00"}, "is no time such as"),
        ({"start": "2010-13-01 00:00:00"}, "is no time such as"),
        ({"start": "2010-01-15 00:00:00"}, "is not the begin of a month, as series.frequency M asks"),
        ({"target": []}, "target is no list of numbers"),
        ({"target": 5}, "target is no list of numbers"),
        ({"cat": [2]}, "cat 2 is no category of town, which has 2 from 0"),
        ({"cat": []}, "cat has not a number for each category column, of which there are 1 (town)"),
        ({"dynamic_feat": [[1, 2]]}, "dynamic_feat of days has 2 values, and target has 120"),
        ({"dynamic_feat": []}, "dynamic_feat has not a list for each number column, of which there are 1 (days)"),
        ({"item_id": "shop-0"}, "series 'shop-0' stands in line 1 already"),
        ({"item_id": ["a", "b"]}, "item_id is '['a', 'b']', expected one value of all its rows"),
        ({"cat": [["Oslo"] * MONTHS]}, "is no category of town"),
        ({"start": "0000-01-01 00:00:00"}, "is no time such as"),
        ({"price": 4}, "'price' is no field of a series"),
        ({"start": "9995-01-01 00:00:00"}, "its 120 values from 9995-01-01 00:00:00 on go beyond the year 9999"),
    ],
)
def test_a_series_that_breaks_the_contract_is_quarantined_with_its_reason(
    tmp_path: Path, wrong: Series, reason: str
) -> None:
    output = prepare(tmp_path, lines(*SHOPS, series("shop-9", **wrong)))
    assert [reason in text for text in quarantined(output)] == [True], quarantined(output)
    assert report(output)["rows"]["quarantined"] == 1
    assert len(read(output, "train")) == 4


def test_a_point_that_breaks_the_contract_is_quarantined_and_the_rest_of_its_series_counts(tmp_path: Path) -> None:
    wrong = series("shop-9")
    wrong["target"][3], wrong["target"][5] = -1.0, "many"
    output = prepare(tmp_path, lines(*SHOPS, wrong))
    assert sorted(quarantined(output)) == ["sold: '-1.0' is below the minimum 0", "sold: 'many' is not a finite number"]
    assert read(output, "train")[4]["target"][2:7] == [
        *wrong["target"][2:3],
        None,
        wrong["target"][4],
        None,
        *wrong["target"][6:7],
    ]


def test_a_time_between_periods_is_quarantined_in_a_table_as_well(tmp_path: Path) -> None:
    rows = "item_id,month,sold,town,days\nshop-9,2010-02-15,5,Oslo,20\nshop-9,2010-03-01,5,Oslo,20\n"
    output = prepare(tmp_path, lines(*SHOPS), rows)
    (reason,) = quarantined(output)
    assert reason.endswith("is not the begin of a month, as series.frequency M asks")


def test_a_time_that_its_zone_moves_off_a_period_is_told_in_utc(tmp_path: Path) -> None:
    rows = "item_id,month,sold,town,days\nshop-9,2010-02-01T00:00:00+02:00,5,Oslo,20\nshop-9,2010-03-01,5,Oslo,20\n"
    (reason,) = quarantined(prepare(tmp_path, lines(*SHOPS), rows))
    assert reason.endswith("as series.frequency M asks (in UTC it is 2010-01-31 22:00:00)")


def test_a_table_without_the_column_of_the_values_takes_none_away(tmp_path: Path) -> None:
    """Else each of its rows would say that a value that is known is missing."""
    ignoring = f"{MODEL}other_columns: ignore\n"
    misspelt = "item_id,month,slod,town,days\n" + "".join(f"shop-0,2010-0{n}-01,5,Oslo,20\n" for n in range(1, 10))
    output = prepare(tmp_path, lines(*SHOPS), misspelt, model=ignoring)
    (aside,) = report(output)["aside"]
    assert "column 'sold' is missing" in aside["reason"]
    assert report(output)["sets"]["train"] == 4 * (MONTHS - 6)


def test_a_file_that_is_cut_off_is_put_aside(tmp_path: Path) -> None:
    output = prepare(tmp_path, lines(*SHOPS), lines(series("shop-7"), series("shop-8"))[:-20])
    (aside,) = report(output)["aside"]
    assert aside["reason"] == (
        "line 2: the last line has no line end and is no JSON object, so the file is cut off; upload it again, or end "
        "its last line"
    )
    assert len(read(output, "train")) == 4


def test_series_without_a_name_are_told_by_how_they_begin(tmp_path: Path) -> None:
    nameless = [{name: value for name, value in one.items() if name != "item_id"} for one in SHOPS]
    for number, one in enumerate(nameless):
        one["target"] = [value + number for value in one["target"]]
    longer = [
        {**one, "target": [*one["target"], 5.0], "dynamic_feat": [[*one["dynamic_feat"][0], 20]]} for one in nameless
    ]
    output = prepare(tmp_path, lines(*nameless), lines(*longer))
    assert len(read(output, "train")) == 4
    assert points(output).labels[2] == 5.0
    assert any("told by their start" in str(note) for note in report(output)["new_files"]["notes"])


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([lines(series("shop-0", 200))], "DeepAR needs at least 300 over all series"),
        (
            [lines(*(series(f"shop-{number}", target=[None] * MONTHS) for number in range(4)))],
            "sold: no row has a value",
        ),
    ],
    ids=["too few observations", "nothing was observed"],
)
def test_data_that_cannot_be_learned_from_fail_the_job(tmp_path: Path, files: list[str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        prepare(tmp_path, *files)


def test_a_series_that_reaches_further_than_the_others_is_named(tmp_path: Path) -> None:
    """A mistyped year makes its series the only one that tests, or leaves none."""
    output = prepare(tmp_path, lines(*SHOPS, series("shop-9", start="2016-01-01 00:00:00")))
    assert report(output)["notes"] == [
        "only 1 of 5 series have a value in the last periods, which end with 2025-12-01 00:00:00 of series 'shop-9'; "
        "nothing tests the others. Is that time right?"
    ]
    rows = "item_id,month,sold,town,days\nshop-9,2026-11-01,5,Oslo,20\n"
    with pytest.raises(DataError, match="which end with 2026-11-01 00:00:00 of series 'shop-9', and before them"):
        prepare(tmp_path / "alone", lines(*SHOPS), rows)
    assert report(prepare(tmp_path / "even", lines(*SHOPS)))["notes"] == []


def table(town: Callable[[int], str]) -> str:
    rows = [
        f"shop-{shop},{2015 + m // 12}-{m % 12 + 1:02}-01,{shop + m},{town(m)},20"
        for shop in range(5)
        for m in range(90)
    ]
    return "\n".join(["item_id,month,sold,town,days", *rows]) + "\n"


def test_a_category_that_comes_and_goes_within_series_is_none_of_theirs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="town: its category comes and goes within 5 of 5 series; DeepAR knows one"):
        prepare(tmp_path, table(lambda month: ("Oslo", "Rome")[month % 2]))


def test_series_that_have_moved_are_of_the_category_of_now(tmp_path: Path) -> None:
    output = prepare(tmp_path, table(lambda month: "Rome" if month > 60 else "Oslo"))
    assert [one["cat"] for one in read(output, "train")] == [[1]] * 5


def test_a_model_in_service_with_other_categories_is_asked_what_it_can_read(tmp_path: Path) -> None:
    before = MODEL.replace("[Oslo, Rome]", "[Oslo]").replace("  days: {type: integer}\n", "")
    before = before.replace("prediction_length: 3", "prediction_length: 6")
    output = prepare(tmp_path, lines(*SHOPS), champion=ChampionData(defined(before)))
    asked = read(output, "rows/champion-test")
    assert [set(one) for one in asked] == [{"start", "target", "cat"}] * 4
    assert {one["cat"][0] for one in asked} == {0}


def test_a_forecasting_does_not_follow_a_model_of_rows(tmp_path: Path) -> None:
    rows = "problem: regression\ntarget: sold\ncolumns: {sold: {type: float}, days: {type: integer}}\n"
    rows += "split: {method: random}\nalgorithm: xgboost\ngate: {metric: rmse, threshold: 1}"
    with pytest.raises(DataError, match="the model in service is of problem regression, and cannot be asked"):
        prepare(tmp_path, lines(*SHOPS), champion=ChampionData(defined(rows)))


# ---- Baselines and windows


def answer(values: list[float], spread: float = 20.0) -> dict[str, Any]:
    quantiles = {f"{q:g}": [value + spread * (q - 0.5) for value in values] for q in FORECAST_QUANTILES}
    return {"mean": values, "quantiles": quantiles}


@pytest.fixture
def baselines(tmp_path: Path) -> Path:
    """Those of a model that forecasts five too much, and of the points that it was tested on."""
    many = [series(f"shop-{number}") for number in range(40)]
    output = prepare(tmp_path, lines(*many))
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"run_id": "r", "model": "shops", "definition": defined()}))
    known = points(output)
    answers = [json.dumps(answer((of_series + 5).tolist())) for of_series in known.labels.reshape(40, 3)]
    scores = forecasts.scores_of(known, answers, "out")
    columns = {"prediction": scores[:, 0], "label": known.labels}
    columns |= {f"p{tenth}0": scores[:, tenth] for tenth in range(1, 10)}
    rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions/predictions.csv").write_text("\n".join(rows))
    for job, inputs in (
        (analyze_data_quality, {"baseline-data": output / "baseline"}),
        (analyze_model_quality, {"predictions": tmp_path / "predictions", "test": output / "test", "serving": output}),
    ):
        folder = tmp_path / "baselines" / ("data-quality" if job is analyze_data_quality else "")
        given = [text for name, path in inputs.items() for text in (f"--{name}", str(path))]
        message = tmp_path / "message"
        assert job.main(["--config", str(config), *given, "--output", str(folder), "--message", str(message)]) == 0
    return tmp_path


def test_baselines_are_of_series_as_rows_and_of_forecasts(baselines: Path) -> None:
    data = json.loads((baselines / "baselines/data-quality/statistics.json").read_text())
    assert [one["name"] for one in data["features"]] == ["sold", "town", "days", "season_change", "missing_share"]
    assert data["dataset"]["item_count"] == 8 * 40  # as of eight times
    quality = json.loads((baselines / "baselines/model-quality/statistics.json").read_text())["forecasting_metrics"]
    assert quality["rmse"]["value"] == pytest.approx(5)
    assert quality["mean_wql"]["value"] > 0
    constraints = json.loads((baselines / "baselines/model-quality/constraints.json").read_text())
    assert constraints["forecasting_constraints"]["mean_wql"]["comparison_operator"] == "GreaterThanThreshold"
    attribution = json.loads((baselines / "baselines/attribution/analysis.json").read_text())
    assert attribution["reason"].startswith("contributions of deepar are not known")


def judged(folder: Path, asked: list[Series], error: float, truth: dict[str, list[float]], per_request: int = 1) -> Any:
    """The verdict on a window: series that were asked about, answered too high by an error, and what came true."""
    written = []
    for place in range(0, len(asked), per_request):
        some = asked[place : place + per_request]
        instances = [{name: value for name, value in one.items() if name not in ("ahead", "asks")} for one in some]
        predictions = [answer([value + error for value in one["ahead"]]) for one in some]
        for one, prediction in zip(some, predictions, strict=True):
            prediction["quantiles"] = {
                name: prediction["quantiles"][name] for name in one.get("asks", prediction["quantiles"])
            }
        exchange = {
            "captureData": {
                "endpointInput": {
                    "observedContentType": "application/json", "mode": "INPUT", "encoding": "JSON",
                    "data": json.dumps({"instances": instances, "configuration": forecasts.CONFIGURATION}),
                },
                "endpointOutput": {
                    "observedContentType": "application/json", "mode": "OUTPUT", "encoding": "JSON",
                    "data": json.dumps({"predictions": predictions}),
                },
            },
            "eventMetadata": {
                "eventId": f"e{place}", "inferenceId": f"q{place}",
                "inferenceTime": (START + timedelta(seconds=place)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            "eventVersion": "0",
        }  # fmt: skip
        written.append(json.dumps(exchange))
    place = folder / "capture/shops/AllTraffic/2026/11/29/10"
    place.mkdir(parents=True)
    (place / "00-00.jsonl").write_text("\n".join(written))
    (folder / "ground-truth").mkdir()
    rows = [f"{name}/{step},{value}" for name, values in truth.items() for step, value in enumerate(values, 1)]
    (folder / "ground-truth/late.csv").write_text("\n".join(["inference_id,label", *rows]))
    window = ["--endpoint", "shops", "--start", "2026-11-29T10:00:00Z", "--end", "2026-11-29T11:00:00Z"]
    named = ("capture", "ground-truth", "serving", "history", "probe")
    paths = [text for name in named for text in (f"--{name}", str(folder / name))]
    for name in ("data-baseline", "model-baseline", "bias-baseline", "attribution-baseline"):
        which = {"data": "data-quality", "model": "model-quality"}.get(name.split("-")[0], name.split("-")[0])
        paths += [f"--{name}", str(folder / "baselines" / which)]
    output = folder / "verdict"
    given = ["--config", str(folder / "config.json"), *window, *paths, "--output", str(output)]
    assert monitor.main([*given, "--message", str(folder / "message")]) == 0
    return json.loads((output / "verdict.json").read_text())


def questions(
    baselines: Path, count: int = 40, months: int = MONTHS + 9
) -> tuple[list[Series], dict[str, list[float]]]:
    """Series as they are asked about nine months later, with their next three values, and what came true of each."""
    asked, truth = [], {}
    for number in range(count):
        whole = series(f"shop-{number}", months + 3)
        known = {name: whole[name] for name in ("start", "cat", "dynamic_feat")}
        asked.append({**known, "target": whole["target"][:months], "ahead": whole["target"][months:]})
        truth[f"q{number}/0"] = whole["target"][months:]
    return asked, truth


def test_a_window_of_forecasts_is_judged_when_the_truth_has_come(baselines: Path) -> None:
    asked, truth = questions(baselines)
    verdict = judged(baselines, asked, 5.0, truth)
    assert (verdict["verdict"], verdict["reasons"], verdict["records"]) == ("Healthy", [], 40)
    assert (verdict["ground_truth"]["matched"], verdict["ground_truth"]["missing"]) == (120, 0)
    metrics = {one["name"]: one for one in verdict["analyses"]["model_quality"]["metrics"]}
    assert metrics["rmse"]["value"] == pytest.approx(5)
    columns = {one["name"]: one for one in verdict["analyses"]["data_quality"]["columns"]}
    assert {"town", "days", "season_change", "missing_share"} <= set(columns)


def test_forecasts_that_have_become_worse_are_drift_and_the_report_draws_them_with_their_bands(baselines: Path) -> None:
    asked, truth = questions(baselines)
    verdict = judged(baselines, asked, 50.0, truth)
    assert verdict["verdict"] == "Drift"
    assert any(reason.startswith("Metric mean_wql with ") for reason in verdict["reasons"])
    assert verdict["no_labelled_rows"].startswith("what came true trains as new points of its series")
    text = Page((baselines / "verdict/report.html").read_bytes()).text
    assert text.count("values that are known lie in the band") == 12
    assert "0 of 3 values that are known lie in the band; the median errs by 50" in text
    assert "Coverage" in text


def test_truth_that_is_not_there_yet_leaves_the_quality_open_and_the_forecasts_drawn(baselines: Path) -> None:
    asked, truth = questions(baselines)
    verdict = judged(baselines, asked, 5.0, {name: values[:1] for name, values in [*truth.items()][:10]})
    quality = verdict["analyses"]["model_quality"]
    assert quality["verdict"] == "NotEnoughData"
    assert quality["reason"].startswith("not enough labels: 10 of 120 forecast periods; expected 20")
    text = Page((baselines / "verdict/report.html").read_bytes()).text
    assert "1 of 1 values that are known lie in the band" in text
    assert "Nobody knows yet what came true." in text


def test_series_of_one_request_are_told_by_their_number(baselines: Path) -> None:
    asked, _ = questions(baselines)
    truth = {f"q{number - number % 4}/{number % 4}": one["ahead"] for number, one in enumerate(asked)}
    verdict = judged(baselines, asked, 5.0, truth, per_request=4)
    assert (verdict["records"], verdict["ground_truth"]["matched"]) == (40, 120)


def test_series_unlike_those_that_the_model_was_made_of_are_drift(baselines: Path) -> None:
    asked, truth = questions(baselines)
    halved = [{**one, "target": [*one["target"][:-12], *(value / 2 for value in one["target"][-12:])]} for one in asked]
    verdict = judged(baselines, halved, 5.0, truth)
    assert verdict["verdict"] == "Drift"
    assert any(reason.startswith("season_change") for reason in verdict["reasons"]), verdict["reasons"]


def test_numbers_whose_sum_no_float_can_be_have_no_mean(baselines: Path) -> None:
    asked, truth = questions(baselines)
    asked[0]["dynamic_feat"], asked[1]["target"] = [[1e308] * 140], [1e308] * 120
    assert judged(baselines, asked, 5.0, truth)["records"] == 40


def test_a_category_that_the_model_does_not_know_and_what_is_no_series_are_told(baselines: Path) -> None:
    asked, truth = questions(baselines)
    asked[0]["cat"], asked[1]["target"], asked[2]["target"] = 5, "123", [1.0, "x"]
    asked[13]["target"], asked[14]["target"], asked[15]["dynamic_feat"] = {"1": 2}, [10**400], ["12"]
    for one in asked[3:13]:
        one["cat"] = [7]
    verdict = judged(baselines, asked, 5.0, truth)
    assert verdict["collected"]["unreadable_requests"] == 6
    assert verdict["records"] == 34
    assert any("town" in one["text"] for one in verdict["analyses"]["data_quality"]["findings"])


def test_a_request_for_some_quantiles_alone_is_no_forecast_that_can_be_measured_and_told_so(baselines: Path) -> None:
    asked, truth = questions(baselines)
    asked[0]["asks"] = ["0.5"]
    verdict = judged(baselines, asked, 5.0, truth)
    assert (verdict["records"], verdict["ground_truth"]["matched"]) == (40, 117)
    assert verdict["collected"]["unreadable_answers"] == 1
    assert "an answer lacks the mean or one of the quantiles 0.1 to 0.9" in verdict["collected"]["examples"][0]


def test_a_drop_is_held_against_the_baseline_where_both_have_values_of_the_same_kind(baselines: Path) -> None:
    statistics = json.loads((baselines / "baselines/data-quality/statistics.json").read_text())
    champion = ChampionData(defined(), frozenset({1}), statistics=statistics)
    many = [series(f"shop-{number}") for number in range(40)]
    later = [series(f"shop-{number}", MONTHS + 2) for number in range(40)]
    output = prepare(baselines / "again", lines(*many), lines(*later), champion=champion)
    drift = report(output)["drift"]
    assert drift["rows"] == 80  # of the two months that are new
    assert set(drift["distances"]) == {"sold", "town"}
