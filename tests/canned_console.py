"""The console over answers that a test gives: its own page, guard and server, without a stack.

The answers are of the kinds that `perennial_cli.web.app` gives. HOSTILE stands wherever data may bring a text.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perennial.model import definition
from perennial.runs.costs import DATE, Cost
from perennial.serving import openapi
from perennial_cli.billing import Expected
from perennial_cli.flow_layout import ASPECT, draw
from perennial_cli.forecasts import Forecast, Question
from perennial_cli.run_flow import State
from perennial_cli.state_machines import flows
from perennial_cli.versions import Version
from perennial_cli.web import app, series
from perennial_cli.web.guard import Guard
from tests import verdicts

ROOT = Path(__file__).parents[1]
TOKEN = "a-token-of-this-start"
HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>{{3}}&lt;b&gt;javascript:alert(4)"
RUN, EARLIER = "20261120093440-1a2b", "20261119093440-1a2b"
STACK = "perennial-used-cars"
Answer = Any | Callable[[dict[str, str], Any], Any]


@dataclass(frozen=True)
class Refused:
    """Why the console answers nothing else."""

    why: str


class CannedConsole:
    """The answers by what is asked, such as `GET versions`, and all that was asked: what, the query, the document."""

    def __init__(self) -> None:
        self.answers = all_answers()
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.address = ""

    async def _answer(self, request: Request) -> Response:
        what, query, body = request.path_params["what"], dict(request.query_params), await request.body()
        document = body if what == "files" else json.loads(body or b"null")
        self.asked.append((f"{request.method} {what}", query, document))
        answer: Answer = self.answers.get(f"{request.method} {what}", Refused(f"no answer to {request.method} {what}"))
        answer = answer(query, document) if callable(answer) else answer
        return app._refused(400, answer.why) if isinstance(answer, Refused) else app._json(answer)

    @contextmanager
    def served(self) -> Iterator[None]:
        """Serve on a free port, as `perennial console` does."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            route = Route("/api/{what:path}", self._answer, methods=["GET", "POST"])
            guarded = Guard(Starlette(routes=[route, *app._files()]), port, TOKEN)
            config = uvicorn.Config(guarded, log_level="warning", access_log=False, ws="none", lifespan="off")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
            thread.start()
            self.address = f"http://127.0.0.1:{port}"
            try:
                yield
            finally:
                server.should_exit = True
                thread.join()


def forecast(name: str) -> dict[str, Any]:
    """Return a forecast of employment as the console answers it."""
    values = np.linspace(1000, 1100, 12)[:, None] + np.array([0, *range(-40, 41, 10)])
    question = Question(1, name, {}, np.linspace(900, 1000, 30))
    times = [f"2026-{month:02}-01 00:00:00" for month in range(1, 13)]
    return series.as_json(Forecast(question, times, values), jobs())


def jobs() -> definition.Definition:
    return definition.parse((ROOT / "models/employment/model.yaml").read_text(), "models/employment/model.yaml")


def drawing(*, narrow: bool) -> dict[str, Any]:
    machine = json.loads((ROOT / "statemachines/train_model.asl.json").read_text())
    return asdict(draw(next(flows(machine)), 0 if narrow else ASPECT))


def flow(status: str = "Succeeded", *states: State) -> dict[str, Any]:
    """Return the flow of a run as run_flow.of does."""
    ended = None if status == "Running" else "2026-11-20T09:35:40.000Z"
    usd = [state.usd for state in states if state.usd is not None]
    return {
        "run_id": RUN, "status": status, "started_at": "2026-11-20T09:34:40.000Z", "ended_at": ended,
        "error": HOSTILE if status == "Failed" else None, "cause": HOSTILE if status == "Failed" else "",
        "states": [asdict(state) for state in states], "ways": list(pairwise(state.name for state in states)),
        "usd": sum(usd) if usd else None, "region": "us-east-1", "prices": DATE,
    }  # fmt: skip


def record(run: str, status: str, candidate: float, champion: float | None) -> dict[str, Any]:
    return {
        "run_id": run, "status": status, "decision": HOSTILE, "withheld": HOSTILE, "report": "report.html",
        "execution": {"started_at": "2026-11-20T09:34:40.000Z", "duration_seconds": 61.2},
        "gate": {"metric": "rmse", "candidate": candidate, "threshold": 3000.0, "reason": HOSTILE},
        "metrics": {"candidate": {"rmse": candidate, "mae": 1.0}, "champion": {"rmse": champion} if champion else None},
        "version": {"number": 3, "status": "Approved", "arn": "arn", "by": HOSTILE},
        "rows": {"train": 560, "test": 120},
        "data": {"file_count": 1, "size_bytes": 1000, "bucket": "cars", "fingerprint": "0123456789abcdef0123",
                 "files": [{"Key": f"raw/{HOSTILE}", "VersionId": "v1"}]},
        "code": {"hash": "0123", "commit": HOSTILE},
        "configuration": {"algorithm": {"name": "xgboost", "hyperparameters": {"eta": HOSTILE}}},
        "failure": {"error": "JobFailed", "cause": HOSTILE, "state": "Train"} if status == "Failed" else None,
    }  # fmt: skip


def trained(status: str = "Succeeded", **more: Any) -> State:
    job = {"kind": "Training", "name": f"{STACK}-{RUN}-train-0"}
    return State(
        "Train", status, "2026-11-20T09:34:50.000Z", 1, 20.5, [f"Training job {job['name']}"], jobs=[job],
        billed=[{"machine": "ml.m5.large", "count": 2, "seconds": 1800, "usd_an_hour": 0.115}], usd=0.115, **more,
    )  # fmt: skip


def all_answers() -> dict[str, Any]:
    """Return an answer to everything, with HOSTILE wherever a text may come from data."""
    cars = definition.parse((ROOT / "models/used-cars/model.yaml").read_text(), "models/used-cars/model.yaml").as_json()
    schema = openapi.record(cars)
    schema["properties"]["make"]["description"] = HOSTILE
    verdict = verdicts.drifted(HOSTILE)
    verdict["reasons"] = [HOSTILE]
    versions = [
        Version(number, status, "2026-11-20T09:35:40Z", RUN, "rmse", 2000.0, "arn", HOSTILE, number == 2)
        for number, status in ((3, "PendingManualApproval"), (2, "Approved"), (1, "Rejected"))
    ]
    known = record(RUN, "Succeeded", 1900.0, 2100.0)
    shares = [
        {"feature": "mileage", "value": 12000, "typical": 20000.0, "contribution": 4000.25},
        {"feature": HOSTILE, "value": HOSTILE, "typical": HOSTILE, "contribution": -1000.125},
    ]
    explained = {"score": 24000.125, "typical_score": 21000.0, "contributions": shares, "is_exact": True,
                 "unknown_categories": [HOSTILE]}  # fmt: skip
    fault = {"id": 1, "operation": HOSTILE, "name": HOSTILE, "effect": "error", "error": HOSTILE, "message": HOSTILE,
             "fired": 0, "times": 1}  # fmt: skip
    mail = {"number": 1, "subject": HOSTILE, "to": HOSTILE, "received": "2026-11-20T09:35:40Z", "body": HOSTILE}
    log = {"time": "2026-11-20T09:35:40.000+00:00", "stream": HOSTILE, "message": HOSTILE}
    return deepcopy({
        "GET whom": {"whom": "the local cloud at http://127.0.0.1:4566", "is_local": True, "may_change": True,
                     "stacks": [STACK, HOSTILE], "stack": STACK},
        "GET stack": {"name": STACK, "model": "used-cars", "description": HOSTILE, "problem": "regression",
                      "target": "price", "unit": "USD", "gate": cars["gate"],
                      "drift": {"distance": 0.2, "stability": 0.2}, "drops": "s3://cars/raw/", "endpoint": STACK,
                      "serves": RUN},
        "GET runs": [known, record(EARLIER, "Failed", 2100.0, None)],
        f"GET runs/{RUN}": {"record": known, "reason": HOSTILE, "doubts": [HOSTILE]},
        f"GET runs/{RUN}/flow": flow("Succeeded", State("Preprocess", "Succeeded", did=[HOSTILE]), trained()),
        f"GET runs/{RUN}/drawing": lambda query, _: drawing(narrow="narrow" in query),
        "GET versions": [asdict(one) for one in versions],
        "GET record": {**schema, "usual": {"make": "Chevrolet"}},
        "POST predictions": {"problems": [], "notes": [HOSTILE], "answer": {"score": 24000.125}, "unusual": HOSTILE,
                             "headline": f"24,000.1 USD {HOSTILE}", "explanation": explained},
        "GET windows": [{**verdict, "id": "20261120120000-1a2b"}],
        "GET lineage": {"endpoint": {"name": STACK, "status": "InService"}, "endpoint_config": HOSTILE,
                        "model": HOSTILE, "artifacts": [HOSTILE], "run": known},
        "GET cost": {**asdict(Expected(Cost(0.02, 300, 5), 2, 0.115, 4.0)), "month": 84.0},
        "GET logs": lambda query, _: {"events": [log]} if "group" in query else {"groups": [HOSTILE, "/aws/lambda/x"]},
        "GET mails": {"mails": [mail]},
        "GET faults": {"faults": [fault]},
    })  # fmt: skip
