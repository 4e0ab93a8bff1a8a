"""The part of `sagemaker_containers` that inference scripts see: responses, encoders, content types.

`install()` makes `sagemaker_containers.beta.framework` importable with just these. Source: sagemaker-containers 2.8.6,
`_transformer.py`, `_worker.py`, `_encoders.py`.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

CSV, JSON, NPY, OCTET_STREAM, ANY = (
    "text/csv",
    "application/json",
    "application/x-npy",
    "application/octet-stream",
    "*/*",
)
UTF8_TYPES = (JSON, CSV)


class UnsupportedFormatError(Exception):
    """What the encoders raise for a type that they do not have."""

    def __init__(self, content_type: object) -> None:
        super().__init__(f"Content type {content_type} is not supported by this framework.")


class WorkerResponse:
    """What an output function may return: `worker.Response(response, status=..., mimetype=...)`.

    `accept` is there for old scripts, and ignored.
    """

    def __init__(
        self,
        response: str | bytes = b"",
        accept: str | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        mimetype: str | None = None,
    ) -> None:
        self.data = response.encode() if isinstance(response, str) else response
        self.status_code = status
        self.mimetype = mimetype or JSON
        self.headers = dict(headers or {})


def decode(data: Any, content_type: str) -> Any:
    """Return a numpy array from JSON, CSV or NPY."""
    import numpy as np

    if content_type == NPY:
        return np.load(io.BytesIO(data), allow_pickle=False)
    if content_type == JSON:
        return np.array(json.loads(data))
    if content_type == CSV:
        return np.array(list(csv.reader(io.StringIO(data)))).squeeze()
    raise UnsupportedFormatError(content_type)


def encode(values: Any, content_type: str) -> str | bytes:
    """JSON, CSV or NPY from something array-like."""
    import numpy as np

    if content_type == NPY:
        buffer = io.BytesIO()
        np.save(buffer, values)
        return buffer.getvalue()
    if content_type == JSON:
        return json.dumps(values, default=lambda array: array.tolist())
    if content_type == CSV:
        array = np.array(values)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(array.reshape(-1, 1) if array.ndim == 1 else array)
        return text.getvalue()
    raise UnsupportedFormatError(content_type)


def install() -> None:
    """Register the modules, unless the image has the real ones."""
    names = ("sagemaker_containers", "sagemaker_containers.beta", "sagemaker_containers.beta.framework")
    modules = {name: ModuleType(name) for name in names}
    framework = modules[names[-1]]
    vars(framework).update(
        worker=SimpleNamespace(Response=WorkerResponse),
        encoders=SimpleNamespace(encode=encode, decode=decode),
        content_types=SimpleNamespace(
            CSV=CSV, JSON=JSON, NPY=NPY, OCTET_STREAM=OCTET_STREAM, ANY=ANY, UTF8_TYPES=list(UTF8_TYPES)
        ),
        errors=SimpleNamespace(UnsupportedFormatError=UnsupportedFormatError),
    )
    vars(modules[names[0]])["beta"] = modules[names[1]]
    vars(modules[names[1]])["framework"] = framework
    for name, module in modules.items():
        sys.modules.setdefault(name, module)
