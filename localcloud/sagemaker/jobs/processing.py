"""Processing jobs: any program in the scikit-learn or XGBoost image's Python, and programs of Apache Spark.

Files, exit codes and messages as in the Developer Guide, "Build your own processing container".
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Any

from localcloud.sagemaker.algorithms import STAND_INS
from localcloud.sagemaker.api import requests
from localcloud.sagemaker.errors import JobFailedError, JobStoppedError, invalid, unsupported
from localcloud.sagemaker.jobs import spark
from localcloud.sagemaker.jobs.family import Jobs
from localcloud.sagemaker.jobs.inputs import check_source, fetch, list_source, uploading
from localcloud.sagemaker.jobs.mirror import Mirror
from localcloud.sagemaker.jobs.process import Exit
from localcloud.sagemaker.jobs.run import JobRun
from localcloud.sagemaker.platform import images
from localcloud.sagemaker.platform.store import Document

_DEFAULT_MAX_RUNTIME_SECONDS = 86_400
_EXIT_MESSAGE_BYTES = 1024
_RESERVED = PurePosixPath("/opt/ml/processing")
_SUPPORTED = {
    "ProcessingJobName",
    "ProcessingInputs",
    "ProcessingOutputConfig",
    "ProcessingResources",
    "StoppingCondition",
    "AppSpecification",
    "Environment",
    "NetworkConfig",
    "RoleArn",
}
_INPUT_DEFAULTS = {"S3InputMode": "File", "S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None"}


class ProcessingJobs(Jobs):
    noun = "ProcessingJob"
    kind = "processing-job"
    folder = "processing"
    log_group = "/aws/sagemaker/ProcessingJobs"
    not_found = "Could not find requested job with name: {name}"

    def prepare(self, request: Document) -> Document:
        requests.only(request, _SUPPORTED)
        application, cluster = request["AppSpecification"], request["ProcessingResources"]["ClusterConfig"]
        _check_resources(cluster)
        if spark.starts(application):
            spark.check(application, self.context.image.path)
        else:
            _check_application(application)
            _check_count(cluster)
        inputs = [_input(item) for item in request.get("ProcessingInputs", [])]
        outputs = [_output(item) for item in request.get("ProcessingOutputConfig", {}).get("Outputs", [])]
        _check_unique([item["InputName"] for item in inputs], "InputName")
        _check_unique([item["OutputName"] for item in outputs], "OutputName")
        _check_unique([item["S3Input"]["LocalPath"] for item in inputs], "LocalPath of the inputs")
        description = dict(request)
        if inputs:
            description["ProcessingInputs"] = inputs
        if outputs:
            description["ProcessingOutputConfig"] = request["ProcessingOutputConfig"] | {"Outputs": outputs}
        limit = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DEFAULT_MAX_RUNTIME_SECONDS)
        return description | {"StoppingCondition": {"MaxRuntimeInSeconds": limit}}

    def role(self, description: Document) -> str:
        role: str = description["RoleArn"]
        return role

    def execute(self, run: JobRun) -> None:
        _write_configuration(run)
        _fetch_inputs(run)
        program = run.description["AppSpecification"]
        command = [*program["ContainerEntrypoint"], *program.get("ContainerArguments", [])]
        with ExitStack() as mirrors:
            _prepare_outputs(run, mirrors)
            exit_ = run.run_container(self._command(run, command), self._environment(run))
            message = self._publish_message(run)
        if not run.has_fault("lose-output"):
            _upload_outputs(run)
        _conclude(exit_, message)

    def _command(self, run: JobRun, command: list[str]) -> list[str]:
        """Return the command with local paths; `python3` is the image's."""
        program, *arguments = [run.local(part) for part in command]
        if spark.starts(run.description["AppSpecification"]):
            count = run.description["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
            return spark.command(self.context.image.path, count, arguments)
        return [str(self.context.image.path) if program in ("python3", "python") else program, *arguments]

    def _environment(self, run: JobRun) -> dict[str, str]:
        is_spark = spark.starts(run.description["AppSpecification"])
        return _environment(run) | (spark.environment(self.context.image.path, run.directory) if is_spark else {})

    def _publish_message(self, run: JobRun) -> bytes:
        """ExitMessage is shown in every terminal state, so it is stored before the status."""
        path = run.root / "output" / "message"
        message = b""
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                message = file.read(_EXIT_MESSAGE_BYTES)
        if message:
            self.set_members(
                run.name, ExitMessage=run.as_on_aws(message.decode("utf-8", "ignore"))[:_EXIT_MESSAGE_BYTES]
            )
        return message


def _check_resources(cluster: Document) -> None:
    requests.only(cluster, ("InstanceCount", "InstanceType", "VolumeSizeInGB", "VolumeKmsKeyId"), "ClusterConfig.")
    requests.require(
        {"ProcessingResources": {"ClusterConfig": cluster}},
        "ProcessingResources.ClusterConfig.InstanceCount",
        "ProcessingResources.ClusterConfig.InstanceType",
    )


def _check_count(cluster: Document) -> None:
    if cluster["InstanceCount"] > 1:
        raise unsupported(
            f"InstanceCount {cluster['InstanceCount']}", "Jobs run on one instance here, but for those of Spark; use 1."
        )


def _check_application(application: Document) -> None:
    frameworks = [name for name, image in STAND_INS.items() if image.framework]
    images.known(application["ImageUri"], frameworks, "processing")
    if not application.get("ContainerEntrypoint"):
        raise unsupported(
            "A processing job without AppSpecification.ContainerEntrypoint",
            'Name the program, for example ["python3", "/opt/ml/processing/input/code/script.py"].',
        )


def _input(item: Document) -> Document:
    where = f"ProcessingInputs {item['InputName']!r}: "
    requests.only(item, ("InputName", "S3Input"), where)
    if "S3Input" not in item:
        raise invalid(f"{where}S3Input is required.")
    source = _INPUT_DEFAULTS | item["S3Input"]
    check_source(source["S3DataType"], where.rstrip(": "))
    if source["S3InputMode"] == "Pipe":
        raise unsupported(f"{where}S3InputMode Pipe", "Use File.")
    if source["S3CompressionType"] == "Gzip":
        raise invalid(f"{where}S3CompressionType Gzip can only be used if Pipe mode is specified as the S3InputMode.")
    _check_local_path(source.get("LocalPath"), where)
    return {"InputName": item["InputName"], "AppManaged": False, "S3Input": source}


def _output(item: Document) -> Document:
    where = f"ProcessingOutputConfig {item['OutputName']!r}: "
    requests.only(item, ("OutputName", "S3Output"), where)
    if "S3Output" not in item:
        raise invalid(f"{where}S3Output is required.")
    _check_local_path(item["S3Output"].get("LocalPath"), where)
    return {"OutputName": item["OutputName"], "AppManaged": False, "S3Output": item["S3Output"]}


def _check_local_path(path: str | None, where: str) -> None:
    parts = PurePosixPath(path or "")
    if _RESERVED not in parts.parents or ".." in parts.parts:
        raise invalid(f"{where}LocalPath must be a folder below {_RESERVED}/, got {path!r}.")


def _check_unique(names: list[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise invalid(f"{what} must be unique; given more than once: {', '.join(twice)}.")


def _write_configuration(run: JobRun) -> None:
    config = run.root / "config"
    config.mkdir(parents=True)
    (run.root / "output").mkdir()
    (run.root / "processing").mkdir()
    document = json.dumps(_job_configuration(run.description))
    (config / "processingjobconfig.json").write_text(document, "utf-8")
    cluster = run.description["ProcessingResources"]["ClusterConfig"]
    hosts = {
        "current_host": "algo-1",
        "current_instance_type": cluster["InstanceType"],
        "current_group_name": "homogeneousCluster",
        "hosts": [f"algo-{number}" for number in range(1, cluster["InstanceCount"] + 1)],
        "network_interface_name": "eth0",
    }
    (config / "resourceconfig.json").write_text(json.dumps(hosts), "utf-8")


def _job_configuration(job: Document) -> Document:
    """`processingjobconfig.json` as a real job had it: absent members are null."""
    program, cluster = job["AppSpecification"], job["ProcessingResources"]["ClusterConfig"]
    outputs = job.get("ProcessingOutputConfig", {})
    return {
        "ProcessingJobArn": job["ProcessingJobArn"],
        "ProcessingJobName": job["ProcessingJobName"],
        "Environment": job.get("Environment", {}),
        "AppSpecification": {
            "ImageUri": program["ImageUri"],
            "ContainerEntrypoint": program.get("ContainerEntrypoint"),
            "ContainerArguments": program.get("ContainerArguments"),
        },
        "ProcessingInputs": [
            item | {"S3Input": item["S3Input"] | {"S3DownloadMode": "StartOfJob"}, "DatasetDefinition": None}
            for item in job.get("ProcessingInputs", [])
        ],
        "ProcessingOutputConfig": {
            "Outputs": [item | {"FeatureStoreOutput": None} for item in outputs.get("Outputs", [])],
            "KmsKeyId": outputs.get("KmsKeyId"),
        },
        "ProcessingResources": {"ClusterConfig": {"VolumeKmsKeyId": None} | cluster},
        "RoleArn": job["RoleArn"],
        "StoppingCondition": job["StoppingCondition"],
    }


def _fetch_inputs(run: JobRun) -> None:
    for item in run.description.get("ProcessingInputs", []):
        source = item["S3Input"]
        objects = list_source(run.aws, source["S3Uri"], source["S3DataType"], run.description["RoleArn"])
        folder = run.path(source["LocalPath"])
        fetch(run.aws, objects, folder, checkpoint=run.raise_if_stopped)
        run.localize_scripts(folder)


def _prepare_outputs(run: JobRun, mirrors: ExitStack) -> None:
    """Make the folders, and start copying those that are uploaded while the job runs."""
    for target in _targets(run):
        directory = run.path(target["LocalPath"])
        directory.mkdir(parents=True, exist_ok=True)
        if target["S3UploadMode"] == "Continuous":
            mirrors.enter_context(Mirror(run.aws, directory, target["S3Uri"], kms_key_id=_kms_key_id(run)))


def _upload_outputs(run: JobRun) -> None:
    """Also after a failure or a stop: what a job wrote is how one finds out what it did."""
    for target in _targets(run):
        if target["S3UploadMode"] == "EndOfJob":
            with uploading():
                run.aws.upload_dir(run.path(target["LocalPath"]), target["S3Uri"], _kms_key_id(run))


def _targets(run: JobRun) -> list[dict[str, Any]]:
    return [item["S3Output"] for item in run.description.get("ProcessingOutputConfig", {}).get("Outputs", [])]


def _kms_key_id(run: JobRun) -> str | None:
    key: str | None = run.description.get("ProcessingOutputConfig", {}).get("KmsKeyId")
    return key


def _environment(run: JobRun) -> dict[str, str]:
    own = {name: run.local(value) for name, value in run.description.get("Environment", {}).items()}
    return {"PROCESSING_JOB_NAME": run.name, "PROCESSING_JOB_ARN": run.arn, **own}


def _conclude(exit_: Exit, message: bytes) -> None:
    if exit_.stopped or exit_.timed_out:
        raise JobStoppedError
    try:
        message.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(message) or error.reason != "unexpected end of data":
            raise JobFailedError("ClientError: The file /opt/ml/output/message is not valid UTF-8 text.") from error
    if exit_.code != 0:
        raise JobFailedError(f"AlgorithmError: , exit code: {exit_.code}")
