"""How long an endpoint takes for a raw record, beside two servers with the bare model.

    python -m bench.bench_endpoint [--seconds 1] [--rounds 7] [--write]

An endpoint of the local cloud: signature and permission checked, everything captured, the fitted preprocessor and
XGBoost in a container each. The peers get encoded features and do none of this: Flask under gunicorn, as in AWS's
containers (`bench/flask_peer.py`), and MLServer with its runtime of XGBoost, by the V2 protocol. All are asked in turn
by the same clients, with signatures made beforehand, by 1, 8, 32 and 128 at once; the memory of each, with all its
processes, is the most after any of these. Prints medians of the rounds, the share of each part, and the serving script
by itself (`bench/serving_script.py`). Exits with 1 when a bound is missed or an answer is no price. --write puts the
table into docs/benchmark.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import boto3
import uvloop
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench import bench_jobs, local_stack, processes, serving_script
from bench.bench_preprocess import PEERS
from bench.serving_script import CARS, CSV, body_of
from bench.table import Row, finish
from localcloud import access, process
from localcloud.engine.guard import Guard
from localcloud.engine.invocations import DirectInvocations
from localcloud.sagemaker.endpoints import capture
from localcloud.sagemaker.endpoints.model_server import Container
from localcloud.sagemaker.platform.image_python import ImagePython
from localcloud.settings import HOST, Settings, image_python
from tests.archives import unpack

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = (1, 8, 32, 128)
NAME = "bench"
REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
IMAGES = (f"{REGISTRY}/sagemaker-scikit-learn:1.9-0-cpu-py3", f"{REGISTRY}/sagemaker-xgboost:3.2-0")
PRICES = re.compile(rb"([0-9.]+\n)+")
PRICE_V2 = re.compile(rb'.*"outputs":.*"data":\[[0-9.]+\].*')


class Load(NamedTuple):
    """What some clients got: answers a second, milliseconds, microseconds of processors for an answer; MiB after it."""

    per_second: float
    median: float
    p99: float
    processor: float
    mebibytes: float


class Target(NamedTuple):
    """Who is asked: a process with all below it, what it is asked in turn, and what its answers look like."""

    port: int
    pid: int
    requests: Sequence[bytes]
    answer: re.Pattern[bytes] = PRICES


class _Client(asyncio.Protocol):
    """One connection, with one request at a time until the time is up."""

    def __init__(self, target: Target, number: int, took: list[float], until: float) -> None:
        requests = target.requests
        self._requests = (requests[index % len(requests)] for index in range(number, sys.maxsize))
        self._answer, self._took, self._until = target.answer, took, until
        self._received = bytearray()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        if len(self._received) < end + 4 + length:
            return
        if b" 200 " not in head[:13] or not self._answer.fullmatch(self._received, end + 4):
            self.done.set_exception(ValueError(f"no price: {bytes(self._received[:2000])!r}"))
            self._transport.close()
            return
        now = time.perf_counter()
        self._took.append(now - self._began)
        self._received.clear()
        if now < self._until:
            self._ask()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server has hung up"))


def load(target: Target, clients: int, seconds: float) -> Load:
    """Ask as fast as the answers come. Raises ValueError or ConnectionError: something was not answered."""
    took: list[float] = []
    before = processes.processor_seconds_of_all(target.pid)

    async def run() -> float:
        loop, began = asyncio.get_running_loop(), time.perf_counter()

        async def one(number: int) -> None:
            until = began + seconds
            _, client = await loop.create_connection(lambda: _Client(target, number, took, until), HOST, target.port)
            await client.done

        async with asyncio.timeout(seconds + 30):
            await asyncio.gather(*map(one, range(clients)))
        return time.perf_counter() - began

    lasted = uvloop.run(run())
    processor = (processes.processor_seconds_of_all(target.pid) - before) / len(took) * 1e6
    p99 = sorted(took)[int(len(took) * 0.99)]
    mebibytes = processes.mebibytes_of_all(target.pid)
    return Load(len(took) / lasted, statistics.median(took) * 1e3, p99 * 1e3, processor, mebibytes)


def signed(url: str, keys: Credentials, bodies: Sequence[str], headers: dict[str, str]) -> list[bytes]:
    """Return InvokeEndpoint requests, byte by byte."""
    made = []
    for body in bodies:
        request = AWSRequest("POST", url, headers, body.encode())
        SigV4Auth(keys, "sagemaker", "us-east-1").add_auth(request)
        made.append(_http(url, dict(request.headers.items()), body))
    return made


def _http(url: str, headers: dict[str, str], body: str) -> bytes:
    parts = urlsplit(url)
    all_headers = {"Host": parts.netloc, **headers, "Content-Length": str(len(body.encode()))}
    head = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    return f"POST {parts.path} HTTP/1.1\r\n{head}\r\n{body}".encode()


class Cloud:
    """A local cloud with one endpoint, and the two who ask it: the account itself, and a role that may only ask."""

    def __init__(self, folder: Path, folder_of_models: Path) -> None:
        self.settings = Settings(local_stack.free_port(), folder / "state")
        process.start(self.settings)
        own = access.keys(self.settings.state)
        self.root = Credentials(own.access_key, own.secret_key)
        self.url = f"{self.settings.endpoint_url}/endpoints/{NAME}/invocations"
        self.role = self._prepare(folder_of_models)

    def client(self, name: str) -> Any:
        make: Any = boto3.client
        return make(
            name,
            endpoint_url=self.settings.endpoint_url,
            region_name=self.settings.region,
            aws_access_key_id=self.root.access_key,
            aws_secret_access_key=self.root.secret_key,
        )

    def _prepare(self, folder: Path) -> Credentials:
        iam, s3, sagemaker = (self.client(name) for name in ("iam", "s3", "sagemaker"))
        s3.create_bucket(Bucket=NAME)
        account = self.settings.account_id
        endpoint = f"arn:aws:sagemaker:{self.settings.region}:{account}:endpoint/{NAME}"
        roles = {
            "serving": ({"Service": "sagemaker.amazonaws.com"}, "*", "*"),
            "asking": ({"AWS": f"arn:aws:iam::{account}:root"}, "sagemaker:InvokeEndpoint", endpoint),
        }
        for name, (principal, action, resource) in roles.items():
            trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))
            allowed = {"Effect": "Allow", "Action": action, "Resource": resource}
            iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=_policy(allowed))
        archives = (folder / "prepared" / "preprocessor" / "model.tar.gz", folder / "xgboost.tar.gz")
        with tarfile.open(archives[1], "w:gz") as tar:
            tar.add(folder / "training" / "model" / "xgboost-model", "xgboost-model")
        for archive in archives:
            s3.upload_file(str(archive), NAME, f"{archive.parent.name}-{archive.name}")
        program = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
        sagemaker.create_model(
            ModelName=NAME,
            ExecutionRoleArn=f"arn:aws:iam::{account}:role/serving",
            Containers=[
                {
                    "Image": image,
                    "ModelDataUrl": f"s3://{NAME}/{archive.parent.name}-{archive.name}",
                    "Environment": environment,
                }
                for image, archive, environment in zip(IMAGES, archives, (program, {}), strict=True)
            ],
        )
        sagemaker.create_endpoint_config(
            EndpointConfigName=NAME,
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": NAME,
                    "InitialInstanceCount": 1,
                    "InstanceType": "ml.m5.large",
                }
            ],
            DataCaptureConfig={
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": f"s3://{NAME}/capture",
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
            },
        )
        sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
        while (status := sagemaker.describe_endpoint(EndpointName=NAME)["EndpointStatus"]) == "Creating":
            time.sleep(0.2)
        if status != "InService":
            raise RuntimeError(f"the endpoint is {status}")
        session = self.client("sts").assume_role(RoleArn=f"arn:aws:iam::{account}:role/asking", RoleSessionName="bench")
        keys = session["Credentials"]
        return Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@contextmanager
def flask(model: Path, encoded: str) -> Iterator[Target]:
    """Run gunicorn as sagemaker-containers does: gevent, a worker for each core."""
    port = local_stack.free_port()
    command = ["-m", "gunicorn", "-k", "gevent", "-w", str(os.cpu_count()), "-b", f"{HOST}:{port}"]
    command += ["--log-level", "error", "flask_peer:app"]
    request = _http(f"http://{HOST}:{port}/invocations", {"Content-Type": CSV}, encoded)
    with _serving(command, ROOT / "bench", {"MODEL": str(model)}) as pid:
        yield _ready(Target(port, pid, [request]))


@contextmanager
def mlserver(model: Path, encoded: str, folder: Path) -> Iterator[Target]:
    """Run MLServer as it answers most: in one process, which batches what waits; without metrics and a log of each.

    Its workers take twice the processor's time for an answer, and an earlier uvloop.
    """
    (folder / "model.ubj").symlink_to(model)
    http, grpc = local_stack.free_port(), local_stack.free_port()
    settings = {
        "debug": False, "host": HOST, "http_port": http, "grpc_port": grpc, "metrics_endpoint": None,
        "parallel_workers": 0,
    }  # fmt: skip
    settings_of_model = {
        "name": NAME,
        "implementation": "mlserver_xgboost.XGBoostModel",
        "parameters": {"uri": "./model.ubj"},
        "max_batch_size": 32,
        "max_batch_time": 0.0001,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(settings_of_model))
    features = [float(cell) for cell in encoded.split(",")]
    one = {"name": "features", "shape": [1, len(features)], "datatype": "FP32", "data": features}
    url = f"http://{HOST}:{http}/v2/models/{NAME}/infer"
    request = _http(url, {"Content-Type": "application/json"}, json.dumps({"inputs": [one]}))
    with _serving(["-m", "mlserver.cli.main", "start", str(folder)], folder, {}) as pid:
        yield _ready(Target(http, pid, [request], PRICE_V2))


@contextmanager
def _serving(command: Sequence[str], folder: Path, variables: dict[str, str]) -> Iterator[int]:
    """Run a server of the image's Python and the peers' packages, each thread of it alone in XGBoost."""
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PEERS), "OMP_NUM_THREADS": "1"}  # or threads fight each other
    running = subprocess.Popen(
        [str(image_python()), *command],
        cwd=folder,
        env={**own, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield running.pid
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait()


def _ready(target: Target, seconds: float = 60) -> Target:
    """Return the target once it answers. Raises what asking it raises."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(OSError, ValueError):
            load(target, 1, 0)
            return target
        time.sleep(0.1)
    load(target, 1, 0)
    return target


def shares(cloud: Cloud, folder: Path, encoded: str, image: ImagePython) -> dict[str, float]:
    """Return microseconds that each part takes for one record by itself."""
    record = body_of(CSV, CARS[:1])
    exchange = capture.Exchange(
        capture.utc_now(), record.encode(), CSV, b"21520.4\n", "text/csv; charset=utf-8", "x" * 36
    )
    config = {
        "DestinationS3Uri": "s3://bucket/x",
        "InitialSamplingPercentage": 100,
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    captured = capture.Capture(config, NAME, "AllTraffic", lambda *_: None, capture.sampling())
    program = {
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": str(folder / "pre" / "model" / "code"),
    }
    containers = {
        "preprocessing container": ("sklearn_serve.py", folder / "pre", program, record),
        "model container": ("xgboost_serve.py", folder / "training", {}, encoded),
    }
    took = {
        "signature": admission(cloud, record),
        "capture": serving_script.microseconds(lambda: captured.offer(exchange)),
    }
    for name, (script, root, environment, body) in containers.items():
        command = [str(image.path), str(ROOT / "localcloud/sagemaker/containers" / script), "--root", str(root)]
        (folder / "home").mkdir(exist_ok=True)
        container = Container(name, command, folder, {**image.environment(folder), **environment}, _ignore, image)
        container.start(60)
        ask_once = partial(container.request, "POST", "/invocations", body.encode(), {"Content-Type": CSV})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            loop = runner.get_loop()
            took[name] = serving_script.microseconds(lambda ask=ask_once, loop=loop: loop.run_until_complete(ask()))  # type: ignore[misc]
        container.stop()
    return took


def _ignore(_line: str) -> None:
    """Let a container's log go nowhere."""


def admission(cloud: Cloud, record: str) -> float:
    """Return how long it takes to find out that a request is signed, by the account's own keys, and what it asks."""
    direct = DirectInvocations(Guard(cloud.settings, cast(Any, None)), cast(Any, None), cloud.settings.port)
    head, _, body = signed(cloud.url, cloud.root, [record], {"Content-Type": CSV})[0].partition(b"\r\n\r\n")
    pairs = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    headers, path = [(name.lower(), value) for name, value in pairs], urlsplit(cloud.url).path.encode()

    def admit() -> None:
        answering = direct.admitted(path, headers, body, HOST)
        if answering is None:
            raise ValueError("the request is not let in")
        answering.close()

    return serving_script.microseconds(admit)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmark.md")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        image = ImagePython(image_python(), folder, True)
        programs = bench_jobs.prepare(folder)
        for program in ("preprocess", "train XGBoost"):
            programs[program](image=image)
        unpack(folder / "prepared" / "preprocessor" / "model.tar.gz", folder / "pre" / "model")
        model = folder / "training" / "model" / "xgboost-model"
        script = json.loads(
            subprocess.run(
                [str(image.path), str(ROOT / "bench" / "serving_script.py"), str(folder / "pre" / "model"), str(model)],
                check=True,
                capture_output=True,
            ).stdout
        )
        cloud = Cloud(folder, folder)
        (folder / "mlserver").mkdir()
        try:
            with ExitStack() as stack:
                peers = {
                    "Flask": stack.enter_context(flask(model, script["encoded"])),
                    "MLServer": stack.enter_context(mlserver(model, script["encoded"], folder / "mlserver")),
                }
                parts = partial(shares, cloud, folder, script["encoded"], image)
                return report(cloud, peers, script, parts, arguments)
        finally:
            process.stop(cloud.settings.state)
            image.close()


def report(
    cloud: Cloud,
    peers: dict[str, Target],
    script: dict[str, Any],
    measure_parts: Callable[[], dict[str, float]],
    arguments: argparse.Namespace,
) -> int:
    """Measure loads and parts in turn, print the table and return the exit code."""
    took: dict[tuple[str, int], list[Load]] = {}
    of_parts: list[dict[str, float]] = []
    ours = cloud.settings.port, local_stack.pid(cloud.settings)
    for number in range(-1, arguments.rounds):
        records = [body_of(CSV, [car]) for car in CARS[:50]]
        targets = {
            "endpoint": Target(*ours, signed(cloud.url, cloud.role, records, {"Content-Type": CSV})),
            **peers,
            "root": Target(*ours, signed(cloud.url, cloud.root, records, {"Content-Type": CSV})),
            "thousand": Target(*ours, signed(cloud.url, cloud.role, [body_of(CSV, CARS)], {"Content-Type": CSV})),
        }
        for clients in CLIENTS:
            for who in targets if clients == 1 else ("endpoint", *peers):
                measured = load(targets[who], clients, arguments.seconds if number >= 0 else 0.5)
                if number >= 0:
                    took.setdefault((who, clients), []).append(measured)
        if number >= 0:
            of_parts.append(measure_parts())
    medians = {
        key: Load(*(statistics.median(one[part] for one in measured) for part in range(len(Load._fields))))
        for key, measured in took.items()
    }
    measures = (("answers a second", ""), ("median", "ms"), ("p99", "ms"), ("processor time of an answer", "us"))
    rows = []
    for clients in CLIENTS:
        by = f"{clients} client{'s' * (clients > 1)}"
        us, others = medians["endpoint", clients], {who: medians[who, clients] for who in peers}
        rows += [
            Row(f"{by}, {what}", us[part], unit, peers={who: one[part] for who, one in others.items()})
            for part, (what, unit) in enumerate(measures)
        ]
    most = {
        who: max(one.mebibytes for clients in CLIENTS for one in took[who, clients]) for who in ("endpoint", *peers)
    }
    rows.append(Row("memory", most.pop("endpoint"), "MiB", peers=most))
    many = medians["thousand", 1].per_second * 1000
    rows.append(Row("1,000 records in one request, records a second", many, ""))
    rows.append(Row("model in process", script["model_us"], "us"))
    for kind, microseconds in script["one_us"].items():
        rows.append(Row(f"script, {kind}", microseconds, "us", floor=script["floor_one_us"]))
    for kind, per_second in script["records_per_second"].items():
        floor = script["floor_records_per_second"]
        rows.append(Row(f"script, 1,000 of {kind}, a second", per_second, "", floor=floor))
    alone = medians["endpoint", 1].median * 1e3
    parts = {"permission": max(0.0, alone - medians["root", 1].median * 1e3)}
    parts |= {part: statistics.median(one[part] for one in of_parts) for part in of_parts[0]}
    parts["HTTP, routing and the rest"] = alone - sum(parts.values())
    rows += [Row(f"share: {part}", microseconds, "us") for part, microseconds in parts.items()]
    text = (
        f"One raw record, medians of {arguments.rounds} rounds. Us: signature, permission, capture, preprocessor, "
        "XGBoost. Flask (under gunicorn, a worker for each core) and MLServer (its XGBoost runtime, which batches) "
        "have the bare model. Floor of the script: the CSV module and `float`. Shares are of one client's median."
    )
    return finish("endpoint", text, rows, arguments.write, "csv")


if __name__ == "__main__":
    sys.exit(main())
