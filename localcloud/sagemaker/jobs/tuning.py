"""Tuning jobs: training jobs side by side, each with hyperparameters that a search chooses, and the best of them.

Objects and statuses as in the API Reference, CreateHyperParameterTuningJob and DescribeHyperParameterTuningJob. Each
trial is a training job like any other, and waits for its turn among them. That a job whose first trials all fail gives
up after five of them is what the service says in its FailureReason.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable
from typing import Any

from localcloud.sagemaker.api import listing, requests, tags
from localcloud.sagemaker.api.context import Context, now
from localcloud.sagemaker.errors import AwsError, JobFailedError, JobStoppedError, invalid, unsupported
from localcloud.sagemaker.jobs import search, trials
from localcloud.sagemaker.jobs.family import TERMINAL, Jobs
from localcloud.sagemaker.jobs.run import JobRun
from localcloud.sagemaker.jobs.training import TrainingJobs, check_tunable, metric_definitions, without_own_metrics
from localcloud.sagemaker.platform.store import Document

MOST_ATTEMPTS = 5
_LOOK_SECONDS = 0.2
_CONFIG = (
    "Strategy", "HyperParameterTuningJobObjective", "ResourceLimits", "ParameterRanges", "TrainingJobEarlyStoppingType",
    "RandomSeed",
)  # fmt: skip
_NAME, _DEFINITION, _CONFIGURATION = (
    "HyperParameterTuningJobName", "TrainingJobDefinition", "HyperParameterTuningJobConfig",
)  # fmt: skip
_OBJECTIVE = "_tuning_objective_metric"
_NAMES = "the set of hyperparameters, tuned and static,"
_RESOURCES, _OF_RESOURCES = (
    "HyperParameterTuningResourceConfig", ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId"),
)  # fmt: skip


class _AtOnce:
    """Starts each tuning job when it is made: what waits for its turn are its trials."""

    def submit(self, job: Callable[[], None]) -> None:
        threading.Thread(target=job, name="sagemaker tuning", daemon=True).start()


class _NoLog:
    def write(self, line: str) -> None:
        """Tuning jobs have no log of their own."""

    def close(self) -> None:
        pass


class TuningJobs(Jobs):
    noun = "HyperParameterTuningJob"
    kind = "hyper-parameter-tuning-job"
    folder = "tuning"
    log_group = ""
    not_found = "Amazon SageMaker can't find a tuning job with the name {name}"
    not_found_code = "ResourceNotFound"

    def __init__(self, context: Context, training: TrainingJobs) -> None:
        super().__init__(context, _AtOnce())
        self._training = training

    def prepare(self, request: Document) -> Document:
        requests.only(request, (_NAME, _CONFIGURATION, _DEFINITION, "WarmStartConfig"))
        requests.require(request, _DEFINITION, f"{_CONFIGURATION}.HyperParameterTuningJobObjective")
        config, definition = request[_CONFIGURATION], request[_DEFINITION]
        _check_limits(config)
        ranges = search.read(config)
        static = definition.get("StaticHyperParameters", {})
        if both := [one.name for one in ranges if one.name in static]:
            raise invalid(f"Hyperparameters {', '.join(both)} are both static and in ParameterRanges.")
        requests.only(definition, (*_OF_DEFINITION, _RESOURCES), f"{_DEFINITION}.")
        requests.only(definition.get(_RESOURCES, {}), _OF_RESOURCES, f"{_DEFINITION}.{_RESOURCES}.")
        if _RESOURCES in definition and "ResourceConfig" in definition:
            raise invalid(f"{_DEFINITION} has both ResourceConfig and {_RESOURCES}; provide one of them.")
        trial = self._training.prepare(_request(definition, request[_NAME], {}))
        algorithm = trial["AlgorithmSpecification"]
        image = self._training.image(algorithm)
        check_tunable(trial, [one.name for one in ranges], image)
        metric = config["HyperParameterTuningJobObjective"]["MetricName"]
        if metric not in [one["Name"] for one in metric_definitions(algorithm, image)]:
            raise invalid(
                "A metric is required for this hyperparameter tuning job objective. "
                f"Provide a metric in the metric definitions. ({metric} is none of them.)"
            )
        self._check_parents(request)
        specification = {name: item for name, item in algorithm.items() if name != "EnableSageMakerMetricsTimeSeries"}
        filled = {name: trial.get(name, definition[name]) for name in definition} | {
            "AlgorithmSpecification": specification,
            "StaticHyperParameters": {**static, _OBJECTIVE: metric},
        }
        config = {"TrainingJobEarlyStoppingType": "Off", **config}
        return request | {_CONFIGURATION: config, _DEFINITION: filled}

    def role(self, description: Document) -> str:
        role: str = description[_DEFINITION]["RoleArn"]
        return role

    def open_log(self, aws: Any, name: str) -> Any:
        return _NoLog()

    def execute(self, run: JobRun) -> None:
        with self._training.observed(f"{run.name}-", _Watch(self._training, run.description[_CONFIGURATION]).see):
            _Tuning(self, self._training, run).to_the_end()

    # ---- Answers

    def describe(self, request: Document) -> Document:
        shape = requests.output_shape(f"Describe{self.noun}")
        return requests.project(shape, self.with_trials(self._find(request[_NAME])))

    def list_all(self, request: Document) -> Document:
        documents = [
            self.with_trials(document)
            | {name: document[_CONFIGURATION][name] for name in ("Strategy", "ResourceLimits")}
            for document in self.context.store.view(self.kind)
        ]
        return listing.page(f"List{self.noun}s", self.noun, documents, request, f"{self.noun}Summaries")

    def list_trials(self, request: Document) -> Document:
        """Answer ListTrainingJobsForHyperParameterTuningJob."""
        summaries = self.trials(self._find(request[_NAME]))
        if request.get("SortBy") == "FinalObjectiveMetricValue":
            key = "FinalHyperParameterTuningJobObjectiveMetric"
            summaries = [
                one | {"TrainingJobFinalObjectiveMetricValue": one[key]["Value"]} for one in summaries if key in one
            ]
        wanted = {"SortBy": "Name", "SortOrder": "Ascending"} | request
        operation = "ListTrainingJobsForHyperParameterTuningJob"
        return listing.page(operation, "TrainingJob", summaries, wanted, "TrainingJobSummaries")

    def trials(self, document: Document) -> list[Document]:
        """Return the summaries of a tuning job's trials."""
        arn, objective = document[f"{self.noun}Arn"], document[_CONFIGURATION]["HyperParameterTuningJobObjective"]
        own = (job for job in self.context.store.view(self._training.kind) if job.get("TuningJobArn") == arn)
        return [trials.summary(job, objective) for job in own]

    def with_trials(self, document: Document) -> Document:
        """Return a tuning job with what its trials have come to."""
        summaries = self.trials(document)
        ended = document.get("HyperParameterTuningEndTime", now())
        computed = trials.counters(summaries) | {
            "ConsumedResources": {"RuntimeInSeconds": round(ended - document["CreationTime"])}
        }
        if (leader := trials.best(summaries)) is not None:
            computed["BestTrainingJob"] = _projected(leader)
        warm = document.get("WarmStartConfig", {})
        if warm.get("WarmStartType") == "IdenticalDataAndAlgorithm":
            known = [one | {"TuningJobName": document[_NAME]} for one in summaries]
            if (overall := trials.best([*known, *self.trials_of_parents(document)])) is not None:
                computed["OverallBestTrainingJob"] = _projected(overall)
        return document | computed

    def _announce(self, document: Document) -> None:
        super()._announce(self.with_trials(document))

    # ---- Warm start

    def trials_of_parents(self, document: Document) -> list[Document]:
        """Return the summaries of the trials of the tuning jobs that one begins with."""
        documents = [self.context.store.get(self.kind, name) for name in _parents(document)]
        return [
            trial | {"TuningJobName": parent[_NAME]} for parent in documents if parent for trial in self.trials(parent)
        ]

    def _check_parents(self, request: Document) -> None:
        """Refuse a parent that is gone, works still, or is of another algorithm, objective or data."""
        kind = request.get("WarmStartConfig", {}).get("WarmStartType")
        for name in _parents(request):
            parent = self.context.store.get(self.kind, name)
            if parent is None:
                raise invalid(f"WarmStartConfig: {self.not_found.format(name=name)}")
            status = parent[f"{self.noun}Status"]
            if status not in TERMINAL:
                raise invalid(f"WarmStartConfig: the parent tuning job {name} is in status {status}.")
            if differs := next((member for member in _same_members(kind) if _differs(member, request, parent)), None):
                raise invalid(f"WarmStartConfig: {differs} is not that of the parent tuning job {name} ({kind}).")


_OF_DEFINITION = (
    "StaticHyperParameters", "AlgorithmSpecification", "RoleArn", "InputDataConfig", "VpcConfig", "OutputDataConfig",
    "ResourceConfig", "StoppingCondition", "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining", "CheckpointConfig", "Environment",
)  # fmt: skip


class _Tuning:
    """One tuning job while it works: launches trials up to its limits, and tells the search what they have reached."""

    def __init__(self, jobs: TuningJobs, training: TrainingJobs, run: JobRun) -> None:
        self._jobs, self._training, self._run = jobs, training, run
        self._config = run.description[_CONFIGURATION]
        self._objective = self._config["HyperParameterTuningJobObjective"]
        self._search = search.Search(
            search.read(self._config),
            strategy=self._config["Strategy"],
            maximize=self._objective["Type"] == "Maximize",
            seed=self._config.get("RandomSeed"),
        )
        self._open: dict[str, int] = {}
        self._launched = self._ended = self._succeeded = 0
        for trial in jobs.trials_of_parents(run.description):
            if (final := trial.get("FinalHyperParameterTuningJobObjectiveMetric")) is not None:
                self._search.learn(trial["TunedHyperParameters"], final["Value"])

    def to_the_end(self) -> None:
        """Run all trials. JobStoppedError: it was stopped; JobFailedError: none of its first trials succeeded."""
        limits = self._config["ResourceLimits"]
        most, side_by_side = limits["MaxNumberOfTrainingJobs"], limits["MaxParallelTrainingJobs"]
        changed = self._run.context.changed
        while True:
            self._collect()
            if self._run.stop_requested:
                self._stop_all()
            elif not self._is_hopeless:
                while self._launched < most and len(self._open) < side_by_side:
                    self._launch()
            if not self._open:
                break
            with changed:
                changed.wait(_LOOK_SECONDS)
        self._conclude()

    @property
    def _is_hopeless(self) -> bool:
        return not self._succeeded and self._ended >= MOST_ATTEMPTS

    def _conclude(self) -> None:
        self._run.raise_if_stopped()
        if not self._succeeded:
            raise JobFailedError(
                f"No training job succeeded after {self._ended} attempts. Please take a look at the training job "
                "failures to get more details."
            )

    def _launch(self) -> None:
        self._launched += 1
        name = f"{self._run.name}-{self._launched:03d}-{uuid.uuid4().hex[:8]}"
        tuned = self._search.ask(self._launched)
        definition = self._run.description[_DEFINITION]
        algorithm = definition["AlgorithmSpecification"]
        algorithm = without_own_metrics(algorithm, self._training.image(algorithm))
        request = _request({**definition, "AlgorithmSpecification": algorithm}, name, tuned)
        own = [{"Key": key, "Value": value} for key, value in tags.read(self._run.context.store, self._run.arn).items()]
        try:
            self._training.create(request | {"Tags": own}, TuningJobArn=self._run.arn, TunedHyperParameters=tuned)
        except AwsError as error:
            self._stop_all()
            raise JobFailedError(f"ClientError: {error.message}") from error
        self._open[name] = self._launched

    def _collect(self) -> None:
        for name, number in list(self._open.items()):
            trial = self._run.context.store.get(self._training.kind, name)
            if trial is not None and trial["TrainingJobStatus"] not in TERMINAL:
                continue
            del self._open[name]
            value = trials.value_of(trial, self._objective["MetricName"]) if trial is not None else None
            self._search.tell(number, value)
            self._ended += 1
            self._succeeded += trial is not None and value is not None and trial["TrainingJobStatus"] == "Completed"

    def _stop_all(self) -> None:
        if self._jobs.is_abandoned:
            raise JobStoppedError
        for name in self._open:
            _stop(self._training, name)


class _Watch:
    """Sees the objective of each trial after each epoch, and stops those that are worse than the ones before."""

    def __init__(self, training: TrainingJobs, config: Document) -> None:
        self._training = training
        self._metric = config["HyperParameterTuningJobObjective"]["MetricName"]
        self._maximize = config["HyperParameterTuningJobObjective"]["Type"] == "Maximize"
        self._stops = config["TrainingJobEarlyStoppingType"] == "Auto"
        self._curves: dict[str, trials.Curve] = {}

    def see(self, trial: str, metric: str, value: float) -> None:
        if metric != self._metric or not self._stops:
            return
        before = [curve for name, curve in list(self._curves.items()) if name < trial]
        epochs = self._curves.setdefault(trial, trials.Curve()).add(value)
        if trials.is_worse(value, epochs, before, maximize=self._maximize):
            _stop(self._training, trial)


def _stop(training: TrainingJobs, name: str) -> None:
    """Stop a training job, unless it has ended."""
    with contextlib.suppress(AwsError):
        training.stop({"TrainingJobName": name})


def _request(definition: Document, name: str, tuned: Document) -> Document:
    """Return the request for a trial."""
    members = {("ResourceConfig" if member == _RESOURCES else member): item for member, item in definition.items()}
    members.pop("StaticHyperParameters", None)
    return members | {
        "TrainingJobName": name,
        "HyperParameters": {**definition.get("StaticHyperParameters", {}), **tuned},
    }


def _parents(document: Document) -> list[str]:
    listed = document.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", [])
    return [one[_NAME] for one in listed if _NAME in one]


def _check_limits(config: Document) -> None:
    requests.only(config, _CONFIG, f"{_CONFIGURATION}.")
    if config["Strategy"] not in ("Bayesian", "Random"):
        raise unsupported(f"The strategy {config['Strategy']}", "Use Bayesian or Random.")
    limits = config["ResourceLimits"]
    requests.only(limits, ("MaxNumberOfTrainingJobs", "MaxParallelTrainingJobs"), f"{_CONFIGURATION}.ResourceLimits.")
    requests.require({_CONFIGURATION: config}, f"{_CONFIGURATION}.ResourceLimits.MaxNumberOfTrainingJobs")
    most, side_by_side = limits["MaxNumberOfTrainingJobs"], limits["MaxParallelTrainingJobs"]
    if side_by_side > most:
        raise invalid(f"MaxParallelTrainingJobs, [{side_by_side}], must be at most MaxNumberOfTrainingJobs, [{most}].")


def _same_members(kind: str | None) -> tuple[str, ...]:
    """Developer Guide, "Run a Warm Start Hyperparameter Tuning Job": what parents have in common with their child."""
    own = ("HyperParameterTuningJobObjective", _NAMES)
    return (*own, "TrainingImage", "InputDataConfig") if kind == "IdenticalDataAndAlgorithm" else own


def _differs(member: str, request: Document, parent: Document) -> bool:
    if member == "HyperParameterTuningJobObjective":
        return bool(request[_CONFIGURATION][member] != parent[_CONFIGURATION][member])
    if member == _NAMES:  # what is tuned may be static in the other, and the other way round
        return _hyperparameters(request) != _hyperparameters(parent)
    ours, theirs = request[_DEFINITION], parent[_DEFINITION]
    if member == "TrainingImage":
        return bool(ours["AlgorithmSpecification"][member] != theirs["AlgorithmSpecification"][member])
    return [_uri(one) for one in ours.get(member, [])] != [_uri(one) for one in theirs.get(member, [])]


def _hyperparameters(document: Document) -> set[str]:
    """Return the names of the hyperparameters of a tuning job, tuned and static."""
    tuned = [one["Name"] for kind in document[_CONFIGURATION].get("ParameterRanges", {}).values() for one in kind]
    return {*tuned, *document[_DEFINITION].get("StaticHyperParameters", {})} - {_OBJECTIVE}


def _uri(channel: Document) -> tuple[str, str]:
    return channel["ChannelName"], channel["DataSource"].get("S3DataSource", {}).get("S3Uri", "")


def _projected(trial: Document) -> Document:
    shape: Any = requests.output_shape("DescribeHyperParameterTuningJob").members["BestTrainingJob"]
    return requests.project(shape, trial)
