"""The scikit-learn serving container in script mode.

Imports the script that SAGEMAKER_PROGRAM names from SAGEMAKER_SUBMIT_DIRECTORY (default <root>/code, where the service
has brought an archive that is in S3), calls
`model_fn(<root>/model)` once, then for each request `input_fn(body, content_type)`, `predict_fn(data, model)`,
`output_fn(prediction, accept)`, or `transform_fn(model, body, content_type, accept)` instead of the three.

Bodies of application/json and text/csv (exactly these words) arrive as str, with U+FFFD for what is not UTF-8 (as
werkzeug's Request.get_data(as_text=True) decodes), all others as bytes. `output_fn` returns
a tuple (body, mimetype), a `worker.Response`, which keeps its status and headers, or a str, which Flask sends as
text/html.
Status  500 with Flask's page for any exception, also UnsupportedFormatError, because `_functions.error_wrapper` makes
        a ClientError of each: its text and its attributes are in the log only
Source  sagemaker-scikit-learn-container, `serving.py`; sagemaker-containers 2.8.6, `_transformer.py`, `_functions.py`.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

if not __package__:  # started by its path, as a container starts its entrypoint
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from localcloud.sagemaker.containers import script_mode
from localcloud.sagemaker.containers.requirements import check_requirements
from localcloud.sagemaker.containers.serving_container import JSON, Request, Response, log, main
from localcloud.sagemaker.without_pandas import leave_out_pandas

PROJECT = Path(__file__).resolve().parents[3]
HTML = "text/html; charset=utf-8"
# What Flask answers when a view raises (werkzeug 3.1, `exceptions.InternalServerError`).
INTERNAL_SERVER_ERROR = b"""<!doctype html>
<html lang=en>
<title>500 Internal Server Error</title>
<h1>Internal Server Error</h1>
<p>The server encountered an internal error and was unable to complete your request. Either the server is overloaded \
or there is an error in the application.</p>
"""
USES_PANDAS = re.compile(r"import pandas|from pandas|_pandas\b|\bpd\.")


class ScriptApplication:
    """The functions of one script, and its model."""

    def __init__(
        self,
        script: ModuleType,
        model_dir: Path,
        default_accept: str,
        default_input: Callable[[Any, str], Any] | None = None,
        default_predict: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        def function(name: str, default: Callable[..., Any]) -> Callable[..., Any]:
            attribute: Callable[..., Any] = getattr(script, name, default)
            return attribute

        parts = [name for name in ("input_fn", "predict_fn", "output_fn") if hasattr(script, name)]
        self._transform: Callable[..., Any] | None = getattr(script, "transform_fn", None)
        if self._transform and parts:
            raise ValueError("Cannot use transform_fn implementation with input_fn, predict_fn, and/or output_fn")
        self._input = function("input_fn", default_input or _default_input)
        self._predict = function("predict_fn", default_predict or (lambda data, model: model.predict(data)))
        self._output = function("output_fn", _default_output)
        self._execution_parameters = getattr(script, "execution_parameters_fn", None)
        self._default_accept = default_accept
        self._model = function("model_fn", _no_model)(str(model_dir))

    def execution_parameters(self) -> Response:
        if self._execution_parameters is None:
            return Response(404, b"Not Found")
        return _response(self._execution_parameters())

    def invoke(self, request: Request) -> Response:
        content_type = request.content_type or JSON
        body = request.body.decode("utf-8", "replace") if content_type in script_mode.UTF8_TYPES else request.body
        accept = request.accept or self._default_accept
        try:
            if self._transform is not None:
                return _response(self._transform(self._model, body, content_type, accept))
            data = self._input(body, content_type)
            return _response(self._output(self._predict(data, self._model), accept))
        except Exception:  # the script's errors are answers, not ends of the container
            log(f"Exception on /invocations [POST]\n{traceback.format_exc()}", "ERROR")
            return Response(500, INTERNAL_SERVER_ERROR, HTML)


def _default_input(body: Any, content_type: str) -> Any:
    array = script_mode.decode(body, content_type)
    return array.astype("float32") if content_type in script_mode.UTF8_TYPES else array


def _default_output(prediction: Any, accept: str) -> Any:
    return script_mode.encode(prediction, accept), accept


def _no_model(_model_dir: str) -> Any:
    raise NotImplementedError("Please provide a model_fn implementation.")


def _response(result: Any) -> Response:
    """Return an answer from what a script returned."""
    if isinstance(result, tuple):
        return Response(200, _bytes(result[0]), _mimetype(result[1]))
    if hasattr(result, "status_code"):
        body = result.get_data() if hasattr(result, "get_data") else result.data
        return Response(result.status_code, _bytes(body), _mimetype(result.mimetype), _own(result.headers))
    return Response(200, _bytes(result), HTML)


def _own(headers: Any) -> dict[str, str]:
    """Return the headers that the script has set; those of the body are ours."""
    return {name: value for name, value in headers.items() if not name.lower().startswith("content-")}


def _bytes(body: Any) -> bytes:
    if isinstance(body, str):
        return body.encode("utf-8")
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise TypeError(f"the script returned a {type(body).__name__}; expected str, bytes, a tuple or a worker.Response")


def _mimetype(value: str) -> str:
    """Flask adds the character set to text types."""
    return f"{value}; charset=utf-8" if value.startswith("text/") and ";" not in value else value


def import_script(root: Path) -> ModuleType:
    """Return the module that SAGEMAKER_PROGRAM names. RuntimeError says what is missing."""
    program = os.environ.get("SAGEMAKER_PROGRAM")
    folder = os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", str(root / "code"))
    if not program:
        raise RuntimeError("SAGEMAKER_PROGRAM is not set in the container's Environment; expected e.g. inference.py.")
    if "://" in folder:
        raise RuntimeError(
            f"SAGEMAKER_SUBMIT_DIRECTORY={folder}: only a folder is supported locally; put the script below code/ "
            "of model.tar.gz and name /opt/ml/model/code."
        )
    if not Path(folder, program).is_file():
        raise RuntimeError(f"No script {program} in SAGEMAKER_SUBMIT_DIRECTORY {folder}.")
    check_requirements(Path(folder, "requirements.txt"))
    # The script sees its own folder and the image, not the project that this stand-in belongs to.
    sys.path[:] = [folder, *(entry for entry in sys.path if Path(entry).resolve() != PROJECT)]
    script_mode.install()
    if not any(USES_PANDAS.search(path.read_text("utf-8", "replace")) for path in Path(folder).rglob("*.py")):
        leave_out_pandas()
    return importlib.import_module(program.removesuffix(".py").replace("/", "."))


def load(root: Path) -> ScriptApplication:
    """Return the application for `<root>/model`."""
    accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", JSON)
    return ScriptApplication(import_script(root), root / "model", accept)


if __name__ == "__main__":
    sys.exit(main(load, sys.argv[1:]))
