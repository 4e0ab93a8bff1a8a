"""REST APIs in the local cloud: who may call, how much, and how long a function may take, as on AWS."""

import json
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.integration.conftest import Cloud, make_function, unique

SOURCE = """
import json, time
def handler(event, context):
    asked = json.loads(event['body'] or '{}') if len(event['body'] or '') < 1000 else {}
    time.sleep(asked.get('seconds', 0))
    if asked.get('fails'):
        raise KeyError('secret')
    return {'statusCode': 200, 'headers': {}, 'body': json.dumps({'bytes': len(event['body'] or '')})}
"""
METHODS = {"key": ("NONE", True), "iam": ("AWS_IAM", False), "open": ("NONE", False)}


@dataclass(frozen=True)
class Served:
    """An API with a resource for each kind of access, and a key for it."""

    cloud: Cloud
    api: str
    key: str
    function: str

    def post(self, path: str, body: bytes = b"{}", **headers: str) -> tuple[int, Any]:
        return self.send(f"/_aws/execute-api/{self.api}/v1/{path}", body, **headers)

    def keyed(self, body: bytes = b"{}") -> tuple[int, Any]:
        return self.post("key", body, **{"x-api-key": self.key})

    def signed(self, service: str = "execute-api", **changes: str) -> tuple[int, Any]:
        keys = {**self.cloud.keys(), **changes}
        credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
        request = AWSRequest("POST", f"{self.cloud.endpoint_url}/_aws/execute-api/{self.api}/v1/iam", data=b"{}")
        SigV4Auth(credentials, service, self.cloud.region).add_auth(request)
        return self.post("iam", **dict(request.headers.items()))

    def send(self, path: str, body: bytes = b"{}", **headers: str) -> tuple[int, Any]:
        with closing(HTTPConnection(urlsplit(self.cloud.endpoint_url).netloc, timeout=20)) as connection:
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())


@pytest.fixture(scope="module")
def served(cloud: Cloud) -> Served:
    client, function = cloud.client("apigateway"), make_function(cloud, SOURCE)
    api = client.create_rest_api(name=unique("api"))["id"]
    root = client.get_resources(restApiId=api)["items"][0]["id"]
    uri = f"arn:aws:apigateway:{cloud.region}:lambda:path/2015-03-31/functions/{function}/invocations"
    for path, (authorization, takes_keys) in METHODS.items():
        resource = client.create_resource(restApiId=api, parentId=root, pathPart=path)["id"]
        method = {"restApiId": api, "resourceId": resource, "httpMethod": "POST"}
        client.put_method(**method, authorizationType=authorization, apiKeyRequired=takes_keys)
        client.put_integration(**method, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri, timeoutInMillis=1000)
    deployment = client.create_deployment(restApiId=api)["id"]
    client.create_stage(restApiId=api, stageName="v1", deploymentId=deployment)
    key = client.create_api_key(name=unique("key"), enabled=True)
    plan = client.create_usage_plan(name=unique("plan"), apiStages=[{"apiId": api, "stage": "v1"}])["id"]
    client.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
    cloud.client("lambda").add_permission(
        FunctionName=function, StatementId="api", Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com", SourceArn=f"arn:aws:execute-api:{cloud.region}:000000000000:{api}/*",
    )  # fmt: skip
    cloud.client("lambda").invoke(FunctionName=function, Payload=b'{"body": null}')  # the first one takes longer
    return Served(cloud, api, key["value"], function)


def test_who_has_a_key_is_answered_and_who_has_none_is_not(served: Served) -> None:
    assert served.keyed() == (200, {"bytes": 2})
    assert served.post("key") == served.post("key", **{"x-api-key": "another"}) == (403, {"message": "Forbidden"})


def test_who_signs_is_answered_and_who_does_not_is_not(served: Served) -> None:
    assert served.signed() == (200, {"bytes": 2})
    assert served.post("iam") == (403, {"message": "Missing Authentication Token"})
    assert served.signed(aws_secret_access_key="x" * 40)[0] == 403
    status, document = served.signed(service="s3")
    assert (status, "correct service: 'execute-api'" in document["message"]) == (403, True)


def test_method_that_is_open_to_everybody_is_open_to_nobody_here(served: Served) -> None:
    status, document = served.post("open")
    assert (status, document["message"]) == (403, "Request is missing Authentication Token")
    assert served.post("open", **{"x-api-key": served.key})[0] == 403


def test_unsigned_request_that_says_another_operation_is_refused(served: Served) -> None:
    headers = {"x-api-key": served.key, "X-Amz-Target": "DynamoDB_20120810.ListTables"}
    assert served.post("key", **headers)[0] == 403


def test_path_that_no_method_has_is_refused_as_aws_does(served: Served) -> None:
    assert served.post("nothing") == (403, {"message": "Missing Authentication Token"})


@pytest.mark.parametrize("size", [(10 << 20) + 1, (6 << 20) + 1])
def test_body_that_api_gateway_or_lambda_does_not_take_is_refused(served: Served, size: int) -> None:
    assert served.keyed(b"x" * size) == (413, {"message": "Request Too Long"})


def test_body_that_both_take_is_answered(served: Served) -> None:
    assert served.keyed(b"x" * (5 << 20)) == (200, {"bytes": 5 << 20})


def test_function_that_takes_too_long_is_not_waited_for(served: Served) -> None:
    assert served.keyed(b'{"seconds": 2}') == (504, {"message": "Endpoint request timed out"})


def test_what_a_function_that_fails_says_is_not_told(served: Served) -> None:
    assert served.keyed(b'{"fails": true}') == (502, {"message": "Internal server error"})


def test_function_that_does_not_let_api_gateway_invoke_it_is_a_wrong_configuration(served: Served) -> None:
    functions = served.cloud.client("lambda")
    permission = json.loads(functions.get_policy(FunctionName=served.function)["Policy"])["Statement"][0]
    functions.remove_permission(FunctionName=served.function, StatementId="api")
    try:
        assert served.keyed() == (500, {"message": "Internal server error"})
    finally:
        functions.add_permission(
            FunctionName=served.function, StatementId="api", Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com", SourceArn=permission["Condition"]["ArnLike"]["AWS:SourceArn"],
        )  # fmt: skip


def test_each_request_leaves_a_line_in_the_log_of_its_stage_as_its_format_says(served: Served) -> None:
    """The stage is one of CloudFormation, as that of a stack is."""
    cloud, group = served.cloud, f"/aws/apigateway/{unique('api')}"
    logs, gateway = cloud.client("logs"), cloud.client("apigateway")
    logs.create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:{cloud.region}:000000000000:log-group:{group}"
    text = '{"status":"$context.status","error":"$context.error.responseType","path":"$context.resourcePath",'
    text += (
        '"apiKeyId":"$context.identity.apiKeyId","caller":"$context.identity.userArn","ms":"$context.responseLatency"}'
    )
    stage = {
        "Type": "AWS::ApiGateway::Stage",
        "Properties": {
            "RestApiId": served.api,
            "StageName": "logged",
            "DeploymentId": gateway.get_deployments(restApiId=served.api)["items"][0]["id"],
            "AccessLogSetting": {"DestinationArn": arn, "Format": text},
        },
    }
    stack = unique("logged")
    formation = cloud.client("cloudformation")
    formation.create_stack(StackName=stack, TemplateBody=json.dumps({"Resources": {"Stage": stage}}))
    formation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    plan = gateway.create_usage_plan(name=unique("plan"), apiStages=[{"apiId": served.api, "stage": "logged"}])["id"]
    (key,) = (key["id"] for key in gateway.get_api_keys(includeValues=True)["items"] if key["value"] == served.key)
    gateway.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")
    path = f"/_aws/execute-api/{served.api}/logged"
    assert served.send(f"{path}/key", b'{"secret": 1}', **{"x-api-key": served.key})[0] == 200
    assert served.send(f"{path}/key", b"{}")[0] == 403
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
    assert "secret" not in str(events)
    lines = [json.loads(event["message"]) for event in events]
    assert [(line["status"], line["error"], line["apiKeyId"]) for line in lines] == [
        ("200", "-", key),
        ("403", "INVALID_API_KEY", "-"),
    ]
    assert {(line["path"], line["caller"], line["ms"].isdecimal()) for line in lines} == {("/key", "-", True)}
