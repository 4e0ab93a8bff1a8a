"""Export two runs to an MLflow server, and again with a third; print what is there: export_to_mlflow.py FOLDER.

The server is MLflow's own application, in this process: its command starts three, each of which imports all of MLflow.
"""

import io
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

FOLDER = Path(sys.argv[1])
os.environ.update({  # as `mlflow server --backend-store-uri ... --artifacts-destination ...` sets it
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "_MLFLOW_SERVER_FILE_STORE": str(FOLDER / "store"),
    "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
    "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(FOLDER / "artefacts"),
    "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
})  # fmt: skip

from mlflow.server import app  # noqa: E402 - it reads the environment
from mlflow.tracking import MlflowClient  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

from perennial_cli import mlflow_export  # noqa: E402
from perennial_cli.stacks import Stack  # noqa: E402


def record(run: str, rmse: float) -> dict[str, Any]:
    return {
        "run_id": run,
        "status": "Succeeded" if rmse < 3000 else "Rejected",
        "stack": "cars",
        "model": "used-cars",
        "bucket": "bucket",
        "execution": {
            "started_at": "2026-11-20T09:34:40Z",
            "ended_at": "2026-11-20T09:34:48Z",
            "duration_seconds": 8.0,
        },
        "input": {"Trigger": {"Type": "Manual"}},
        "configuration": {"algorithm": {"name": "xgboost", "hyperparameters": {"eta": "0.1"}}},
        "code": {"uri": "s3://bucket/code/1", "hash": "1", "commit": "abc"},
        "data": {"fingerprint": "f", "files": [{"Key": "raw/a.csv", "VersionId": "v1"}]},
        "metrics": {"candidate": {"rmse": rmse}, "training": {"validation:rmse": 2.5}},
        "report": f"s3://bucket/runs/{run}/report.html",
    }


def get_object(**place: str) -> dict[str, Any]:
    return {"Body": io.BytesIO(f"<html>{place['Key']}</html>".encode())}


server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
URI = f"http://127.0.0.1:{server.port}"
mlflow_export.boto3 = SimpleNamespace(client=lambda name: SimpleNamespace(get_object=get_object))
stack = Stack("cars", {}, {})
first = mlflow_export.export(stack, [record("a", 2000.0), record("b", 5000.0)], URI)
again = mlflow_export.export(stack, [record("a", 1999.0), record("b", 5000.0), record("c", 2100.0)], URI)
client = MlflowClient(URI)
experiment = client.get_experiment_by_name("cars")
runs = client.search_runs([experiment.experiment_id])
by_name = {run.info.run_name: run for run in runs}
ids = {name: run.info.run_id for name, run in by_name.items()}
there = {
    "ids": [first, again],
    "runs": {name: run.to_dictionary()["data"] | {"status": run.info.status} for name, run in by_name.items()},
    "artefacts": {name: sorted(item.path for item in client.list_artifacts(run)) for name, run in ids.items()},
    "histories": {name: [one.value for one in client.get_metric_history(run, "rmse")] for name, run in ids.items()},
}
print(json.dumps(there))
