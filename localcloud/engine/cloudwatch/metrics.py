"""CloudWatch metrics and alarms, where MiniStack leaves them out.

* Lines in the embedded metric format (what Powertools Metrics prints) become metrics, in functions' logs and in any
  other (those of endpoints, for example). Source: CloudWatch User Guide, "Specification: Embedded metric format" and
  "Using the PutLogEvents API to send manually-created embedded metric format logs" (no header is needed).
* How many messages of a queue are visible, and how many were sent to it, are metrics, so that the alarm of a
  dead-letter queue works. Source: SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS".
* Points are kept as on AWS: for 3 hours as they came, by the minute for 15 days, by 5 minutes for 63 days, by the hour
  for 455 days. They are saved apart from the rest of CloudWatch. Source: CloudWatch User Guide, "Metrics retention".
* Each invocation of a function is counted once, whoever makes it; MiniStack counts those of Invoke only, and what was
  throttled as invoked. Each status of an execution is counted. Source: Lambda Developer Guide, "Types of metrics for
  Lambda functions"; Step Functions Developer Guide, "Monitoring Step Functions metrics using CloudWatch".
* A metric without dimensions is one of its own, where MiniStack gives the points of all dimensions together.
* An alarm looks at its own dimensions only, and treats missing data as it says. Alarms are evaluated at every tick,
  not only when someone puts a metric.
"""

import json
import logging
import operator
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson

from localcloud.engine.persistence import METRICS, Encoded, rebound
from localcloud.engine.seams import Seams

ministack_app = Seams("app", _build_persistence_save_dict="494db532")
persistence = Seams("core.persistence", load_state="6d1ea010", save_state="6e1d42f7")
responses = Seams("core.responses", get_account_id="270e1115", get_region="5f4ea734", request_scope="1136c5e3")
cloudwatch = Seams(
    "services.cloudwatch",
    _alarms="2d2fb88f",
    _calc_stats="f200a155",
    _dims_from_list="02b52b3b",
    _dispatch_alarm_actions="84dc6d68",
    _evaluate_alarm="3d935839",
    _evaluate_all_alarms="e17e78f6",
    _evaluate_parent_alarms="eae17b69",
    _evict_old_metrics="7ec79f1b",
    _metrics="64a577a2",
    _record_history="dea404ca",
    _stat_value="3b24b7c6",
    _restore_state="674b537f",
    get_state="4ca130c5",
    record_metric="650fa29d",
)
cloudwatch_logs = Seams("services.cloudwatch_logs", _put_log_events="8429f856")
lambda_svc = Seams("services.lambda_svc", _emit_lambda_logs="744516da")
sqs = Seams("services.sqs", _queues="5d5f7ea3")

JsonObject = dict[str, Any]
_DEPTH_PERIOD_SECONDS = 30
_EVICTION_SECONDS = 60
_DAY_SECONDS = 86_400
_RESOLUTIONS = ((3 * 3600, 0), (15 * _DAY_SECONDS, 60), (63 * _DAY_SECONDS, 300), (455 * _DAY_SECONDS, 3600))
"""Up to which age points are kept, and of how many seconds each of them is."""
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_BECOME = {
    "RUNNING": "ExecutionsStarted",
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}
_depths: dict[str, tuple[int, float]] = {}
_counted_until: dict[str, float] = {}
_begun = time.time()
_evicted = 0.0
_texts: dict[Any, "_Text"] = {}  # by the metric
logger = logging.getLogger(__name__)


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    lambda_svc.replace("_emit_lambda_logs", _make_emit_lambda_logs)
    cloudwatch_logs.replace("_put_log_events", _make_put_log_events)
    cloudwatch.replace("_evaluate_alarm", lambda _: _evaluate_alarm)
    cloudwatch.replace("_dims_from_list", lambda original: lambda dimensions: _Wanted(original(dimensions)))
    cloudwatch.replace("_evict_old_metrics", lambda _: _evict_old_metrics)
    cloudwatch.replace("get_state", lambda original: rebound(original, _metrics={}))
    cloudwatch.replace("_restore_state", _make_restore_state)
    ministack_app.replace("_build_persistence_save_dict", _make_save_dict)


def _make_save_dict(original: Any) -> Any:
    def build_persistence_save_dict() -> JsonObject:
        return {**original(), METRICS: _points_to_save}

    return build_persistence_save_dict


def _points_to_save() -> JsonObject:
    """Return the points of all metrics as JSON, for which only those that have others than before are encoded anew.

    A point stays as it is; it is added to the list of its metric, or the list is replaced.
    """
    global _texts
    before, _texts = _texts, {}
    for key, points in cloudwatch._metrics.to_dict().items():
        text = before.get(key)
        if text is None or not text.is_of(points):
            text = _Text(points)
        _texts[key] = text
    metrics = {key: text.saved for key, text in _texts.items()}
    return {"metrics": type(cloudwatch._metrics).from_dict(metrics)}


class _Text:
    """The points of a metric as JSON, and what they were then."""

    def __init__(self, points: list[JsonObject]) -> None:
        self._points, self._number, self._newest = points, len(points), points[-1:]
        self.saved = Encoded(points, _encoded(points))

    def is_of(self, points: list[JsonObject]) -> bool:
        """Whether these are the points still; compared by identity, because they never change."""
        newest = [*map(id, points[-1:])] == [*map(id, self._newest)]
        return points is self._points and len(points) == self._number and newest


def _encoded(points: list[JsonObject]) -> bytes:
    """Return points as JSON, by orjson, or by json what orjson refuses or writes as null: NaN and infinity."""
    with suppress(orjson.JSONEncodeError):
        content = orjson.dumps(points)
        if b"null" not in content:
            return content
    return json.dumps(points).encode()


def _make_restore_state(original: Any) -> Any:
    def restore_state(data: JsonObject) -> None:
        """Take the points from their own file; a version before this one has saved them with the rest.

        Then they get their file now, because the next save of the rest leaves them out.
        """
        original(data)
        if saved := persistence.load_state(METRICS):
            cloudwatch._metrics.update(saved["metrics"])
        else:
            persistence.save_state(METRICS, {"metrics": cloudwatch._metrics})

    return restore_state


def _evict_old_metrics() -> None:
    """Summarize and forget points as AWS does, once a minute; MiniStack looks at every point for each request."""
    global _evicted
    now = time.time()
    if now - _evicted < _EVICTION_SECONDS:
        return
    _evicted = now
    for key, points in list(cloudwatch._metrics.items()):
        summary = summarized(points, now)
        if not summary:
            cloudwatch._metrics.pop(key, None)
        elif len(summary) < len(points):
            cloudwatch._metrics[key] = summary


def summarized(points: list[JsonObject], now: float) -> list[JsonObject]:
    """Return the points of a metric that there are at a time; several may have become one, with their statistics."""
    spans: dict[tuple[float, int, str], list[JsonObject]] = {}
    for point in points:
        at = point["Timestamp"]
        seconds = next((seconds for age, seconds in _RESOLUTIONS if now - at < age), None)
        if seconds is not None:
            spans.setdefault((at - at % seconds if seconds else at, seconds, point["Unit"]), []).append(point)
    summary: list[JsonObject] = []
    for (begin, seconds, _), some in spans.items():
        if seconds == 0 or len(some) == 1:
            summary += some
        elif statistics := cloudwatch._calc_stats(some):
            summary.append({**some[0], "Timestamp": begin, "Value": statistics["Average"], "_stat": statistics})
    return summary


class _Wanted(dict[str, str]):
    """The dimensions that a request asks for, which count also where there are none of them."""

    def __bool__(self) -> bool:
        return True


def record_invocation(config: JsonObject, result: JsonObject, seconds: float) -> None:
    """Count an invocation that has ended: of its function, of its version or alias, and of all functions together."""
    refused = result["body"].get("__type") if result.get("error") and isinstance(result.get("body"), dict) else None
    if refused == "TooManyRequestsException":
        points = [("Throttles", 1.0, "Count")]
    elif refused:
        return  # Lambda itself has failed, no function
    else:
        points = [
            ("Invocations", 1.0, "Count"),
            ("Errors", float(bool(result.get("error"))), "Count"),
            ("Throttles", 0.0, "Count"),
            ("Duration", seconds * 1000, "Milliseconds"),
        ]
    _, _, resource = config["FunctionArn"].partition(":function:")
    name = config["FunctionName"]
    for dimensions in ({}, {"FunctionName": name}, {"FunctionName": name, "Resource": resource}):
        _record("AWS/Lambda", points, dimensions)


def record_lost_event(config: JsonObject) -> None:
    """Count an event that a function has failed on and whose destination does not take it."""
    for dimensions in ({}, {"FunctionName": config["FunctionName"]}):
        _record("AWS/Lambda", [("DestinationDeliveryFailures", 1.0, "Count")], dimensions)


def record_execution(execution: JsonObject) -> None:
    """Count what an execution has just become; at its end, how long it took as well."""
    name = _BECOME[execution["status"]]
    points = [(name, 1.0, "Count")]
    if stopped := execution.get("stopDate"):
        begin, end = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (execution["startDate"], stopped))
        points.append(("ExecutionTime", (end - begin).total_seconds() * 1000, "Milliseconds"))
    _record("AWS/States", points, {"StateMachineArn": execution["stateMachineArn"]})


def _record(namespace: str, points: list[tuple[str, float, str]], dimensions: dict[str, str]) -> None:
    for name, value, unit in points:
        cloudwatch.record_metric(namespace, name, value, unit, dimensions)


def _make_emit_lambda_logs(original: Any) -> Any:
    def emit_lambda_logs(func: JsonObject, request_id: str, log_text: str, *arguments: Any, **options: Any) -> None:
        original(func, request_id, log_text, *arguments, **options)
        _record_embedded(log_text or "")

    return emit_lambda_logs


def _make_put_log_events(original: Any) -> Any:
    def put_log_events(data: JsonObject) -> Any:
        answer = original(data)
        if answer[0] == 200:
            _record_embedded("\n".join(str(event.get("message", "")) for event in data.get("logEvents", [])))
        return answer

    return put_log_events


def _record_embedded(log_text: str) -> None:
    """Record the metrics that are in the lines of a log."""
    values = list(embedded_metrics(log_text))
    for namespace, name, value, unit, dimensions in values:
        cloudwatch.record_metric(namespace, name, value, unit, dimensions)
    if values:
        cloudwatch._evaluate_all_alarms()


def embedded_metrics(log_text: str) -> Iterator[tuple[str, str, float, str, dict[str, str]]]:
    """Yield (namespace, name, value, unit, dimensions) of each value in the embedded metric format lines of a log.

    A line that is not valid in that format yields nothing, as on AWS.
    """
    for line in log_text.splitlines():
        if not (line.startswith("{") and '"_aws"' in line):
            continue
        try:
            document = json.loads(line)
            yield from list(_values(document, document["_aws"]["CloudWatchMetrics"]))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            logger.warning("a line is not in the embedded metric format (%r): %.200s", error, line)


def _values(
    document: JsonObject, directives: list[JsonObject]
) -> Iterator[tuple[str, str, float, str, dict[str, str]]]:
    for directive in directives:
        for names in directive.get("Dimensions") or [[]]:
            dimensions = {name: str(document[name]) for name in names}
            for metric in directive["Metrics"]:
                value = document[metric["Name"]]
                for number in value if isinstance(value, list) else [value]:
                    yield directive["Namespace"], metric["Name"], float(number), metric.get("Unit", "None"), dimensions


def _evaluate_alarm(alarm: JsonObject) -> None:
    """Move one alarm of the current account and region to the state that its metric gives it."""
    if not alarm.get("Namespace") or not alarm.get("MetricName"):
        return
    values = _datapoints(alarm, time.time())
    verdict = judge(alarm, values)
    if verdict is None or verdict == alarm["StateValue"]:
        return
    previous, reason = alarm["StateValue"], _reason(alarm, values)
    alarm.update(StateValue=verdict, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], previous, verdict, reason)
    cloudwatch._dispatch_alarm_actions(alarm, previous, verdict, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _datapoints(alarm: JsonObject, now: float) -> list[float | None]:
    """Return the statistic of each evaluation period, the newest first; None where a period has no data."""
    wanted = {entry["Name"]: entry["Value"] for entry in alarm.get("Dimensions") or []}
    period, periods = alarm.get("Period") or 60, alarm.get("EvaluationPeriods") or 1
    oldest = now - period * periods
    listed = (list(series) for series in _series(alarm["Namespace"], alarm["MetricName"]))
    own = (series for series in listed if series and series[0].get("Dimensions", {}) == wanted)
    points = [point for series in own for point in series if point["Timestamp"] > oldest]
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    values: list[float | None] = []
    for index in range(periods):
        newest = now - index * period
        inside = [point for point in points if newest - period < point["Timestamp"] <= newest]
        values.append(cloudwatch._stat_value(cloudwatch._calc_stats(inside), statistic, inside) if inside else None)
    return values


def _series(namespace: str, name: str) -> list[list[JsonObject]]:
    """Return the points of a metric of the current account and region, one list for each set of dimensions."""
    stored = cloudwatch._metrics._data
    keys = _keys(len(stored), next(reversed(stored), None))
    wanted = keys.get((responses.get_account_id(), responses.get_region(), namespace, name), [])
    return [series for key in wanted if (series := stored.get(key))]


@lru_cache(maxsize=1)
def _keys(size: int, newest: Any) -> dict[tuple[str, str, str, str], list[Any]]:
    """Return the keys of what is stored, while there are so many and the newest is this, by scope and metric."""
    keys = defaultdict(list)
    for key in list(cloudwatch._metrics._data):
        account_id, region, (namespace, name, _) = key
        keys[account_id, region, namespace, name].append(key)
    return keys


def judge(alarm: JsonObject, values: list[float | None]) -> str | None:
    """Return the state for these datapoints; None keeps the present one.

    Source: CloudWatch User Guide, "Configuring how CloudWatch alarms treat missing data".
    """
    treatment = alarm.get("TreatMissingData") or "missing"
    needed = alarm.get("DatapointsToAlarm") or len(values)
    crosses = _COMPARISONS[alarm["ComparisonOperator"]]
    known = [crosses(value, alarm["Threshold"]) for value in values if value is not None]
    if not known and treatment in ("missing", "ignore"):
        return "INSUFFICIENT_DATA" if treatment == "missing" else None
    missing = len(values) - len(known) if treatment == "breaching" else 0
    return "ALARM" if sum(known) + missing >= min(needed, len(values)) else "OK"


def _reason(alarm: JsonObject, values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return (
            f"No datapoints were received for {len(values)} period(s); missing data is treated as {_treatment(alarm)}."
        )
    return (
        f"Threshold Crossed: {len(known)} out of the last {len(values)} datapoints {known} compared with the threshold "
        f"({float(alarm['Threshold'])}) by {alarm['ComparisonOperator']}."
    )


def _treatment(alarm: JsonObject) -> str:
    return {"notBreaching": "[NonBreaching]", "breaching": "[Breaching]"}.get(
        alarm.get("TreatMissingData") or "", "[Missing]"
    )


def tick() -> None:
    """Record the queues' depths and evaluate all alarms of every account and region that has any."""
    for account_id, region in {key[:2] for key in list(cloudwatch._alarms._data)}:
        with responses.request_scope(account_id, region):
            for queue in list(sqs._queues.values()):
                _record_depth(queue)
                _record_sent(queue)
            cloudwatch._evaluate_all_alarms()


def _record_depth(queue: JsonObject) -> None:
    """Record a queue's visible messages when their number changes, and once a period while it does not."""
    now = time.time()
    depth = sum(1 for message in list(queue.get("messages", [])) if message.get("visible_at", 0) <= now)
    last = _depths.get(queue["name"])
    if last and last[0] == depth and now - last[1] < _DEPTH_PERIOD_SECONDS:
        return
    _depths[queue["name"]] = (depth, now)
    dimensions = {"QueueName": queue["name"]}
    cloudwatch.record_metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", depth, "Count", dimensions)


def _record_sent(queue: JsonObject) -> None:
    """Record how many messages were sent since the last tick. What a redrive policy moves does not count, as on AWS."""
    since, now = _counted_until.get(queue["name"], _begun), time.time()
    _counted_until[queue["name"]] = now
    sent = sum(1 for message in list(queue.get("messages", [])) if since < message.get("sent_at", 0) <= now)
    if sent:
        cloudwatch.record_metric("AWS/SQS", "NumberOfMessagesSent", sent, "Count", {"QueueName": queue["name"]})
