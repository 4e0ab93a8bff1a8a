"""Serve what train.py has made: encoded or plain features in, scores out, as a container of a pipeline.

Called by  the scikit-learn or XGBoost serving container (script mode), as code/serve_script.py of the model's
           model.tar.gz, where train_script has put it beside the scripts of the model's folder.
Input      text/csv without a header, one line a record: what code/inference.py of the container before answers
Output     a score for each record, in the form that the request accepts: the target in regression, the probability of
           1 or true in binary classification, and of several classes a list of their probabilities

serve.py of the folder, where there is one, may define any of SageMaker's functions: model_fn(model_dir),
input_fn(body, content_type), predict_fn(data, model) and output_fn(prediction, accept), or transform_fn(model, body,
content_type, accept) instead of the last three. What it does not define is done here: model.joblib is loaded, its
`predict` or `predict_proba` asked with a pandas.DataFrame of named columns, and the answer written.
What the container before sends is `text/csv; charset=utf-8`, as bytes; serve.py gets `text/csv`, and a str.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

CODE = Path(__file__).resolve().parent
if str(CODE) not in sys.path:
    sys.path.insert(0, str(CODE))

CSV, JSON_LINES, JSON, ANY = "text/csv", "application/jsonlines", "application/json", "*/*"
MODEL = "model.joblib"
Score = float | list[float]


def own() -> ModuleType | None:
    """Return serve.py of the model's folder, if it has one."""
    return importlib.import_module("serve") if (CODE / "serve.py").is_file() else None


def load_model(model_dir: str) -> Any:
    """Return what train.py has saved as model.joblib."""
    path = Path(model_dir, MODEL)
    if not path.is_file():
        there = ", ".join(sorted(one.name for one in Path(model_dir).iterdir() if one.is_file())) or "no file"
        raise FileNotFoundError(
            f"the model holds {there}; expected {MODEL}: joblib.dump(model, os.path.join(os.environ['SM_MODEL_DIR'], "
            f"'{MODEL}')) in train.py, or a serve.py with model_fn(model_dir)"
        )
    import joblib  # type: ignore[import-untyped] # in the images alone

    return joblib.load(path)


def read_records(body: str, content_type: str) -> Any:
    """Return the records of a request as a pandas.DataFrame."""
    if content_type != CSV:
        raise ValueError(f"content type {content_type}; expected {CSV}")
    from script_tables import records  # type: ignore[import-not-found] # beside this file in the model

    return records(body)


def predict(data: Any, model: Any) -> Any:
    """Return the scores `(n_records,)`, or `(n_records, n_classes)`."""
    from script_tables import about

    known = about()
    if known["problem"] == "regression":
        return model.predict(data)
    probabilities = model.predict_proba(data)
    count = len(known["classes"]) or 2
    if probabilities.shape[1] != count:
        raise ValueError(f"predict_proba has {probabilities.shape[1]} columns; expected {count}, one for each class")
    return probabilities if known["classes"] else probabilities[:, 1]


def write_scores(prediction: Any, accept: str) -> tuple[str, str]:
    """Return scores as text, with its type."""
    scores = [_score(one) for one in (prediction.tolist() if hasattr(prediction, "tolist") else prediction)]
    wanted = accept.partition(";")[0].strip().lower() or ANY
    if wanted == JSON:
        return json.dumps({"predictions": [{"score": score} for score in scores]}), JSON
    if wanted == JSON_LINES:
        return "".join(f"{json.dumps({'score': score})}\n" for score in scores), JSON_LINES
    if wanted in (CSV, ANY):
        return "".join(f"{_csv(score)}\n" for score in scores), CSV
    raise ValueError(f"Accept {accept}: expected {CSV}, {JSON_LINES} or {JSON}")


def _score(value: Any) -> Score:
    """Return a prediction as JSON has it; a column of one number counts as the number."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 1:
        value = value[0]
    score = [float(one) for one in value] if isinstance(value, Sequence) else float(value)
    if any(not math.isfinite(one) for one in (score if isinstance(score, list) else [score])):
        raise ValueError(f"the prediction {value} is no finite number")
    return score


def _csv(score: Score) -> str:
    return ",".join(map(repr, score)) if isinstance(score, list) else repr(score)


def _plain(body: Any, content_type: str | None) -> tuple[str, str]:
    """Return a request as scripts for these containers know it: a str, and a type without its character set."""
    return body if isinstance(body, str) else bytes(body).decode("utf-8"), (content_type or CSV).partition(";")[0]


_own = own()
_input: Callable[..., Any] = getattr(_own, "input_fn", read_records)
model_fn: Callable[..., Any] = getattr(_own, "model_fn", load_model)
if hasattr(_own, "transform_fn"):
    if several := [name for name in ("input_fn", "predict_fn", "output_fn") if hasattr(_own, name)]:
        raise ValueError(f"serve.py: defines transform_fn and {', '.join(several)}; expected one or the others")

    def transform_fn(model: Any, body: Any, content_type: str, accept: str) -> Any:
        """Answer a request as serve.py does."""
        return _own.transform_fn(model, *_plain(body, content_type), accept)  # type: ignore[union-attr]

else:
    predict_fn: Callable[..., Any] = getattr(_own, "predict_fn", predict)
    output_fn: Callable[..., Any] = getattr(_own, "output_fn", write_scores)

    def input_fn(body: Any, content_type: str) -> Any:
        """Return the records of a request."""
        return _input(*_plain(body, content_type))
