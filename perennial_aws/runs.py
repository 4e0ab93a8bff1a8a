"""The run table: claims of work, answers to executions, records of runs; and which models and configurations there are.

Items by `id`: `work#<work key>` the claim, `execution#<arn>` the answer to an execution, `run#<run id>` the record,
`deployment` the run whose turn it is to deploy, `approval#<ARN>` the run that waits for the approval of a version
(perennial_aws.approvals), `strays` the files that were put aside (runs.strays), `said#<text>` the execution whose mail
has said so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from perennial.runs import naming, record, work
from perennial.runs import strays as rules
from perennial.runs.run_record import Data, RunRecord
from perennial_aws import objects
from perennial_aws.clients import client, code_of
from perennial_aws.settings import settings

# Step Functions keeps the history of an execution for 90 days.
_ANSWER_DAYS = 90


_ATTEMPTS = 8


class StraysContestedError(Exception):
    """The list of files that are put aside changed again and again. Transient."""


def with_model(stack: str) -> set[str]:
    """Return the ids of the stack's runs whose model exists."""
    return _with(stack, "list_models", "Model")


def with_config(stack: str) -> set[str]:
    """Return the ids of the stack's runs whose endpoint configuration exists."""
    return _with(stack, "list_endpoint_configs", "EndpointConfig")


def _with(stack: str, operation: str, kind: str) -> set[str]:
    """Names of other stacks may start alike; they do not count."""
    pages = client("sagemaker").get_paginator(operation).paginate(NameContains=stack)
    names = (item[f"{kind}Name"] for page in pages for item in page[f"{kind}s"])
    return {run for name in names if (run := naming.run_of(stack, name))}


def _table() -> str:
    return settings.run_table


def item(item_id: str) -> dict[str, Any] | None:
    """Return an item of the table, or None when there is none."""
    stored = (
        client("dynamodb").get_item(TableName=_table(), Key={"id": {"S": item_id}}, ConsistentRead=True).get("Item")
    )
    return None if stored is None else record.from_dynamodb(_plain(stored))


def _put(item: Mapping[str, Any], **condition: Any) -> bool:
    """Write an item and return True, or False when the condition does not hold."""
    try:
        client("dynamodb").put_item(TableName=_table(), Item=_typed(item), **condition)
    except ClientError as error:
        if code_of(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True


def _typed(item: Mapping[str, Any]) -> dict[str, Any]:
    serializer = TypeSerializer()
    return {name: serializer.serialize(value) for name, value in item.items()}


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    deserializer = TypeDeserializer()
    return {name: deserializer.deserialize(value) for name, value in item.items()}


def claimed(work_key: str) -> dict[str, Any] | None:
    """Return the claim of some work, {"run_id", "execution_arn"}, or None when nobody has it."""
    return item(f"work#{work_key}")


def claim(work_key: str, run_id: str, execution_arn: str, previous_run_id: str | None) -> bool:
    """Take a claim that nobody holds, or that this other run holds; False when someone was faster."""
    return take(f"work#{work_key}", run_id, execution_arn, previous_run_id)


def turn() -> dict[str, Any] | None:
    """Return the run that has the turn to deploy, or had it; None when none ever had.

    {"run_id", "execution_arn"}, and "given_back" where it waits for something else.
    """
    return item("deployment")


def take_turn(run_id: str, execution_arn: str, previous_run_id: str | None) -> bool:
    """Take the turn that nobody has, or that this other run has; False when someone was faster."""
    return take("deployment", run_id, execution_arn, previous_run_id)


def give_turn_back(execution_arn: str) -> None:
    """Let other runs take the turn that an execution has; it may ask for it again."""
    held = turn()
    if held and held["execution_arn"] == execution_arn:
        back = {**held, "given_back": True}
        mine = {":mine": {"S": execution_arn}}
        _put(back, ConditionExpression="execution_arn = :mine", ExpressionAttributeValues=mine)


def deploying() -> str | None:
    """Return the run that deploys now, or None."""
    held = turn()
    if held is None or held.get("given_back") or status_of_holder(held) != work.RUNNING:
        return None
    return str(held["run_id"])


def take(item_id: str, run_id: str, execution_arn: str, previous_run_id: str | None) -> bool:
    """Take a claim that nobody holds, or that this other run or window holds; False when someone was faster."""
    new = {"id": item_id, "run_id": run_id, "execution_arn": execution_arn}
    if previous_run_id is None:
        return _put(new, ConditionExpression="attribute_not_exists(id)")
    return _put(
        new,
        ConditionExpression="run_id = :previous",
        ExpressionAttributeValues={":previous": {"S": previous_run_id}},
    )


def strays() -> list[dict[str, Any]]:
    """Return the files that are known to be put aside, oldest first."""
    return list((item("strays") or {}).get("strays", []))


def remember_strays(aside: Sequence[Mapping[str, str]], reader: str, run_id: str) -> list[dict[str, Any]]:
    """Add the files that a run put aside; return all strays. Runs that end at the same time do not lose any."""
    for _ in range(_ATTEMPTS):
        before = item("strays") or {}
        known = rules.remembered(before.get("strays", []), aside, reader, run_id)
        if replace({"id": "strays", "strays": known}, before.get("revision", 0)):
            return known
    raise StraysContestedError(f"the list of strays changed {_ATTEMPTS} times while run {run_id} added to it")


def replace(changed: Mapping[str, Any], revision: int) -> bool:
    """Write an item that was read at this revision (0: there was none); False when someone was faster."""
    return _put(
        record.to_dynamodb({**changed, "revision": revision + 1}),
        ConditionExpression="attribute_not_exists(id) OR revision = :known",
        ExpressionAttributeValues={":known": {"N": str(revision)}},
    )


def status_of_holder(held: Mapping[str, Any]) -> str:
    """Return the status of a claim's run; Step Functions knows better than a record that was not closed."""
    known = (get(held["run_id"]) or {}).get("status", work.RUNNING)
    return str(known) if known != work.RUNNING else status_of_execution(held["execution_arn"])


def status_of_execution(execution_arn: str) -> str:
    """Return the status of the run that an execution is; Lost when Step Functions does not know it any more."""
    try:
        execution = client("stepfunctions").describe_execution(executionArn=execution_arn)
    except ClientError as error:
        if code_of(error) == "ExecutionDoesNotExist":
            return "Lost"
        raise
    return work.run_status(execution["status"], execution.get("error"))


def answer(execution_arn: str) -> dict[str, Any] | None:
    """Return the answer to an execution, or None when it has none yet."""
    known = item(f"execution#{execution_arn}")
    return None if known is None else dict(json.loads(known["answer"]))


def answered(execution_arn: str, decide: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the answer to an execution, which is decided once and for all."""
    known = answer(execution_arn)
    return remember(execution_arn, decide()) if known is None else known


def remember(execution_arn: str, new: Mapping[str, Any]) -> dict[str, Any]:
    """Store the answer to an execution and return it; where there is one already, return that."""
    new_item: dict[str, Any] = {"id": f"execution#{execution_arn}", "answer": json.dumps(new)}
    if new["Decision"] != "Train":  # what a run has made can be deployed as long as its version is there
        new_item["expires_at"] = int(time.time()) + _ANSWER_DAYS * 86400
    if _put(new_item, ConditionExpression="attribute_not_exists(id)"):
        return dict(new)
    return answer(execution_arn) or dict(new)


def is_first_to_say(text: str, run_id: str, seconds: int) -> bool:
    """Return whether this execution is the one that says something, which no other does in these seconds."""
    now = int(time.time())
    return _put(
        {"id": f"said#{text}", "run_id": run_id, "expires_at": now + seconds},
        ConditionExpression="attribute_not_exists(id) OR expires_at <= :now OR run_id = :run",
        ExpressionAttributeValues={":now": {"N": str(now)}, ":run": {"S": run_id}},
    )


def get(run_id: str) -> RunRecord | None:
    """Return the record of a run, as far as the table holds it."""
    stored = item(f"run#{run_id}") or {}
    known = {name: value for name, value in stored.items() if name != "id"}
    return cast(RunRecord, known) if known else None


def with_all_files(known: RunRecord) -> RunRecord:
    """Return a record with all its files: the table's item holds but some of many, the manifest all."""
    data = known.get("data", {})
    lists = {name: title for name, title in record.LISTED_IN_MANIFEST.items() if data.get(f"{name}_left_out")}
    if not lists:
        return known
    manifest = objects.read_json(data["manifest"])
    others = {name: value for name, value in data.items() if not name.endswith("_left_out")}
    whole = {**others, **{name: manifest[title] for name, title in lists.items()}}
    return {**known, "data": cast(Data, whole)}


def put(document: RunRecord) -> None:
    """Write the record of a run."""
    _put(record.as_item(document))


def update(run_id: str, **fields: Any) -> None:
    """Set fields of a run's record and leave the rest as it is."""
    change(f"run#{run_id}", **fields)


def change(item_id: str, **fields: Any) -> dict[str, Any]:
    """Set fields of an item, which is made if it is not there, and leave the rest as it is; return it as it was."""
    names = {f"#{name}": name for name in fields}
    values = _typed({f":{name}": record.to_dynamodb(value) for name, value in fields.items()})
    changed = client("dynamodb").update_item(
        TableName=_table(),
        Key={"id": {"S": item_id}},
        ReturnValues="ALL_OLD",
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in fields),
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
    )
    return dict(record.from_dynamodb(_plain(changed.get("Attributes", {}))))
