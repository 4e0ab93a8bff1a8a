"""Lambda functions in the local cloud: errors, environment and metrics as on AWS."""

import base64
import io
import json
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from localcloud.engine.lambda_ import functions
from tests.integration.conftest import Cloud, make_function, unique
from tests.waiting import wait_for


def invoke(cloud: Cloud, function: str, event: Any = None) -> tuple[str | None, Any]:
    response = cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event or {}))
    return response.get("FunctionError"), json.loads(response["Payload"].read())


def test_the_payload_of_a_failed_invocation_names_class_message_and_stack(cloud: Cloud) -> None:
    source = """
class PriceError(ValueError): pass
def check():
    raise PriceError('-3')
def handler(event, context):
    check()
"""

    failed, payload = invoke(cloud, make_function(cloud, source))

    assert failed == "Unhandled"
    assert (payload["errorType"], payload["errorMessage"]) == ("PriceError", "-3")
    assert [frame.split(", in ")[1].split("\n")[0] for frame in payload["stackTrace"]] == ["handler", "check"]
    assert payload["requestId"]


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "message"),
    [
        (
            "import nowhere",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nowhere'",
        ),
        ("", "app.main", "Runtime.HandlerNotFound", "Handler 'main' missing on module 'app'"),
        ("raise KeyError('TABLE')", "app.handler", "KeyError", "'TABLE'"),
    ],
)
def test_a_function_that_cannot_be_loaded_says_why(
    cloud: Cloud, source: str, handler: str, error_type: str, message: str
) -> None:
    failed, payload = invoke(cloud, make_function(cloud, source, handler))

    assert failed == "Unhandled"
    assert (payload["errorType"], payload["errorMessage"]) == (error_type, message)


def test_boto3_in_a_function_reaches_the_local_cloud_and_nothing_of_the_hosts_settings(cloud: Cloud) -> None:
    cloud.client("ssm").put_parameter(Name="/engine/answer", Value="42", Type="String", Overwrite=True)
    source = """
import boto3, os
def handler(event, context):
    value = boto3.client("ssm").get_parameter(Name="/engine/answer")["Parameter"]["Value"]
    strange = [n for n in os.environ if n in ("AWS_CA_BUNDLE", "AWS_PROFILE") or n.lower().endswith("_proxy")]
    return {"value": value, "region": os.environ["AWS_REGION"], "strange": [n for n in strange if n != "NO_PROXY"]}
"""

    _, payload = invoke(cloud, make_function(cloud, source))

    assert payload == {"value": "42", "region": cloud.region, "strange": []}


def test_output_and_errors_of_a_function_are_in_its_log_group(cloud: Cloud) -> None:
    function = make_function(cloud, "def handler(event, context):\n    print('before')\n    raise OSError('full')\n")
    invoke(cloud, function)

    group = f"/aws/lambda/{function.rsplit(':', 1)[1]}"
    events = cloud.client("logs").filter_log_events(logGroupName=group)["events"]

    text = "\n".join(event["message"] for event in events)
    assert "before" in text
    assert "OSError: full" in text


def test_the_log_of_a_call_has_its_own_lines_and_is_not_waited_for(cloud: Cloud) -> None:
    source = "import sys\ndef handler(event, context):\n    sys.stdout.write(event['text'])\n"
    function = make_function(cloud, source)
    took = []
    for text in ("first\n", "", "two\n\nlines\n", "a line without end", "", ""):
        began = time.monotonic()
        answer = cloud.client("lambda").invoke(
            FunctionName=function, Payload=json.dumps({"text": text}), LogType="Tail"
        )
        took.append(time.monotonic() - began)
        log = base64.b64decode(answer.get("LogResult", "")).decode().splitlines()
        assert [line for line in log if not line.startswith(("START", "END", "REPORT"))] == text.splitlines()
    assert min(took) < functions._END_SECONDS / 5, "a function that says nothing was waited for"


def test_a_line_in_the_embedded_metric_format_becomes_a_metric(cloud: Cloud) -> None:
    source = """
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
metrics = Metrics(namespace="EngineTest", service="pricing")
@metrics.log_metrics
def handler(event, context):
    metrics.add_metric(name="Rejected", unit=MetricUnit.Count, value=event["rejected"])
    print('{"_aws": "not a document"}')
"""
    function = make_function(cloud, source)
    for rejected in (2, 3):
        assert invoke(cloud, function, {"rejected": rejected}) == (None, None)

    def statistics() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = cloud.client("cloudwatch").get_metric_statistics(
            Namespace="EngineTest",
            MetricName="Rejected",
            Dimensions=[{"Name": "service", "Value": "pricing"}],
            StartTime=time.time() - 600,
            EndTime=time.time() + 60,
            Period=3600,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        return found

    points = wait_for(statistics, "the metric")
    assert (sum(p["Sum"] for p in points), sum(p["SampleCount"] for p in points)) == (5, 2)


def test_a_line_in_the_embedded_metric_format_of_any_log_becomes_a_metric(cloud: Cloud) -> None:
    logs, names = cloud.client("logs"), {"logGroupName": unique("/aws/sagemaker/Endpoints/e"), "logStreamName": "i-1"}
    logs.create_log_group(logGroupName=names["logGroupName"])
    logs.create_log_stream(**names)
    now = int(time.time() * 1000)
    directive = {"Namespace": "EngineTest", "Dimensions": [["service"]], "Metrics": [{"Name": "Seen", "Unit": "Count"}]}
    line = json.dumps({"_aws": {"Timestamp": now, "CloudWatchMetrics": [directive]}, "service": "log", "Seen": 4})
    logs.put_log_events(**names, logEvents=[{"timestamp": now, "message": text} for text in ("before", line, "{")])

    points = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="EngineTest",
        MetricName="Seen",
        Dimensions=[{"Name": "service", "Value": "log"}],
        StartTime=time.time() - 600,
        EndTime=time.time() + 60,
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    assert sum(point["Sum"] for point in points) == 4


def published_layer(cloud: Cloud, file: str, text: str) -> str:
    """Publish a layer with one file, and return its version's ARN."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr(file, text)
    content = {"ZipFile": package.getvalue()}
    layer = cloud.client("lambda").publish_layer_version(LayerName=unique("layer"), Content=content)
    return str(layer["LayerVersionArn"])


def test_functions_share_one_unpacked_copy_of_a_layer(cloud: Cloud) -> None:
    layer = published_layer(cloud, "python/shared.py", "WHERE = __file__\n")
    source = "import shared\ndef handler(event, context):\n    return shared.WHERE\n"
    functions = [make_function(cloud, source, Layers=[layer]) for _ in range(2)]

    answers = [invoke(cloud, function) for function in functions]

    assert answers[0] == answers[1]
    assert answers[0][0] is None
    assert answers[0][1].startswith(str(cloud.state / "engine" / "layers"))


# What a function can reach of its interpreter and its process, and whether it is a fork; its handler changes all of it.
LOOK = """
import json, os, random, signal, sys, threading
import boto3, numpy
with open(f"/proc/{os.getppid()}/cmdline") as parent:
    FORKED = "fork_server.py" in parent.read()
NUMBERS = random.random(), numpy.random.random()
OWN = os.path.dirname(os.getcwd())
FOUND = {
    "marks": [hasattr(module, "left_behind") for module in (json, os, boto3, numpy)],
    "environment": {name: value.replace(OWN, "") for name, value in os.environ.items() if "STREAM" not in name},
    "path": [folder.replace(OWN, "") for folder in sys.path],
    "arguments": [argument.replace(OWN, "") for argument in sys.argv],
    "handlers": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT)],
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "files": sorted(map(int, os.listdir("/proc/self/fd"))),
    "threads": threading.active_count(),
    "mask": os.umask(0o22),
    "recursion": sys.getrecursionlimit(),
    "group": os.getcwd().replace(OWN, ""),
    "session": boto3.DEFAULT_SESSION is None,
}

def handler(event, context):
    for module in (json, os, boto3, numpy):
        module.left_behind = True
    os.environ["LEFT"] = "behind"
    os.umask(0)
    sys.path.insert(0, "/left")
    sys.setrecursionlimit(5000)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    boto3.setup_default_session()
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return {"forked": FORKED, "numbers": NUMBERS, "found": FOUND}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="functions are forks on Linux only")
def test_a_function_is_a_fork_that_finds_what_a_process_of_its_own_finds_and_nothing_of_others(cloud: Cloud) -> None:
    named = {"Environment": {"Variables": {"COLOUR": "red"}}}
    alone = invoke(cloud, make_function(cloud, LOOK, beside={"yaml.py": ""}))
    forks = [invoke(cloud, make_function(cloud, LOOK)) for _ in range(2)]
    with_a_variable = invoke(cloud, make_function(cloud, LOOK, **named))[1]["found"]["environment"]

    assert [answer[1]["forked"] for answer in (alone, *forks)] == [False, True, True]
    own = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_FUNCTION_NAME")
    for answer in (alone, *forks):
        for name in (*own, "_LAMBDA_FUNCTION_ARN"):
            answer[1]["found"]["environment"].pop(name, None)
    assert alone[1]["found"] == forks[0][1]["found"] == forks[1][1]["found"]
    assert with_a_variable["COLOUR"] == "red"
    assert not set(forks[0][1]["numbers"]) & set(forks[1][1]["numbers"])


def test_a_function_has_its_own_module_of_a_name_that_is_loaded_already(cloud: Cloud) -> None:
    source = "import boto3, yaml\ndef handler(event, context):\n    return [boto3.OWN, yaml.OWN]\n"
    own = {"boto3/__init__.py": "OWN = 'boto3'\n", "yaml.py": "OWN = 'yaml'\n"}
    assert invoke(cloud, make_function(cloud, source, beside=own)) == (None, ["boto3", "yaml"])


def test_a_fork_finds_the_modules_of_layers_as_a_process_of_its_own_does(cloud: Cloud) -> None:
    layers = [published_layer(cloud, "python/yaml.py", f"LAYER = '{name}'\n") for name in ("first", "second")]
    source = "import yaml\ndef handler(event, context):\n    return yaml.LAYER\n"
    answers = [invoke(cloud, make_function(cloud, source, beside=own, Layers=layers)) for own in ({}, {"numpy.py": ""})]
    assert answers[0] == answers[1]
    assert answers[0][1] in ("first", "second")


def test_a_function_whose_layer_has_site_packages_which_may_run_code_starts_by_itself(cloud: Cloud) -> None:
    own = "python/lib/python3.13/site-packages/own.pth"
    layer = published_layer(cloud, own, "import sys; sys.by_a_layer = True\n")
    source = LOOK.replace('"forked": FORKED', '"forked": FORKED, "ran": sys.by_a_layer')
    answer = invoke(cloud, make_function(cloud, source, Layers=[layer]))[1]
    assert (answer["forked"], answer["ran"]) == (False, True)


@pytest.mark.parametrize("seed", ["0", "1"])
def test_a_variable_that_python_reads_at_its_start_is_read_for_a_function(cloud: Cloud, seed: str) -> None:
    source = "def handler(event, context):\n    return hash('text')\n"
    named = {"Environment": {"Variables": {"PYTHONHASHSEED": seed}}}
    alone = [sys.executable, "-c", "print(hash('text'))"]
    said = subprocess.run(alone, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
    assert invoke(cloud, make_function(cloud, source, **named)) == (None, int(said))


def test_a_burst_of_calls_shares_a_few_processes_and_all_are_answered(cloud: Cloud) -> None:
    source = "import os, time\ndef handler(event, context):\n    time.sleep(0.05)\n    return os.getpid()\n"
    arn = make_function(cloud, source)

    def call(_: int) -> int:
        answer = cloud.client("lambda").invoke(FunctionName=arn, Payload=b"{}")
        return int(json.load(answer["Payload"]))

    with ThreadPoolExecutor(30) as pool:
        processes = list(pool.map(call, range(30)))
    assert len(processes) == 30
    assert len(set(processes)) <= functions.SIDE_BY_SIDE


def test_a_call_goes_on_while_its_function_is_updated(cloud: Cloud) -> None:
    source = """
import os, time
def handler(event, context):
    time.sleep(event['Seconds'])
    return os.environ['COLOUR']
"""
    arn = make_function(cloud, source, Environment={"Variables": {"COLOUR": "red"}})
    assert invoke(cloud, arn, {"Seconds": 0}) == (None, "red")
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(invoke, cloud, arn, {"Seconds": 1.5})
        time.sleep(0.5)
        changed = {"Variables": {"COLOUR": "blue"}}
        cloud.client("lambda").update_function_configuration(FunctionName=arn, Environment=changed)
        assert invoke(cloud, arn, {"Seconds": 0}) == (None, "blue")
        assert working.result() == (None, "red")
