"""What each feature contributes to the scores of the model that serves, record by record.

Reads   preprocessor.tar.gz and model.tar.gz, as runs/<run id>/serving/ has them
Needs   for XGBoost its library, which the scikit-learn image does not have: docs/decisions/0027
XGBoost         exact tree SHAP, by the library itself (S. Lundberg et al., Nature Machine Intelligence 2, 2020)
Linear Learner  weight * (value - mean of the baseline): what SHAP comes to where a model is linear (S. Lundberg and
                S.-I. Lee, NIPS 2017, corollary 1)

A score here is what the algorithm adds up: log odds of a class, and the logarithm of a target that is learned so. Of
several classes every one has its score, and what counts is how much a feature moves them: the sum of the absolute
contributions to all.
Features are the columns that the encodings have: those of model.yaml, or what the model's features.py makes of them.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv

from perennial.features.few_records import FewRecords
from perennial.hooks import HookError
from perennial.monitoring import attribution, sample
from perennial.monitoring.attribution import Contributions
from perennial.monitoring.findings import MonitorError
from processing import inference

Floats = npt.NDArray[np.float64]
Explain = Callable[[Floats, Floats], tuple[Floats, float | None]]
"""(encoded records, means of a baseline) -> (contributions of the same shape, the score that they are added to).

Of several classes (n_records, n_classes, n_encoded), and no score.
"""


class UnexplainedError(MonitorError):
    """The contributions of this model cannot be computed here."""


@dataclass(frozen=True)
class ServedModel:
    """A model in service: its preprocessor, and how the scores of its algorithm are explained."""

    preprocessor: inference.Preprocessor
    explain: Explain

    def encode_lines(self, lines: Iterable[bytes]) -> Floats:
        """Encode records that stand in JSON, one a line, as the test set has them. Raises UnexplainedError."""
        return encode_lines(self.preprocessor, lines)

    def encode(self, records: pa.Table) -> Floats:
        """Return the numbers that the algorithm is sent, shape (n_records, n_encoded). Raises UnexplainedError."""
        return _encode(self.preprocessor, records)

    def contributions(self, encoded: Floats, means: Sequence[float]) -> Contributions:
        """Return the contributions of the features, those of a feature's encoded columns added up.

        Raises UnexplainedError: the means are of other columns, or the model cannot be explained.
        """
        columns = encoded_columns(self.preprocessor)
        if len(means) != len(columns):
            raise UnexplainedError(
                f"the baseline has means of {len(means)} encoded columns, the model {len(columns)}; expected the same"
            )
        try:
            values, expected = self.explain(encoded, np.array(means))
        except ValueError as error:
            raise UnexplainedError(f"the model cannot be explained: {_first_line(error)}") from error
        features = list(dict.fromkeys(columns))
        belongs = np.array(columns)[:, None] == np.array(features)
        of_features = values @ belongs
        return Contributions(tuple(features), _over_classes(of_features), expected)


def _over_classes(values: Floats) -> Floats:
    """Return the contributions to the only score, or the sums of the absolute ones to those of all classes."""
    return values if values.ndim == 2 else np.asarray(np.abs(values).sum(axis=1))


def encoded_columns(preprocessor: inference.Preprocessor) -> list[str]:
    """Return of which feature each encoded column is."""
    return [one.name for one in preprocessor.encoder.encodings for _ in one.feature_names]


def encode_lines(preprocessor: inference.Preprocessor, lines: Iterable[bytes]) -> Floats:
    """Encode records of a test set. Raises UnexplainedError."""
    request = inference.Request(b"".join(lines), inference.JSON_LINES)
    try:
        read = inference.read(request, preprocessor)
    except inference.RecordError as error:
        raise UnexplainedError(f"the test set cannot be read: {error}") from error
    return _encode(preprocessor, read)


def _encode(preprocessor: inference.Preprocessor, records: pa.Table | FewRecords) -> Floats:
    try:
        return _numbers(preprocessor.encoder.encode(records))
    except HookError as error:
        raise UnexplainedError(f"the records cannot be encoded: {error}") from error


def _numbers(lines: bytes | memoryview) -> Floats:
    reading = pa_csv.ReadOptions(autogenerate_column_names=True, use_threads=False)
    table = pa_csv.read_csv(pa.BufferReader(lines), read_options=reading)
    return np.column_stack([column.to_numpy().astype(np.float64) for column in table.columns])


def baseline(algorithm: str, serving: Path, lines: Iterable[bytes]) -> Mapping[str, Any]:
    """Return analysis.json of some of the records of a test set, or why that is not known: no run fails by it."""
    try:
        model = load(serving, algorithm)
        encoded = model.encode_lines(sample.of_lines(lines, attribution.ROWS))
        means = encoded.mean(axis=0).tolist()
        return {**attribution.analysis(model.contributions(encoded, means)), "means": means}
    except UnexplainedError as error:
        return {"version": attribution.FORMAT_VERSION, "explanations": {}, "reason": str(error)}


def load(serving: Path, algorithm: str) -> ServedModel:
    """Return the model of a folder. Raises UnexplainedError: it is not there, or nobody here can explain it."""
    if algorithm not in EXPLAINED:
        raise UnexplainedError(f"contributions of {algorithm} are not known; expected {', '.join(EXPLAINED)}")
    preprocessor = load_preprocessor(serving)
    try:
        with tarfile.open(serving / "model.tar.gz") as archive:
            files = {member.name.removeprefix("./"): archive.extractfile(member) for member in archive}
            contents = {name: file.read() for name, file in files.items() if file}
    except (OSError, tarfile.TarError) as error:
        raise _unread(error) from error
    return ServedModel(preprocessor, EXPLAINED[algorithm](contents))


def load_preprocessor(serving: Path) -> inference.Preprocessor:
    """Return the preprocessor of a folder. Raises UnexplainedError: it is not there."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(serving / "preprocessor.tar.gz") as archive:
                if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and newer
                    archive.extraction_filter = tarfile.data_filter
                own = [member for member in archive if not member.name.startswith("code/perennial/")]
                archive.extractall(folder, own)  # noqa: S202  the rest runs here already
            return inference.model_fn(folder)
    except (OSError, tarfile.TarError, ValueError, HookError) as error:
        raise _unread(error) from error


def _unread(error: Exception) -> UnexplainedError:
    return UnexplainedError(f"the model that serves cannot be read: {type(error).__name__}: {error}")


def _first_line(error: ValueError) -> str:
    """Return what an error says, without XGBoost's stack of calls."""
    return str(error).partition("\n")[0]


def _file(contents: Mapping[str, bytes], name: str) -> bytes:
    if name not in contents:
        raise UnexplainedError(f"model.tar.gz holds {', '.join(sorted(contents))}; expected {name}")
    return contents[name]


# ---- XGBoost


def _trees(contents: Mapping[str, bytes]) -> Explain:
    xgboost = _xgboost()
    # One thread: for a hundred records more of them cost more than they save.
    booster, saved = xgboost.Booster({"nthread": 1}), bytearray(_file(contents, "xgboost-model"))
    try:
        booster.load_model(saved)
    except ValueError as error:
        raise UnexplainedError(f"xgboost-model cannot be read: {_first_line(error)}") from error

    def explain(encoded: Floats, means: Floats) -> tuple[Floats, float | None]:
        matrix = xgboost.DMatrix(encoded.astype(np.float32), nthread=1)
        values = booster.predict(matrix, pred_contribs=True).astype(np.float64)
        return values[..., :-1], float(values[0, -1]) if values.ndim == 2 else None

    return explain


def _xgboost() -> Any:
    """Return the library without its scikit-learn interface, which takes two of its two and a half seconds to import.

    Raises UnexplainedError.
    """
    known = sys.modules.get("sklearn")
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        import xgboost
    except ImportError as error:
        raise UnexplainedError(f"no XGBoost in this image ({error}); expected the image of the algorithm") from error
    finally:
        if known is None:
            del sys.modules["sklearn"]
        else:
            sys.modules["sklearn"] = known
    return xgboost


# ---- Linear Learner


def _linear(contents: Mapping[str, bytes]) -> Explain:
    weights, bias = _weights(_file(contents, "model_algo-1"))

    def explain(encoded: Floats, means: Floats) -> tuple[Floats, float | None]:
        if weights.ndim == 2:
            return (encoded - means)[:, None, :] * weights.T, None
        return (encoded - means) * weights, float(means @ weights + bias)

    return explain


def _weights(artifact: bytes) -> tuple[Floats, Floats]:
    """Return weights and bias of the local stand-in, which are numpy's. Raises UnexplainedError: it is AWS's own."""
    try:
        with np.load(io.BytesIO(artifact), allow_pickle=False) as arrays:
            return np.asarray(arrays["weights"], np.float64), np.asarray(arrays["bias"], np.float64)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise UnexplainedError("model_algo-1 is an MXNet model, which no image of these jobs can read") from error


EXPLAINED: dict[str, Callable[[Mapping[str, bytes]], Explain]] = {"xgboost": _trees, "linear-learner": _linear}
