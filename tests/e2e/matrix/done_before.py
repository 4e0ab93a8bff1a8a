"""Runs some of whose jobs have been done before: what a case is not about is not worked out again.

The run is the deployed state machine's, by the event of a drop, with all its functions, its record and its mail; but
the states of these jobs are a Pass, and what the jobs would have left is there when the run comes to them: another run
of the stack has left it, of the same rows. No state is left out that a fault or a person is to meet.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tests.e2e.conftest import App, Run
from tools import asl

JsonObject = dict[str, Any]
STEPS = {
    "Preprocess": "preprocess",
    "Train": "train",
    "Predict with candidate": "predict",
    "Predict with champion": "champion",
    "Baseline data drift": "data-quality",
    "Baseline model quality": "model-quality",
}
"""The states of jobs, and the part of each job's name that tells it from the run's others."""
_LEAVES = {
    "Preprocess": {name: name for name in
                   ("baseline", "labels", "preprocessor", "report", "rows", "test", "train", "validation")},
    "Predict with candidate": {"predictions/candidate": "predictions/candidate"},
    # What serves has learned from the same rows, and answers as this model.
    "Predict with champion": {"predictions/champion": "predictions/candidate"},
    "Baseline data drift": {"baselines/data-quality": "baselines/data-quality"},
    "Baseline model quality": {f"baselines/{name}": f"baselines/{name}" for name in
                               ("model-quality", "attribution", "bias", "analysis")},
}  # fmt: skip
"""The folders that a job leaves below its run's prefix, and those of the run before in which they are."""
_READ_BY = {
    "train": {"Train"}, "validation": {"Train"}, "baseline": {"Baseline data drift", "Baseline model quality"},
}  # fmt: skip
"""The folders that these jobs read and nothing else does."""


def untouched(where: str, faults: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The states of jobs that something which goes wrong in a state, by these faults, does not meet."""
    names = [f"{fault['operation']}-{fault.get('name', '')}-" for fault in faults]
    met = {state for state, step in STEPS.items() if any(f":{step}-" in name or f"-{step}-" in name for name in names)}
    return frozenset(STEPS) - met - {where}


class DoneBefore:
    """What a run of a stack, the first that succeeded, has left for others."""

    def __init__(self, app: App, run: Run) -> None:
        self._app, self._machine, self._now = app, app.outputs["StateMachineArn"], frozenset[str]()
        self._prefix, self._name = f"runs/{run.run_id}/", run.output["Model"]
        states = app.client("stepfunctions")
        self._definition = json.loads(states.describe_state_machine(stateMachineArn=self._machine)["definition"])
        listed = app.client("s3").list_objects_v2(Bucket=app.bucket, Prefix=self._prefix)["Contents"]
        self._files = [item["Key"].removeprefix(self._prefix) for item in listed]

    def leave_out(self, states: frozenset[str]) -> None:
        """Have the executions that begin now do none of these jobs."""
        if states != self._now:
            definition = copy.deepcopy(self._definition)
            for name, body in ((name, body) for name, body in asl.states(definition) if name in states):
                made = self._as_pass(name, body)
                body.clear()
                body.update(made)
            changed = {"stateMachineArn": self._machine, "definition": json.dumps(definition)}
            self._app.client("stepfunctions").update_state_machine(**changed)
            self._now = states

    def give(self, run_id: str, states: Collection[str]) -> None:
        """Let a run have what these jobs would have left, but for what only others of them would read."""
        s3, bucket = self._app.client("s3"), self._app.bucket
        folders = {target: source for state in states for target, source in _LEAVES.get(state, {}).items()}
        for target, source in folders.items():
            if _READ_BY.get(target, {""}) <= set(states):
                continue
            for file in (file for file in self._files if file.startswith(f"{source}/")):
                key = f"runs/{run_id}/{target}{file.removeprefix(source)}"
                s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": self._prefix + file})

    def _as_pass(self, state: str, body: JsonObject) -> JsonObject:
        """The state of a job, as one in which another job has been done before."""
        job = f"{self._name}-{STEPS[state]}-0"
        made = {key: body[key] for key in ("Assign", "Next", "End") if key in body}
        if state == "Train":
            (model,) = (file for file in self._files if file.endswith("/output/model.tar.gz"))
            uri = f"s3://{self._app.bucket}/{self._prefix}{model}"
            made["Assign"] = {"trainingJobName": job, "trained": uri, "tuningJobName": None, "tuned": {}}
        if "Output" in body:
            made["Output"] = dict.fromkeys(body["Output"], job)
        return {"Type": "Pass", **made}
