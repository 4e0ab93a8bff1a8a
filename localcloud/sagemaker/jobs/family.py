"""Jobs of any family: names, status changes, events, and their end."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from localcloud import disk, faults
from localcloud.sagemaker.api import events, listing, requests, tags
from localcloud.sagemaker.api.context import Context, now
from localcloud.sagemaker.errors import AwsError, JobFailedError, JobStoppedError, invalid
from localcloud.sagemaker.jobs.process import kill_orphan
from localcloud.sagemaker.jobs.queue import Queue
from localcloud.sagemaker.jobs.run import JobRun, Log
from localcloud.sagemaker.platform.aws import Aws
from localcloud.sagemaker.platform.log_stream import LogStream
from localcloud.sagemaker.platform.store import Document

INTERNAL_ERROR = "InternalServerError: We encountered an internal error.  Please try again."
NO_CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)
TERMINAL = ("Completed", "Failed", "Stopped")
MAX_FAILURE_REASON = 1024
logger = logging.getLogger(__name__)


def internal_error(error: Exception, root: Path) -> str:
    """Return the reason of a job that failed by an error of the service: AWS's text, unless its files had no room."""
    return f"ClientError: {disk.full(root)}" if disk.is_full(error) else INTERNAL_ERROR


class Jobs(ABC):
    """One family of jobs. Subclasses say how a request becomes a description, and how the job runs."""

    noun: ClassVar[str]
    """The API's word: ProcessingJob."""
    kind: ClassVar[str]
    """The ARN's word: processing-job."""
    folder: ClassVar[str]
    log_group: ClassVar[str]
    not_found: ClassVar[str]
    """AWS's text; `{name}` is the job's name."""
    not_found_code: ClassVar[str] = "ValidationException"

    def __init__(self, context: Context, jobs: Queue) -> None:
        self.context = context
        self._queue = jobs
        self._lock = threading.RLock()
        self._running: dict[str, JobRun] = {}
        self._abandoned = False
        # Taken now, because requests may come before `recover` is called.
        documents = context.store.view(self.kind)
        self._interrupted = [
            str(item[f"{self.noun}Name"]) for item in documents if item[f"{self.noun}Status"] not in TERMINAL
        ]
        self._left_over = list((context.root / "jobs" / self.folder).glob("*"))

    # ---- What differs

    @abstractmethod
    def prepare(self, request: Document) -> Document:
        """Check what the model cannot, and return the description's members with AWS's defaults."""

    @abstractmethod
    def execute(self, run: JobRun) -> None:
        """Run to the end; JobFailedError or JobStoppedError end it otherwise than as Completed."""

    @abstractmethod
    def role(self, description: Document) -> str:
        """Return the ARN of the role under which the job works."""

    def log_stream(self, name: str) -> str:
        return f"{name}/algo-1-{int(time.time())}"

    def on_status(self, document: Document, status: str) -> None:  # noqa: B027
        """Change more members with the status (training's secondary status)."""

    def open_log(self, aws: Aws, name: str) -> Log:
        return LogStream(aws, self.log_group, self.log_stream(name))

    # ---- Operations

    def create(self, request: Document, **own: Any) -> Document:
        """Begin a job. `own` are members of its description that are not the caller's."""
        name: str = request[f"{self.noun}Name"]
        arn = self.context.aws.arn(self.kind, name)
        if self.context.store.get(self.kind, name) is not None:
            raise self._name_taken(arn)
        description = self.prepare({key: value for key, value in request.items() if key != "Tags"})
        self._admit(description, name)
        document = description | own | {f"{self.noun}Arn": arn, "CreationTime": now(), "LastModifiedTime": now()}
        document[f"{self.noun}Status"] = "InProgress"
        self.on_status(document, "InProgress")
        if not self.context.store.create(self.kind, name, document):
            raise self._name_taken(arn)
        tags.put(self.context.store, arn, request.get("Tags", []))
        self._announce(document)
        self._queue.submit(lambda: self._work(name))
        return {f"{self.noun}Arn": arn}

    def describe(self, request: Document) -> Document:
        return requests.project(requests.output_shape(f"Describe{self.noun}"), self._find(request[f"{self.noun}Name"]))

    def list_all(self, request: Document) -> Document:
        documents = self.context.store.view(self.kind)
        return listing.page(f"List{self.noun}s", self.noun, documents, request, f"{self.noun}Summaries")

    def stop(self, request: Document) -> Document:
        name = request[f"{self.noun}Name"]
        with self._lock:
            status = self._find(name)[f"{self.noun}Status"]
            if status in TERMINAL:
                noun = self.kind.replace("-", " ")
                raise invalid(f"The request was rejected because the {noun} is in status {status}.")
            run = self._running.get(name.lower())
            if status == "InProgress":
                self._set_status(name, "Stopping")
            if run is None:
                self._finish(name, "Stopped")
        if run is not None:
            run.request_stop()
        return {}

    def delete(self, request: Document) -> Document:
        name = request[f"{self.noun}Name"]
        with self._lock:
            document = self.context.store.get(self.kind, name)
            if document is None:
                raise AwsError("ResourceNotFound", "Requested resource not found.")
            status = document[f"{self.noun}Status"]
            if status not in TERMINAL:
                noun = self.kind.replace("-", " ")
                raise AwsError(
                    "ResourceInUse",
                    f"The {noun} {document[f'{self.noun}Arn']} is in status {status}; "
                    "only a job in a terminal state (Completed, Failed, Stopped) can be deleted.",
                )
            self.context.store.delete(self.kind, name)
            tags.drop(self.context.store, document[f"{self.noun}Arn"])
        return {}

    def recover(self) -> None:
        """After a restart: jobs that were on their way have failed, as on AWS when a host is lost."""
        for directory in self._left_over:
            self._clear(directory)
        for name in self._interrupted:
            self._finish(name, "Failed", INTERNAL_ERROR)
        self._left_over, self._interrupted = [], []

    @property
    def is_abandoned(self) -> bool:
        return self._abandoned

    def abandon(self) -> None:
        """End every process at once and leave the documents as they are: `recover` tells of them at the next start."""
        with self._lock:
            self._abandoned = True
            running = list(self._running.values())
        for run in running:
            run.kill()

    # ---- The life of one job

    def _work(self, name: str) -> None:
        """Take a job's turn in the queue."""
        try:
            run = self._claim(name)
        except Exception as error:
            self._finish(name, "Failed", internal_error(error, self.context.root))
            raise
        if run is None:
            return
        status, reason = self._outcome(run)
        run.log.close()
        shutil.rmtree(run.directory, ignore_errors=True)
        with self._lock:
            del self._running[name.lower()]
            if status == "Completed" and self._find(name)[f"{self.noun}Status"] == "Stopping":
                status = "Stopped"  # the stop came too late for the job, but it was granted
            if not self._abandoned:
                self._finish(name, status, reason)

    def _claim(self, name: str) -> JobRun | None:
        """Return the job as one that runs, unless it was stopped or deleted while it waited."""
        document = self.context.store.get(self.kind, name)
        if document is None or document[f"{self.noun}Status"] != "InProgress" or self._abandoned:
            return None
        directory = self._directory(name)
        self._clear(directory)
        directory.mkdir(parents=True)
        try:
            aws = self.context.aws.for_role(self.role(document))
        except AwsError as error:
            self._finish(name, "Failed", f"ClientError: {error.message}")
            return None
        self.context.image.warm_up()
        log = self.open_log(aws, name)
        run = JobRun(name, document[f"{self.noun}Arn"], document, directory, aws, self.context, log)
        with self._lock:
            if self._find(name)[f"{self.noun}Status"] == "InProgress":
                self._running[name.lower()] = run
                return run
        log.close()
        self._clear(directory)
        return None

    def _outcome(self, run: JobRun) -> tuple[str, str | None]:
        try:
            run.fault = faults.take(f"job:{run.name}", run.name)
            if run.has_fault("no-capacity"):
                return "Failed", NO_CAPACITY
            began = now() - run.overrun()
            self.set_members(run.name, **{f"{self.noun.removesuffix('Job')}StartTime": began})
            run.raise_if_stopped()
            run.hold()
            self.execute(run)
        except JobStoppedError:
            return "Stopped", None
        except JobFailedError as error:
            reason = run.as_on_aws(str(error))[:MAX_FAILURE_REASON]
            return ("Stopped", None) if run.stop_requested else ("Failed", reason)
        except Exception as error:
            if run.stop_requested:  # whatever was cut short by the stop
                return "Stopped", None
            logger.exception("%s %s could not be run", self.kind, run.name)
            return "Failed", internal_error(error, self.context.root)
        return ("Stopped" if run.stop_requested else "Completed"), None

    def set_members(self, name: str, **members: Any) -> None:
        """Change members of the description that are no status."""
        self.context.store.update(self.kind, name, lambda document: document.update(members, LastModifiedTime=now()))

    def _set_status(self, name: str, status: str, **members: Any) -> None:
        def change(document: Document) -> None:
            document.update(members)
            document.update({f"{self.noun}Status": status, "LastModifiedTime": now()})
            self.on_status(document, status)

        document = self.context.store.update(self.kind, name, change)
        self._announce(document)
        self.context.notify()

    def _finish(self, name: str, status: str, reason: str | None = None) -> None:
        members: Document = {f"{self.noun.removesuffix('Job')}EndTime": now()}
        if reason is not None:
            members["FailureReason"] = reason
        self._set_status(name, status, **members)

    def _announce(self, document: Document) -> None:
        arn = document[f"{self.noun}Arn"]
        detail = events.job_detail(self.noun, document, tags.read(self.context.store, arn))
        self.context.outbox.send(events.DETAIL_TYPES[self.noun], [arn], detail)

    def _admit(self, description: Document, name: str) -> None:
        """Refuse a role that SageMaker may not assume, when the request is made."""
        self.context.aws.for_role(self.role(description))

    def _find(self, name: str) -> Document:
        document = self.context.store.get(self.kind, name)
        if document is None:
            raise AwsError(self.not_found_code, self.not_found.format(name=name))
        return document

    def _name_taken(self, arn: str) -> AwsError:
        return AwsError(
            "ResourceInUse",
            "Job name must be unique within an AWS account and region, "
            f"and a job with this name already exists ({arn})",
        )

    def _directory(self, name: str) -> Path:
        return self.context.root / "jobs" / self.folder / name

    def _clear(self, directory: Path) -> None:
        """Kill what a killed service left running for the job of this folder, and remove the folder."""
        for pid in (directory / "pid", *directory.glob("hosts/*/pid")):
            with contextlib.suppress(FileNotFoundError, ValueError):
                kill_orphan(int(pid.read_text("utf-8")), str(self.context.root))
        shutil.rmtree(directory, ignore_errors=True)
