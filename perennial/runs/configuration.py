"""The configuration of one run: built-in defaults < model.yaml < stack parameters < the run's input.

`resolve` returns a frozen `Configuration` or raises `ConfigurationError`, which names the field and what is allowed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError

from perennial.evaluation.gate import Gate
from perennial.model import complaints, tuning
from perennial.model.algorithms import ALGORITHMS
from perennial.model.algorithms.algorithm import InputMode as Mode
from perennial.model.algorithms.hyperparameter import as_text
from perennial.model.algorithms.ranges import as_sagemaker, is_range
from perennial.model.complaints import ConfigurationError, Strict
from perennial.model.definition import (
    DEPLOYABLE,
    MOST_WAITING_SECONDS,
    STEPS,
    Definition,
    Instances,
    JobInstance,
    judged,
    validated,
)
from perennial.model.problem_types import Direction, scores_of

RESERVED_PREFIXES = (
    "runs/", "copies/", "code/", "capture/", "batch/", "monitoring/", "ground-truth/", "ingested/", "deployments/",
)  # fmt: skip
STACK = "the stack's parameters"
RUN = "the run's input, Overrides"

# Types whose only storage is a volume, which takes a key. The others have disks, which their hardware encrypts, and
# SageMaker refuses a key for them (API Reference, "ResourceConfig"); a family that is not known here may have some. A
# "d" behind the generation says so (EC2 Instance Types Guide, "Naming conventions"), accelerated types may do without.
_EBS_ONLY = re.compile(r"ml\.([cmrt]\d+(?!\w*d)[\w-]*|p[23]|inf[12])\.")


class PredictOverrides(Strict):
    """Machines of the transform jobs that a run asks for, with SageMaker's own names; what is left out stays."""

    InstanceType: str | None = None
    InstanceCount: int | None = None


class JobOverrides(PredictOverrides):
    """The machine of another job."""

    VolumeSizeInGB: int | None = None
    MaxRuntimeInSeconds: int | None = None


class TrainOverrides(JobOverrides):
    """The machine that trains."""

    InputMode: Mode | None = None
    EnableManagedSpotTraining: bool | None = None
    MaxWaitTimeInSeconds: int | None = None


class EndpointOverrides(Strict):
    """The machines that serve."""

    InstanceType: str | None = None
    InitialInstanceCount: int | None = None


class InstancesOverrides(Strict):
    """The machines of each step."""

    Preprocess: JobOverrides | None = None
    Train: TrainOverrides | None = None
    Predict: PredictOverrides | None = None
    Baseline: JobOverrides | None = None
    Endpoint: EndpointOverrides | None = None


class TuningOverrides(Strict):
    """How a run searches; what is left out stays."""

    Strategy: str | None = None
    Jobs: int | None = None
    ParallelJobs: int | None = None
    EarlyStopping: bool | None = None
    WarmStart: bool | None = None
    Metric: str | None = None


class Overrides(Strict):
    """What a layer sets over the one below. None is not set."""

    Algorithm: str | None = None
    ImageDigest: str | None = None
    HyperParameters: dict[str, Any] | None = None
    Tuning: TuningOverrides | None = None
    GateThreshold: float | None = None
    GateMinimumImprovement: float | None = None
    GateWithoutComparison: str | None = None
    Instances: InstancesOverrides | None = None
    DataPrefix: str | None = None


@dataclass(frozen=True)
class Configuration:
    """Everything that decides what a run does, apart from its data and its code.

    definition       the model's definition with the overrides in it
    hyperparameters  of the chosen algorithm, all strings, with what follows from the problem filled in; without ranges
    sources          for each overridden field who set it
    withheld         what the run's input decides and the definition does not let into service; empty for a run that
                     deploys what passes the gate
    """

    model: str
    definition: Definition
    data_prefix: str
    hyperparameters: Mapping[str, str]
    sources: Mapping[str, str]
    withheld: tuple[str, ...] = ()

    @property
    def gate(self) -> Gate:
        """The gate with the direction that follows from its metric."""
        return _gate(self.definition)

    @property
    def withheld_because(self) -> str | None:
        """Why the run deploys nothing; None when it may."""
        if not self.withheld:
            return None
        listed = ", ".join(self.withheld)
        return f"its input decides {listed}, which deployable_overrides in the model.yaml of {self.model} does not list"

    @property
    def training_metrics(self) -> tuple[str, ...]:
        """The names of the metrics that the training job must report."""
        return ALGORITHMS[self.definition.algorithm].training_metrics(self.hyperparameters)

    @property
    def ranges(self) -> dict[str, Any]:
        """The hyperparameters that are tuned; none for a run that trains once."""
        return tuning.ranges(self.definition.hyperparameters.get(self.definition.algorithm, {}))

    @property
    def objective(self) -> tuple[str, Direction]:
        """The metric by which a tuning job finds its best trial, and which of its values are better."""
        model = self.definition
        watched = self.training_metrics or (f"validation:{model.gate.metric}",)
        return tuning.objective(model.algorithm, model.problem, watched, model.tuning.metric)

    def tuning_job(self) -> dict[str, Any] | None:
        """Return a HyperParameterTuningJobConfig; None for a run that trains once."""
        if not self.ranges:
            return None
        section, (metric, direction) = self.definition.tuning, self.objective
        return {
            "Strategy": section.strategy.capitalize(),
            "HyperParameterTuningJobObjective": {"Type": direction.capitalize(), "MetricName": metric},
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": section.jobs,
                "MaxParallelTrainingJobs": section.parallel_jobs,
            },
            "ParameterRanges": as_sagemaker(self.ranges, ALGORITHMS[self.definition.algorithm].table(self.ranges)),
            "TrainingJobEarlyStoppingType": "Auto" if section.early_stopping else "Off",
        }

    def instances(self, key: str) -> dict[str, dict[str, Any]]:
        """Return the machines of each step by SageMaker's own names, and the key where their volumes take one."""
        steps = self.definition.instances
        return {
            "Preprocess": _resources(steps.preprocess, key),
            "Train": _resources(steps.train, key),
            "Predict": {
                "InstanceType": steps.predict.type,
                "InstanceCount": steps.predict.count,
                **_volume_key(steps.predict.type, VolumeKmsKeyId=key),
            },
            "Baseline": _resources(steps.baseline, key),
            "Endpoint": {
                "InstanceType": steps.endpoint.type,
                "InitialInstanceCount": steps.endpoint.count,
                **_volume_key(steps.endpoint.type, KmsKeyId=key),
            },
        }

    def spot(self) -> dict[str, Any]:
        """Return what the request for a training job has besides where its machine may be taken away; else nothing."""
        machine = self.definition.instances.train
        if not machine.spot:
            return {}
        limits = {
            "MaxRuntimeInSeconds": machine.max_runtime_seconds,
            "MaxWaitTimeInSeconds": machine.max_wait_seconds or MOST_WAITING_SECONDS,
        }
        return {"EnableManagedSpotTraining": True, "StoppingCondition": limits}

    def as_json(self) -> dict[str, Any]:
        """Return the configuration as plain JSON."""
        return {**self.decisive(), "definition": self.definition.as_json(), "sources": dict(self.sources)}

    def decisive(self) -> dict[str, Any]:
        """Return what makes the same data end in another model or another decision: a part of the work key.

        How a model is watched changes neither.
        """
        return {
            "model": self.model,
            "definition": {key: value for key, value in self.definition.as_json().items() if key != "monitoring"},
            "data_prefix": self.data_prefix,
            "algorithm": {
                "name": self.definition.algorithm,
                "hyperparameters": dict(self.hyperparameters),
                **({"is_own": True} if ALGORITHMS[self.definition.algorithm].is_own else {}),
                **({"hosts": hosts} if (hosts := self.definition.instances.train.count) > 1 else {}),
            },
            "training_metrics": list(self.training_metrics),
            "gate": asdict(self.gate),
            "withheld": list(self.withheld),
        }


def _resources(instance: JobInstance, key: str) -> dict[str, Any]:
    return {
        "InstanceType": instance.type,
        "InstanceCount": instance.count,
        "VolumeSizeInGB": instance.volume_gb,
        "MaxRuntimeInSeconds": instance.max_runtime_seconds,
        **_volume_key(instance.type, VolumeKmsKeyId=key),
    }


def _volume_key(instance_type: str, **member: str) -> dict[str, str]:
    """Return the member of a request that names the key; nothing for a type that may have disks of its own."""
    return member if _EBS_ONLY.match(instance_type) else {}


def stack_overrides(text: str | None) -> dict[str, Any]:
    """Return the stack's overrides from their JSON text; the template puts parameters into it as they are.

    Raises ConfigurationError: a parameter that should be JSON is not.
    """
    try:
        overrides = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        position = error.pos if isinstance(error, json.JSONDecodeError) else 0
        near = complaints.excerpt((text or "")[max(position - 20, 0) : position + 20])
        raise ConfigurationError(
            f"{STACK}: not readable as JSON near {near}; HyperParameters must be a JSON object such as "
            '{"eta": 0.2}, and no parameter may hold a double quote'
        ) from error
    if not isinstance(overrides, dict):
        raise ConfigurationError(f"{STACK}: got {complaints.excerpt(overrides)}; expected a JSON object")
    return overrides


def resolve(
    model: str,
    definition: Definition,
    *,
    stack: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    data_prefix: str = "raw/",
    replayed: Mapping[str, str] | None = None,
) -> Configuration:
    """Merge the layers, each checked on its own, and fill in what follows.

    stack        overrides by stack parameters; an empty text means not set (CloudFormation has no other way)
    run          overrides by the run's input; only what the definition marks as overridable
    data_prefix  the stack's own
    replayed     the sources of the run whose data are trained on again; None for a run that is no replay

    Raises ConfigurationError: names the layer, the field and what is allowed.
    """
    sources: dict[str, str] = {}
    machines, of_stack = definition.instances, definition
    for layer, values in ((STACK, _set_parameters(stack or {})), (RUN, dict(run or {}))):
        paths = dict(_paths(_overrides(values, layer), definition))
        if layer == RUN:
            _refuse_fixed(paths, definition, model)
            of_stack = definition
        if paths.get("data_prefix") == data_prefix:
            del paths["data_prefix"]
        sources |= dict.fromkeys(paths, layer)
        data_prefix = paths.pop("data_prefix", data_prefix)
        definition = _applied(definition, paths, f"models/{model}/model.yaml", layer) if paths else definition
        _refuse_machines(paths, machines, layer)
    _check_data_prefix(data_prefix, sources.get("data_prefix", STACK))
    if replayed is not None:
        again = {"data_prefix": replayed["data_prefix"]} if "data_prefix" in replayed else {}
        sources |= {"replay": "the run's input, Replay", **again}
    decided = _decides_service(of_stack, definition, sources)
    withheld = tuple(path for path in decided if path not in definition.deployable_overrides)
    return Configuration(model, definition, data_prefix, _complete(definition), sources, withheld)


def _gate(definition: Definition) -> Gate:
    section = definition.gate
    score = scores_of(definition.problem, definition.metrics)[section.metric]
    return Gate(direction=score.direction, is_bounded=score.is_bounded, **section.model_dump(exclude={"slices"}))


def _decides_service(of_stack: Definition, of_run: Definition, sources: Mapping[str, str]) -> list[str]:
    """Return what a run decides about service: other data, a gate that asks less, or other machines that serve.

    The gate of the stack judges algorithm and hyperparameters as it judges data that are dropped.
    """
    stack_gate, gate = _gate(of_stack), _gate(of_run)
    differences = {
        "gate.threshold": not stack_gate.reaches(gate.threshold, stack_gate.threshold),
        "gate.minimum_improvement": gate.minimum_improvement < stack_gate.minimum_improvement,
        "gate.without_comparison": gate.without_comparison not in (stack_gate.without_comparison, "reject"),
        "instances.endpoint": of_run.instances.endpoint != of_stack.instances.endpoint,
        "data_prefix": "data_prefix" in sources,
        "replay": "replay" in sources,
    }
    return [path for path in DEPLOYABLE if differences[path]]


def _set_parameters(stack: Mapping[str, Any]) -> dict[str, Any]:
    """Stack parameters are texts: drop the empty ones, read numbers and JSON."""
    values = {name: value for name, value in stack.items() if value not in ("", None, {}, [])}
    for name in ("GateThreshold", "GateMinimumImprovement", "HyperParameters", "Instances"):
        if isinstance(values.get(name), str):
            values[name] = _read(name, values[name])
    return values


def _read(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        expected = "a number" if name.startswith("Gate") else 'JSON such as {"eta": 0.1}'
        raise ConfigurationError(f"{STACK}, {name}: got {complaints.excerpt(text)}; expected {expected}") from error


def require_overrides(document: Mapping[str, Any]) -> None:
    """Raise ConfigurationError: these are no overrides of a run's input, whatever its model allows."""
    _overrides(document, RUN)


def _overrides(document: Mapping[str, Any], layer: str) -> Overrides:
    try:
        return Overrides.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(complaints.message(f"{layer}: not valid", complaints.of(error, Overrides))) from error


def _refuse_fixed(paths: Iterable[str], definition: Definition, model: str) -> None:
    """Raise ConfigurationError for what the definition does not mark as overridable, with the line that would."""
    allowed = definition.overridable
    fixed = [path for path in paths if not _is_allowed(path, allowed)]
    if fixed:
        listed = ", ".join(allowed) or "nothing"
        problems = [(_input_key(path), f"may not be overridden by a run; allowed: {listed}") for path in fixed]
        refused = complaints.message(f"{RUN}: not allowed by the model's overridable list", problems)
        line = ", ".join(dict.fromkeys([*allowed, *map(_listed, fixed)]))
        where = f"models/{model}/model.yaml, and deploy"
        raise ConfigurationError(f"{refused}\n  to allow it, write overridable: [{line}] in {where}")


_LIMITS = {"count": "max_count", "volume_gb": "max_volume_gb", "max_runtime_seconds": "max_runtime_seconds"}


def _refuse_machines(paths: Mapping[str, Any], machines: Instances, layer: str) -> None:
    """Raise ConfigurationError for machines beyond what the definition's own steps name and what it allows besides."""
    steps = [getattr(machines, name) for name in STEPS]
    types = sorted({step.type for step in steps} | set(machines.allowed.types))
    problems = []
    machine_overrides = [
        (path, path.rsplit(".", 1)[-1], value) for path, value in paths.items() if path.startswith("instances.")
    ]
    for path, field, value in machine_overrides:
        if field == "type" and not any(fnmatchcase(value, known) for known in types):
            problems.append(
                (path, f"got {complaints.excerpt(value)}; allowed: {', '.join(types)} (instances.allowed.types)")
            )
        if limit := _LIMITS.get(field):
            most = max(getattr(machines.allowed, limit) or 0, *(getattr(step, field, 0) for step in steps))
            if value > most:
                problems.append((path, f"got {value}; allowed: at most {most} (instances.allowed.{limit})"))
    if problems:
        named = [(_input_key(path) if layer == RUN else path, text) for path, text in problems]
        raise ConfigurationError(complaints.message(f"{layer}: more than the model's instances allow", named))


def _listed(path: str) -> str:
    """How a path stands in the list: of hyperparameters without the algorithm."""
    section, *rest = path.split(".", 2)
    return f"{section}.{rest[1]}" if section == "hyperparameters" else path


def _is_allowed(path: str, allowed: tuple[str, ...]) -> bool:
    """Return whether a path, or one of its parents, is allowed."""
    parts = _listed(path).split(".")
    return any(".".join(parts[:length]) in allowed for length in range(1, len(parts) + 1))


_JOB = {
    "InstanceType": "type", "InstanceCount": "count",
    "VolumeSizeInGB": "volume_gb", "MaxRuntimeInSeconds": "max_runtime_seconds",
}  # fmt: skip
_PATHS = {
    "Algorithm": "algorithm",
    "ImageDigest": "image_digest",
    "GateThreshold": "gate.threshold",
    "GateMinimumImprovement": "gate.minimum_improvement",
    "GateWithoutComparison": "gate.without_comparison",
    "DataPrefix": "data_prefix",
    "Tuning.Strategy": "tuning.strategy",
    "Tuning.Jobs": "tuning.jobs",
    "Tuning.ParallelJobs": "tuning.parallel_jobs",
    "Tuning.EarlyStopping": "tuning.early_stopping",
    "Tuning.WarmStart": "tuning.warm_start",
    "Tuning.Metric": "tuning.metric",
    **{
        f"Instances.{step}.{key}": f"instances.{step.lower()}.{name}"
        for step in ("Preprocess", "Train", "Predict", "Baseline")
        for key, name in _JOB.items()
    },
    "Instances.Train.InputMode": "instances.train.input_mode",
    "Instances.Train.EnableManagedSpotTraining": "instances.train.spot",
    "Instances.Train.MaxWaitTimeInSeconds": "instances.train.max_wait_seconds",
    "Instances.Endpoint.InstanceType": "instances.endpoint.type",
    "Instances.Endpoint.InitialInstanceCount": "instances.endpoint.count",
}
_KEYS = {path: key for key, path in _PATHS.items()}


def _paths(overrides: Overrides, definition: Definition) -> Iterator[tuple[str, Any]]:
    """Yield (path in model.yaml, value) for each thing that is set."""
    algorithm = overrides.Algorithm or definition.algorithm
    for name, value in (overrides.HyperParameters or {}).items():
        yield f"hyperparameters.{algorithm}.{name}", value
    others = overrides.model_dump(exclude={"HyperParameters"}, exclude_none=True)
    for name, value in others.items():
        yield from ((_PATHS[key], leaf) for key, leaf in _leaves(name, value))


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(f"{key}.{name}", item)
    else:
        yield key, value


def _input_key(path: str) -> str:
    """Return the key of a run's input that sets a path of model.yaml; the path, where there is none."""
    section, *rest = path.split(".", 2)
    return f"HyperParameters.{rest[1]}" if section == "hyperparameters" and len(rest) > 1 else _KEYS.get(path, path)


def _applied(definition: Definition, paths: Mapping[str, Any], file: str, layer: str) -> Definition:
    """Return the definition with the values of a layer in it.

    A run's input alone is to blame, in its own words: it is merged into what was valid before.
    """
    document = definition.model_dump(mode="json", exclude_unset=True)
    for path, value in paths.items():
        # A hyperparameter's own name may hold anything; the sections above it never hold a dot.
        depth = 2 if path.startswith(("hyperparameters.", "instances.")) else 1
        *sections, name = path.split(".", depth)
        section = document
        for key in sections:
            section = section.setdefault(key, {})
        section[name] = value
    if layer != RUN:
        return validated(document, f"{file} with {layer}")
    merged, problems = judged(document)
    if merged is None:
        rest = " (not in the input)"
        named = [(f"{_input_key(path)}{'' if path in paths else rest}", text) for path, text in problems]
        raise ConfigurationError(complaints.message(f"{layer}: not valid with {file}", named))
    return merged


def _check_data_prefix(prefix: str, layer: str) -> None:
    """Raise ConfigurationError when the prefix of the data would not keep data and results apart."""
    is_folder = prefix.endswith("/") and not prefix.startswith("/") and "//" not in prefix
    if is_folder and not prefix.startswith(RESERVED_PREFIXES):
        return
    what = f"{', '.join(RESERVED_PREFIXES)} are the stack's own; " if is_folder else ""
    raise ConfigurationError(
        f"{layer}, DataPrefix: got {complaints.excerpt(prefix)}; {what}expected a folder of its own such as 'raw/'"
    )


def _complete(definition: Definition) -> dict[str, str]:
    """Return the hyperparameters of the chosen algorithm.

    They are the built-in ones, those derived from the problem, then the definition's own.
    """
    algorithm = ALGORITHMS[definition.algorithm]
    chosen = definition.problem, definition.gate.metric, definition.split.seed, len(definition.classes)
    derived = {**algorithm.derived(*chosen), **algorithm.of_definition(definition.as_json())}
    own = definition.hyperparameters.get(definition.algorithm, {})
    values = {**algorithm.defaults, **derived, **own}
    return {name: as_text(value) for name, value in values.items() if not is_range(value)}
