"""The local SageMaker: one object that answers every operation.

`handle(operation, request)` takes and returns the wire form of AWS JSON 1.1 (timestamps are epoch seconds).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

from localcloud import disk, faults
from localcloud.sagemaker.api import requests
from localcloud.sagemaker.api.context import Context
from localcloud.sagemaker.api.events import Outbox
from localcloud.sagemaker.api.tags import TagOperations
from localcloud.sagemaker.endpoints.hosting import Endpoints
from localcloud.sagemaker.endpoints.invocation import Invocations
from localcloud.sagemaker.endpoints.models import EndpointConfigs, Models
from localcloud.sagemaker.endpoints.scaling import ScalableTargets
from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.features.groups import FeatureGroups
from localcloud.sagemaker.features.offline import OfflineStore
from localcloud.sagemaker.features.records import Records
from localcloud.sagemaker.jobs.processing import ProcessingJobs
from localcloud.sagemaker.jobs.queue import JobQueue
from localcloud.sagemaker.jobs.training import TrainingJobs
from localcloud.sagemaker.jobs.transform import TransformJobs
from localcloud.sagemaker.jobs.tuning import TuningJobs
from localcloud.sagemaker.platform.aws import Ask, AssumeRole, Aws, Credentials, PutEvent
from localcloud.sagemaker.platform.image_python import ImagePython
from localcloud.sagemaker.platform.store import Document, Store
from localcloud.sagemaker.registry.groups import ModelPackageGroups
from localcloud.sagemaker.registry.packages import ModelPackages
from localcloud.service_models import service_model

Operation = Callable[[Document], Document]
_VERB = re.compile(r"^(Create|Describe|Update|Stop|Delete|Invoke)")


def strike(operation: str, request: Document) -> AwsError | None:
    """Fail or be slow as somebody has asked (docs/faults.md). A call goes by the name of the resource it is about.

    Returns the error that comes instead of the answer, where the operation is done first.
    """
    names = (
        f"{_VERB.sub('', operation)}Name", "EndpointName", "ModelPackageArn", "ModelPackageGroupName",
        "FeatureGroupName",
    )  # fmt: skip
    name = next((request[name] for name in names if request.get(name)), "")
    fault = faults.take(f"sagemaker:{operation}", str(name))
    if fault is None:
        return None
    if fault.effect == "delay":
        faults.wait_out(fault)
        return None
    return struck(fault)


def struck(fault: faults.Fault) -> AwsError | None:
    """Return the error that comes instead of the answer; raises it where the operation is not to be done at all."""
    error = AwsError(fault.error, fault.text, fault.status)
    if fault.after:
        return error
    raise error


class SageMakerService:
    """Jobs, models and endpoints of one account and region, persisted below `<state_dir>/sagemaker`.

    `credentials` are the account's own; `put_event`, `assume_role` and `ask` are the engine's seams (see
    `aws.Aws`). At most `max_jobs` jobs run at once (LOCALCLOUD_MAX_JOBS); the others wait as InProgress/Starting.
    `stop_grace_seconds` is the time between SIGTERM and SIGKILL (LOCALCLOUD_STOP_GRACE_SECONDS, 120 as on AWS).
    """

    def __init__(
        self,
        state_dir: Path,
        endpoint_url: str,
        region: str,
        account_id: str,
        image_python: Path,
        *,
        credentials: Credentials,
        put_event: PutEvent | None = None,
        assume_role: AssumeRole | None = None,
        ask: Ask | None = None,
        max_jobs: int = int(os.environ.get("LOCALCLOUD_MAX_JOBS", "2")),
        stop_grace_seconds: float = float(os.environ.get("LOCALCLOUD_STOP_GRACE_SECONDS", "120")),
    ) -> None:
        root = (state_dir / "sagemaker").absolute()
        self.aws = Aws(
            endpoint_url,
            region,
            account_id,
            credentials=credentials,
            put_event=put_event,
            assume_role=assume_role,
            ask=ask,
        )
        self.store = Store(root / "store")
        image = ImagePython(image_python.absolute(), root)
        self.context = Context(self.store, self.aws, root, image, stop_grace_seconds, Outbox(self.aws, self.store))
        groups = ModelPackageGroups(self.context)
        packages = ModelPackages(self.context, groups)
        models = Models(self.context, packages)
        configs = EndpointConfigs(self.context, models)
        self._queue = queue = JobQueue(max_jobs)
        training = TrainingJobs(self.context, queue)
        self.tuning = TuningJobs(self.context, training)
        self.jobs = (
            self.tuning,
            ProcessingJobs(self.context, queue),
            training,
            TransformJobs(self.context, queue, models),
        )
        self.invocations = Invocations(self.aws)
        self.endpoints = Endpoints(self.store, self.aws, image, root, self.context.outbox.send, self.invocations)
        self.scaling = ScalableTargets(self.store, self.aws)
        feature_groups = FeatureGroups(self.context, lambda group: self.records.forget(group))
        self.offline_store = OfflineStore(self.context, feature_groups)
        self.records = Records(self.context, feature_groups, self.offline_store)
        self._operations = {
            **self._table(models, configs, TagOperations(self.context)),
            **_registry(groups, packages),
            **_features(feature_groups),
        }

    @property
    def supported(self) -> list[str]:
        """The operations that the local cloud has, sorted."""
        return sorted(self._operations)

    def start(self) -> None:
        """Restore what was there: jobs that were running have failed, endpoints serve again."""
        threading.Thread(target=self._warm_up, name="sagemaker warm-up", daemon=True).start()
        self.context.outbox.start()
        for family in self.jobs:
            family.recover()
        self.endpoints.restore()
        self.offline_store.start()

    def stop(self) -> None:
        """End every process of this service; the documents stay as they are."""
        for family in self.jobs:
            family.abandon()
        self.endpoints.stop()
        self.offline_store.stop()
        self.context.image.close()
        self._queue.close()
        self.context.outbox.close()
        self.store.flush()
        self.store.pack()

    def handle(self, operation: str, request: Document) -> Document:
        """Answer one operation; raises AwsError when it is refused, or when a fault strikes."""
        lost = strike(operation, request)
        answer = self.answer(operation, request)
        if lost:
            raise lost
        return answer

    def answer(self, operation: str, request: Document) -> Document:
        """Answer one operation without faults: what the local cloud asks itself."""
        answer = self._operations.get(operation)
        if answer is None:
            raise AwsError(
                "UnknownOperationException",
                f"The operation {operation} is not supported by the local SageMaker. "
                f"It supports: {', '.join(self.supported)}.",
            )
        try:
            return answer(requests.check(operation, request))
        except OSError as error:
            if not disk.is_full(error):
                raise
            raise AwsError(disk.CODE, disk.full(self.context.root), disk.STATUS) from error

    def _warm_up(self) -> None:
        """Read botocore's models now (half a second), so that the first job does not wait for them."""
        service_model("sagemaker")
        for name in ("s3", "logs", "cloudwatch"):
            self.aws.client(name)

    def _table(self, models: Models, configs: EndpointConfigs, tags: TagOperations) -> dict[str, Operation]:
        table: dict[str, Operation] = {
            "CreateModel": models.create,
            "DescribeModel": models.describe,
            "ListModels": models.list_all,
            "DeleteModel": models.delete,
            "CreateEndpointConfig": configs.create,
            "DescribeEndpointConfig": configs.describe,
            "ListEndpointConfigs": configs.list_all,
            "DeleteEndpointConfig": configs.delete,
            "CreateEndpoint": self.endpoints.create,
            "UpdateEndpoint": self.endpoints.update,
            "DescribeEndpoint": self.endpoints.describe,
            "DeleteEndpoint": self.endpoints.delete,
            "ListEndpoints": self.endpoints.list,
            "ListTrainingJobsForHyperParameterTuningJob": self.tuning.list_trials,
            "AddTags": tags.add,
            "ListTags": tags.list_all,
            "DeleteTags": tags.delete,
        }
        for family in self.jobs:
            table[f"Create{family.noun}"] = family.create
            table[f"Describe{family.noun}"] = family.describe
            table[f"List{family.noun}s"] = family.list_all
            table[f"Stop{family.noun}"] = family.stop
            if family.noun != "TransformJob":  # the API has no DeleteTransformJob
                table[f"Delete{family.noun}"] = family.delete
        return table


def _registry(groups: ModelPackageGroups, packages: ModelPackages) -> dict[str, Operation]:
    return {
        "CreateModelPackageGroup": groups.create,
        "DescribeModelPackageGroup": groups.describe,
        "ListModelPackageGroups": groups.list_all,
        "DeleteModelPackageGroup": groups.delete,
        "PutModelPackageGroupPolicy": groups.put_policy,
        "GetModelPackageGroupPolicy": groups.get_policy,
        "DeleteModelPackageGroupPolicy": groups.delete_policy,
        "CreateModelPackage": packages.create,
        "DescribeModelPackage": packages.describe,
        "BatchDescribeModelPackage": packages.describe_several,
        "UpdateModelPackage": packages.update,
        "ListModelPackages": packages.list_all,
        "DeleteModelPackage": packages.delete,
    }


def _features(groups: FeatureGroups) -> dict[str, Operation]:
    return {
        "CreateFeatureGroup": groups.create,
        "DescribeFeatureGroup": groups.describe,
        "ListFeatureGroups": groups.list_all,
        "UpdateFeatureGroup": groups.update,
        "DeleteFeatureGroup": groups.delete,
    }
