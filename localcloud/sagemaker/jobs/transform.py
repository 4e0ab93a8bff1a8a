"""Batch transform jobs: a model's containers score every object below a prefix.

Source: Developer Guide, "Use your own inference code with batch transform", and the API's TransformInput/Output.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO

from localcloud.sagemaker.api import requests
from localcloud.sagemaker.api.context import Context
from localcloud.sagemaker.endpoints import models
from localcloud.sagemaker.endpoints.model_server import InvocationTimeoutError, ModelServer, Reply
from localcloud.sagemaker.errors import JobFailedError, invalid, one_line, unsupported
from localcloud.sagemaker.jobs import data_processing
from localcloud.sagemaker.jobs.family import Jobs
from localcloud.sagemaker.jobs.inputs import check_source, download, list_source, require_objects, uploading
from localcloud.sagemaker.jobs.queue import JobQueue
from localcloud.sagemaker.jobs.run import FIRST_HOST, JobRun
from localcloud.sagemaker.platform.aws import S3Object
from localcloud.sagemaker.platform.files import decompressing, safe_path
from localcloud.sagemaker.platform.log_stream import LogStream
from localcloud.sagemaker.platform.store import Document

_MEBIBYTE = 1024 * 1024
_DEFAULT_PAYLOAD_MIB = 6
_STARTUP_SECONDS = 240.0  # the container's first /ping, as on AWS
_MAX_PAYLOAD_MIB = 100
_MOST_INSTANCES = 8
_SEE_LOGS = "See job logs for more information"
_SUPPORTED = {
    "TransformJobName",
    "ModelName",
    "MaxConcurrentTransforms",
    "ModelClientConfig",
    "MaxPayloadInMB",
    "BatchStrategy",
    "Environment",
    "TransformInput",
    "TransformOutput",
    "TransformResources",
    "DataProcessing",
}
_STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}


MakeServer = Callable[[list[Document], JobRun], ModelServer]


class TransformJobs(Jobs):
    noun = "TransformJob"
    kind = "transform-job"
    folder = "transform"
    log_group = "/aws/sagemaker/TransformJobs"
    not_found = "Could not find requested job with name: {name}"

    def __init__(
        self, context: Context, jobs: JobQueue, known: models.Models, make_server: MakeServer | None = None
    ) -> None:
        super().__init__(context, jobs)
        self._models = known
        self._make_server = make_server or _model_server

    def prepare(self, request: Document) -> Document:
        requests.only(request, _SUPPORTED)
        model = self._models.find(request["ModelName"])
        _check_resources(request["TransformResources"])
        _check_limits(request)
        source = _check_input(request["TransformInput"])
        data_processing.of_request(request)
        role_arn = model["ExecutionRoleArn"]
        aws = self.context.aws.for_role(role_arn)
        require_objects(aws, source["S3Uri"], source["S3DataType"], role_arn)
        return request | {
            "TransformInput": {"CompressionType": "None", "SplitType": "None"} | request["TransformInput"],
            "TransformOutput": {"AssembleWith": "None"} | request["TransformOutput"],
            "DataProcessing": data_processing.DEFAULTS | request.get("DataProcessing", {}),
            "Model": {
                "Containers": models.containers(model),
                "ExecutionRoleArn": role_arn,
                "EnableNetworkIsolation": model["EnableNetworkIsolation"],
            },
        }

    def role(self, description: Document) -> str:
        role: str = description["Model"]["ExecutionRoleArn"]
        return role

    def log_stream(self, name: str, host: str = FIRST_HOST) -> str:
        """Return the stream of an instance, whose id AWS makes up."""
        machine = name if host == FIRST_HOST else f"{name}/{host}"
        return f"{name}/i-{hashlib.sha256(machine.encode()).hexdigest()[:17]}"

    def execute(self, run: JobRun) -> None:
        """Share out the objects among the instances. Where there are fewer objects than instances, the rest do nothing.

        Source: Developer Guide, "Use batch transform to run inference with Amazon SageMaker AI": the objects of the
        input are mapped to instances by their keys, and an object is never divided among several.
        """
        run.fail_without_program()
        source = run.description["TransformInput"]["DataSource"]["S3DataSource"]
        objects = list_source(run.aws, source["S3Uri"], source["S3DataType"], self.role(run.description))
        count = min(run.description["TransformResources"]["InstanceCount"], len(objects))
        failed = threading.Event()
        with ThreadPoolExecutor(count, thread_name_prefix=f"instances {run.name}") as pool:
            shares = ((f"algo-{place + 1}", objects[place::count]) for place in range(count))
            ends = [pool.submit(self._score, run, host, share, failed) for host, share in shares]
        for end in ends:
            end.result()

    def _score(self, run: JobRun, host: str, objects: list[S3Object], failed: threading.Event) -> None:
        """Score the share of one instance, until it is done or another instance has failed."""
        there, job = run.on_host(host), run.description
        there.directory.mkdir(parents=True, exist_ok=True)
        containers = [_with_batch_environment(container, job) for container in job["Model"]["Containers"]]
        server = self._make_server(containers, there)
        log = LogStream(run.aws, self.log_group, f"{self.log_stream(run.name, host)}/data-log")
        run.on_stop(server.stop, partial(server.stop, 0))
        try:
            server.start(_STARTUP_SECONDS)
            log.write(_limits(job))
            for item in objects:
                run.raise_if_stopped()
                if failed.is_set():
                    return
                _Scorer(there, server, log).score(item)
        except BaseException:
            failed.set()
            raise
        finally:
            server.stop()
            log.close()


class _Scorer:
    """Scores one object after another; at most MaxConcurrentTransforms payloads are in memory."""

    def __init__(self, run: JobRun, server: ModelServer, log: LogStream) -> None:
        self._run, self._server, self._log = run, server, log
        self._job = run.description
        self._input = self._job["TransformInput"]
        self._output = self._job["TransformOutput"]
        self._processing = data_processing.of_request(self._job)
        client = self._job.get("ModelClientConfig", {})
        self._retries = client.get("InvocationsMaxRetries", 3)
        self._timeout = client.get("InvocationsTimeoutInSeconds", 600)

    def score(self, item: S3Object) -> None:
        """Object in, `<relative key>.out` out. Raises JobFailedError; the data log says which object and why."""
        safe_path(self._run.directory, item.relative)
        source, target = self._run.directory / "input", self._run.directory / "output"
        download(self._run.aws, item, source)
        name = f"{item.bucket}/{one_line(item.key)}"
        with target.open("wb") as sink:
            for answer in self._answers(source, name):
                sink.write(assembled(answer, self._output["AssembleWith"]))
        if self._run.has_fault("lose-output"):
            return
        with uploading():
            uri = f"{self._output['S3OutputPath'].rstrip('/')}/{item.relative}.out"
            self._run.aws.upload(target, uri, self._output.get("KmsKeyId") or None, self._output.get("Accept"))

    def _answers(self, source: Path, name: str) -> Iterator[bytes]:
        """Yield the answers in the order of the payloads, some payloads ahead of the one that is waited for."""
        workers = self._job.get("MaxConcurrentTransforms") or 1
        waiting: deque[Future[bytes]] = deque()
        damaged = decompressing(f"{name} is not a readable gzip file")
        pool = ThreadPoolExecutor(workers, thread_name_prefix="transform")
        with pool, damaged, _opened(source, self._input) as file:
            try:
                for payload in payloads(file, self._input["SplitType"], self._strategy, self._max_bytes):
                    waiting.append(pool.submit(self._answer, payload, name))
                    if len(waiting) >= workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            except PayloadTooLargeError as error:
                self._log.write(f"{name}: Too much data for max payload size: {error}")
                raise JobFailedError(f"ClientError: {_SEE_LOGS}") from error
            finally:
                for future in waiting:
                    future.cancel()

    def _answer(self, payload: bytes, name: str) -> bytes:
        """Return what is written of the model's answer: filtered, or joined with its records, if that is asked for."""
        if self._processing is None:
            return self._invoke(payload, name)
        try:
            return self._processing.after(payload, self._invoke(self._processing.before(payload), name))
        except data_processing.RecordError as error:
            self._log.write(f"{name}: {error}")
            raise JobFailedError(f"ClientError: {_SEE_LOGS}") from error

    def _invoke(self, payload: bytes, name: str) -> bytes:
        """Return the model's answer; refusals of the model (5xx, no answer in time) are tried again."""
        for attempt in range(self._retries + 1):
            self._run.raise_if_stopped()
            reply = self._exchange(payload)
            if reply.status < 500 or attempt == self._retries:
                break
        if reply.succeeded:
            fault = self._run.has_fault("answer")
            return re.sub(rb"[^\n]+", lambda _: fault.answer.encode(), reply.body) if fault else reply.body
        self._run.raise_if_stopped()
        for line in _refusal(reply):
            self._log.write(f"{name}: {line}")
        raise JobFailedError(f"{'ClientError' if reply.status < 500 else 'AlgorithmError'}: {_SEE_LOGS}")

    def _exchange(self, payload: bytes) -> Reply:
        content_type, accept = self._input.get("ContentType") or "", self._output.get("Accept")
        try:
            return self._server.ask(payload, content_type, accept, {}, self._timeout)
        except InvocationTimeoutError:
            text = f"Model server did not respond to /invocations request within {self._timeout} seconds"
            return Reply(504, body=text.encode())

    @property
    def _strategy(self) -> str:
        return str(self._job.get("BatchStrategy", "MultiRecord"))

    @property
    def _max_bytes(self) -> int:
        return int(self._job.get("MaxPayloadInMB", _DEFAULT_PAYLOAD_MIB)) * _MEBIBYTE


class PayloadTooLargeError(Exception):
    """A record, or an object that is not split, is larger than MaxPayloadInMB."""


def payloads(file: IO[bytes], split_type: str, strategy: str, max_bytes: int) -> Iterator[bytes]:
    """Cut an object into request bodies of at most `max_bytes`.

    Not split: the whole object. By line: as many lines as fit (MultiRecord) or one (SingleRecord); a body ends with a
    newline after each of its lines. Lines without text are lines: whoever joins answers to lines counts them. Source:
    SageMaker Python SDK, local/data.py, LineSplitter and MultiRecordStrategy; what AWS does is not documented.
    """
    if split_type == "None":
        body = file.read(max_bytes + 1)
        if len(body) > max_bytes:
            raise PayloadTooLargeError(f"the object is larger than {max_bytes} bytes and is not split")
        yield body
        return
    batch: list[bytes] = []
    size = 0
    for line in _lines(file, max_bytes):
        if batch and (strategy == "SingleRecord" or size + len(line) > max_bytes):
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield b"".join(batch)


def _lines(file: IO[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield the lines, each with one newline; reading never takes more than a payload into memory."""
    number = 0
    while line := file.readline(max_bytes + 2):
        number += 1
        record = line.rstrip(b"\r\n")
        if len(record) + 1 > max_bytes:
            raise PayloadTooLargeError(f"line {number} is larger than {max_bytes} bytes")
        yield record + b"\n"


def assembled(answer: bytes, assemble_with: str) -> bytes:
    """Return an answer as it is written to the output: with `Line`, it ends with one newline (none when empty)."""
    if assemble_with == "None" or not answer:
        return answer
    return answer.rstrip(b"\r\n") + b"\n"


def _model_server(containers: list[Document], run: JobRun) -> ModelServer:
    isolated = run.description["Model"].get("EnableNetworkIsolation", False)
    directory, image = run.directory / "containers", run.context.image
    return ModelServer(containers, directory, run.aws, run.write_log, image, isolated=isolated)


def _check_resources(resources: Document) -> None:
    requests.only(resources, ("InstanceType", "InstanceCount", "VolumeKmsKeyId"), "TransformResources.")
    if resources["InstanceCount"] > _MOST_INSTANCES:
        raise unsupported(
            f"InstanceCount {resources['InstanceCount']}",
            f"Instances are processes of one machine here; use {_MOST_INSTANCES} at most.",
        )


def _check_limits(request: Document) -> None:
    payload = request.get("MaxPayloadInMB", _DEFAULT_PAYLOAD_MIB)
    concurrent = request.get("MaxConcurrentTransforms") or 1
    if payload == 0:
        raise unsupported("MaxPayloadInMB 0 (no limit)", f"Use 1 to {_MAX_PAYLOAD_MIB}.")
    if payload * concurrent > _MAX_PAYLOAD_MIB:
        raise invalid(
            "The product of MaxConcurrentTransforms and MaxPayloadInMB must not exceed 100 MB, "
            f"got {concurrent} * {payload} MB."
        )


def _check_input(transform_input: Document) -> Document:
    source: Document = transform_input["DataSource"]["S3DataSource"]
    check_source(source["S3DataType"], "TransformInput")
    if transform_input.get("SplitType", "None") not in ("None", "Line"):
        raise unsupported(f"TransformInput.SplitType {transform_input['SplitType']}", "Use None or Line.")
    return source


def _with_batch_environment(container: Document, job: Document) -> Document:
    """Return the container with the job's environment and what batch transform tells every container."""
    batch = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(job.get("MaxPayloadInMB", _DEFAULT_PAYLOAD_MIB)),
        "SAGEMAKER_BATCH_STRATEGY": _STRATEGIES[job.get("BatchStrategy", "MultiRecord")],
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": str(job.get("MaxConcurrentTransforms") or 1),
    }
    return container | {"Environment": container.get("Environment", {}) | job.get("Environment", {}) | batch}


def _limits(job: Document) -> str:
    """Return the data log's first line, as AWS writes it."""
    return (
        f"MaxConcurrentTransforms={job.get('MaxConcurrentTransforms') or 1}, "
        f"MaxPayloadInMB={job.get('MaxPayloadInMB', _DEFAULT_PAYLOAD_MIB)}, "
        f"BatchStrategy={_STRATEGIES[job.get('BatchStrategy', 'MultiRecord')]}"
    )


def _refusal(reply: Reply) -> list[str]:
    body = reply.body[:4096].decode("utf-8", "replace").splitlines()
    return [f"Bad HTTP status received from algorithm: {reply.status}", "Message:", *body]


def _opened(path: Path, source: Document) -> IO[bytes]:
    if source["CompressionType"] == "Gzip":
        return gzip.open(path)  # type: ignore[return-value]  # a GzipFile reads bytes like any file
    return path.open("rb")
