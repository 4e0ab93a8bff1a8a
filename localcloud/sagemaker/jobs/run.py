"""One job while it runs: its folder, its log, its limits, and how it stops."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from localcloud.faults import Fault, wait_out
from localcloud.sagemaker.api.context import Context
from localcloud.sagemaker.errors import JobFailedError, JobStoppedError
from localcloud.sagemaker.jobs.process import ContainerProcess, Exit
from localcloud.sagemaker.platform.aws import Aws
from localcloud.sagemaker.platform.files import regular_files
from localcloud.sagemaker.platform.store import Document

_OPT_ML = re.compile(r"(?<![A-Za-z0-9._-])/opt/ml(?![A-Za-z0-9._-])")
_SCRIPTS = (".py", ".sh")
FIRST_HOST, _HOSTS = "algo-1", "hosts"
_CLOCK = time.monotonic
_PROGRAMS = {
    "raise": "raise RuntimeError({message!r})",
    "exit": "raise SystemExit({code})",
    "kill": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "hang": "import time; time.sleep(10**8)",
    "overrun": "import time; time.sleep(10**8)",
}


class Log(Protocol):
    """Where the lines of a job go."""

    def write(self, line: str) -> None: ...

    def close(self) -> None: ...


@dataclass
class JobRun:
    """One job while it runs. `root` stands for /opt/ml; everything below `directory` is removed at the end."""

    name: str
    arn: str
    description: Document
    directory: Path
    aws: Aws
    """The endpoint under the job's role."""
    context: Context
    log: Log
    fault: Fault | None = None
    """What was asked to go wrong with this job (docs/faults.md)."""
    started: float = field(default_factory=_CLOCK)
    _stop: threading.Event = field(default_factory=threading.Event)
    _on_stop: list[Callable[[], None]] = field(default_factory=list)
    _on_kill: list[Callable[[], None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def root(self) -> Path:
        return self.directory / "ml"

    def on_host(self, host: str, log: Log | None = None) -> JobRun:
        """Return the job on one of its hosts, which has files of its own; it stops and ends with the job."""
        return self if host == FIRST_HOST else replace(self, directory=self.hosts / host, log=log or self.log)

    @property
    def hosts(self) -> Path:
        """Return the folder of the job's hosts but the first, in which they meet."""
        above = self.directory.parent
        return above if above.name == _HOSTS else self.directory / _HOSTS

    def local(self, text: str) -> str:
        """Return the text with /opt/ml replaced by the folder that stands for it."""
        return _OPT_ML.sub(lambda _: str(self.root), text)

    def as_on_aws(self, text: str) -> str:
        """Return the text as it reads on AWS: with /opt/ml instead of the folder."""
        return text.replace(str(self.root), "/opt/ml")

    def path(self, opt_ml_path: str) -> Path:
        return Path(self.local(opt_ml_path))

    def localize_scripts(self, folder: Path) -> None:
        """Replace /opt/ml in the scripts below a folder, as far as it is written in them in one piece."""
        for path in regular_files(folder):
            if path.suffix in _SCRIPTS:
                text = path.read_bytes().decode("utf-8", "surrogateescape")
                if (local := self.local(text)) != text:
                    path.write_bytes(local.encode("utf-8", "surrogateescape"))

    def write_log(self, line: str) -> None:
        self.log.write(self.as_on_aws(line).replace("\t", "#011"))

    def on_stop(self, stop: Callable[[], None], kill: Callable[[], None]) -> None:
        """Call `stop` when the job is asked to stop (at once when it has been), `kill` when everything must end."""
        with self._lock:
            self._on_stop.append(stop)
            self._on_kill.append(kill)
            stopping = self._stop.is_set()
        if stopping:
            stop()

    def request_stop(self) -> None:
        with self._lock:
            self._stop.set()
            actions = list(self._on_stop)
        for action in actions:
            threading.Thread(target=action, name=f"stop {self.name}", daemon=True).start()

    def kill(self) -> None:
        """End the job's processes at once, because the whole service ends."""
        self._stop.set()
        self.take_away()

    def take_away(self) -> None:
        """End the job's program at once, as a spot instance ends that is taken away; the job itself goes on."""
        with self._lock:
            actions = list(self._on_kill)
        for action in actions:
            action()

    def raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise JobStoppedError

    @property
    def stop_requested(self) -> bool:
        return self._stop.is_set()

    def seconds_left(self) -> float:
        limit: float = self.description["StoppingCondition"]["MaxRuntimeInSeconds"]
        return max(0.0, limit - (_CLOCK() - self.started))

    def run_container(
        self,
        argv: list[str],
        environment: dict[str, str],
        on_line: Callable[[str], None] | None = None,
        cwd: Path | None = None,
    ) -> Exit:
        """Run a program with the container's environment until it ends, is stopped, or its time is up."""
        program, variables = self._faulty_program() or argv, self._base_environment() | environment
        image, grace_seconds = self.context.image, self.context.stop_grace_seconds
        process = ContainerProcess(image, program, cwd or self.directory, variables, grace_seconds)
        self.on_stop(process.stop, process.kill)
        return process.run(on_line or self.write_log, self.seconds_left(), self._note_process)

    def has_fault(self, *effects: str) -> Fault | None:
        """Return the job's fault, if it is one of these."""
        return self.fault if self.fault and self.fault.effect in effects else None

    def overrun(self) -> float:
        """Return the seconds of its time limit that the job is to have used up before it starts."""
        limit = self.description.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
        if limit is None or not self.has_fault("overrun"):
            return 0.0
        self.started -= limit
        return float(limit)

    def hold(self) -> None:
        """Begin later, if that is the job's fault: after its seconds, or as soon as it is cleared."""
        if fault := self.has_fault("delay"):
            wait_out(fault, self._pause)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise JobStoppedError

    def fail_without_program(self) -> None:
        """Fail as a program does, in a job that runs none of its own (transform: the containers are the model's)."""
        if self.has_fault("hang"):
            self._stop.wait()
            raise JobStoppedError
        if fault := self.has_fault(*_PROGRAMS):
            self.write_log(fault.message or f"the container ended: {fault.effect}")
            raise JobFailedError("AlgorithmError: See job logs for more information")

    def _faulty_program(self) -> list[str] | None:
        """Return the program that runs in place of the job's when that is to fail: it really does."""
        fault = self.has_fault(*_PROGRAMS)
        if fault is None:
            return None
        if fault.effect == "exit" and fault.message:
            # Where a processing job says what is wrong, and where a training job does.
            for name in ("message", "failure"):
                (self.root / "output" / name).write_text(fault.message, "utf-8")
        program = _PROGRAMS[fault.effect].format(code=fault.exit_code, message=fault.text)
        return [str(self.context.image.path), "-c", program]

    def _note_process(self, pid: int) -> None:
        (self.directory / "pid").write_text(str(pid), "utf-8")

    def _base_environment(self) -> dict[str, str]:
        for folder in ("tmp", "home"):
            (self.directory / folder).mkdir(exist_ok=True)
        network = self.description.get("NetworkConfig", self.description)  # a processing job's, a training job's
        isolated = network.get("EnableNetworkIsolation", False)
        return self.context.image.environment(self.directory) | self.aws.environment(isolated=isolated)
