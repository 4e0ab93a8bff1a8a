"""Export two runs to an MLflow server, and again with a third; print what it answers: export_to_mlflow.py FOLDER.

MLflow's own application, with a file store in the folder, is served by this process: `mlflow server` imports it twice.
"""

import io
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlflow.server import app, constants
from mlflow.tracking import MlflowClient
from werkzeug.serving import make_server

from perennial_cli import mlflow_export
from perennial_cli.stacks import Stack


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


def served(folder: Path) -> str:
    """Serve MLflow as `mlflow server` sets it up, until this process ends; return the address."""
    os.environ |= {
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        constants.BACKEND_STORE_URI_ENV_VAR: str(folder / "store"),
        constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: str(folder / "artefacts"),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


URI = served(Path(sys.argv[1]))
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
