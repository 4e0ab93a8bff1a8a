"""Training jobs: algorithms by our stand-ins, scripts and programs of the caller's in the images that run them.

Files as in the Developer Guide, "How Amazon SageMaker Provides Training Information".
"""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path, PurePosixPath

from localcloud.sagemaker.algorithms.stand_in import StandIn
from localcloud.sagemaker.api import requests
from localcloud.sagemaker.api.context import Context, now
from localcloud.sagemaker.endpoints.stand_ins import stand_in
from localcloud.sagemaker.errors import JobFailedError, JobStoppedError, invalid, unsupported
from localcloud.sagemaker.jobs import script_mode
from localcloud.sagemaker.jobs.family import MAX_FAILURE_REASON, Jobs
from localcloud.sagemaker.jobs.inputs import check_source, fetch, list_prefix, list_source, require_objects, uploading
from localcloud.sagemaker.jobs.mirror import Mirror
from localcloud.sagemaker.jobs.process import Exit
from localcloud.sagemaker.jobs.queue import Queue
from localcloud.sagemaker.jobs.run import FIRST_HOST, JobRun, Log
from localcloud.sagemaker.jobs.training_metrics import MetricLog, See, compile_definitions
from localcloud.sagemaker.platform.files import make_tar, regular_files
from localcloud.sagemaker.platform.log_stream import LogStream
from localcloud.sagemaker.platform.store import Document

_MAX_METRIC_DEFINITIONS = 40
_MOST_HOSTS = 8
_SUPPORTED = {
    "TrainingJobName",
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "DebugHookConfig",
    "ProfilerConfig",
    "Environment",
}
_UNOBSERVED = (
    "The local SageMaker saves no tensors and no profile, so DebugHookConfig and ProfilerConfig have no effect."
)
_MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "Interrupted": "Training job was interrupted because its spot instance was taken away; it starts again",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
}
_LIMITS_MET = ("MaxRuntimeExceeded", "MaxWaitTimeExceeded")
# Of the seconds of a job on spot instances. What is billed on AWS follows from the price of the day.
_BILLED_OF_SPOT = 0.3
_MOST_WAITING_SECONDS = 3600  # Developer Guide, "Managed Spot Training"


class TrainingJobs(Jobs):
    noun = "TrainingJob"
    kind = "training-job"
    folder = "training"
    log_group = "/aws/sagemaker/TrainingJobs"
    not_found = "Requested resource not found."

    def __init__(self, context: Context, jobs: Queue) -> None:
        super().__init__(context, jobs)
        self._observers: dict[str, See] = {}

    @contextmanager
    def observed(self, start: str, see: See) -> Iterator[None]:
        """Tell of each value of a metric of jobs whose names start so, until the context is left."""
        self._observers[start] = see
        try:
            yield
        finally:
            del self._observers[start]

    def prepare(self, request: Document) -> Document:
        requests.only(request, _SUPPORTED)
        requests.require(request, "AlgorithmSpecification", "ResourceConfig", "StoppingCondition")
        requests.require(request, "AlgorithmSpecification.TrainingImage")
        image = self.image(request["AlgorithmSpecification"])
        _check_algorithm(request["AlgorithmSpecification"], image)
        if not _has_program(request, image):
            requests.require(request, "InputDataConfig")
            _check_has_algorithm(request["AlgorithmSpecification"], image)
        _check_resources(request["ResourceConfig"], is_algorithm=not _has_program(request, image))
        _check_observers(request)
        channels = [_channel(item) for item in request.get("InputDataConfig", [])]
        names = [channel["ChannelName"] for channel in channels]
        if len(set(names)) < len(names):
            raise invalid(f"Channel names must be unique, got: {', '.join(names)}.")
        self._check_sources(channels, request["RoleArn"], request["TrainingJobName"])
        _check_spot(request, image)
        _check_checkpoints(request.get("CheckpointConfig", {}))
        return request | {
            "AlgorithmSpecification": _with_metrics(request["AlgorithmSpecification"], image),
            "InputDataConfig": channels,
            "OutputDataConfig": {"KmsKeyId": "", "CompressionType": "GZIP"} | request["OutputDataConfig"],
            "StoppingCondition": {"MaxRuntimeInSeconds": 86_400} | request["StoppingCondition"],
            "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
            "EnableInterContainerTrafficEncryption": request.get("EnableInterContainerTrafficEncryption", False),
            "EnableManagedSpotTraining": request.get("EnableManagedSpotTraining", False),
        }

    def image(self, algorithm: Document) -> StandIn:
        """Return what stands in for the image of an AlgorithmSpecification."""
        return stand_in(algorithm["TrainingImage"], self.context.root, "training")

    def role(self, description: Document) -> str:
        role: str = description["RoleArn"]
        return role

    def on_status(self, document: Document, status: str) -> None:
        """Set the secondary status as well, unless the time limit has already said why the job stopped."""
        secondary = "Starting" if status == "InProgress" else status
        if not (status == "Stopped" and document.get("SecondaryStatus") in _LIMITS_MET):
            _transition(document, secondary)
        if status in ("Completed", "Failed", "Stopped"):
            document["SecondaryStatusTransitions"][-1]["EndTime"] = now()
            seconds = max(1, round(now() - document.get("TrainingStartTime", now())))
            billed = max(1, round(seconds * (_BILLED_OF_SPOT if document["EnableManagedSpotTraining"] else 1)))
            document.update(TrainingTimeInSeconds=seconds, BillableTimeInSeconds=billed)

    def execute(self, run: JobRun) -> None:
        if _is_observed(run.description):
            run.write_log(_UNOBSERVED)
        self._check_wait(run)
        goes = run.description["EnableManagedSpotTraining"] and run.has_fault("interrupt") is not None
        while (exit_ := self._attempt(run, is_interrupted=goes)) is None:
            goes = False
            for folder in (run.root, run.hosts):  # the next instances have disks of their own
                shutil.rmtree(folder, ignore_errors=True)
            self._enter(run, "Interrupted")
            self._check_wait(run)
            self._enter(run, "Starting")
        self._publish(run, exit_)
        if exit_.timed_out:
            self._enter(run, "MaxRuntimeExceeded")
        _conclude(run, exit_)

    def _attempt(self, run: JobRun, *, is_interrupted: bool = False) -> Exit | None:
        """Do the work on one instance; None when that is taken away, which is as soon as the program says something."""
        self._enter(run, "Downloading")
        for host in _hosts(run.description):
            _write_configuration(run, host)
            _fetch_channels(run.on_host(host), host)
            run.raise_if_stopped()
        taken = threading.Event()

        def take() -> None:
            taken.set()
            run.take_away()

        with _checkpoints(run):
            self._enter(run, "Training")
            exit_ = self._train(run, take if is_interrupted else None)
        return None if taken.is_set() and not (exit_.stopped or exit_.timed_out) else exit_

    def _check_wait(self, run: JobRun) -> None:
        """Stop a job on spot instances that has waited too long."""
        limit = run.description["StoppingCondition"].get("MaxWaitTimeInSeconds", math.inf)
        if now() - run.description["CreationTime"] > limit:
            self._enter(run, "MaxWaitTimeExceeded")
            raise JobStoppedError

    def _check_sources(self, channels: list[Document], role_arn: str, name: str) -> None:
        """Refuse an empty prefix when the job is created."""
        aws = self.context.aws.for_role(role_arn)
        for channel in channels:
            source = channel["DataSource"]["S3DataSource"]
            require_objects(aws, source["S3Uri"], source["S3DataType"], role_arn)

    def _train(self, run: JobRun, on_words: Callable[[], None] | None = None) -> Exit:
        algorithm = run.description["AlgorithmSpecification"]
        image = self.image(algorithm)
        definitions = metric_definitions(algorithm, image)
        observer = next((see for start, see in list(self._observers.items()) if run.name.startswith(start)), None)
        metrics = MetricLog(run.aws, run.name, definitions, observer)

        def on_line(line: str) -> None:
            run.write_log(line)
            if on_words:
                on_words()
            metrics.read(line.replace("\t", "#011"))

        exit_ = self._on_all_hosts(run, image, on_line)
        metrics.publish()
        lost = "validation:" if run.has_fault("lose-metrics") else None
        if final := [item for item in metrics.final if not (lost and item["MetricName"].startswith(lost))]:
            self.set_members(run.name, FinalMetricDataList=final)
        return exit_

    def _on_all_hosts(self, run: JobRun, image: StandIn, on_line: Callable[[str], None]) -> Exit:
        """Run the program on every host. What the first one says is the job's; when one fails, the others end."""
        failed: list[tuple[JobRun, Exit]] = []

        def work(host: str) -> Exit:
            log = self._log_of(run, host)
            there = run.on_host(host, log)
            exit_ = _run_program(there, image, on_line if host == FIRST_HOST else there.write_log)
            if exit_.code != 0 and not (exit_.stopped or exit_.timed_out):
                failed.append((there, exit_))
                run.take_away()
            if log:
                log.close()
            return exit_

        hosts = _hosts(run.description)
        if len(hosts) == 1:
            return work(FIRST_HOST)
        run.hosts.mkdir(exist_ok=True)
        with ThreadPoolExecutor(len(hosts)) as pool:
            exits = list(pool.map(work, hosts))
        if not failed:
            return exits[0]
        there, exit_ = failed[cause([_failure(there) for there, _ in failed])]
        if there is not run and (there.root / "output" / "failure").is_file():
            shutil.copyfile(there.root / "output" / "failure", run.root / "output" / "failure")
        return exit_

    def _log_of(self, run: JobRun, host: str) -> Log | None:
        """Return the log stream of another host than the first, whose stream is the job's."""
        if host == FIRST_HOST:
            return None
        return LogStream(run.aws, self.log_group, f"{run.name}/{host}-{int(time.time())}")

    def _publish(self, run: JobRun, exit_: Exit) -> None:
        """Upload the model of a job that succeeded or was stopped, and the output data of every job."""
        prefix = f"{run.description['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{run.name}/output"
        has_model = exit_.code == 0 or ((exit_.stopped or exit_.timed_out) and regular_files(run.root / "model"))
        if has_model:
            self._enter(run, "Uploading")
        with uploading():
            if has_model:
                uri = _upload(run, run.root / "model", prefix, "model")
                self.set_members(run.name, ModelArtifacts={"S3ModelArtifacts": uri})
            if regular_files(run.root / "output" / "data"):
                _upload(run, run.root / "output" / "data", prefix, "output")

    def _enter(self, run: JobRun, secondary: str) -> None:
        """Set the next secondary status of a job in progress; one that is stopping stays so."""

        def change(document: Document) -> None:
            if document["TrainingJobStatus"] == "InProgress":
                _transition(document, secondary)

        self._announce(self.context.store.update(self.kind, run.name, change))


def _run_program(run: JobRun, image: StandIn, on_line: Callable[[str], None]) -> Exit:
    """Run the program that the request names, else its script, else the algorithm."""
    algorithm, environment = run.description["AlgorithmSpecification"], _environment(run)
    python = str(run.context.image.path)
    if entrypoint := algorithm.get("ContainerEntrypoint"):
        command = [run.local(part) for part in [*entrypoint, *algorithm.get("ContainerArguments", [])]]
        if command[0] in ("python", "python3"):
            command[0] = python
        return run.run_container(command, environment, on_line)
    if image.own:
        command = [run.local(part) for part in image.command("train", run.context.image.path)]
        return run.run_container(command, {**environment, "OPT_ML": str(run.root)}, on_line)
    if image.framework and script_mode.program(run.description):
        return script_mode.run_script(run, environment, image.framework, on_line)
    return run.run_container([python, str(image.trains), "--root", str(run.root)], environment, on_line)


def _transition(document: Document, secondary: str) -> None:
    moment = now()
    transitions = document.setdefault("SecondaryStatusTransitions", [])
    if transitions:
        transitions[-1].setdefault("EndTime", moment)
    transitions.append({"Status": secondary, "StartTime": moment, "StatusMessage": _MESSAGES[secondary]})
    document.update(SecondaryStatus=secondary, LastModifiedTime=moment)


def _check_algorithm(algorithm: Document, image: StandIn) -> None:
    requests.only(
        algorithm,
        (
            "TrainingImage",
            "TrainingInputMode",
            "MetricDefinitions",
            "EnableSageMakerMetricsTimeSeries",
            "ContainerEntrypoint",
            "ContainerArguments",
        ),
        "AlgorithmSpecification.",
    )
    runs_programs = bool(image.framework or image.own)
    _check_mode(algorithm["TrainingInputMode"], "AlgorithmSpecification")
    if algorithm.get("ContainerArguments") and not algorithm.get("ContainerEntrypoint"):
        raise unsupported("AlgorithmSpecification.ContainerArguments without ContainerEntrypoint", "Name the program.")
    if algorithm.get("ContainerEntrypoint") and not runs_programs:
        raise unsupported(
            f"ContainerEntrypoint with {image.repository}", "Its image is an algorithm; it runs nothing else."
        )
    if algorithm.get("MetricDefinitions") and not runs_programs:
        raise invalid(
            "You can't override the metric definitions for Amazon SageMaker algorithms. "
            "Please retry the request without specifying metric definitions."
        )


def _has_program(request: Document, image: StandIn) -> bool:
    """Return whether a job runs a program of the caller's, and no algorithm."""
    algorithm = request["AlgorithmSpecification"]
    program = algorithm.get("ContainerEntrypoint") or script_mode.program(request)
    return bool(image.own or (image.framework and program))


def check_tunable(request: Document, names: list[str], image: StandIn) -> None:
    """Refuse ranges of what the built-in algorithm does not let be tuned; a program of the caller's takes any."""
    wrong = [] if _has_program(request, image) else [name for name in names if name not in image.tunable]
    if wrong:
        allowed = ", ".join(sorted(image.tunable))
        raise invalid(f"Hyperparameters {', '.join(wrong)} of {image.repository} cannot be tuned; tunable: {allowed}.")


def _check_has_algorithm(algorithm: Document, image: StandIn) -> None:
    if image.trains is None:
        raise unsupported(
            f"The image {algorithm['TrainingImage']} without a script",
            "Name one in the hyperparameter sagemaker_program, or a ContainerEntrypoint.",
        )


def _check_observers(request: Document) -> None:
    """Debugger and profiler as SDKs ask for them by default, which is for nothing in particular."""
    requests.only(request.get("DebugHookConfig", {}), ("LocalPath", "S3OutputPath"), "DebugHookConfig.")
    profiler = request.get("ProfilerConfig", {})
    if not profiler.get("DisableProfiler"):
        requests.only(profiler, ("S3OutputPath", "DisableProfiler"), "ProfilerConfig.")


def _is_observed(job: Document) -> bool:
    profiler = job.get("ProfilerConfig", {"DisableProfiler": True})
    return "DebugHookConfig" in job or not profiler.get("DisableProfiler", False)


def _check_mode(mode: str, where: str) -> None:
    if mode == "Pipe":
        raise unsupported(f"{where}: the input mode Pipe", "Use File or FastFile (served as a copy).")


def _check_resources(resources: Document, *, is_algorithm: bool) -> None:
    requests.only(
        resources, ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId"), where="ResourceConfig."
    )
    requests.require(
        {"ResourceConfig": resources},
        "ResourceConfig.InstanceType",
        "ResourceConfig.InstanceCount",
        "ResourceConfig.VolumeSizeInGB",
    )
    count = resources["InstanceCount"]
    if count == 0:
        raise unsupported("InstanceCount 0", "Name a machine; there are no InstanceGroups here.")
    if count > 1 and not is_algorithm:
        raise unsupported(
            f"InstanceCount {count} with a program of one's own", "Its hosts find no network here; use 1."
        )
    if count > _MOST_HOSTS:
        raise unsupported(
            f"InstanceCount {count}", f"Hosts are processes of one machine here; use {_MOST_HOSTS} at most."
        )


def _check_spot(request: Document, image: StandIn) -> None:
    """Refuse a time of waiting without spot instances, and spot instances without one."""
    limits = request["StoppingCondition"]
    wait = limits.get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining"):
        if wait is not None:
            raise invalid(
                "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
            )
    elif wait is None or wait < limits.get("MaxRuntimeInSeconds", 86_400):
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )
    elif wait > _MOST_WAITING_SECONDS and not (_has_program(request, image) or "CheckpointConfig" in request):
        limited = f"It is limited to {_MOST_WAITING_SECONDS} seconds for algorithms that do not checkpoint"
        raise invalid(f"Invalid MaxWaitTimeInSeconds. {limited}")


def _check_checkpoints(config: Document) -> None:
    path = PurePosixPath(config.get("LocalPath", "/opt/ml/checkpoints"))
    if PurePosixPath("/opt/ml") not in path.parents or ".." in path.parts:
        raise invalid(f"CheckpointConfig.LocalPath must be a folder below /opt/ml/, got {str(path)!r}.")


def _channel(item: Document) -> Document:
    where = f"channel {item['ChannelName']!r}"
    requests.only(
        item,
        ("ChannelName", "DataSource", "ContentType", "CompressionType", "RecordWrapperType", "InputMode"),
        f"{where}: ",
    )
    if item["ChannelName"] in (".", ".."):
        raise invalid(f"{where}: this name is no folder name.")
    if item.get("RecordWrapperType", "None") != "None":
        raise unsupported(f"{where}: RecordWrapperType {item['RecordWrapperType']}", "Use None.")
    _check_mode(item.get("InputMode", "File"), where)
    requests.only(item["DataSource"], ("S3DataSource",), f"{where}: DataSource.")
    source = item["DataSource"].get("S3DataSource")
    if source is None:
        raise invalid(f"{where}: DataSource.S3DataSource is required.")
    check_source(source["S3DataType"], where)
    requests.only(source, ("S3DataType", "S3Uri", "S3DataDistributionType"), f"{where}: S3DataSource.")
    source = {"S3DataDistributionType": "FullyReplicated"} | source
    return {"CompressionType": "None", "RecordWrapperType": "None"} | item | {"DataSource": {"S3DataSource": source}}


def _with_metrics(algorithm: Document, image: StandIn) -> Document:
    """Return the algorithm with its metric definitions, at most as many as the API lists."""
    definitions = metric_definitions(algorithm, image)
    compile_definitions(definitions)
    first = definitions[:_MAX_METRIC_DEFINITIONS]
    return {"EnableSageMakerMetricsTimeSeries": False} | algorithm | {"MetricDefinitions": first}


def without_own_metrics(algorithm: Document, image: StandIn) -> Document:
    """Return the algorithm as a caller asks for it, who may define metrics only for programs of its own."""
    if metric_definitions(algorithm, image) != list(image.metrics):
        return algorithm
    return {name: item for name, item in algorithm.items() if name != "MetricDefinitions"}


def metric_definitions(algorithm: Document, image: StandIn) -> list[dict[str, str]]:
    """Return the request's definitions, else all of the algorithm's own."""
    own = list(image.metrics)
    definitions = algorithm.get("MetricDefinitions") or own
    return own if definitions == own[:_MAX_METRIC_DEFINITIONS] else definitions


def cause(failures: Sequence[str]) -> int:
    """Return the place of the host that is why a job has failed, given what each has written, the first to fail first.

    A host that has lost another says so of XGBoost's collective, and may end before it; one that is ended says nothing.
    """
    own = (place for place, text in enumerate(failures) if text and "/collective/" not in text)
    return next(own, 0)


def _failure(there: JobRun) -> str:
    path = there.root / "output" / "failure"
    return path.read_text("utf-8", "replace") if path.is_file() else ""


def _hosts(job: Document) -> list[str]:
    return [f"algo-{number + 1}" for number in range(job["ResourceConfig"]["InstanceCount"])]


def _write_configuration(run: JobRun, host: str) -> None:
    root = run.on_host(host).root
    for folder in ("input/config", "input/data", "model", "output/data", "code"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    job = run.description
    mode = job["AlgorithmSpecification"]["TrainingInputMode"]
    documents = {
        "hyperparameters.json": job.get("HyperParameters", {}),
        "inputdataconfig.json": {item["ChannelName"]: _channel_config(item, mode) for item in job["InputDataConfig"]},
        "resourceconfig.json": _resource_config(job, host),
    }
    if "CheckpointConfig" in job:
        documents["checkpointconfig.json"] = {"LocalPath": "/opt/ml/checkpoints"} | job["CheckpointConfig"]
    for name, document in documents.items():
        (root / "input" / "config" / name).write_text(json.dumps(document), "utf-8")


def _channel_config(channel: Document, mode: str) -> Document:
    content_type = {"ContentType": channel["ContentType"]} if "ContentType" in channel else {}
    return content_type | {
        "TrainingInputMode": channel.get("InputMode", mode),
        "S3DistributionType": channel["DataSource"]["S3DataSource"]["S3DataDistributionType"],
        "RecordWrapperType": channel["RecordWrapperType"],
    }


def _resource_config(job: Document, host: str) -> Document:
    instance_type, hosts = job["ResourceConfig"]["InstanceType"], _hosts(job)
    group = {"instance_group_name": "homogeneousCluster", "instance_type": instance_type, "hosts": hosts}
    return {
        "current_host": host,
        "current_instance_type": instance_type,
        "current_group_name": "homogeneousCluster",
        "hosts": hosts,
        "instance_groups": [group],
        "network_interface_name": "eth0",
    }


def _fetch_channels(run: JobRun, host: str) -> None:
    """Copy the channels, of one whose objects are shared out those of this host.

    AWS does not document which objects a host gets, only that it is as many (API Reference, S3DataSource).
    """
    hosts = _hosts(run.description)
    for channel in run.description["InputDataConfig"]:
        source = channel["DataSource"]["S3DataSource"]
        objects = list_source(run.aws, source["S3Uri"], source["S3DataType"], run.description["RoleArn"])
        if source["S3DataDistributionType"] == "ShardedByS3Key":
            objects = objects[hosts.index(host) :: len(hosts)]
        folder = run.root / "input" / "data" / channel["ChannelName"]
        gunzip = channel["CompressionType"] == "Gzip"
        fetch(run.aws, objects, folder, gunzip=gunzip, checkpoint=run.raise_if_stopped)
        run.localize_scripts(folder)


def _checkpoints(run: JobRun) -> AbstractContextManager[object]:
    """Bring earlier checkpoints, and keep their prefix the same as the folder until the context is left."""
    config = run.description.get("CheckpointConfig")
    if config is None:
        return nullcontext()
    folder = run.path(config.get("LocalPath", "/opt/ml/checkpoints"))
    folder.mkdir(parents=True, exist_ok=True)
    fetch(run.aws, list_prefix(run.aws, config["S3Uri"]), folder, checkpoint=run.raise_if_stopped)
    return Mirror(run.aws, folder, config["S3Uri"], kms_key_id=_kms_key_id(run), deletes=True)


def _upload(run: JobRun, folder: Path, prefix: str, name: str) -> str:
    """Upload the folder as `<name>.tar.gz`, or as it is when CompressionType is NONE; return its URI."""
    if run.description["OutputDataConfig"]["CompressionType"] == "NONE":
        run.aws.upload_dir(folder, f"{prefix}/{name}", _kms_key_id(run))
        return f"{prefix}/{name}/"
    archive = run.directory / f"{name}.tar.gz"
    make_tar(folder, archive)
    if not run.has_fault("lose-output"):
        run.aws.upload(archive, f"{prefix}/{name}.tar.gz", _kms_key_id(run))
    return f"{prefix}/{name}.tar.gz"


def _kms_key_id(run: JobRun) -> str | None:
    return run.description["OutputDataConfig"]["KmsKeyId"] or None


def _environment(run: JobRun) -> dict[str, str]:
    own = {name: run.local(value) for name, value in run.description.get("Environment", {}).items()}
    if len(_hosts(run.description)) > 1:
        own["LOCALCLOUD_HOSTS"] = str(run.hosts)
    return {"TRAINING_JOB_NAME": run.name, "TRAINING_JOB_ARN": run.arn, **own}


def _conclude(run: JobRun, exit_: Exit) -> None:
    if exit_.stopped or exit_.timed_out:
        raise JobStoppedError
    if exit_.code != 0:
        raise JobFailedError(_failure_reason(run.root / "output" / "failure", exit_.code))


def _failure_reason(path: Path, code: int) -> str:
    """`AlgorithmError: <failure file>, exit code: <n>`; a text that says whose error it is keeps its prefix."""
    text = ""
    if path.is_file() and not path.is_symlink():
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_FAILURE_REASON).strip()
    prefix = "" if text.startswith(("ClientError:", "AlgorithmError:", "InternalServerError:")) else "AlgorithmError: "
    suffix = f", exit code: {code}"
    return f"{prefix}{text}"[: MAX_FAILURE_REASON - len(suffix)] + suffix
