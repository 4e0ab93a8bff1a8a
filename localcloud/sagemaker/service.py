"""The local SageMaker: one object that answers every operation.

`handle(operation, request)` takes and returns the wire form of AWS JSON 1.1 (timestamps are epoch seconds).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .aws import AssumeRole, Aws, PutEvent
from .errors import AwsError
from .store import Store


class SageMakerService:
    """Jobs, models and endpoints of one account and region, persisted below `<state_dir>/sagemaker`.

    `put_event` and `assume_role` are the engine's seams (see `aws.Aws`). At most `max_jobs` jobs run at once;
    the others wait as InProgress/Starting. `stop_grace_seconds` is the time between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        state_dir: Path,
        endpoint_url: str,
        region: str,
        account_id: str,
        image_python: Path,
        *,
        put_event: PutEvent | None = None,
        assume_role: AssumeRole | None = None,
        max_jobs: int = 2,
        stop_grace_seconds: float = 120.0,
    ) -> None:
        self.root = state_dir / "sagemaker"
        self.image_python = image_python
        self.max_jobs = max_jobs
        self.stop_grace_seconds = stop_grace_seconds
        self.store = Store(self.root / "store")
        self.aws = Aws(endpoint_url, region, account_id, put_event=put_event, assume_role=assume_role)

    def start(self) -> None:
        """Restore what was there: jobs that were running have failed, endpoints serve again."""

    def stop(self) -> None:
        """End every process of this service."""

    def handle(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one operation; raises AwsError when it is refused."""
        raise AwsError("UnknownOperationException", f"{operation} is not supported by the local SageMaker.")
