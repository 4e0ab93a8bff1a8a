"""The local feature store behind boto3's names, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.platform.aws import Aws, Credentials
from localcloud.sagemaker.service import SageMakerService


class Client:
    """boto3's client of the feature store or its runtime; an error of the service is ClientError."""

    class exceptions:  # noqa: N801 - boto3 calls it so
        class ResourceNotFound(ClientError):  # noqa: N818
            pass

        class ResourceInUse(ClientError):  # noqa: N818
            pass

    def __init__(self, service: SageMakerService, name: str) -> None:
        self._handle = service.records.handle if name.endswith("runtime") else service.handle

    def __getattr__(self, method: str) -> Any:
        operation = "".join(word.title() for word in method.split("_"))

        def call(**request: Any) -> dict[str, Any]:
            try:
                return self._handle(operation, request)
            except AwsError as error:
                kind = getattr(self.exceptions, error.code, ClientError)
                raise kind({"Error": {"Code": error.code, "Message": error.message}}, operation) from error

        return call


def service(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SageMakerService:
    """Return the store, which clients of boto3 talk to. It uploads nothing."""
    made = SageMakerService(
        folder,
        "http://127.0.0.1:1",
        "eu-west-1",
        "000000000000",
        Path("python"),
        credentials=Credentials("key", "secret"),
        put_event=Mock(),
    )
    monkeypatch.setattr(Aws, "upload", Mock())
    monkeypatch.setattr("boto3.client", lambda name, **_: Client(made, name))
    return made


def record(store: SageMakerService, group: str, name: str) -> dict[str, str]:
    """Return the features of a record online."""
    found = store.records.handle("GetRecord", {"FeatureGroupName": group, "RecordIdentifierValueAsString": name})
    return {one["FeatureName"]: one["ValueAsString"] for one in found.get("Record", [])}
