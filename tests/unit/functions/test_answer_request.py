"""The function behind the API: what it answers, and how each failure of the endpoint is told apart."""

import base64
import json
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from perennial.model import definition
from perennial.serving.problems import RETRY_SECONDS
from perennial_aws import served_model
from tests import dashboard
from tests.e2e.matrix.registry import matrix
from tests.unit.conftest import ROOT, STACK, load_function
from tests.unit.perennial.serving.test_requests import CAR

MODEL = definition.load(ROOT / "models/used-cars/model.yaml").as_json()
RUN, LATER = "20261120100000-0a1b", "20261121100000-0a1b"
ID = "X-Amzn-SageMaker-Inference-Id"


@pytest.fixture
def app(aws, monkeypatch):
    monkeypatch.setenv("API_ACCESS", "key")
    function = load_function("answer_request")
    monkeypatch.setattr(function, "memory", served_model.Memory())
    return function


@pytest.fixture
def serve(aws):
    """Put a run's model into service, with its definition."""

    def put(run=RUN, **changes):
        aws.put(f"runs/{run}/config.json", json.dumps({"definition": {**MODEL, **changes}}))
        aws.client("ssm").put_parameter(Name=f"/{STACK}/run", Value=run, Type="String", Overwrite=True)

    return put


@pytest.fixture
def call(app, lambda_context):
    """Ask the API; returns (status, document, headers)."""

    def request(body=CAR, *, method="POST", content_type="application/json", **more):
        text = body if isinstance(body, str) else json.dumps(body)
        headers = {"Content-Type": content_type, **more.pop("headers", {})}
        where = {"domainName": "abc.execute-api.eu-west-1.amazonaws.com", "stage": "v1"}
        event = {"httpMethod": method, "headers": headers, "body": text, "requestContext": where, **more}
        answered = app.handler(event, lambda_context)
        return answered["statusCode"], json.loads(answered["body"]), answered["headers"]

    return request


@pytest.fixture
def endpoint(answers, serve):
    """Let the endpoint answer with these; returns the requests that it gets."""
    serve()
    return lambda *replies: answers("sagemaker-runtime", "InvokeEndpoint", *(replies or [scored]))


def scored(request):
    lines = request.body.decode().splitlines()
    return 200, "\n".join(json.dumps({"score": json.loads(line)["mileage"] / 10}) for line in lines)


def model_error(status, text):
    """As the service sends it: REST-JSON, the code in a header that moto's answers lack, so in the body."""
    error = {"code": "ModelError", "message": f'Received error ({status}) from primary with message "{text}"'}
    return 424, {**error, "OriginalStatusCode": status, "OriginalMessage": text, "LogStreamArn": "arn:aws:logs:x"}


def refused(code, message="no", status=400):
    return status, {"code": code, "message": message}


def test_a_record_is_answered_with_its_score_and_the_id_that_the_endpoint_was_given(call, endpoint):
    requests = endpoint()
    status, document, headers = call(CAR)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert document["predictions"] == [{"score": 1200.0}]
    assert requests[0].headers[ID].decode() == document["inference_id"]
    assert json.loads(requests[0].body) == CAR


def test_records_are_answered_in_their_order_under_the_callers_own_id(call, endpoint):
    requests = endpoint()
    _, document, _ = call([{**CAR, "mileage": 10}, {**CAR, "mileage": 20}], headers={ID.lower(): "listing-4711"})
    assert document == {"inference_id": "listing-4711", "predictions": [{"score": 1.0}, {"score": 2.0}]}
    assert requests[0].headers[ID] in (b"listing-4711", "listing-4711")


@pytest.mark.parametrize("own", ["", "x" * 65, " x", "x\n", "é", f"verify-{RUN}-1", f"probe-{RUN}-0"])
def test_an_id_that_is_none_or_the_stacks_own_is_refused(call, endpoint, own):
    requests = endpoint()
    status, document, _ = call(headers={ID: own})
    assert (status, ID in document["detail"]) == (400, True)
    assert requests == []


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ({**CAR, "mileage": -1}, "application/json", 400),
        ("{", "application/json", 400),
        ("1,2", "text/csv", 415),
        (CAR, "", 415),
    ],
)
def test_what_breaks_the_definition_is_refused_before_the_endpoint_is_asked(call, endpoint, body, content_type, status):
    requests = endpoint()
    answered, document, headers = call(body, content_type=content_type)
    assert (answered, headers["Content-Type"]) == (status, "application/problem+json")
    assert set(document) <= {"title", "detail", "errors"}
    assert requests == []


def test_a_body_in_base64_is_read_and_one_that_is_no_utf8_is_refused(call, endpoint):
    endpoint()
    whole = base64.b64encode(json.dumps(CAR).encode()).decode()
    assert call(whole, isBase64Encoded=True)[0] == 200
    assert call(base64.b64encode(b"\xff").decode(), isBase64Encoded=True)[0] == 400


def test_records_that_grow_beyond_what_the_endpoint_takes_are_refused(call, endpoint):
    requests = endpoint()
    status, document, _ = call([{**CAR, "make": "é" * 1_000_000}] * 2)
    assert (status, "6,291,456" in document["detail"]) == (413, True)
    assert requests == []


FAILURES = {
    "model refuses": (model_error(400, "record 1 is wrong"), 400, "record 1 is wrong"),
    "too many records": (model_error(413, "expected at most 5"), 413, "expected at most 5"),
    "model fails": (model_error(500, "Traceback: secret"), 502, "status 500"),
    "model is late": (model_error(0, "Your invocation timed out while waiting for a response"), 504, "in time"),
    "throttled": (refused("ThrottlingException", "Rate exceeded"), 429, "more often"),
    "no endpoint": (refused("ValidationError", f"Endpoint {STACK} of account 123456789012 not found."), 503, "created"),
    "not ready": (refused("ModelNotReadyException", "not yet", 429), 503, "a while"),
    "not available": (refused("ServiceUnavailable", "no", 503), 503, "a while"),
    "fails inside": (refused("InternalFailure", "no", 500), 502, "failed"),
    "fails behind": (refused("InternalDependencyException", "no", 530), 502, "failed"),
    "slow": (ReadTimeoutError(endpoint_url="https://runtime"), 504, "in time"),
    "unreachable": (EndpointConnectionError(endpoint_url="https://runtime"), 503, "reached"),
    "connects slowly": (ConnectTimeoutError(endpoint_url="https://runtime"), 503, "reached"),
    "says nothing": ((200, ""), 502, "0 answers to 1 records"),
    "says nonsense": ((200, "<html>"), 502, "not readable"),
}


CASES = {
    "model refuses": "the model refuses a record that the definition allows",
    "too many records": "more records than the model takes",
    "model fails": "the model fails",
    "model is late": "the model does not answer SageMaker in time",
    "throttled": "SageMaker throttles",
    "no endpoint": "the endpoint is not there, or is being created",
    "not ready": "the endpoint is not ready",
    "not available": "SageMaker is not available",
    "fails inside": "SageMaker fails",
    "fails behind": "what SageMaker needs fails",
    "slow": "the endpoint is slow",
    "unreachable": "the endpoint cannot be reached",
    "connects slowly": "the endpoint cannot be reached in time",
    "says nothing": "the model answers too few records",
    "says nonsense": "the model's answer is not readable",
}


# What each refusal has its caller do; the model's own words say it where it refuses.
WHAT_TO_DO = {
    400: "record 1 is wrong",
    413: "expected at most",
    429: "; ask again in a second, or less often",
    502: "; send it again, and tell who operates the stack if that does not help",
    503: f"; ask again in {RETRY_SECONDS} seconds",
    504: "; send fewer records, or again",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=matrix("The API", CASES[name], ends=f"no run; {FAILURES[name][1]}"))
        for name in FAILURES
    ],
)
def test_failures_of_the_endpoint_are_told_apart(call, endpoint, capsys, name):
    reply, status, says = FAILURES[name]
    requests = endpoint(reply)
    answered, document, headers = call()
    assert (answered, says in document["detail"]) == (status, True)
    assert WHAT_TO_DO[status] in document["detail"]
    assert "secret" not in json.dumps(document)
    assert ("Retry-After" in headers) is (status in (429, 503))
    assert len(requests) == 1, "whoever waits is told at once"
    counted = {one for one in dashboard.series() if one[0].startswith("Api")} <= dashboard.published(
        capsys.readouterr().out
    )
    assert counted is (status >= 500), "what the alarm counts"


SUNDAY, MONDAY = datetime(2026, 11, 29, 6, tzinfo=UTC), datetime(2026, 11, 30, 12, tzinfo=UTC)


@matrix("The API", "the endpoint sleeps", ends="no run; 503, and until when")
@pytest.mark.parametrize(
    ("now", "by", "says", "seconds"),
    [
        (SUNDAY, "clock", "sleeps until 2026-11-30T07:00:00Z (07:00-19:00 UTC on MON)", 25 * 3600),
        (SUNDAY, "run", "sleeps until 2026-11-30T07:00:00Z at the earliest", 25 * 3600),
        (MONDAY, "run", "sleeps until the first run of today ends", 600),
        (MONDAY, "clock", "is not there, or is being created", RETRY_SECONDS),
    ],
    ids=["asleep", "asleep until a run", "waits for a run", "in its hours"],
)
def test_while_the_endpoint_sleeps_callers_are_told_until_when(
    app, call, endpoint, monkeypatch, capsys, now, by, says, seconds
):
    monkeypatch.setenv("HOURS", f"07:00-19:00 UTC MON {by}")
    monkeypatch.setattr(app, "datetime", type("Clock", (), {"now": staticmethod(lambda _: now)}))
    endpoint(FAILURES["no endpoint"][0])
    status, document, headers = call()
    assert (status, headers["Retry-After"]) == (503, str(seconds))
    assert says in document["detail"]
    assert document["detail"].endswith(f"; ask again in {seconds} seconds")
    assert ("ApiFailures" in capsys.readouterr().out) is ("created" in says), "sleep raises no alarm"


def test_a_missing_permission_is_no_answer_but_an_error_of_the_function(call, endpoint, capsys):
    endpoint(refused("AccessDeniedException", "is not authorized", 403))
    with pytest.raises(ClientError, match="not authorized"):
        call()
    assert "ApiFailures" in capsys.readouterr().out


@matrix("The API", "no model is in service yet", ends="no run; 503")
def test_before_the_first_model_callers_are_asked_to_come_again(call, answers):
    requests = answers("sagemaker-runtime", "InvokeEndpoint", scored)
    status, document, headers = call()
    assert (status, document["title"], headers["Retry-After"]) == (503, "Service Unavailable", str(RETRY_SECONDS))
    assert requests == []


def test_a_score_that_json_has_no_number_for_is_null(call, endpoint):
    endpoint((200, '{"score": Infinity}'))
    assert call()[1]["predictions"] == [{"score": None}]


def test_the_definition_is_read_once_and_again_when_another_model_serves(call, endpoint, serve, answers, monkeypatch):
    endpoint()
    reads = answers("s3", "GetObject", None)
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    assert [call()[0] for _ in range(3)] == [200] * 3
    assert len(reads) == 1
    serve(LATER, columns={**MODEL["columns"], "doors": {**MODEL["columns"]["doors"], "max": 1}})
    assert [call()[0] for _ in range(3)][-1] == 400
    assert len(reads) == 2


def test_nobody_is_refused_by_the_definition_of_a_model_that_serves_no_more(call, endpoint, serve, monkeypatch):
    endpoint()
    moment = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: moment[0])
    assert call({**CAR, "doors": 9})[0] == 400
    serve(LATER, columns={**MODEL["columns"], "doors": {**MODEL["columns"]["doors"], "max": 10}})
    moment[0] = 5.0  # the definition would be fresh for longer
    assert call({**CAR, "doors": 9})[0] == 200


def test_what_is_known_counts_while_nothing_can_be_looked_up(call, endpoint, answers, monkeypatch):
    endpoint()
    assert call()[0] == 200
    monkeypatch.setattr("time.monotonic", lambda: 1e9)
    answers("ssm", "GetParameters", refused("InternalServerError", "no", 500))
    assert call()[0] == 200


def test_the_document_is_of_the_model_in_service_and_of_this_address(call, endpoint):
    endpoint()
    status, document, _ = call(method="GET")
    assert (status, document["openapi"], document["info"]["version"]) == (200, "3.1.0", RUN)
    assert document["servers"] == [{"url": "https://abc.execute-api.eu-west-1.amazonaws.com/v1"}]
    assert list(document["components"]["securitySchemes"]) == ["key"]


def test_no_log_holds_what_was_asked_or_answered(call, endpoint, caplog):
    endpoint()
    call({**CAR, "make": "Delorean"})
    call({**CAR, "make": "Delorean", "mileage": "Edsel"})
    logged = [str(vars(record)) for record in caplog.records]
    assert [record.getMessage() for record in caplog.records] == ["answered", "refused"]
    assert not any(text in line for line in logged for text in ("Delorean", "Edsel", "1200.0"))


def test_series_are_asked_about_at_the_endpoint_itself(call, endpoint, serve):
    requests = endpoint()
    serve(LATER, series={"key": "shop"})
    status, document, _ = call()
    assert (status, requests) == (501, [])
    assert document["detail"] == f"this API takes rows, and the model forecasts series; ask endpoint {STACK} itself"
