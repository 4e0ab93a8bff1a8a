"""CloudFormation: the KMS key of a table, a topic and a function, which MiniStack's provisioner leaves out.

Without it nobody would be asked for the key's permission, or see which it is. Source: CloudFormation template
reference, "AWS::DynamoDB::Table SSESpecification" (its SSEEnabled is the API's Enabled), "AWS::SNS::Topic" and
"AWS::Lambda::Function".
"""

import functools
from collections.abc import Callable
from typing import Any

from localcloud.engine.seams import Seams

provisioners = Seams("services.cloudformation.provisioners", _RESOURCE_HANDLERS="70ecdfd3")
dynamodb = Seams("services.dynamodb", _sse_description_from_spec="295cb8aa", _tables="ddecc1c0")
lambda_svc = Seams("services.lambda_svc", _functions="cdeb4246")
sns = Seams("services.sns", _topic_by_arn_any_scope="b274fbbc")

JsonObject = dict[str, Any]


def register() -> None:
    """Wrap the handlers of these kinds of resources. MiniStack must be importable (the environment is set)."""
    kinds = {
        "AWS::DynamoDB::Table": _keep_of_table,
        "AWS::SNS::Topic": _keep_of_topic,
        "AWS::Lambda::Function": _keep_of_function,
    }
    for kind, keep in kinds.items():
        kept_by(kind, keep)


def kept_by(kind: str, keep: Callable[[str, JsonObject], None]) -> None:
    """Call this with the name and the properties of each resource of a kind that is made or updated."""
    handlers = provisioners._RESOURCE_HANDLERS[kind]
    handlers["create"] = _after_create(handlers["create"], keep)
    handlers["update"] = _after_update(handlers["update"], keep)


def _after_create(original: Any, keep: Callable[[str, JsonObject], None]) -> Any:
    @functools.wraps(original)
    def create(logical_id: str, props: JsonObject, stack_name: str) -> Any:
        physical_id, attributes = original(logical_id, props, stack_name)
        keep(physical_id, props)
        return physical_id, attributes

    return create


def _after_update(original: Any, keep: Callable[[str, JsonObject], None]) -> Any:
    @functools.wraps(original)
    def update(physical_id: str, old_props: JsonObject, new_props: JsonObject, *more: Any, **options: Any) -> Any:
        result = original(physical_id, old_props, new_props, *more, **options)
        keep(result[0] if isinstance(result, tuple) else physical_id, new_props)
        return result

    return update


def _keep_of_table(name: str, props: JsonObject) -> None:
    specification, table = props.get("SSESpecification") or {}, dynamodb._tables.get(name)
    if table is None or str(specification.get("SSEEnabled", "false")).lower() != "true":
        return
    table["SSEDescription"] = dynamodb._sse_description_from_spec({**specification, "Enabled": True})


def _keep_of_topic(arn: str, props: JsonObject) -> None:
    topic = sns._topic_by_arn_any_scope(arn)
    if topic is not None and props.get("KmsMasterKeyId"):
        topic["attributes"]["KmsMasterKeyId"] = props["KmsMasterKeyId"]


def _keep_of_function(name: str, props: JsonObject) -> None:
    if function := lambda_svc._functions.get(name):
        function["config"]["KMSKeyArn"] = props.get("KmsKeyArn", "")
