"""Script mode of a training job: a script of the caller's, in the scikit-learn or XGBoost image.

The source is an archive in S3 or in a channel, or a folder; it is run as the containers' toolkit runs it, with the
hyperparameters as arguments, and what is known of the job as SM_* variables. Nothing is installed: what
`requirements.txt` asks for must be there already, and a source with a setup.py is refused.
Source  sagemaker-training-toolkit, `environment.py`, `entry_point.py`, `mapping.py`, `errors.py`, `params.py`;
        sagemaker-scikit-learn-container and sagemaker-xgboost-container, `training.py`
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from localcloud.sagemaker.errors import JobFailedError
from localcloud.sagemaker.jobs.inputs import download_uri
from localcloud.sagemaker.jobs.process import Exit
from localcloud.sagemaker.jobs.run import JobRun
from localcloud.sagemaker.platform.files import extract_tar, safe_path
from localcloud.sagemaker.platform.store import Document

_PROGRAM, _SUBMIT_DIRECTORY = "sagemaker_program", "sagemaker_submit_directory"
_OF_THE_TOOLKIT = (
    _PROGRAM,
    _SUBMIT_DIRECTORY,
    "sagemaker_enable_cloudwatch_metrics",
    "sagemaker_region",
    "sagemaker_container_log_level",
    "sagemaker_job_name",
    "default_user_module_name",
    "_tuning_objective_metric",
    "sagemaker_s3_output",
)
_CODE = "/opt/ml/code"


def program(description: Document) -> str | None:
    """Return the script that a training job names, in a hyperparameter or a variable; None in algorithm mode."""
    hyperparameters = _read(description.get("HyperParameters", {}))
    named = hyperparameters.get(_PROGRAM) or description.get("Environment", {}).get("SAGEMAKER_PROGRAM")
    return str(named) if named else None


def run_script(run: JobRun, environment: dict[str, str], framework: str, on_line: Any) -> Exit:
    """Bring the source and run the script. A script that fails is the reason of the failure, in the toolkit's words."""
    script, code = program(run.description) or "", run.path(_CODE)
    every = _read(run.description.get("HyperParameters", {}))
    submitted = str(every.get(_SUBMIT_DIRECTORY) or environment.get("SAGEMAKER_SUBMIT_DIRECTORY") or _CODE)
    _bring(run, submitted, code)
    run.localize_scripts(code)
    if not safe_path(code, script).is_file():
        raise JobFailedError(f"ClientError: No script {script!r} in {submitted}.")
    if (code / "setup.py").is_file():
        raise JobFailedError(
            f"ClientError: {submitted} has a setup.py; the local SageMaker installs nothing. Leave it out."
        )
    own = {name: value for name, value in every.items() if name not in _OF_THE_TOOLKIT}
    variables = environment | _variables(run, script, submitted, own, every, framework)
    failure = run.root / "output" / "failure"
    if (code / "requirements.txt").is_file():
        checker = Path(__file__).parents[1] / "containers" / "requirements.py"
        command = [str(run.context.image.path), str(checker), str(code / "requirements.txt"), str(failure)]
        checked = run.run_container(command, environment, on_line)
        if checked.code:
            return checked
    arguments = [run.local(argument) for argument in _arguments(own)]
    exit_ = run.run_container(_command(run, code, script, arguments), variables, on_line, code)
    if exit_.code and not failure.exists():
        command_line = shlex.join(["/miniconda3/bin/python", script, *arguments])
        failure.write_text(
            f'ExecuteUserScriptError:\nExitCode {exit_.code}\nErrorMessage ""\nCommand "{command_line}"', "utf-8"
        )
        return Exit(1, exit_.timed_out, exit_.stopped)  # the toolkit's own
    return exit_


def _command(run: JobRun, code: Path, script: str, arguments: list[str]) -> list[str]:
    if script.endswith(".py"):
        return [str(run.context.image.path), str(code / script), *arguments]
    (code / script).chmod(0o755)
    return ["/bin/sh", "-c", shlex.join([f"./{script}", *arguments])]


def _bring(run: JobRun, submitted: str, code: Path) -> None:
    """Bring the source below the folder for code: an archive in S3 or in a channel, or the folder that is named."""
    archive = run.path(submitted)
    if "://" in submitted and run.description["EnableNetworkIsolation"]:
        raise JobFailedError(
            f"ClientError: the job is isolated from the network, so its container cannot fetch {submitted}. Bring the "
            "source in a channel."
        )
    if "://" in submitted:
        archive = run.directory / "sourcedir.tar.gz"
        download_uri(run.aws, submitted, archive)
    elif PurePosixPath("/opt/ml") not in PurePosixPath(submitted).parents or ".." in PurePosixPath(submitted).parts:
        raise JobFailedError(
            f"ClientError: {_SUBMIT_DIRECTORY} is {submitted!r}; expected an archive in S3, or a path below /opt/ml/."
        )
    if archive.is_file():
        extract_tar(archive, code)
    elif archive != code:
        code.rmdir()
        code.symlink_to(archive, target_is_directory=True)


def _read(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that SDKs have written as JSON; what is no JSON is text."""

    def value(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    return {name: value(text) for name, text in hyperparameters.items()}


def _arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    """`--name value` for each, sorted; `-n` for a name of one letter."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            return ",".join(f"{name}={item}" for name, item in sorted(value.items()))
        return "" if value is None else str(value)

    pairs = (
        (f"--{name}" if len(name) > 1 else f"-{name}", text(hyperparameters[name])) for name in sorted(hyperparameters)
    )
    return [part for pair in pairs for part in pair]


def _variables(
    run: JobRun, script: str, submitted: str, own: dict[str, Any], every: dict[str, Any], framework: str
) -> dict[str, str]:
    """SM_* as the toolkit sets them, with the paths of this job."""
    config = run.root / "input" / "config"
    resources = json.loads((config / "resourceconfig.json").read_text("utf-8"))
    channels = json.loads((config / "inputdataconfig.json").read_text("utf-8"))
    folders = {name: f"/opt/ml/input/data/{name}" for name in channels}
    known = {
        "hosts": resources["hosts"],
        "network_interface_name": resources["network_interface_name"],
        "user_entry_point": script,
        "framework_params": {name: every[name] for name in every if name not in own},
        "resource_config": resources,
        "input_data_config": channels,
        "output_data_dir": "/opt/ml/output/data",
        "current_host": resources["current_host"],
        "current_instance_type": resources["current_instance_type"],
        "current_instance_group": resources["current_group_name"],
        "module_name": script.removesuffix(".py"),
        "log_level": every.get("sagemaker_container_log_level", 20),
        "framework_module": framework,
        "input_dir": "/opt/ml/input",
        "input_config_dir": "/opt/ml/input/config",
        "output_dir": "/opt/ml/output",
        "num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "num_gpus": 0,
        "num_neurons": 0,
        "model_dir": "/opt/ml/model",
        "module_dir": submitted,
        "output_intermediate_dir": "/opt/ml/output/intermediate",
    }
    of_channels = {f"channel_{name}": folder for name, folder in folders.items()}
    of_hyperparameters = {f"hp_{name}": value for name, value in own.items()}
    whole = known | {"channel_input_dirs": folders, "hyperparameters": own, "job_name": run.name}
    more = {"hps": own, "channels": sorted(folders), "user_args": _arguments(own), "training_env": whole}
    every_one = known | more | of_channels | of_hyperparameters
    (run.root / "output" / "intermediate").mkdir(exist_ok=True)
    variables = {f"SM_{name.upper()}": run.local(_text(value)) for name, value in every_one.items()}
    return variables | {"PYTHONPATH": str(run.path(_CODE))}


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
