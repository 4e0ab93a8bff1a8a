"""Endpoints outlive the local cloud's process, however that ends."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud import process
from localcloud.settings import Settings
from tests.integration.conftest import Cloud, with_role
from tests.integration.localcloud.sagemaker.test_endpoints import Lab
from tests.ports import free_port
from tests.waiting import wait_for


@pytest.fixture
def cloud_of_its_own(tmp_path: Path) -> Iterator[Cloud]:
    settings = Settings(free_port(), tmp_path / "state")
    process.start(settings)
    cloud, saved = with_role(Cloud(settings)), settings.state / "engine" / "iam.json"
    # Roles are saved every two seconds; without theirs, endpoints do not come back after a kill.
    wait_for(lambda: saved.is_file() and '"everything"' in saved.read_text(), "the role is saved")
    yield cloud
    process.stop(settings.state)


def capture_to(bucket: str) -> dict[str, Any]:
    return {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{bucket}/capture",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    }


def containers_of(cloud: Cloud) -> list[str]:
    """Command lines of serving containers that belong to this cloud."""
    listed = subprocess.run(["ps", "ax", "-o", "command="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "_serve.py" in line and str(cloud.state) in line]


def test_an_endpoint_serves_again_after_a_restart_even_without_its_configuration_and_model(
    cloud_of_its_own: Cloud, tmp_path: Path
) -> None:
    cloud = cloud_of_its_own
    lab = Lab(cloud, tmp_path)
    model = lab.model(3)
    config = lab.config(model, DataCaptureConfig=capture_to(lab.bucket))
    name = lab.create(config)
    lab.sagemaker.delete_endpoint_config(EndpointConfigName=config)
    lab.sagemaker.delete_model(ModelName=model)
    time.sleep(1.5)
    lab.ask(name, InferenceId="before-the-restart")

    process.stop(cloud.settings.state)
    assert containers_of(cloud) == []
    process.start(cloud.settings)

    assert lab.score(name, InferenceId="after-the-restart") == 9.0  # waits until the model is loaded
    assert lab.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"

    def captured() -> bool:
        found = {record["eventMetadata"]["inferenceId"] for _, record in lab.captured(f"capture/{name}/")}
        return found == {"before-the-restart", "after-the-restart"}

    wait_for(captured, "what was captured just before the restart, and after it", 10)


def test_an_update_that_a_restart_interrupts_is_rolled_back(cloud_of_its_own: Cloud, tmp_path: Path) -> None:
    cloud = cloud_of_its_own
    lab = Lab(cloud, tmp_path)
    old = lab.config(lab.model(3))
    name = lab.create(old)
    wait = {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}}
    lab.sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName=lab.config(lab.model(4)),
        DeploymentConfig={"BlueGreenUpdatePolicy": wait},
    )
    os.kill(process.describe(cloud.settings.state)["pid"], signal.SIGKILL)  # type: ignore[index]
    wait_for(lambda: process.describe(cloud.settings.state) is None, "the process is gone")
    wait_for(lambda: containers_of(cloud) == [], "its containers are gone")
    process.start(cloud.settings)

    found = lab.settled(name)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", old)
    assert found["FailureReason"] == "The update was interrupted by a restart of the local cloud."
    assert lab.score(name) == 9.0


def test_after_the_switch_an_update_is_completed_at_a_restart(cloud_of_its_own: Cloud, tmp_path: Path) -> None:
    cloud = cloud_of_its_own
    lab = Lab(cloud, tmp_path)
    name = lab.create(lab.config(lab.model(3)))
    new = lab.config(lab.model(4))
    lab.sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName=new,
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                "TerminationWaitInSeconds": 600,
            }
        },
    )
    wait_for(lambda: lab.score(name) == 10.0, "the new model answers while the old fleet still waits")
    during = lab.sagemaker.describe_endpoint(EndpointName=name)
    (variant,) = during["PendingDeploymentSummary"]["ProductionVariants"]
    assert during["EndpointStatus"] == "Updating"
    assert variant["VariantStatus"][0]["Status"] == "Baking"
    assert variant["VariantStatus"][0]["StatusMessage"] == (
        "Baking for 600 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 1 instance(s)."
    )

    process.stop(cloud.settings.state)
    process.start(cloud.settings)

    found = lab.settled(name)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", new)
    assert "FailureReason" not in found
    assert lab.score(name) == 10.0


def test_a_model_that_does_not_answer_in_time_is_a_model_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALCLOUD_INVOCATION_TIMEOUT_SECONDS", "0.5")
    settings = Settings(free_port(), tmp_path / "state")
    process.start(settings)
    try:
        lab = Lab(with_role(Cloud(settings)), tmp_path)
        name = lab.create(lab.config(lab.model(0)))
        with pytest.raises(lab.runtime.exceptions.ModelError) as caught:
            lab.ask(name, "sleep 3 1,2")
    finally:
        process.stop(settings.state)

    assert caught.value.response["OriginalStatusCode"] == 0
    assert caught.value.response["Error"]["Message"].startswith(
        'Received server error (0) from container-1 with message "Your invocation timed out while waiting for a '
        "response from container container-1. Review the latency metrics for each container in Amazon CloudWatch"
    )
