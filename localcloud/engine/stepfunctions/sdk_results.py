"""SDK integrations as on AWS: results by the operation's output model, and metadata of copies.

MiniStack leaves the numbers of services that answer in XML as texts (`"KeyCount": "4"`), so that a comparison would go
otherwise than on AWS; and of CopyObject it sends neither Metadata nor ContentType (S3 API Reference, CopyObject).
Source: Step Functions Developer Guide, "Learning to use AWS service SDK integrations".
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from localcloud.engine.seams import Seams
from localcloud.service_models import service_model

stepfunctions = Seams("services.stepfunctions", _REST_XML_OP_SPECS="b55c9c78", _dispatch_aws_sdk_rest_xml="94cbb4f9")


def register() -> None:
    """Replace the seam. MiniStack must be importable (the environment is set)."""
    stepfunctions.replace("_dispatch_aws_sdk_rest_xml", _make_dispatch)


def _make_dispatch(original: Any) -> Any:
    def dispatch(service_info: Any, service_name: str, action: str, input_data: Any) -> Any:
        result = original(service_info, service_name, action, _with_headers(service_name, action, input_data))
        return sdk_output(result, output_shape(service_name, action[:1].upper() + action[1:]))

    return dispatch


def _with_headers(service: str, action: str, input_data: Any) -> Any:
    """Return the input of an operation with the metadata of a copy among what is sent as headers."""
    if (service, action) != ("s3", "copyObject"):
        return input_data
    sent = {f"x-amz-meta-{name}": value for name, value in input_data.get("Metadata", {}).items()}
    copy = stepfunctions._REST_XML_OP_SPECS["s3"]["CopyObject"]
    copy["header_params"] = {**copy["header_params"], "ContentType": "content-type", **{name: name for name in sent}}
    return {**input_data, **sent}


@lru_cache(maxsize=64)
def output_shape(service: str, operation: str) -> Any:
    """Return botocore's model of what an operation answers; None when it answers nothing."""
    return service_model(service).operation_model(operation).output_shape


def sdk_output(value: Any, shape: Any) -> Any:
    """Return a response as SDK tasks return it: timestamps as ISO strings in UTC, numbers as numbers."""
    if shape is None or value is None:
        return value
    if shape.type_name == "timestamp" and not isinstance(value, str):
        moment = value if isinstance(value, datetime) else datetime.fromtimestamp(float(value), UTC)
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    if shape.type_name == "structure" and isinstance(value, Mapping):
        return {
            name: sdk_output(item, shape.members[name]) if name in shape.members else item
            for name, item in value.items()
            if item is not None
        }
    if shape.type_name == "list" and isinstance(value, list | tuple):
        return [sdk_output(item, shape.member) for item in value]
    if shape.type_name == "map" and isinstance(value, Mapping):
        return {name: sdk_output(item, shape.value) for name, item in value.items()}
    return int(value) if shape.type_name in ("integer", "long") and isinstance(value, str) else value
