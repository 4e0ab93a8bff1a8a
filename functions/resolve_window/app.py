"""Decide which window is judged, of which model, and leave what its job reads; or that there is nothing to judge.

Called by  monitor_model, state "Resolve window".
Writes     monitoring/<window id>/config.json, capture.manifest, ground-truth.manifest and history.json; which model
           answers since when, the claim and the answer in the run table. The same execution always gets the same one.
Raises     WindowError, ConfigurationError, DefinitionError: permanent, the text says what to correct.
           HistoryContestedError: others wrote what is known of windows over and over; transient.
           WindowContestedError: others took the same window over and over; transient.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.model.algorithms import ALGORITHMS, explain_image
from perennial.monitoring import period, policy
from perennial.monitoring.period import Period
from perennial.monitoring.probing import FILE
from perennial.runs import naming
from perennial.runs.monitor_input import MonitorInput, monitor_input
from perennial.serving import hours
from perennial_aws import objects, payloads, runs, shipped, windows
from perennial_aws.clients import client, if_there
from perennial_aws.settings import settings

logger = Logger()

OF_RUN = ("baselines", "serving")  # folders of a run that the job reads
# A label may come before the clock of its request says so.
EARLY = timedelta(days=1)
_YEAR = re.compile(r"(\d{4})/")


@dataclass(frozen=True)
class Request:
    """An execution; Input is as whoever started it wrote it."""

    Input: Any
    ExecutionArn: str
    StartTime: str


@dataclass(frozen=True)
class Nothing:
    """The answer to an execution that judges no window, and why."""

    Decision: Literal["Armed", "NoModel", "NoWindow", "Duplicate"]
    Reason: str
    WindowId: str


@dataclass(frozen=True)
class Window:
    """The answer to an execution that judges a window.

    Name      how the name of its job begins
    Prefix    the window's folder: s3://bucket/monitoring/<window id>
    RunId     the run whose model answered
    ImageUri  the image that can read this model
    Cut       where the window was cut because the model changed, or nothing
    Skipped   the parts that other models answered: {"Run", "Start", "End"} each
    Probe     whether the endpoint is asked before the job judges, which reads what comes of it
    Inputs    what the job reads besides code and configuration: an input without an object would fail it
    """

    Decision: Literal["Judge"]
    Reason: str
    WindowId: str
    Name: str
    Prefix: str
    CodeUri: str
    RunId: str
    ImageUri: str
    Start: str
    End: str
    Cut: str
    Skipped: list[dict[str, str]]
    Probe: bool
    Inputs: list[dict[str, Any]]
    Cluster: dict[str, Any]
    MaxRuntimeInSeconds: int
    NetworkConfig: dict[str, Any]


Answer = Window | Nothing


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an execution, once and for all."""
    request = payloads.read(Request, event)
    window_id = naming.run_id(request.ExecutionArn, datetime.fromisoformat(request.StartTime))
    answer = runs.answered(request.ExecutionArn, lambda: asdict(_decide(request, window_id)))
    logger.info("decided", window_id=answer["WindowId"], decision=answer["Decision"], reason=answer["Reason"])
    return answer


def _decide(request: Request, window_id: str) -> Answer:
    wanted, now = monitor_input(request.Input), datetime.now(UTC)
    served = _served()
    if served is None:
        reason = f"endpoint {settings.endpoint_name} serves a configuration that is not this stack's"
        return Nothing("NoModel", reason, window_id)
    if wanted.Trigger.Type == "EndpointInService" or not (served or wanted.Window):
        return _armed(served, window_id)
    chosen = _chosen(wanted, served, now)
    if chosen is None:
        return Nothing("NoWindow", "nothing has come since the last window that was judged", window_id)
    when = hours.read(settings.hours)
    if when and not wanted.Window and when.slept_through(chosen.start, chosen.end):
        return Nothing("NoWindow", "the endpoint has slept since the last window that was judged", window_id)
    which = f"{chosen.run}#{wanted.Window.Start}#{wanted.Window.End}" if wanted.Window else "next"
    holder = windows.claim(which, window_id, request.ExecutionArn)
    if holder:
        return Nothing("Duplicate", f"window {holder} judges the same records now", window_id)
    return _window(window_id, chosen)


def _served() -> list[dict[str, str]] | None:
    """Return which models answer since when, the one that answers now noted; None where that is not the stack's."""
    described = if_there(client("sagemaker").describe_endpoint, EndpointName=settings.endpoint_name)
    if described is None:
        return windows.served()
    run = naming.run_of(settings.stack_name, described["EndpointConfigName"])
    return windows.note_served(run, described["LastModifiedTime"]) if run else None


def _armed(served: list[dict[str, str]], window_id: str) -> Nothing:
    """Answer the event of an endpoint in service: windows begin where its model does."""
    if not served:
        return Nothing("NoModel", f"endpoint {settings.endpoint_name} serves no model of this stack", window_id)
    latest = served[-1]
    return Nothing("Armed", f"the model of run {latest['run']} is watched since {latest['since']}", window_id)


def _chosen(wanted: MonitorInput, served: list[dict[str, str]], now: datetime) -> Period | None:
    if wanted.Window:
        return period.asked_period(served, wanted.Window.Start, wanted.Window.End, now)
    delay = timedelta(seconds=settings.capture_delay_seconds)
    return period.next_period(served, windows.judged_until(), now, delay)


def _window(window_id: str, chosen: Period) -> Window:
    prefix = f"s3://{settings.bucket}/monitoring/{window_id}"
    resolved = shipped.configured({})
    config = _write_config(prefix, chosen.run, resolved.definition.as_json())
    machine = dict(resolved.instances(settings.kms_key_arn)["Baseline"])
    probe = resolved.definition.monitoring.probing.enabled
    return Window(
        Decision="Judge",
        Reason=f"the model of run {chosen.run} from {period.written(chosen.start)} to {period.written(chosen.end)}",
        WindowId=window_id,
        Name=naming.stem(settings.stack_name, window_id),
        Prefix=prefix,
        CodeUri=settings.code_uri,
        RunId=chosen.run,
        ImageUri=_image(chosen.run, config["definition"]["algorithm"]),
        Start=period.written(chosen.start),
        End=period.written(chosen.end),
        Cut=chosen.cut,
        Skipped=[_span(part) for part in chosen.skipped],
        Probe=probe,
        Inputs=[*_inputs(prefix, chosen), *([_input("probe", f"{prefix}/{FILE}", "S3Prefix")] if probe else [])],
        MaxRuntimeInSeconds=machine.pop("MaxRuntimeInSeconds"),
        Cluster=machine,
        NetworkConfig=settings.network(),
    )


def _span(part: Period) -> dict[str, str]:
    return {"Run": part.run, "Start": period.written(part.start), "End": period.written(part.end)}


def _write_config(prefix: str, run: str, current: dict[str, Any]) -> dict[str, Any]:
    """Leave and return the configuration of the run whose model answered, watched as model.yaml says today."""
    config: dict[str, Any] = objects.read_json(f"s3://{settings.bucket}/runs/{run}/config.json")
    config["definition"]["monitoring"] = current["monitoring"]
    objects.write_json(f"{prefix}/config.json", config)
    return config


def _image(run: str, algorithm: str) -> str:
    """Return the image that can read a run's model: the recorded one, because another version may read it wrongly."""
    known = runs.get(run)
    if known or ALGORITHMS[algorithm].image is None:  # nobody can read a model of an image of one's own
        return explain_image(algorithm, known["images"] if known else {"preprocessor": settings.sklearn_image})
    return explain_image(algorithm, settings.images(ALGORITHMS[algorithm]))


# ---- What the job reads


def _inputs(prefix: str, chosen: Period) -> Iterator[dict[str, Any]]:
    for name in OF_RUN:
        uri = f"s3://{settings.bucket}/runs/{chosen.run}/{name}/"
        if objects.keys(uri):
            yield _input(name, uri, "S3Prefix")
    yield from _manifest(prefix, "capture", _captured(chosen))
    yield from _manifest(prefix, "ground-truth", _labels(chosen))
    yield from _history(prefix, period.written(chosen.end))


def _history(prefix: str, end: str) -> Iterator[dict[str, Any]]:
    """Yield the input of what earlier windows were judged, if there are any."""
    earlier = policy.course(windows.history(), end)
    if earlier:
        objects.write_json(f"{prefix}/history.json", earlier)
        yield _input("history", f"{prefix}/history.json", "S3Prefix")


def _manifest(prefix: str, name: str, keys: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield the input of these objects, listed in a manifest (API Reference, S3DataSource), if there are any."""
    names = [key.removeprefix(f"{name}/") for key in keys]
    if names:
        uri = f"{prefix}/{name}.manifest"
        objects.write_text(uri, json.dumps([{"prefix": f"s3://{settings.bucket}/{name}/"}, *names]))
        yield _input(name, uri, "ManifestFile")


def _input(name: str, uri: str, data_type: str) -> dict[str, Any]:
    path = f"/opt/ml/processing/input/{name}"
    source = {"S3Uri": uri, "LocalPath": path, "S3DataType": data_type, "S3InputMode": "File"}
    return {"InputName": name, "S3Input": source}


def _captured(chosen: Period) -> Iterator[str]:
    """Yield the keys of the files that data capture wrote in the hours of the window."""
    root = f"capture/{settings.endpoint_name}/"
    _, variants = objects.level(f"s3://{settings.bucket}/{root}")
    first, beyond = period.hours(chosen.start, chosen.end)
    for variant in variants:
        for item in objects.listed(f"s3://{settings.bucket}/{variant}", after=variant + first):
            if item["Key"] >= variant + beyond:
                break
            yield item["Key"]


def _labels(chosen: Period) -> Iterator[str]:
    """Yield the keys of the files with labels that were collected or put there since the window began, late ones too.

    Of the folders of years, in Model Monitor's layout, nothing older is listed; what lies elsewhere is, each time.
    """
    root, since = "ground-truth/", chosen.start - EARLY
    items, folders = objects.level(f"s3://{settings.bucket}/{root}")
    for folder in folders:
        year = _YEAR.fullmatch(folder.removeprefix(root))
        if not year:
            items += objects.listed(f"s3://{settings.bucket}/{folder}")
        elif year[1] >= f"{since:%Y}":
            collected = objects.listed(f"s3://{settings.bucket}/{folder}", after=root + period.hour(since))
            yield from (item["Key"] for item in collected if not item["Key"].endswith("/"))
    for item in items:
        if item["LastModified"] >= since and not item["Key"].endswith("/"):
            yield item["Key"]
