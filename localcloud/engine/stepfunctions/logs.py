"""The log of a state machine: MiniStack accepts a logging configuration and writes nothing.

One line for each event of the history, into the log group of the configuration, by its level and with or without the
data. Source: Step Functions Developer Guide, "Using CloudWatch Logs to log execution history".
"""

import json
import time
from datetime import UTC, datetime
from typing import Any

from localcloud.engine.seams import Seams

responses = Seams("core.responses", json_response="4036e9b5")
cloudwatch_logs = Seams("services.cloudwatch_logs", _append_log_events="9e5ca828", _log_groups="efb237e9")
stepfunctions = Seams(
    "services.stepfunctions",
    _describe_state_machine="ab276763",
    _describe_state_machine_for_execution="b98ac216",
)

JsonObject = dict[str, Any]
_FATAL = frozenset({"ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted"})
_ERROR_ENDINGS = ("Failed", "TimedOut", "Aborted")
_DATA_FIELDS = frozenset({"input", "inputDetails", "output", "outputDetails", "parameters"})


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    for name in ("_describe_state_machine", "_describe_state_machine_for_execution"):
        stepfunctions.replace(name, _make_describe)


def _make_describe(original: Any) -> Any:
    def describe(data: JsonObject) -> Any:
        """Show the logging configuration in the API's spelling, so that `sam logs` finds the log group."""
        status, headers, body = original(data)
        answer = json.loads(body)
        if "loggingConfiguration" not in answer:
            return status, headers, body
        return responses.json_response({**answer, "loggingConfiguration": _camel(answer["loggingConfiguration"])})

    return describe


def write(execution: JsonObject, machine: JsonObject, event: JsonObject) -> None:
    """Log one event of an execution as the state machine's configuration says, if it says so."""
    logging = _camel(machine.get("loggingConfiguration") or {})
    if not is_logged(logging.get("level", "OFF"), event["type"]):
        return
    line = json.dumps(log_record(execution, event, with_data=bool(logging.get("includeExecutionData"))))
    for destination in logging.get("destinations") or []:
        arn = (destination.get("cloudWatchLogsLogGroup") or {}).get("logGroupArn", "")
        append(arn.removesuffix(":*").partition(":log-group:")[2], _stream(execution), line)


def is_logged(level: str, event_type: str) -> bool:
    if level == "ERROR":
        return event_type.endswith(_ERROR_ENDINGS)
    return level == "ALL" or (level == "FATAL" and event_type in _FATAL)


def log_record(execution: JsonObject, event: JsonObject, *, with_data: bool) -> JsonObject:
    """Return the line of an event: its details, without input, output and parameters unless data are wanted."""
    details: JsonObject = next((value for name, value in event.items() if name.endswith("EventDetails")), {})
    moment = datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00"))
    return {
        "id": str(event["id"]),
        "type": event["type"],
        "details": {name: value for name, value in details.items() if with_data or name not in _DATA_FIELDS},
        "previous_event_id": str(event.get("previousEventId", 0)),
        "event_timestamp": str(int(moment.timestamp() * 1000)),
        "execution_arn": execution["executionArn"],
        "redrive_count": "0",
    }


def _stream(execution: JsonObject) -> str:
    started = datetime.fromisoformat(execution["startDate"].replace("Z", "+00:00")).astimezone(UTC)
    return f"states/{execution['stateMachineArn'].rsplit(':', 1)[1]}/{started:%Y-%m-%d-%H-%M}/{execution['name'][:8]}"


def append(group_name: str, stream_name: str, line: str) -> None:
    """Add a line to a log group; like the services that write there, go on when the group does not exist."""
    group = cloudwatch_logs._log_groups.get(group_name)
    if group is None:
        return
    now = int(time.time() * 1000)
    new = {"events": [], "uploadSequenceToken": "1", "creationTime": now, "firstEventTimestamp": None}
    stream = group["streams"].setdefault(stream_name, {**new, "lastEventTimestamp": None, "lastIngestionTime": None})
    cloudwatch_logs._append_log_events(stream, [{"timestamp": now, "message": line, "ingestionTime": now}])


def _camel(value: Any) -> Any:
    """CloudFormation hands the configuration over in its own spelling, the API in lower camel case."""
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: _camel(item) for name, item in value.items()}
    return [_camel(item) for item in value] if isinstance(value, list) else value
