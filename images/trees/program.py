"""An image of one's own: gradient boosting of a regression, on columns as they are (`preprocessing: none`).

    program.py train    reads the channels train and config, writes the model
    program.py serve    answers GET /ping and POST /invocations

Files are below /opt/ml, or below OPT_ML; the port is SAGEMAKER_BIND_TO_PORT, which a pipeline sets, or 8080.
Source: SageMaker Developer Guide, "Custom Training Containers" and "Custom Inference Code with Hosting Services".
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

ROOT = Path(os.environ.get("OPT_ML", "/opt/ml"))
MODEL = ROOT / "model" / "model.joblib"
FAILURE_CHARACTERS = 1000
AS_IT_IS: dict[str, Any] = {"keep_default_na": False, "na_values": [""], "skip_blank_lines": False}


def train() -> None:
    """Fit a model on the training rows and save it with the categories that it knows."""
    config = json.loads((ROOT / "input/data/config/config.json").read_text())
    options = {
        name: json.loads(text)
        for name, text in json.loads((ROOT / "input/config/hyperparameters.json").read_text()).items()
        if not name.startswith("_")
    }
    columns = config["definition"]["columns"]
    parts = sorted((ROOT / "input/data/train").glob("*.csv"))
    texts = [name for name, column in columns.items() if column["type"] == "string"]
    rows = pd.concat([pd.read_csv(part, dtype=dict.fromkeys(texts, str), **AS_IT_IS) for part in parts])
    target, features = rows.iloc[:, 0], rows.iloc[:, 1:]
    known = {name: sorted(features[name].dropna().unique()) for name in features if name in texts}
    trees = HistGradientBoostingRegressor(**options, categorical_features="from_dtype", random_state=0)
    trees.fit(typed(features, known), target)
    joblib.dump((trees, list(features), known), MODEL)


def typed(features: pd.DataFrame, known: dict[str, list[str]]) -> pd.DataFrame:
    """Return features whose texts are categories; one that no training row had is missing."""
    return features.assign(**{name: pd.Categorical(features[name], values) for name, values in known.items()})


class Handler(BaseHTTPRequestHandler):
    """Answers for one loaded model."""

    protocol_version = "HTTP/1.1"
    model: Any

    def do_GET(self) -> None:
        """Say that the model is loaded."""
        self._send(200 if self.path == "/ping" else 404, b"", "text/plain")

    def do_POST(self) -> None:
        """Answer a score for each line of a CSV."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        trees, names, known = self.model
        try:
            types = {name: str if name in known else float for name in names}
            rows = pd.read_csv(io.BytesIO(body), header=None, names=names, dtype=types, **AS_IT_IS)
            scores = trees.predict(typed(rows, known)).tolist()
        except ValueError as error:
            return self._send(400, f"{type(error).__name__}: {error}".encode(), "text/plain")
        if "json" not in self.headers.get("Accept", ""):
            return self._send(200, "".join(f"{score}\n" for score in scores).encode(), "text/csv")
        lines = [json.dumps({"score": score}) for score in scores]
        if "lines" in self.headers["Accept"]:
            return self._send(200, "".join(f"{line}\n" for line in lines).encode(), "application/jsonlines")
        return self._send(200, f'{{"predictions": [{", ".join(lines)}]}}'.encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(command: str) -> None:
    """Train or serve; the reason of a failure goes to where SageMaker takes it from."""
    if command == "serve":
        Handler.model = joblib.load(MODEL)
        port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
        host = "127.0.0.1" if "OPT_ML" in os.environ else "0.0.0.0"  # noqa: S104 - a container's only address
        ThreadingHTTPServer((host, port), Handler).serve_forever()
    try:
        train()
    except Exception as error:
        (ROOT / "output" / "failure").write_text(f"{type(error).__name__}: {error}"[:FAILURE_CHARACTERS])
        traceback.print_exc()
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
