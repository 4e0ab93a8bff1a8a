"""The answers of DeepAR's serving container, without its HTTP server."""

import json
import tracemalloc
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localcloud.sagemaker.algorithms.autoregression import FILES, Model, Settings, Shape
from localcloud.sagemaker.algorithms.autoregression_fit import fit
from localcloud.sagemaker.algorithms.time_series import Frequency, TimeSeries, parse_record
from localcloud.sagemaker.containers import deepar_serve
from localcloud.sagemaker.containers.deepar_serve import Configuration, DeepArApplication
from localcloud.sagemaker.containers.serving_container import Request, Response

JSON, JSON_LINES = "application/json", "application/jsonlines"
SERIES: dict[str, Any] = {"start": "2009-11-01 00:00:00", "target": [4.0, 10.0, "NaN", 100.0]}
Document = dict[str, Any]


@pytest.fixture(scope="module")
def model() -> Model:
    """It forecasts three days."""
    targets = np.cumsum(np.random.default_rng(0).normal(size=(4, 100)), axis=1) + 50
    settings = Settings(Frequency.parse("D"), 5, 3, "student-t", epochs=2)
    *_, last = fit(settings, [TimeSeries(datetime.fromisoformat("2009-01-01"), target) for target in targets])
    return last.model


def ask(
    model: Model, body: Any, content_type: str | None = JSON, accept: str | None = None, **batch: Configuration
) -> Response:
    headers = {"content-type": content_type, "accept": accept}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DeepArApplication(model, **batch).invoke(
        Request(content, {key: said for key, said in headers.items() if said})
    )


def predictions(model: Model, configuration: Document | None = None, **series: Any) -> list[Document]:
    body = {"instances": [SERIES | series]} | ({"configuration": configuration} if configuration is not None else {})
    answer = ask(model, body)
    assert (answer.status, answer.content_type) == (200, JSON), answer.body
    document = json.loads(answer.body)
    assert list(document) == ["predictions"]
    return list(document["predictions"])


def test_what_an_answer_takes_does_not_grow_with_how_far_the_model_looks_back(model: Model) -> None:
    """Of minutes that is a week."""
    shape = Shape(season=1, lags=(1, 10_080))
    far = replace(model, shape=shape, coefficients=np.array([0.1, 0.1]), profile=np.zeros(1))
    series = parse_record({**SERIES, "target": [*range(20_000)]})
    far.sample(series, 1)
    tracemalloc.start()
    try:
        far.sample(series, 10_000)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_mean_quantiles_and_samples_are_answered_as_asked(model: Model) -> None:
    asked = {"num_samples": 50, "output_types": ["mean", "quantiles", "samples"], "quantiles": ["0.5", "0.90"]}
    (answer,) = predictions(model, asked)

    samples = np.array(answer["samples"])
    assert samples.shape == (50, 3)
    assert answer["mean"] == pytest.approx(samples.mean(axis=0).tolist())
    assert set(answer["quantiles"]) == {"0.5", "0.90"}
    assert answer["quantiles"]["0.90"] == pytest.approx(np.quantile(samples, 0.9, axis=0).tolist())


def test_without_a_configuration_mean_and_tenths_are_answered(model: Model) -> None:
    (answer,) = predictions(model)
    assert set(answer) == {"mean", "quantiles"}
    assert list(answer["quantiles"]) == [f"0.{tenth}" for tenth in range(1, 10)]
    tenths = np.array(list(answer["quantiles"].values()))
    assert (np.diff(tenths, axis=0) >= 0).all()


def test_only_what_is_asked_for_is_answered(model: Model) -> None:
    assert [set(one) for one in predictions(model, {"output_types": ["quantiles"]})] == [{"quantiles"}]
    assert [set(one) for one in predictions(model, {"output_types": ["mean"], "num_samples": 1})] == [{"mean"}]


def test_several_series_are_answered_in_their_order(model: Model) -> None:
    targets = [[1.0], [200.0, 210.0], [None, 5.0]]
    answer = ask(model, {"instances": [SERIES | {"target": target} for target in targets]})
    means = [one["mean"] for one in json.loads(answer.body)["predictions"]]
    assert means == [predictions(model, target=target)[0]["mean"] for target in targets]


@pytest.mark.parametrize("target", [[], [None, "NaN"], [7], [0, 0, 0], [3e38, -3e38]])
def test_a_series_that_tells_little_has_a_forecast(model: Model, target: list[Any]) -> None:
    (answer,) = predictions(model, target=target)
    assert np.isfinite(answer["mean"]).all()


def test_categories_and_features_are_those_of_the_model(model: Model) -> None:
    """The request has features of the steps that are to come as well."""
    settings = replace(model.settings, cardinality=(2,), features=1)
    effects = (np.array([0.0, 1.0]),)
    own = replace(model, settings=settings, effects=effects, coefficients=np.append(model.coefficients, 0.0))
    features = [[0.0] * 7]
    first, second = (predictions(own, cat=[number], dynamic_feat=features)[0]["mean"] for number in (0, 1))
    assert first[0] < second[0]
    for series, text in (
        ({"dynamic_feat": features}, "instance 0: cat has 0 values, expected 1"),
        ({"cat": [2], "dynamic_feat": features}, "value 0 of cat is 2, expected one from 0 to 1"),
        ({"cat": [0]}, "dynamic_feat has 0 series, expected 1"),
        ({"cat": [0], "dynamic_feat": [[0.0] * 4]}, "dynamic_feat has 4 values a series, expected 7"),
    ):
        answer = ask(own, {"instances": [SERIES | series]})
        assert (answer.status, text in answer.body.decode()) == (400, True), answer.body


def test_fields_that_the_job_ignored_may_be_there(model: Model) -> None:
    own = replace(model, settings=replace(model.settings, ignores=("cat", "dynamic_feat")))
    assert predictions(own, cat=[3], dynamic_feat=[[1.0]]) == predictions(own)
    assert ask(model, {"instances": [SERIES | {"cat": [3]}]}).status == 400


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "text"),
    [
        (b"", JSON, None, 204, ""),
        (b"{", JSON, None, 400, "Unable to evaluate payload provided"),
        (b"\xff", JSON, None, 400, "Unable to evaluate payload provided"),
        (b"[" * 100_000, JSON, None, 400, "recursion"),
        ([SERIES], JSON, None, 400, "expected an object with a list of instances"),
        ({"instances": []}, JSON, None, 400, "no instance"),
        ({"instances": [7]}, JSON, None, 400, "instance 0: a time series is an object"),
        ({"instances": [SERIES, {"start": "2009"}]}, JSON, None, 400, "instance 1: "),
        ({"instances": [SERIES | {"target": [10**400]}]}, JSON, None, 400, "too large"),
        ({"instances": [SERIES | {"target": [1e39]}]}, JSON, None, 400, "larger than a 32-bit number can be"),
        (b"1,2,3", "text/csv", None, 415, "Content-type text/csv is not supported"),
        (json.dumps(SERIES).encode(), JSON_LINES, None, 415, "Content-type application/jsonlines is not supported"),
        ({"instances": [SERIES]}, JSON, "text/csv", 406, "Accept type text/csv is not supported"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_answered_says_why(
    model: Model, body: Any, content_type: str, accept: str | None, status: int, text: str
) -> None:
    answer = ask(model, body, content_type, accept)
    assert answer.status == status
    assert text in answer.body.decode()


@pytest.mark.parametrize(
    ("configuration", "text"),
    [
        ([], "configuration is [], expected an object"),
        ({"num_samples": 0}, "num_samples is 0, expected a whole number from 1 to 10000"),
        ({"num_samples": True}, "num_samples is True"),
        ({"num_samples": "50"}, "num_samples is '50'"),
        ({"output_types": []}, "output_types is [], expected some of mean, quantiles, samples"),
        ({"output_types": ["median"]}, "output_types is ['median']"),
        ({"output_types": "mean"}, "output_types is 'mean'"),
        ({"quantiles": ["1.5"]}, "quantiles is ['1.5'], expected texts of numbers from 0 to 1"),
        ({"quantiles": ["nan"]}, "quantiles is ['nan']"),
        ({"quantiles": "0.5"}, "quantiles is '0.5'"),
    ],
)
def test_configurations_are_checked(model: Model, configuration: Any, text: str) -> None:
    answer = ask(model, {"instances": [SERIES], "configuration": configuration})
    assert (answer.status, text in answer.body.decode()) == (400, True), answer.body


@pytest.mark.parametrize(("content_type", "accept"), [(None, None), (JSON_LINES, JSON_LINES), (JSON, JSON)])
def test_a_transform_job_sends_lines_of_series_and_gets_lines(
    model: Model, content_type: str | None, accept: str | None
) -> None:
    body = f"{json.dumps(SERIES)}\n\n{json.dumps(SERIES | {'target': [1.0]})}\n".encode()
    batch = Configuration.read({"num_samples": 20, "output_types": ["mean"]})
    answer = ask(model, body, content_type, accept, batch=batch)
    assert (answer.status, answer.content_type) == (200, JSON_LINES)
    assert not answer.body.endswith(b"\n")  # AssembleWith puts it there, and without it answers share a line
    first, second = (json.loads(line) for line in answer.body.splitlines())
    assert [first] == predictions(model, {"num_samples": 20, "output_types": ["mean"]})
    assert second["mean"] != first["mean"]


def test_a_transform_job_is_told_how_to_answer_by_its_environment(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model", {})
    line = json.dumps(SERIES).encode()
    monkeypatch.setenv("DEEPAR_INFERENCE_CONFIG", '{"num_samples": 200, "output_types": ["mean"]}')
    assert ask(model, line).status == deepar_serve.load(tmp_path).invoke(Request(line, {})).status == 400
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    answer = deepar_serve.load(tmp_path).invoke(Request(line, {}))
    assert json.loads(answer.body) == predictions(model, {"num_samples": 200, "output_types": ["mean"]})[0]
    monkeypatch.delenv("DEEPAR_INFERENCE_CONFIG")
    assert json.loads(deepar_serve.load(tmp_path).invoke(Request(line, {})).body) == predictions(model)[0]
    monkeypatch.setenv("DEEPAR_INFERENCE_CONFIG", '{"num_samples": 0}')
    with pytest.raises(ValueError, match="num_samples is 0"):
        deepar_serve.load(tmp_path)


def test_transform_jobs_are_told_to_send_one_series_at_a_time(model: Model) -> None:
    assert json.loads(DeepArApplication(model).execution_parameters().body)["BatchStrategy"] == "SINGLE_RECORD"


def test_an_archive_that_lacks_a_file_is_no_model(model: Model, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model", {})
    (tmp_path / "model" / FILES[0]).unlink()
    with pytest.raises(RuntimeError, match=r"No model at .*: expected model_algo-1-0000\.params at the root"):
        deepar_serve.load(tmp_path)
