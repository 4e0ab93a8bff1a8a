"""Serving containers as processes: they start, die, come back, time out and stop."""

import math
import os
import shutil
import signal
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.sagemaker.endpoints.model_server import ContainerStartError, InvocationTimeoutError, ModelServer
from localcloud.sagemaker.errors import JobFailedError
from localcloud.sagemaker.platform.image_python import ImagePython
from localcloud.settings import image_python
from perennial.data.contract import Contract
from perennial.features.encoding import Encoder
from perennial.features.record_checks import RecordChecks
from processing import preprocess
from tests.waiting import wait_for

IMAGE = "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.9-0"
ECHO = """
import os, sys, time

def model_fn(model_dir):
    return os.getpid()

def transform_fn(pid, body, content_type, accept):
    text = body if isinstance(body, str) else body.decode()
    if text.startswith("sleep"):
        time.sleep(float(text.split()[1]))
    if text == "path":
        return "\\n".join(sys.path), "text/csv"
    if text == "environment":
        return "\\n".join(f"{name}={value}" for name, value in os.environ.items()), "text/csv"
    return f"{pid} {text} {content_type} {accept}", "text/csv"
"""
# Ends each request as it is told.
REFUSAL = """
from sagemaker_containers.beta.framework import worker

def model_fn(model_dir):
    pass

def transform_fn(model, body, content_type, accept):
    {}
"""


class FakeAws:
    """Model archives are files of a folder; everything else is not asked for."""

    def __init__(self, folder: Path, image: ImagePython) -> None:
        self.folder, self.image = folder, image

    def download(self, url: str, path: Path) -> None:
        shutil.copy(self.folder / url.rsplit("/", 1)[-1], path)

    def environment(self, *, isolated: bool) -> dict[str, str]:
        return {"AWS_REGION": "isolated" if isolated else "eu-west-1"}

    def archive(self, name: str, script: str) -> str:
        source = self.folder / "inference.py"
        source.write_text(script)
        with tarfile.open(self.folder / name, "w:gz") as tar:
            tar.add(source, "code/inference.py")
        return f"s3://bucket/{name}"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagePython]:
    made = ImagePython(image_python(), tmp_path_factory.mktemp("state"))
    yield made
    made.close()


@pytest.fixture
def aws(tmp_path: Path, image: ImagePython) -> FakeAws:
    return FakeAws(tmp_path, image)


def definition(url: str, **environment: str) -> dict[str, Any]:
    program = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    return {"Image": IMAGE, "ModelDataUrl": url, "Environment": program | environment}


def server(aws: FakeAws, *urls: str, lines: list[str] | None = None, **environment: str) -> ModelServer:
    log = lines if lines is not None else []
    containers = [definition(url, **environment) for url in urls]
    return ModelServer(containers, aws.folder / "work", aws, log.append, aws.image)  # type: ignore[arg-type]


@pytest.fixture
def echo(aws: FakeAws) -> Iterator[ModelServer]:
    running = server(aws, aws.archive("echo.tar.gz", ECHO), GREETING="hello from /opt/ml/model")
    running.start(30)
    yield running
    running.stop()


def answer(running: ModelServer, body: str, timeout: float = 30.0) -> str:
    return running.ask(body.encode(), "text/csv", None, {}, timeout).body.decode()


SOCKETS = """
import os, socket, stat

def model_fn(folder):
    pass

def transform_fn(model, body, content_type, accept):
    found = [number for number in range(256) if is_socket(number)]
    return " ".join(str(int(socket.socket(fileno=os.dup(number)).family)) for number in found), "text/csv"

def is_socket(number):
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False
"""


def test_a_container_has_its_own_pairs_of_sockets_and_nothing_that_listens(aws: FakeAws) -> None:
    running = server(aws, aws.archive("sockets.tar.gz", SOCKETS))
    running.start(30)
    assert set(answer(running, "1").split()) == {str(int(socket.AF_UNIX))}
    running.stop()


def test_a_container_answers_within_two_seconds_of_its_start(aws: FakeAws) -> None:
    running = server(aws, aws.archive("echo.tar.gz", ECHO))
    began = time.monotonic()
    running.start(30)

    assert time.monotonic() - began < 2
    assert answer(running, "1").endswith(" 1 text/csv application/json")
    running.stop()
    assert list((aws.folder / "work").iterdir()) == []


def test_a_container_sees_the_requests_environment_and_nothing_of_this_machines(
    echo: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = dict(line.split("=", 1) for line in answer(echo, "environment").splitlines())

    assert found["GREETING"].startswith("hello from /")
    assert found["GREETING"].endswith("/primary/ml/model")
    assert found["AWS_REGION"] == "eu-west-1"
    assert "PYTEST_CURRENT_TEST" not in found
    assert Path(found["HOME"]).name == "home"


def test_a_script_cannot_import_what_is_only_in_the_project(echo: ModelServer) -> None:
    project = str(Path(__file__).resolve().parents[4])

    assert project not in answer(echo, "path").splitlines()


def test_attributes_that_a_container_sets_go_with_its_answer_to_the_caller(aws: FakeAws) -> None:
    marks = """return worker.Response("1", headers={"X-Amzn-SageMaker-Custom-Attributes": body}, mimetype="text/csv")"""
    running = server(aws, aws.archive("marks.tar.gz", REFUSAL.format(marks)), aws.archive("passes.tar.gz", ECHO))
    running.start(30)
    reply = running.ask(b"missing=make:1", "text/csv", None, {"X-Amzn-SageMaker-Custom-Attributes": "trace=1"})
    running.stop()

    assert reply.body.decode().split()[1:3] == ["1", "text/csv;"]
    assert reply.headers["x-amzn-sagemaker-custom-attributes"] == "missing=make:1"


def test_a_container_that_dies_is_started_again(aws: FakeAws) -> None:
    lines: list[str] = []
    running = server(aws, aws.archive("echo.tar.gz", ECHO), lines=lines)
    running.start(30)
    pid = int(answer(running, "1").split()[0])
    os.kill(pid, signal.SIGKILL)

    wait_for(lambda: running.ask(b"1", "text/csv", None, {}).status == 503, "requests are refused meanwhile")
    wait_for(lambda: running.ask(b"1", "text/csv", None, {}).status == 200, "the container is back")
    assert int(answer(running, "1").split()[0]) != pid
    assert "The primary container ended with exit code -9; starting it again." in lines
    running.stop()


def test_a_container_has_no_handler_of_the_signal_that_ends_it(echo: ModelServer) -> None:
    """Python calls a handler in the main thread; one that had just begun to wait was killed after half a minute."""
    status = Path(f"/proc/{answer(echo, '1').split()[0]}/status").read_text()
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
    assert not caught >> (signal.SIGTERM - 1) & 1


def test_a_request_that_takes_too_long_ends_with_awss_text(echo: ModelServer) -> None:
    with pytest.raises(InvocationTimeoutError, match="waiting for a response from container primary"):
        answer(echo, "sleep 5", timeout=0.2)
    assert answer(echo, "1").split()[1] == "1"  # the next one is answered


def test_requests_run_side_by_side(echo: ModelServer) -> None:
    began = time.monotonic()
    threads = [threading.Thread(target=answer, args=(echo, "sleep 0.5")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert time.monotonic() - began < 2


def test_a_pipeline_hands_body_and_type_on(aws: FakeAws) -> None:
    url = aws.archive("echo.tar.gz", ECHO)
    running = server(aws, url, url)
    running.start(30)
    reply = running.ask(b"1", "text/csv", "text/plain", {})
    assert reply.container == "container-2"
    assert reply.body.decode().endswith(" 1 text/csv text/plain text/csv; charset=utf-8 text/plain")
    running.stop()


@pytest.mark.parametrize(
    ("ending", "status", "text"),
    [
        ("return worker.Response('record 1: no', status=400, mimetype='text/plain')", 400, "record 1: no"),
        ("raise ValueError('record 1: no')", 500, "Internal Server Error"),
    ],
)
def test_a_pipeline_stops_at_the_first_answer_that_is_no_success(
    aws: FakeAws, ending: str, status: int, text: str
) -> None:
    first = aws.archive("first.tar.gz", REFUSAL.format(ending))
    second = aws.archive("second.tar.gz", REFUSAL.format("print('asked'); return body, 'text/csv'"))
    lines: list[str] = []
    running = server(aws, first, second, lines=lines)
    running.start(30)
    reply = running.ask(b"1", "text/csv", None, {})
    running.stop()

    assert (reply.status, reply.container) == (status, "container-1")
    assert text in reply.body.decode()
    assert "asked" not in lines


def test_the_preprocessor_refuses_a_bad_record_with_400_and_what_is_wrong(aws: FakeAws) -> None:
    """The archive that the job packs, alone in its container."""
    columns = {"price": {"type": "float"}, "doors": {"type": "integer"}}
    contract = Contract.from_definition({"target": "price", "problem": "regression", "split": {}, "columns": columns})
    encoder = Encoder.from_json([{"name": "doors", "kind": "number", "fill": 3.0, "indicator": False}])
    preprocess.pack_preprocessor("cars", contract, encoder, RecordChecks(), aws.folder / "no-hook.py", aws.folder)
    running = server(aws, "s3://bucket/model.tar.gz")
    running.start(30)

    answered = running.ask(b"2\n4\n", "text/csv", "application/jsonlines", {})
    refused = running.ask(b"2\ntwo\n", "text/csv", "application/jsonlines", {})
    running.stop()
    assert (answered.status, answered.content_type, answered.body) == (200, "text/csv; charset=utf-8", b"2\n4\n")
    assert (refused.status, refused.content_type) == (400, "text/plain; charset=utf-8")
    assert refused.body == b"record 2, field 'doors': got 'two', expected a whole number"


def test_a_third_container_answers_in_the_unit_of_a_target_that_was_learned_as_its_logarithm(aws: FakeAws) -> None:
    """Preprocessor, what answers as the algorithms do, postprocessor: the archive that the job packs, twice."""
    columns = {"price": {"type": "float"}, "doors": {"type": "integer"}}
    definition_of_model = {"problem": "regression", "split": {}, "columns": columns}
    contract = Contract.from_definition({"target": "price", "target_transform": "log", **definition_of_model})
    encoder = Encoder.from_json([{"name": "doors", "kind": "number", "fill": 3.0, "indicator": False}])
    preprocess.pack_preprocessor("cars", contract, encoder, RecordChecks(), aws.folder / "no-hook.py", aws.folder)
    algorithm = aws.archive("algorithm.tar.gz", REFUSAL.format("return body, 'text/csv'"))
    urls = ("s3://bucket/model.tar.gz", algorithm, "s3://bucket/model.tar.gz")
    containers = [definition(url) for url in urls]
    last = {"SAGEMAKER_PROGRAM": "postprocess.py", "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "*/*"}
    containers[2]["Environment"] |= last
    running = ModelServer(containers, aws.folder / "work", aws, [].append, aws.image)  # type: ignore[arg-type]
    running.start(30)

    replies = [running.ask(b"2\n0\n", "text/csv", accept, {}) for accept in (None, "application/jsonlines")]
    refused = running.ask(b"two\n", "text/csv", None, {})
    running.stop()
    assert [(reply.status, reply.container) for reply in replies] == [(200, "container-3")] * 2
    assert replies[0].body == f"{math.exp(2)}\n1.0\n".encode()
    assert replies[1].body == f'{{"score": {math.exp(2)}}}\n{{"score": 1.0}}\n'.encode()
    assert (refused.status, refused.container) == (400, "container-1")


@pytest.mark.parametrize("isolated", [True, False])
def test_containers_are_isolated_as_their_model_is(aws: FakeAws, isolated: bool) -> None:
    script = REFUSAL.format("return os.environ['AWS_REGION'], 'text/csv'")
    containers = [definition(aws.archive("where.tar.gz", f"import os\n{script}"))]
    running = ModelServer(containers, aws.folder / "work", aws, [].append, aws.image, isolated=isolated)  # type: ignore[arg-type]
    running.start(30)
    where = answer(running, "?")
    running.stop()
    assert where == ("isolated" if isolated else "eu-west-1")


def test_a_script_that_cannot_load_its_model_is_quoted(aws: FakeAws) -> None:
    url = aws.archive("broken.tar.gz", "def model_fn(folder):\n    raise RuntimeError(f'nothing in {folder}')\n")
    began = time.monotonic()

    with pytest.raises(ContainerStartError) as caught:
        server(aws, aws.archive("echo.tar.gz", ECHO), url).start(30)
    assert time.monotonic() - began < 5
    assert caught.value.container == "container-2"
    assert "RuntimeError: nothing in /opt/ml/model" in caught.value.detail
    assert list((aws.folder / "work").iterdir()) == []


def test_a_model_that_takes_too_long_to_load_is_given_up(aws: FakeAws) -> None:
    url = aws.archive("slow.tar.gz", "import time\n\ndef model_fn(folder):\n    time.sleep(60)\n")

    with pytest.raises(ContainerStartError, match=r"No answer within 0\.5 seconds"):
        server(aws, url).start(0.5)


def test_an_archive_that_leaves_its_folder_is_refused(aws: FakeAws) -> None:
    source = aws.folder / "evil"
    source.write_text("boo")
    with tarfile.open(aws.folder / "evil.tar.gz", "w:gz") as tar:
        tar.add(source, "../../evil.txt")

    with pytest.raises(JobFailedError, match="leaves its folder"):
        server(aws, "s3://bucket/evil.tar.gz").start(30)


def test_stop_during_the_start_ends_it(aws: FakeAws) -> None:
    running = server(aws, aws.archive("slow.tar.gz", "import time\n\ndef model_fn(folder):\n    time.sleep(60)\n"))
    threading.Timer(0.5, running.stop).start()

    with pytest.raises(ContainerStartError):
        running.start(30)
