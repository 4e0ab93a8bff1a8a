"""The environment of the functions, as the template sets it, read in one place.

Each variable is read when it is asked for: a function has only those that its work needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:  # every function imports this module, and few know of algorithms
    from perennial.model.algorithms.algorithm import Algorithm
    from perennial.runs.rollout import TrafficShift

T = TypeVar("T")


class _Variable(Generic[T]):
    """A variable of the attribute's name in capitals. Without a default it has to be set: else KeyError."""

    def __init__(self, read: Callable[[str], T], default: str | None = None) -> None:
        self._read, self._default = read, default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name.upper()

    def __get__(self, instance: object, owner: type) -> T:
        text = os.environ.get(self._name, self._default)
        if text is None:
            raise KeyError(self._name)
        return self._read(text)


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _traffic_shift(text: str) -> TrafficShift:
    """Return the text, of which the template allows only these."""
    return cast("TrafficShift", text)


def _without_slash(uri: str) -> str:
    return uri.rstrip("/")


class Settings:
    """The settings of a stack, as its functions see them.

    bucket, data_bucket   of the runs, and of the data; they may be the same
    data_prefix           the folder of the data, with a slash at its end
    training_executions   the ARN of train_model's executions, without their names
    state_machine_arn     of train_model
    score_batch_arn       of the state machine score_batch
    code_uri              s3://bucket/code/<hash>, where the job code is
    tuning_prefix         how the names of the stack's tuning jobs begin
    spark_image           repository and tag of where preprocessing runs on several machines; empty without one
    own_image             the registry and repository of images of one's own, without a tag; no repository without one
    quiet_period_seconds  how long a drop waits for others
    topic_arn, data_topic_arn, approver_topic_arn  who operates the stack, who answers for the data, and who lets models
                               serve; they may be the same
    capture_delay_seconds how long captured records take to arrive
    data_capture_percentage  the share of requests, and of rows that are scored in files, that is captured
    traffic_shift         canary, linear or all-at-once: how a new model takes over where several instances serve
    baking_seconds        how long alarms are watched after each step of that; 0: not at all
    rollback_alarms       the names of these alarms
    hours                 when the endpoint is there, as serving.hours reads it
    scaling               how many instances it has, as serving.scaling reads it
    run_sets_days         after how many days what a run has made of rows is deleted; 0: not at all
    copies_days           after how many days a copy of a data file is deleted; 0: not at all
    models_to_keep        models besides the one in service that one can go back to
    api_access            key or iam: how callers of the API show who they are
    api_url               where the API is; empty without one
    vpc_subnets, vpc_security_groups  empty without a VPC
    """

    stack_name = _Variable(str)
    model_name = _Variable(str)
    endpoint_name = _Variable(str)
    bucket = _Variable(str)
    data_bucket = _Variable(str)
    data_prefix = _Variable(str)
    run_table = _Variable(str)
    parameter_prefix = _Variable(str)
    topic_arn = _Variable(str)
    data_topic_arn = _Variable(str)
    approver_topic_arn = _Variable(str)
    kms_key_arn = _Variable(str)
    code_uri = _Variable(_without_slash)
    training_executions = _Variable(str)
    state_machine_arn = _Variable(str)
    score_batch_arn = _Variable(str)
    tuning_prefix = _Variable(str)
    sklearn_image = _Variable(str)
    spark_image = _Variable(str, "")
    own_image = _Variable(str, "")
    quiet_period_seconds = _Variable(int)
    capture_delay_seconds = _Variable(int)
    data_capture_percentage = _Variable(int)
    traffic_shift = _Variable(_traffic_shift)
    baking_seconds = _Variable(int)
    rollback_alarms = _Variable(_listed)
    hours = _Variable(str, "")
    scaling = _Variable(str, "")
    run_sets_days = _Variable(int)
    copies_days = _Variable(int)
    models_to_keep = _Variable(int)
    api_access = _Variable(str)
    api_url = _Variable(str, "")
    vpc_subnets = _Variable(_listed, "")
    vpc_security_groups = _Variable(_listed, "")

    def algorithm_image(self, algorithm: Algorithm) -> str:
        """Return the URI of an algorithm's image."""
        return os.environ[algorithm.image_variable]

    def images(self, algorithm: Algorithm) -> dict[str, str]:
        """Return the images of the jobs and of the containers of a model of this algorithm."""
        return {"preprocessor": self.sklearn_image, "algorithm": self.algorithm_image(algorithm)}

    def vpc(self) -> dict[str, Any]:
        """Return VpcConfig of jobs and models as a member that is left out without a VPC."""
        if not self.vpc_subnets:
            return {}
        return {"VpcConfig": {"Subnets": self.vpc_subnets, "SecurityGroupIds": self.vpc_security_groups}}

    def network(self) -> dict[str, Any]:
        """Return NetworkConfig of processing jobs."""
        return {"EnableNetworkIsolation": True, "EnableInterContainerTrafficEncryption": True, **self.vpc()}


settings = Settings()
