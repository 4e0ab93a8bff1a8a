"""Parts of every training container: the files below /opt/ml, the log, and the end of a run.

Source: SageMaker Developer Guide, "How Amazon SageMaker Provides Training Information"; sagemaker-training-toolkit.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.sagemaker.errors import few_lines

FAILURE_LIMIT = 1024  # characters of /opt/ml/output/failure that become FailureReason


class CustomerError(Exception):
    """The request or the data is wrong: its text is what the user must read, without a traceback."""


class AlgorithmError(Exception):
    """The algorithm gave up for a reason that is not known to be the user's."""


@dataclass(frozen=True)
class Environment:
    """The files below `root`, which stands for /opt/ml."""

    root: Path

    @property
    def hyperparameters(self) -> dict[str, str]:
        """Names to strings, as CreateTrainingJob took them."""
        values = self._config("hyperparameters.json")
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}

    @property
    def channels(self) -> dict[str, dict[str, str]]:
        """Channel names to {"ContentType", "TrainingInputMode", "S3DistributionType", "RecordWrapperType"}."""
        return self._config("inputdataconfig.json")

    @property
    def hosts(self) -> list[str]:
        hosts: list[str] = self._config("resourceconfig.json").get("hosts", ["algo-1"])
        return hosts

    @property
    def current_host(self) -> str:
        host: str = self._config("resourceconfig.json").get("current_host", "algo-1")
        return host

    @property
    def resumes_from_checkpoints(self) -> bool:
        return (self.root / "input" / "config" / "checkpointconfig.json").exists()

    @property
    def model_dir(self) -> Path:
        return self.root / "model"

    def channel_dir(self, name: str) -> Path:
        return self.root / "input" / "data" / name

    def _config(self, name: str) -> dict[str, Any]:
        path = self.root / "input" / "config" / name
        values: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return values


def require_channels(channels: Collection[str], known: Sequence[str]) -> None:
    """Raise CustomerError unless there is `train`, and none that is not known: of Amazon's own algorithms."""
    if "train" not in channels:
        raise CustomerError("Missing required channel: train")
    for name in channels:
        if name not in known:
            raise CustomerError(f"Unknown channel {name}; expected some of {', '.join(known)}")


def log(message: str, level: str = "INFO") -> None:
    """One line in the format of the toolkit's containers, `[2026-11-20:10:00:00:INFO] message`."""
    print(f"[{time.strftime('%Y-%m-%d:%H:%M:%S', time.gmtime())}:{level}] {few_lines(message)}", flush=True)


def run(train: Callable[[Environment], None], argv: Sequence[str]) -> int:
    """Train and return the exit code; what went wrong goes to /opt/ml/output/failure and to the log.

    The first words say whose error it is: `ClientError: ` (the user's: request or data) or `framework error: `
    (the toolkit's prefix for everything else, with the traceback).
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=Path("/opt/ml"), help="stands for /opt/ml")
    environment = Environment(parser.parse_args(argv).root)
    environment.model_dir.mkdir(parents=True, exist_ok=True)
    try:
        train(environment)
    except CustomerError as error:
        _fail(environment, f"ClientError: {error}")
        return 1
    except Exception as error:  # a bug or a library's refusal: nothing may end without a failure file
        traceback.print_exc(file=sys.stderr)
        _fail(environment, _framework_error(error))
        return 1
    return 0


def _framework_error(error: Exception) -> str:
    """Put the message first: the toolkit writes the traceback first, and 1,024 characters often hide the message."""
    text = str(error) or type(error).__name__
    frames = "".join(traceback.format_tb(error.__traceback__)[-3:])
    return f"framework error: \n{type(error).__name__}: {text}\n{frames}"


def _fail(environment: Environment, text: str) -> None:
    log(text, "ERROR")
    failure = environment.root / "output" / "failure"
    failure.parent.mkdir(parents=True, exist_ok=True)
    failure.write_text(few_lines(text)[:FAILURE_LIMIT], "utf-8")


def cores() -> int:
    """Return the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
