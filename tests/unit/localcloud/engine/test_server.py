"""Which requests have the state written before they are answered."""

import pytest

from localcloud.engine import server
from localcloud.engine.operations import Call
from localcloud.engine.permissions import requests


@pytest.mark.parametrize(
    ("method", "target", "call", "changes"),
    [
        ("POST", "", Call("cloudformation", "DescribeStackEvents", {}), False),
        ("POST", "", Call("cloudformation", "CreateChangeSet", {}), True),
        ("POST", "", Call("sts", "GetSessionToken", {}), True),
        ("POST", "", Call("kms", "GetParametersForImport", {}), True),
        ("POST", "AmazonSSM.GetParameter", Call("ssm", "GetParameter", {}), False),
        ("POST", "AmazonSSM.PutParameter", Call("ssm", "PutParameter", {}), True),
        ("POST", "SageMaker.DescribeModel", None, False),
        ("POST", "SageMaker.CreateModel", None, True),
        ("POST", "AWSCognitoIdentityService.GetId", None, True),
        ("POST", "Kinesis_20131202.GetShardIterator", None, True),
        ("GET", "", None, False),
        ("PUT", "", None, True),
    ],
)
def test_what_only_reads_has_nothing_written(
    monkeypatch: pytest.MonkeyPatch, method: str, target: str, call: Call | None, changes: bool
) -> None:
    """Who waits for a stack asks again and again, and all stacks were written each time: 0.1 s with ten of them."""
    token = requests._call.set(call)
    try:
        headers = [(b"x-amz-target", target.encode())]
        assert (
            server._may_change_state(
                {"method": method, "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers}
            )
            is changes
        )
    finally:
        requests._call.reset(token)
