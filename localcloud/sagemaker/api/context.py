"""The context that all parts of the local SageMaker share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from localcloud.sagemaker.api.events import Outbox
from localcloud.sagemaker.platform.aws import Aws
from localcloud.sagemaker.platform.image_python import ImagePython
from localcloud.sagemaker.platform.store import Store


@dataclass(frozen=True)
class Context:
    store: Store
    aws: Aws
    root: Path
    """`<state>/sagemaker`."""
    image: ImagePython
    stop_grace_seconds: float
    outbox: Outbox
    changed: threading.Condition = field(default_factory=threading.Condition)
    """Notified whenever a job's status changes."""

    def notify(self) -> None:
        with self.changed:
            self.changed.notify_all()


def now() -> float:
    """Epoch seconds in the API's resolution, milliseconds."""
    return round(time.time(), 3)
