"""Updates that are watched, on a deployed stack: callers meanwhile, alarms that ring within seconds, two instances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from tests.e2e.conftest import App
from tests.repeating import Repeating
from tests.waiting import wait_for

CHECK = "check-endpoint"
PERIOD_SECONDS = 10
"""The shortest that CloudWatch evaluates; a window of a deployed alarm is a minute."""


class Callers(Repeating):
    """Clients that ask the endpoint again and again, and how many of their requests got what."""

    def __init__(self, app: App, record: str, clients: int = 2, pause_seconds: float = 0.05) -> None:
        super().__init__(clients, pause_seconds)
        self.answers: list[str] = []
        self._app, self._record = app, record

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.answers)

    def ask(self) -> None:
        """Note what a request got."""
        try:
            self._app.invoke(self._record, "application/jsonlines")
            self.answers.append("answered")
        except ClientError as error:
            self.answers.append(f"{error.response['Error']['Code']} {error.response.get('OriginalStatusCode', '')}")
        except Exception as error:  # any kind of failure is one lost request
            self.answers.append(repr(error))


@contextmanager
def baking(app: App, seconds: int) -> Iterator[None]:
    """Let updates be watched for so long, as a deployment with BakingSeconds does."""
    functions, name = app.client("lambda"), f"{app.stack}-{CHECK}"
    known = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    changed = {**known, "BAKING_SECONDS": str(seconds)}
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": changed})
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": known})


@contextmanager
def hastened(app: App) -> Iterator[None]:
    """The alarms that take an update back, as they were deployed but for their periods: seconds in place of minutes."""
    functions, cloudwatch = app.client("lambda"), app.client("cloudwatch")
    check = functions.get_function_configuration(FunctionName=f"{app.stack}-{CHECK}")
    names = check["Environment"]["Variables"]["ROLLBACK_ALARMS"].split(",")
    members = set(cloudwatch.meta.service_model.operation_model("PutMetricAlarm").input_shape.members)
    described = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    deployed = [{name: value for name, value in alarm.items() if name in members} for alarm in described]
    assert len(deployed) == len(names)
    for alarm in deployed:
        cloudwatch.put_metric_alarm(**{**alarm, "Period": PERIOD_SECONDS})
    try:
        yield
    finally:
        for alarm in deployed:
            cloudwatch.put_metric_alarm(**alarm)


def give_two_instances(app: App) -> None:
    """Let two instances serve what does, as somebody may by hand; how many there are is kept by later updates."""
    client, name = app.client("sagemaker"), f"{app.stack}-wide"
    serving: dict[str, Any] = client.describe_endpoint_config(EndpointConfigName=app.parameters()["endpoint-config"])
    (variant,) = serving["ProductionVariants"]
    wide = [{**variant, "InitialInstanceCount": 2}]
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=wide)
    client.update_endpoint(EndpointName=app.endpoint, EndpointConfigName=name)
    wait_for(lambda: app.in_service()["Config"] == name, "two instances")
