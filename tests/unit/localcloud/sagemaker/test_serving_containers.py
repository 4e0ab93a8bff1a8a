"""The serving containers' answers, without their HTTP servers."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn  # noqa: F401 - loaded first, because the stand-in keeps xgboost from importing it
import xgboost
from werkzeug.exceptions import InternalServerError

from localcloud.sagemaker.algorithms import recordio
from localcloud.sagemaker.algorithms.linear_model import LinearModel
from localcloud.sagemaker.containers import linear_learner_serve, script_mode, sklearn_serve, xgboost_serve
from localcloud.sagemaker.containers.serving_container import Request, Response
from localcloud.sagemaker.without_pandas import WithoutPandas

ROWS = np.random.default_rng(0).normal(size=(60, 3)).astype("f4")
TWO_ROWS = b"1,2,3\n4,,6\n"
JSON, JSON_LINES = "application/json", "application/jsonlines"


def ask(application: Any, body: bytes, content_type: str | None = "text/csv", accept: str | None = None) -> Response:
    headers = {"content-type": content_type, "accept": accept}
    answer: Response = application.invoke(Request(body, {key: text for key, text in headers.items() if text}))
    return answer


def booster(objective: str = "reg:squarederror", **parameters: Any) -> Any:
    classes = parameters.get("num_class", 2)
    labels = (np.abs(ROWS[:, 0]) * 10).astype(int) % classes
    return xgboost.train({"objective": objective, **parameters}, xgboost.DMatrix(ROWS, label=labels), 3)


def xgboost_application(*boosters: Any, **environment: str) -> xgboost_serve.XGBoostApplication:
    return xgboost_serve.XGBoostApplication(boosters or [booster()], environment)


class TestXGBoost:
    def test_csv_is_one_prediction_a_line_and_an_empty_cell_is_missing(self) -> None:
        model = booster()
        answer = ask(xgboost_application(model), TWO_ROWS)

        expected = model.predict(xgboost.DMatrix(np.array([[1, 2, 3], [4, np.nan, 6]])))
        assert [float(line) for line in answer.body.decode().splitlines()] == expected.tolist()
        assert answer.body.endswith(b"\n")
        assert answer.content_type == "text/csv; charset=utf-8"

    def test_json_and_json_lines_carry_scores(self) -> None:
        as_json = ask(xgboost_application(), TWO_ROWS, accept="application/json")
        as_lines = ask(xgboost_application(), TWO_ROWS, accept=JSON_LINES)

        scores = json.loads(as_json.body)["predictions"]
        assert [list(score) for score in scores] == [["score"], ["score"]]
        assert [json.loads(line) for line in as_lines.body.splitlines()] == scores
        assert (as_json.content_type, as_lines.content_type) == ("application/json", JSON_LINES)

    def test_rows_of_several_classes_are_comma_separated_in_csv_and_lists_in_json(self) -> None:
        application = xgboost_application(booster("multi:softprob", num_class=3))

        assert [len(line.split(",")) for line in ask(application, TWO_ROWS).body.decode().splitlines()] == [3, 3]
        lines = ask(application, TWO_ROWS, accept=JSON_LINES).body.splitlines()
        assert [len(json.loads(line)["score"]) for line in lines] == [3, 3]

    def test_in_a_batch_answers_are_numbers_whatever_is_accepted(self) -> None:
        in_batch = ask(xgboost_application(SAGEMAKER_BATCH="true"), TWO_ROWS, accept=JSON_LINES)

        assert in_batch.body == ask(xgboost_application(), TWO_ROWS).body
        assert in_batch.content_type == "text/csv; charset=utf-8"

    def test_libsvm_names_its_features(self) -> None:
        application = xgboost_application()

        assert ask(application, b"0:1 1:2 2:3\n0:4 2:6", "text/libsvm").body == ask(application, TWO_ROWS).body

    def test_a_number_beyond_single_precision_is_infinity(self) -> None:
        assert ask(xgboost_application(), b"1,2,1e300").status == 200

    def test_the_default_accept_comes_from_the_environment(self) -> None:
        application = xgboost_application(SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT=JSON_LINES)

        assert ask(application, TWO_ROWS).content_type == JSON_LINES
        assert ask(application, TWO_ROWS, accept="*/*").content_type == JSON_LINES

    def test_several_models_are_averaged(self) -> None:
        models = [booster(), booster(eta=0.9)]
        rows = np.array([[1, 2, 3]], dtype="f4")

        mean = np.mean([model.predict(xgboost.DMatrix(rows)) for model in models])
        assert float(ask(xgboost_application(*models), b"1,2,3").body) == pytest.approx(mean)

    @pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob", "multi:softmax"])
    def test_predictions_are_those_of_the_library(self, objective: str) -> None:
        model = booster(objective, **({"num_class": 3} if objective.startswith("multi") else {}))
        rows = np.array([[1, 2, 3], [4, np.nan, 6], [np.inf, -1, 0]], dtype="f4")

        predictor = xgboost_serve._Predictor(model)
        for given in (rows, rows[:1], np.asfortranarray(rows)):
            assert np.array_equal(predictor.predict(given), model.inplace_predict(given))

    def test_threads_predict_each_their_own_rows(self) -> None:
        model = booster()
        predictor = xgboost_serve._Predictor(model)

        def differences(number: int) -> int:
            rows = np.random.default_rng(number).normal(size=(200, 3)).astype("f4")
            expected = model.predict(xgboost.DMatrix(rows))
            asked = [slice(row % 190, row % 190 + 1 + row % 10) for row in range(500)]
            return sum(not np.array_equal(predictor.predict(rows[some]), expected[some]) for some in asked)

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(differences, range(4))) == [0, 0, 0, 0]

    @pytest.mark.parametrize("objective", ["reg:squarederror", "multi:softprob"])
    def test_requests_that_are_answered_together_get_what_each_gets_alone(self, objective: str) -> None:
        """Bit by bit, refusals among them, and each in its own type."""
        application = xgboost_application(booster(objective, **({"num_class": 3} if "multi" in objective else {})))
        bodies = [b"".join(b"%r,%r,%r\n" % (*row,) for row in ROWS[start : start + 3].tolist()) for start in range(50)]
        bodies[3:6] = [b"", b"1,2\n", b"1,2,x\n"]
        kinds = [("text/csv", None), ("text/csv", JSON), ("text/csv", "text/html"), ("text/libsvm", None)]
        requests = [
            Request(body, {"content-type": kind} | ({"accept": accept} if accept else {}))
            for body in bodies
            for kind, accept in kinds
        ]

        together = [*application.invoke_together(requests)]
        assert together == [application.invoke(request) for request in requests]
        assert {answer.status for answer in together} == {200, 204, 400, 406, 415}

    @pytest.mark.parametrize(
        ("body", "content_type", "accept", "status", "text"),
        [
            (b"", "text/csv", None, 204, ""),
            (b"1,2\n", "text/csv", None, 400, "Feature shape mismatch, expected: 3, got 2"),
            (b"1,2,x\n", "text/csv", None, 415, "could not convert string to float: 'x' in row 0"),
            (b"1,2,3\n4,5\n", "text/csv", None, 415, "row 1 has 2 columns, row 0 has 3"),
            (b"\n\n", "text/csv", None, 415, "no row"),
            (b" \n", "text/libsvm", None, 415, "no row"),
            (b"7:1\n", "text/libsvm", None, 415, "index 7 in row 0, expected 0 to 2"),
            (b"{}", "application/json", None, 415, "Content-type application/json is not supported"),
            (b"record 1: no", "text/plain; charset=utf-8", None, 415, "Content-type text/plain is not supported"),
            (b"x", "application/x-recordio-protobuf", None, 415, "is not supported by the local XGBoost"),
            (b"1,2,3", "text/csv", "image/png", 406, "Accept type image/png is not supported"),
            (b"1,2,3", "text/csv", "application/x-recordio-protobuf", 406, "is not supported by the local XGBoost"),
        ],
    )
    def test_a_refusal_has_its_status(
        self, body: bytes, content_type: str, accept: str | None, status: int, text: str
    ) -> None:
        answer = ask(xgboost_application(), body, content_type, accept)

        assert answer.status == status
        assert text in answer.body.decode()

    def test_a_body_above_the_limit_is_refused(self) -> None:
        assert ask(xgboost_application(MAX_CONTENT_LENGTH="4"), b"1,2,3").status == 413

    def test_selected_content_is_answered_by_name(self) -> None:
        selected = "predicted_label, probability,probabilities,labels,raw_score"
        application = xgboost_application(booster("binary:logistic"), SAGEMAKER_INFERENCE_OUTPUT=selected)
        probability = float(ask(xgboost_application(booster("binary:logistic")), b"1,2,3").body)

        (row,) = json.loads(ask(application, b"1,2,3", accept="application/json").body)["predictions"]
        assert row == {
            "predicted_label": int(probability > 0.5),
            "probability": probability,
            "probabilities": [1 - probability, probability],
            "labels": [0, 1],
            "raw_score": probability,
        }

    def test_selected_content_that_the_objective_lacks_is_nan(self) -> None:
        application = xgboost_application(SAGEMAKER_INFERENCE_OUTPUT="predicted_score,probability")

        assert ask(application, b"1,2,3").body.decode().strip().split(",")[1] == "nan"

    def test_execution_parameters_name_the_limit(self) -> None:
        parameters = json.loads(xgboost_application().execution_parameters().body)

        assert parameters["BatchStrategy"] == "MULTI_RECORD"
        assert parameters["MaxPayloadInMB"] == 6
        assert parameters["MaxConcurrentTransforms"] >= 1

    @pytest.mark.filterwarnings("ignore:.*Unknown file format.*")
    def test_the_loader_takes_every_visible_file(self, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        model = booster()
        (tmp_path / "model/xgboost-model").write_bytes(model.save_raw("ubj"))
        (tmp_path / "model/.hidden").write_text("no model")

        assert float(ask(xgboost_serve.load(tmp_path), b"1,2,3").body) == model.predict(
            xgboost.DMatrix(np.array([[1, 2, 3]]))
        )

    @pytest.mark.parametrize(
        ("content_type", "body", "rows"),
        [
            ("text/csv", "1,2\n3,", [[1, 2], [3, np.nan]]),
            ("text/x-libsvm", b"0 1:5\n1 2:6", [[5, 0], [0, 6]]),  # indices from 1 are the usual ones
            ("text/libsvm", b"0 0:5\n1 1:6", [[5, 0], [0, 6]]),
        ],
    )
    def test_a_script_without_input_fn_gets_a_matrix(self, content_type: str, body: Any, rows: Any) -> None:
        matrix = xgboost_serve.decode(body, content_type)

        given = matrix.get_data().toarray()  # what is missing is not stored
        np.testing.assert_array_equal(given, np.nan_to_num(rows))

    def test_a_script_without_input_fn_refuses_other_types(self) -> None:
        with pytest.raises(script_mode.UnsupportedFormatError, match="application/json"):
            xgboost_serve.decode("[1]", "application/json")

    def test_a_file_that_is_no_model_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model/xgboost-model").write_text("no model")

        with pytest.raises(RuntimeError, match=r"Model at .*xgboost-model cannot be loaded"):
            xgboost_serve.load(tmp_path)


def linear_application(kind: str = "regressor") -> linear_learner_serve.LinearLearnerApplication:
    model = LinearModel(kind, np.array([1.0, 2.0, 3.0]), -14.0, 0.4, kind == "binary_classifier")
    return linear_learner_serve.LinearLearnerApplication(model, "application/json")


class TestLinearLearner:
    def test_a_regressor_answers_scores_as_json_by_default(self) -> None:
        answer = ask(linear_application(), b"1,2,3\n2,2,3\n")

        assert json.loads(answer.body) == {"predictions": [{"score": 0.0}, {"score": 1.0}]}
        assert answer.content_type == "application/json"

    def test_a_classifier_adds_the_label_by_its_threshold(self) -> None:
        answer = ask(linear_application("binary_classifier"), b"1,2,3\n0,2,3\n", accept=JSON_LINES)

        first, second = (json.loads(line) for line in answer.body.splitlines())
        assert first == {"score": 0.5, "predicted_label": 1}
        assert second == {"score": pytest.approx(1 / (1 + np.e)), "predicted_label": 0}

    def test_a_classifier_of_several_classes_answers_the_probability_of_each_and_the_likeliest(self) -> None:
        weights = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        model = LinearModel("multiclass_classifier", weights, np.array([0.0, 0.0, 1.0]), is_probability=True)
        application = linear_learner_serve.LinearLearnerApplication(model, "application/json")

        (answer,) = json.loads(ask(application, b"1,2,0\n").body)["predictions"]
        powers = np.exp([1.0, 2.0, 1.0])
        assert answer == {"score": pytest.approx((powers / powers.sum()).tolist()), "predicted_label": 1}
        records = ask(application, b"1,2,0\n", accept="application/x-recordio-protobuf").body
        assert len(records) > 4 * 3

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (b'{"instances": [{"features": [1, 2, 3]}]}', "application/json"),
            (b'{"instances": [{"data": {"features": {"values": [1, 2, 3]}}}]}', "application/json"),
            (b'{"features": [1, 2, 3]}\n', JSON_LINES),
            (b"1,2,3", "text/csv; charset=utf-8"),
            (b"1,2,3", None),
        ],
    )
    def test_every_documented_form_of_a_request_is_read(self, body: bytes, content_type: str | None) -> None:
        assert json.loads(ask(linear_application(), body, content_type).body) == {"predictions": [{"score": 0.0}]}

    @pytest.mark.parametrize(
        ("body", "content_type", "accept", "status", "text"),
        [
            (b"", "text/csv", None, 204, ""),
            (b"1,2", "text/csv", None, 400, "record 0 has 2 features, expected 3"),
            (b"1,,3", "text/csv", None, 400, "unable to evaluate payload provided"),
            (b"1,nan,3", "text/csv", None, 400, "record 0 has a missing value"),
            (b'{"rows": []}', "application/json", None, 400, "unable to evaluate payload provided"),
            (b'{"instances": []}', "application/json", None, 400, "no record"),
            (b"[" * 100_000, "application/json", None, 400, "recursion"),
            (
                b'{"instances": [{"features": [1, 2, 1' + b"0" * 400 + b"]}]}",
                "application/json",
                None,
                400,
                "too large",
            ),
            (b"x", "application/x-recordio-protobuf", None, 400, "it ends within a record's header"),
            (b"record 1: no", "text/plain; charset=utf-8", None, 415, "text/plain"),
            (b"1,2,3", "text/csv", "text/csv", 406, "Accept type text/csv is not supported"),
        ],
    )
    def test_what_cannot_be_answered_says_why(
        self, body: bytes, content_type: str, accept: str | None, status: int, text: str
    ) -> None:
        answer = ask(linear_application(), body, content_type, accept)

        assert answer.status == status
        assert text in answer.body.decode()

    def test_recordio_is_read_and_answered(self) -> None:
        """A request that the SDK's RecordSerializer has written."""
        request = bytes.fromhex("0a23d7ce1c0000000a1a0a0676616c7565731210120e0a0c0000803f0000004000004040")
        recordio_type = "application/x-recordio-protobuf"

        answer = ask(linear_application(), request, recordio_type, recordio_type)

        assert (answer.status, answer.content_type) == (200, recordio_type)
        (score,) = json.loads(ask(linear_application(), b"1,2,3").body)["predictions"]
        assert answer.body == recordio.write([score])

    def test_the_artefact_is_read_back(self, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        LinearModel("regressor", np.array([2.0]), 1.0).save(tmp_path / "model/model_algo-1")

        assert json.loads(ask(linear_learner_serve.load(tmp_path), b"3").body) == {"predictions": [{"score": 7.0}]}

    def test_another_archive_is_no_model(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "other.npz", weights=np.zeros(2))

        with pytest.raises(ValueError, match="is not a model of the local Linear Learner"):
            LinearModel.load(tmp_path / "other.npz")


class TeapotError(Exception):
    status_code = 418


def script_application(tmp_path: Path, **functions: Any) -> sklearn_serve.ScriptApplication:
    from types import SimpleNamespace

    given = {"model_fn": lambda folder: folder, **functions}
    script: Any = SimpleNamespace(**given)
    return sklearn_serve.ScriptApplication(script, tmp_path, "application/json")


class TestScriptMode:
    def test_the_functions_are_called_in_turn(self, tmp_path: Path) -> None:
        application = script_application(
            tmp_path,
            input_fn=lambda body, content_type: (body, content_type),
            predict_fn=lambda data, model: [*data, model],
            output_fn=lambda prediction, accept: (json.dumps([*prediction, accept]), "application/json"),
        )

        answer = ask(application, b"1,2", "text/csv", "text/csv")
        assert json.loads(answer.body) == ["1,2", "text/csv", str(tmp_path), "text/csv"]
        assert answer.content_type == "application/json"

    @pytest.mark.parametrize(
        ("content_type", "kind"),
        [
            ("text/csv", "str"),
            ("application/json", "str"),
            ("text/csv; charset=utf-8", "bytes"),
            (JSON_LINES, "bytes"),
        ],
    )
    def test_only_the_exact_text_types_arrive_as_text(self, tmp_path: Path, content_type: str, kind: str) -> None:
        application = script_application(
            tmp_path,
            input_fn=lambda body, _: type(body).__name__,
            predict_fn=lambda data, _: data,
            output_fn=lambda prediction, _: (prediction, "text/csv"),
        )

        answer = ask(application, b"1", content_type)
        assert answer.body.decode() == kind
        assert answer.content_type == "text/csv; charset=utf-8"

    def test_without_an_accept_the_output_function_gets_json(self, tmp_path: Path) -> None:
        application = script_application(tmp_path, transform_fn=lambda *given: (given[3], given[3]))

        assert ask(application, b"1").body == b"application/json"

    def test_a_plain_string_goes_out_as_flask_sends_it(self, tmp_path: Path) -> None:
        application = script_application(tmp_path, transform_fn=lambda *_: "1.5")

        assert ask(application, b"1").content_type == "text/html; charset=utf-8"

    def test_a_worker_response_keeps_its_status_and_type(self, tmp_path: Path) -> None:
        refusal = script_mode.WorkerResponse("no", status=422, mimetype="text/plain")

        of_transform = ask(script_application(tmp_path, transform_fn=lambda *_: refusal), b"1")
        functions = {"input_fn": lambda body, _: body, "predict_fn": lambda data, _: data}
        of_output = ask(script_application(tmp_path, **functions, output_fn=lambda *_: refusal), b"1")
        assert of_transform == of_output == Response(422, b"no", "text/plain; charset=utf-8")

    def test_a_worker_response_keeps_its_headers(self, tmp_path: Path) -> None:
        answer = script_mode.WorkerResponse("1", headers={"X-Mine": "a"}, mimetype="text/csv")

        application = script_application(tmp_path, transform_fn=lambda *_: answer)
        assert ask(application, b"1") == Response(200, b"1", "text/csv; charset=utf-8", {"X-Mine": "a"})

    def test_a_worker_response_without_a_type_is_json(self, tmp_path: Path) -> None:
        refusal = script_mode.WorkerResponse("{}", "text/csv", status=400)

        assert ask(script_application(tmp_path, transform_fn=lambda *_: refusal), b"1").content_type == JSON

    @pytest.mark.parametrize("place", ["input_fn", "predict_fn", "output_fn", "transform_fn"])
    @pytest.mark.parametrize(
        "error",
        [
            ValueError("record 3: mileage must be at least 0, got -1"),
            TeapotError("short and stout"),
            script_mode.UnsupportedFormatError("text/x"),
        ],
    )
    def test_any_exception_is_flasks_page_and_its_text_is_in_the_log_only(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, error: Exception
    ) -> None:
        def fail(*_: Any) -> Any:
            raise error

        functions: dict[str, Any] = {name: lambda first, *_: first for name in ("input_fn", "predict_fn", "output_fn")}
        given = {place: fail} if place == "transform_fn" else functions | {place: fail}
        answer = ask(script_application(tmp_path, **given), b"1")

        page = InternalServerError().get_response({})
        assert answer == Response(500, page.get_data(), str(page.content_type))
        logged = capsys.readouterr().out
        assert "Exception on /invocations [POST]\nTraceback (most recent call last):" in logged
        assert f"{type(error).__name__}: {error}" in logged

    def test_a_result_that_is_no_answer_is_an_exception(self, tmp_path: Path) -> None:
        assert ask(script_application(tmp_path, transform_fn=lambda *_: None), b"1").status == 500

    def test_a_status_in_a_tuple_is_not_heard(self, tmp_path: Path) -> None:
        assert ask(script_application(tmp_path, transform_fn=lambda *_: ("no", "text/plain", 400)), b"1").status == 200

    def test_the_defaults_decode_predict_and_encode(self, tmp_path: Path) -> None:
        class Doubler:
            def predict(self, rows: Any) -> Any:
                return rows * 2

        application = script_application(tmp_path, model_fn=lambda _: Doubler())
        assert json.loads(ask(application, b"[[1, 2]]", "application/json").body) == [[2.0, 4.0]]
        assert ask(application, b"1,2\n3,4", "text/csv", "text/csv").body == b"2.0,4.0\n6.0,8.0\n"
        assert ask(application, b"1", "image/png").status == 500
        assert ask(application, b"1,2", "text/csv", "image/png").status == 500

    def test_transform_fn_and_the_others_exclude_each_other(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="Cannot use transform_fn implementation with input_fn"):
            script_application(tmp_path, transform_fn=len, input_fn=len)

    @pytest.mark.parametrize(
        ("environment", "text"),
        [
            ({}, "SAGEMAKER_PROGRAM is not set"),
            ({"SAGEMAKER_PROGRAM": "inference.py"}, "No script inference.py in SAGEMAKER_SUBMIT_DIRECTORY"),
            (
                {"SAGEMAKER_PROGRAM": "a.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://b/sourcedir.tar.gz"},
                "only a folder is supported locally",
            ),
        ],
    )
    def test_a_missing_script_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], text: str
    ) -> None:
        for name in ("SAGEMAKER_PROGRAM", "SAGEMAKER_SUBMIT_DIRECTORY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        with pytest.raises(RuntimeError, match=text):
            sklearn_serve.import_script(tmp_path)

    def test_requirements_that_the_image_lacks_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "inference.py").touch()
        (tmp_path / "requirements.txt").write_text("numpy\nnot-there==1.0  # a comment\n")
        monkeypatch.setenv("SAGEMAKER_PROGRAM", "inference.py")
        monkeypatch.setenv("SAGEMAKER_SUBMIT_DIRECTORY", str(tmp_path))

        with pytest.raises(RuntimeError, match=r"asks for not-there==1\.0, which the local image does not have"):
            sklearn_serve.import_script(tmp_path)

    def test_what_the_requirements_ask_for_is_told_short_and_on_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "inference.py").touch()
        (tmp_path / "requirements.txt").write_text("\x1b[31m\u202e" + "x" * 1_000_000)
        monkeypatch.setenv("SAGEMAKER_PROGRAM", "inference.py")
        monkeypatch.setenv("SAGEMAKER_SUBMIT_DIRECTORY", str(tmp_path))

        with pytest.raises(RuntimeError, match=r"asks for \\x1b\[31m\\u202ex+\.\.\., which") as refused:
            sklearn_serve.import_script(tmp_path)
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize("content_type", ["text/csv", "x\x1b[31m" * 10_000], ids=["csv", "another"])
@pytest.mark.parametrize("algorithm", ["xgboost", "linear-learner"])
def test_what_a_request_holds_is_told_short_and_printable(
    algorithm: str, content_type: str, capsys: pytest.CaptureFixture[str]
) -> None:
    linear = linear_learner_serve.LinearLearnerApplication(LinearModel("regressor", np.ones(3), 0.5), JSON)
    application = xgboost_application() if algorithm == "xgboost" else linear
    body = "x\x1b[31m\u202e".encode() * 100_000
    answer = ask(application, body, content_type)
    assert answer.status in (400, 415)
    for said in (answer.body.decode(), capsys.readouterr().out):
        assert all(line.isprintable() for line in said.splitlines())
        assert 0 < len(said) < 5000


class TestWithoutPandas:
    def test_only_pandas_is_kept_away(self) -> None:
        finder = WithoutPandas()

        with pytest.raises(ModuleNotFoundError, match="names no pandas"):
            finder.find_spec("pandas")
        assert finder.find_spec("numpy") is None

    @pytest.mark.parametrize(
        "line",
        ["import pandas as pd", "from pandas import Series", "table.to_pandas()", "pd.NA", "Table.from_pandas(x)"],
    )
    def test_script_that_uses_pandas_has_it(self, line: str) -> None:
        assert sklearn_serve.USES_PANDAS.search(f"{line}\n")

    def test_script_that_only_speaks_of_pandas_has_none(self) -> None:
        assert not sklearn_serve.USES_PANDAS.search('"""As pandas does it."""\nupdate.apply()\n')
