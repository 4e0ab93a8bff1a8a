"""A model's definition: `models/<name>/model.yaml`, checked whole.

`load` and `parse` return a frozen `Definition` or raise `DefinitionError`, whose text names the file and, for each
problem, the field (dotted path), what stands there and what is allowed. All problems are in one message.
"""

from __future__ import annotations

import codecs
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from perennial.model import bias, complaints, series_section
from perennial.model import feature_store as feature_store_section
from perennial.model import slices as slices_section
from perennial.model import tuning as tuning_section
from perennial.model.algorithms import ALGORITHMS
from perennial.model.algorithms.algorithm import InputMode
from perennial.model.bias import BiasMonitoring
from perennial.model.complaints import ConfigurationError, Strict, suggestion
from perennial.model.feature_store import FeatureStore
from perennial.model.problem_types import (
    FEWEST_CLASSES,
    MOST_CLASSES,
    PROBLEM_TYPES,
    QUANTILE_LOSSES,
    Direction,
    classes_of,
    is_taken,
    scores_of,
)
from perennial.model.series import MONITORED, split_of
from perennial.model.series_section import SeriesSection
from perennial.model.slices import MAX_SLICES, Slice
from perennial.model.tuning import Tuning
from perennial.words import spelling

ColumnType = Literal["float", "integer", "boolean", "string", "timestamp"]
SplitMethod = Literal["random", "time", "group"]
Transform = Literal["none", "log"]
Preprocessing = Literal["encode", "none"]
ProblemName = Annotated[str, complaints.one_of(PROBLEM_TYPES)]
AlgorithmName = Annotated[str, complaints.one_of(ALGORITHMS)]

COLUMN_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # what Model Monitor's file formats allow
INSTANCE_TYPE = re.compile(r"ml\.[a-z0-9][a-z0-9-]*\.[a-z0-9]+")
INSTANCE_TYPES = re.compile(r"ml\.[a-z0-9][a-z0-9-]*\.([a-z0-9]+|\*)")
OVERRIDABLE = (
    "algorithm", "image_digest", "hyperparameters", "tuning", "gate.threshold", "gate.minimum_improvement",
    "gate.without_comparison", "instances", "data_prefix",
)  # fmt: skip
# What of a run's input decides what serves without that the gate of the definition could tell (docs/permissions.md).
DEPLOYABLE = (
    "gate.threshold", "gate.minimum_improvement", "gate.without_comparison", "instances.endpoint", "data_prefix",
    "replay",
)  # fmt: skip
NUMBERS = ("float", "integer")
SPLIT_COLUMN_TYPES: dict[str, tuple[str, ...]] = {
    "time": ("timestamp", "integer", "float"),
    "group": ("string", "integer"),
}
MAX_VALUES = 100_000  # in a model.yaml, each alias counted as all that it stands for
# A definition travels whole: in the record of each run (an item of DynamoDB holds 400 KB) and in its configuration.
MAX_BYTES = 150_000
MAX_COLUMNS = 500
MAX_CATEGORIES = 5_000
MAX_CATEGORY = 256  # characters
# One-hot fields cost the square of the categories: 1,000 take 18 MiB of memory for a column and 2 KB for a row, 5,000
# took 330 MiB and 8,000 956 MiB. Columns of more have means instead (decision 0009).
MAX_ONE_HOT = 1_000
MAX_OVERRIDABLE = 100
MAX_METRICS = 10  # of the model itself: each may take a minute (evaluation.custom_metrics), and costs in CloudWatch
LONGEST_INTEGER = 64  # bits
# Of algorithms without checkpoints (Developer Guide, "Managed Spot Training"). XGBoost's container leaves none that it
# could go on from (decision 0068).
MOST_WAITING_SECONDS = 3600
# What PyYAML raises besides its own errors: for values that do not fit their tag, and for deep nesting.
_UNREADABLE = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)


class DefinitionError(ConfigurationError):
    """A model.yaml is wrong."""


Category = Annotated[str, Field(max_length=MAX_CATEGORY)]
Categories = Annotated[tuple[Category, ...], Field(strict=False, min_length=1, max_length=MAX_CATEGORIES)]


def _one_or_more(value: Any) -> Any:
    """Return a list, which may be written as its only item."""
    return value if isinstance(value, list | tuple | dict) or value is None else [value]


def _factors(value: Any) -> Any:
    """Units without factors are other names of the column's own: each stands for 1."""
    listed = _one_or_more(value)
    return (
        dict.fromkeys(listed, 1.0)
        if isinstance(listed, list) and all(isinstance(one, str) for one in listed)
        else listed
    )


def _text(value: Any) -> Any:
    """Return a text, for which a number may stand."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, Field(min_length=1, max_length=200)]
SliceName = Annotated[
    str, complaints.written(f"^{COLUMN_NAME.pattern}$", "a lower-case name of letters, digits and underscores")
]
Digest = Annotated[str, complaints.written("^sha256:[0-9a-f]{64}$", "sha256: and 64 digits of 0 to 9 and a to f")]
Texts = Annotated[
    tuple[Annotated[Text, BeforeValidator(_text)], ...],
    BeforeValidator(_one_or_more),
    Field(strict=False, min_length=1, max_length=100),
]
Factor = Annotated[float, Field(gt=0)]
Units = Annotated[dict[Text, Factor], BeforeValidator(_factors), Field(min_length=1, max_length=100)]
Names = Annotated[tuple[Text, ...], BeforeValidator(_one_or_more), Field(strict=False, min_length=1, max_length=100)]


def _keys_as_texts(document: Any) -> Any:
    """YAML reads the keys true and false as truth."""
    names = {True: "true", False: "false"}
    return (
        {names.get(key, key) if isinstance(key, bool) else key: item for key, item in document.items()}
        if isinstance(document, dict)
        else document
    )


class Parse(Strict):
    """How the texts of a column are read (features.parsing says what each key does)."""

    _keys = model_validator(mode="before")(_keys_as_texts)

    strip: bool = True
    missing: Texts | None = None
    units: Units | None = None
    thousands: Literal[",", ".", "'", " ", "_"] | None = None
    decimal: Literal[".", ","] | None = None
    number: Literal["whole", "first"] = "whole"
    true: Texts | None = None
    false: Texts | None = None
    formats: Texts | None = None


class ColumnDefinition(Strict):
    """One column of the data. `feature: false` keeps it out of the model (an id, a time, a group)."""

    _keys = model_validator(mode="before")(_keys_as_texts)

    type: ColumnType
    source: Names | None = None
    parse: Parse | None = None
    unit: str | None = None
    min: float | None = None
    max: float | None = None
    categories: Categories | None = None
    nullable: bool = False
    feature: bool = True
    description: str | None = None


TextEncoding = Literal[
    "utf-8", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "cp1251", "cp1250", "iso-8859-15", "iso-8859-2", "cp1253",
    "cp1254", "cp1257", "iso-8859-5", "iso-8859-7", "iso-8859-9", "koi8-r", "koi8-u", "cp866", "cp850", "shift_jis",
    "cp932", "euc_jp", "euc_kr", "cp949", "big5", "gb18030", "latin-1",
]  # fmt: skip
_ENCODINGS = {codecs.lookup(name).name: name for name in get_args(TextEncoding)} | {"utf-8-sig": "utf-8"}


def _encoding(name: Any) -> Any:
    """Return our name of an encoding, for any that Python knows it by: windows-1252, latin1, utf8."""
    try:
        return _ENCODINGS.get(codecs.lookup(name).name, name) if isinstance(name, str) else name
    except (LookupError, ValueError):
        return name


class Files(Strict):
    """The form of files, as far as it cannot be found by looking at one."""

    encoding: Annotated[TextEncoding, BeforeValidator(_encoding)] = "utf-8"
    delimiter: Literal[",", ";", "\t", "|", ":", " ", "^", "~"] | None = None
    decimal: Literal[".", ","] = "."


class Target(Strict):
    """What is predicted, in the long form; `target: price` is short for `target: {column: price}`."""

    column: str
    transform: Transform = "none"


class Split(Strict):
    """Which rows train, validate and test. Shares of the rows; the rest trains.

    `key` names the columns that tell a row from all others; without it all features together do.
    """

    method: SplitMethod
    column: str | None = None
    key: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=16)] | None = None
    seed: int = Field(default=42, ge=0, lt=2**31)
    validation: float = Field(default=0.15, gt=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)


class Quality(Strict):
    """What the data must be like for a run to use them."""

    max_invalid_share: float = Field(default=0.01, ge=0, lt=1)
    min_rows: int = Field(default=100, ge=10)
    max_categories: int = Field(default=100, ge=2, le=MAX_ONE_HOT)
    stray_files: Literal["put_aside", "fail"] = "put_aside"
    max_drift: float | None = Field(default=None, gt=0, lt=1)


class TrainingWindow(Strict):
    """Which rows train and judge: so many days back from the newest one by a column, or those of the newest files."""

    column: str | None = None
    days: int | None = Field(default=None, ge=1, le=100_000)
    newest_files: int | None = Field(default=None, ge=1)


class Training(Strict):
    """What of the data a model learns from."""

    window: TrainingWindow | None = None


class GateDefinition(Strict):
    """What a candidate must reach; evaluation.gate says how each key decides."""

    metric: str
    threshold: float
    minimum_improvement: float = Field(default=0.0, gt=-1, lt=1)
    maximum_regression: float | None = Field(default=0.25, ge=0, lt=1)
    minimum_unseen_rows: int = Field(default=30, ge=2)
    without_comparison: Literal["reject", "threshold"] = "reject"
    confidence: float | None = Field(default=None, gt=0.5, lt=1)
    slices: Annotated[dict[SliceName, Slice], Field(max_length=MAX_SLICES)] = Field(default_factory=dict)


class Serving(Strict):
    """What the endpoint does with a request that holds an unusual value: answer or refuse. Both are counted."""

    unknown_category: Literal["answer", "refuse"] = "answer"
    out_of_range: Literal["answer", "refuse"] = "answer"
    missing: Literal["answer", "refuse"] = "answer"


class DataQualityMonitoring(Strict):
    """When a window's records count as unlike the baseline (monitoring.data_quality)."""

    enabled: bool = True
    distance: float = Field(default=0.1, gt=0, lt=1)
    stability: float = Field(default=0.1, gt=0)
    missing: float = Field(default=0.1, gt=0, lt=1)
    leave_out: Annotated[tuple[str, ...], Field(strict=False, max_length=MAX_COLUMNS)] = ()
    same_unit: Annotated[tuple[str, ...], Field(strict=False, max_length=MAX_COLUMNS)] = ()


class ModelQualityMonitoring(Strict):
    """When a window's labelled records count as a model that has become worse (monitoring.model_quality)."""

    enabled: bool = True
    max_drop: float = Field(default=0.05, ge=0)
    min_labels: int = Field(default=100, ge=10)
    min_labelled_share: float = Field(default=0.0, ge=0, le=1)


class Probing(Strict):
    """Whether the endpoint is asked where labels are too few, and about how many rows (monitoring.probing)."""

    enabled: bool = False
    rows: int = Field(default=500, ge=10, le=5000)


class AttributionMonitoring(Strict):
    """When a window's scores count as resting on other features (monitoring.attribution)."""

    enabled: bool = True
    min_ndcg: float = Field(default=0.9, ge=0, le=1)


class Retraining(Strict):
    """What follows from drift (monitoring.retraining); monitoring.policy says how each key decides."""

    action: Literal["notify", "retrain", "both"] = "both"
    breaches: int = Field(default=1, ge=1, le=100)
    cooldown_hours: float = Field(default=6.0, ge=0, le=8760)
    runs_a_day: int = Field(default=4, ge=1, le=100)
    min_labelled_rows: int = Field(default=1, ge=0)


class Monitoring(Strict):
    """What of a window is analysed, what is large enough to matter, and what follows."""

    min_records: int = Field(default=100, ge=10)
    false_alarm_rate: float = Field(default=0.01, gt=0, le=0.5)
    data_quality: DataQualityMonitoring = DataQualityMonitoring()
    model_quality: ModelQualityMonitoring = ModelQualityMonitoring()
    probing: Probing = Probing()
    bias: BiasMonitoring = BiasMonitoring()
    retraining: Retraining = Retraining()
    attribution: AttributionMonitoring = AttributionMonitoring()


class JobInstance(Strict):
    """The machines of one job: of several that preprocess or describe the data, Spark makes a cluster."""

    type: str = "ml.m5.large"
    count: int = Field(default=1, ge=1, le=100)
    volume_gb: int = Field(default=20, ge=1, le=16384)
    max_runtime_seconds: int = Field(default=3600, ge=60, le=432000)


class TrainInstance(JobInstance):
    """The machines that train: of several, each reads a share of the rows.

    A spot machine costs less, and may be taken away: then another trains. It begins anew, or where a script or an image
    of one's own has left a checkpoint.

    max_wait_seconds  how long waiting for machines and training may take together; None: as long as SageMaker lets it
    input_mode        whether the sets are copied to the machine before it trains, or read from S3 while it does
    """

    input_mode: InputMode = "File"
    spot: bool = False
    max_wait_seconds: int | None = Field(default=None, ge=60, le=432000)


class PredictInstance(Strict):
    """The machines of the transform jobs; they share out the parts of the test set.

    Transform jobs have neither a volume nor a time limit (SageMaker API Reference, CreateTransformJob).
    """

    type: str = "ml.m5.large"
    count: int = Field(default=1, ge=1, le=100)


class EndpointInstance(Strict):
    """The machines that serve."""

    type: str = "ml.m5.large"
    count: int = Field(default=1, ge=1, le=100)


class AllowedMachines(Strict):
    """What stack parameters and runs may ask for, besides what the steps of the definition name themselves."""

    types: Annotated[tuple[str, ...], Field(strict=False, max_length=100)] = ()
    max_count: int | None = Field(default=None, ge=1, le=100)
    max_volume_gb: int | None = Field(default=None, ge=1, le=16384)
    max_runtime_seconds: int | None = Field(default=None, ge=60, le=432000)


class Instances(Strict):
    """The machines of each step, and what else may be asked for."""

    preprocess: JobInstance = JobInstance()
    train: TrainInstance = TrainInstance()
    predict: PredictInstance = PredictInstance()
    baseline: JobInstance = JobInstance()
    endpoint: EndpointInstance = EndpointInstance()
    allowed: AllowedMachines = AllowedMachines()


class Definition(Strict):
    """A whole model.yaml, with every default filled in."""

    description: str | None = None
    problem: ProblemName
    target: str
    # In model.yaml: target.transform. The algorithm learns from the transformed target, everybody else sees its unit.
    target_transform: Transform = "none"
    columns: Annotated[dict[str, ColumnDefinition], Field(min_length=2, max_length=MAX_COLUMNS)]
    other_columns: Literal["refuse", "ignore"] = "refuse"
    files: Files = Files()
    # Of SageMaker Feature Store, whose offline store lies among the data; None: files hold rows.
    feature_store: FeatureStore | None = None
    # Of a forecasting it follows from `series`.
    split: Split
    series: SeriesSection | None = None
    training: Training = Training()
    quality: Quality = Quality()
    # none: train.py gets the features as they are, and makes numbers of them itself.
    preprocessing: Preprocessing = "encode"
    algorithm: AlgorithmName = "xgboost"
    # Of an image of one's own, in the stack's repository; without it the newest one there.
    image_digest: Digest | None = None
    hyperparameters: dict[AlgorithmName, dict[str, Any]] = Field(default_factory=dict)
    tuning: Tuning = Tuning()
    # Those that the model's metrics.py computes, and which of their values are better.
    metrics: Annotated[dict[str, Direction], Field(max_length=MAX_METRICS)] = Field(default_factory=dict)
    gate: GateDefinition
    serving: Serving = Serving()
    monitoring: Monitoring = Monitoring()
    instances: Instances = Instances()
    overridable: Annotated[tuple[str, ...], Field(strict=False, max_length=MAX_OVERRIDABLE)] = ()
    deployable_overrides: Annotated[tuple[str, ...], Field(strict=False, max_length=MAX_OVERRIDABLE)] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """The feature columns in the order of a CSV record: the definition's order, without target and the rest."""
        return tuple(name for name, column in self.columns.items() if column.feature and name != self.target)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the target's classes, in the order of their numbers; none where they have no names."""
        return classes_of(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return the definition as plain JSON with all defaults filled in, as job scripts read it."""
        return self.model_dump(mode="json", exclude=None if self.series else {"series"})


def load(path: Path) -> Definition:
    """Return the definition in a file. Raises DefinitionError, also when there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DefinitionError(f"{path}: there is no such file; a model is a folder with a model.yaml") from error
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{path}: not UTF-8 text: {error}") from error
    return parse(text, str(path))


@lru_cache(maxsize=16)  # a function that stays warm reads the same text for each event
def parse(text: str, source: str) -> Definition:
    """Return the definition in a YAML text; `source` is what error messages call it. Raises DefinitionError."""
    raw = read(text, source)
    if not isinstance(raw, dict):
        raise DefinitionError(
            f"{source}: expected keys such as problem, target and columns, got {complaints.excerpt(raw)}"
        )
    return validated(raw, source)


def read(text: str, source: str) -> Any:
    """Return what a YAML text says, as every model.yaml is read. Raises DefinitionError."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with duplicate keys refused
    except _UNREADABLE as error:
        known = isinstance(error, (yaml.YAMLError, RecursionError))
        trouble = str(error) if known else f"a value is not of its type ({error})"
        some = complaints.shortened(trouble, complaints.MAX_LINE)
        reason = "\n".join(complaints.one_line(line, complaints.MAX_LINE) for line in some.split("\n"))
        raise DefinitionError(f"{source}: not readable as YAML: {reason}") from error


def validated(raw: Mapping[str, Any], source: str) -> Definition:
    """Return the definition in a plain document. Raises DefinitionError with every problem found."""
    definition, problems = judged(raw)
    if definition is None:
        raise DefinitionError(complaints.message(f"{source}: not a valid model definition", problems))
    return definition


def judged(raw: Mapping[str, Any]) -> tuple[Definition | None, list[complaints.Complaint]]:
    """Return the definition in a plain document; None, and every problem, where it is not valid."""
    raw, problems = _with_flat_target(raw)
    raw, of_split = _with_split_of_series(raw)
    problems += of_split
    definition: Definition | None = None
    try:
        definition = Definition.model_validate(raw)
        sections: dict[str, Any] = {name: getattr(definition, name) for name in Definition.model_fields}
    except ValidationError as error:
        problems += complaints.of(error, Definition)
        sections = dict(_sound_sections(raw, broken={str(item["loc"][0]) for item in error.errors()}))
    broken = [item for check in _CHECKS for item in _applied(check, sections)]
    # What is wrong with a split that follows from the series is said of the series.
    problems += [item for item in broken if raw.get("problem") != "forecasting" or not item[0].startswith("split.")]
    if definition is not None and not problems:
        problems += _check_size(definition)
    if problems or definition is None:
        return None, problems
    return _with_positive_outcomes(_with_decimal_marks(_target_is_no_feature(definition))), []


def _with_positive_outcomes(definition: Definition) -> Definition:
    monitoring = definition.monitoring
    update = {"bias": bias.with_positive(monitoring.bias, definition.problem)}
    return definition.model_copy(update={"monitoring": monitoring.model_copy(update=update)})


def _with_decimal_marks(definition: Definition) -> Definition:
    """Give each column of numbers that names no decimal mark that of the files."""
    columns = {
        name: column.model_copy(update={"parse": _with_decimal_mark(column.parse or Parse(), definition.files.decimal)})
        if column.type in NUMBERS and definition.files.decimal != "."
        else column
        for name, column in definition.columns.items()
    }
    return definition.model_copy(update={"columns": columns})


def _with_decimal_mark(parse: Parse, mark: str) -> Parse:
    return parse if parse.decimal else parse.model_copy(update={"decimal": mark})


def notes(definition: Definition) -> list[tuple[str, str]]:
    """Return (path, text) for what a definition asks that is sound, and not quite what it seems."""
    gate, listed = definition.gate, []
    score = scores_of(definition.problem, definition.metrics)[gate.metric]
    if gate.minimum_improvement > 0 and score.direction == "maximize" and score.is_bounded:
        highest = 1 / (1 + 2 * gate.minimum_improvement)
        text = (
            f"of a model in service with an {gate.metric} above {highest:.3g}, {gate.minimum_improvement:.3g} more "
            "would come near 1 or go beyond it; half of what is left to 1 is asked there"
        )
        listed.append(("gate.minimum_improvement", text))
    target = definition.columns[definition.target]
    lowest, highest = (bound if bound is not None else 0.0 for bound in (target.min, target.max))
    if gate.metric == "mape" and lowest <= 0 <= highest:
        text = (
            f"mape has no value, and a candidate is rejected, as soon as {definition.target} is 0 in one test row. If "
            f"it may be 0, take mae; if not, give columns.{definition.target} a min above 0"
        )
        listed.append(("gate.metric", text))
    if definition.algorithm == "xgboost" and QUANTILE_LOSSES.get(gate.metric, 0.5) != 0.5:
        text = (
            f"{gate.metric} asks for a quantile of {definition.target}, and SageMaker's XGBoost learns none; take "
            "linear-learner, which learns the one that the gate asks for, or a script of your own"
        )
        listed.append(("algorithm", text))
    if "tuning" in definition.model_fields_set:
        listed.extend(tuning_section.note(definition.algorithm, definition.hyperparameters))
    return [*listed, *_notes_on_labelled_rows(definition)]


def _notes_on_labelled_rows(definition: Definition) -> Complaints:
    """Yield the columns for want of which no labelled record of a window may train, where drift retrains."""
    key, window = definition.split.key or (), definition.training.window
    if len(key) != 1 or definition.monitoring.retraining.action == "notify":
        return
    required = (definition.split.column, window.column if window else None)
    for name, column in definition.columns.items():
        is_filled_in = column.type == "timestamp" and column.parse is None
        if column.feature or column.nullable or is_filled_in or name in (definition.target, *key):
            continue
        help_ = "" if name in required else "set nullable: true, or "
        text = (
            "is no feature, so that callers may not send it, and labelled records without it cannot train after drift "
            f"(monitoring.retraining): {help_}have callers send it, as a field of JSON or under a CSV header"
        )
        yield f"columns.{name}", text


def _with_flat_target(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the document with the long form of `target` as two fields, and what is wrong with it."""
    section = raw.get("target")
    if not isinstance(section, Mapping):
        return dict(raw), []
    try:
        target = Target.model_validate(dict(section))
    except ValidationError as error:
        problems = [(f"target.{path}", text) for path, text in complaints.of(error, Target)]
        return {**raw, "target": str(section.get("column", ""))}, problems
    return {**raw, "target": target.column, "target_transform": target.transform}, []


def _with_split_of_series(raw: dict[str, Any]) -> tuple[dict[str, Any], Complaints]:
    """Return a forecasting with the split that follows from its series, and what is wrong with one that it names."""
    if raw.get("problem") not in PROBLEM_TYPES or not PROBLEM_TYPES[raw["problem"]].is_series:
        return raw, iter(())
    follows = split_of(raw.get("series"))
    split = raw.get("split", follows)
    text = "a forecasting is split by time, as its section series says: by prediction_length; leave it out"
    return {**raw, "split": follows}, iter([("split", text)] if split != follows else [])


def _target_is_no_feature(definition: Definition) -> Definition:
    target = definition.columns[definition.target].model_copy(update={"feature": False})
    return definition.model_copy(update={"columns": {**definition.columns, definition.target: target}})


# ---- Reading YAML


class _Loader(yaml.SafeLoader):
    """YAML as people expect it: a key stands once, and 1e6 is a number. Aliases may not blow a document up."""

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is not None and _values(node, {}) > MAX_VALUES:
            raise yaml.YAMLError(f"more than {MAX_VALUES:,} values, aliases expanded; write them out or leave them out")
        return None if node is None else self.construct_document(node)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = int(super().construct_yaml_int(node))
        if value.bit_length() > LONGEST_INTEGER:  # Python cannot even print some of them
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a whole number of more than 64 bits")
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(
                    f"line {line}: the key {complaints.excerpt(key)} stands more than once; keep one of them"
                )
            keys.append(key)
        return super().construct_mapping(node, deep)


def _values(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node holds with every alias expanded; infinitely many when it holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        items = node.value if isinstance(node, yaml.SequenceNode) else [item for pair in pairs for item in pair]
        known[id(node)] = 1 + sum(_values(item, known) for item in items)
    return known[id(node)]


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


class Dumper(yaml.SafeDumper):
    """Writes YAML that `read` reads as the same values: a text such as 1e6 stands in quotation marks."""


for _each in (_Loader, Dumper):
    _each.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )


# ---- Problems of form: pydantic's, in our words (model.complaints)


def _sound_sections(raw: Mapping[str, Any], broken: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield the top-level sections that are well formed, so that their meaning is checked in the same pass."""
    for name, field in Definition.model_fields.items():
        if name in broken:
            continue
        if name in raw:
            yield name, TypeAdapter(field.rebuild_annotation()).validate_python(raw[name])
        elif not field.is_required():
            yield name, field.get_default(call_default_factory=True, validated_data={})


def _check_size(definition: Definition) -> Complaints:
    size = complaints.size(definition.as_json())
    if size > MAX_BYTES:
        text = f"got {size:,} bytes as JSON with all defaults; expected at most {MAX_BYTES:,}"
        yield "(the whole)", f"{text}: take fewer or shorter categories and texts"


# ---- Problems of meaning: each check takes the sections that it names and yields (path, text)

Complaints = Iterator[complaints.Complaint]


def _applied(check: Callable[..., Complaints], sections: Mapping[str, Any]) -> Complaints:
    names = check.__code__.co_varnames[: check.__code__.co_argcount]
    if all(name in sections for name in names):
        yield from check(**{name: sections[name] for name in names})


def _check_columns(columns: dict[str, ColumnDefinition]) -> Complaints:
    for name, column in columns.items():
        path = f"columns.{name}"
        if not COLUMN_NAME.fullmatch(name):
            yield path, "expected a lower-case name of letters, digits and underscores, such as 'price_usd'"
        yield from _check_range(path, column)
        yield from _check_categories(path, column)
        yield from _check_parse(f"{path}.parse", column)
        if column.type == "timestamp" and column.feature:
            yield f"{path}.feature", "a timestamp cannot be a feature; set feature: false (it may order a time split)"


def _check_range(path: str, column: ColumnDefinition) -> Complaints:
    bounds = {"min": column.min, "max": column.max}
    limits = {key: bound for key, bound in bounds.items() if bound is not None}
    if limits and column.type not in NUMBERS:
        yield f"{path}.{next(iter(limits))}", f"only float and integer columns have a range; this one is {column.type}"
    if column.min is not None and column.max is not None and column.min > column.max:
        yield f"{path}.min", f"got {column.min:g}, which is more than max {column.max:g}"
    for key, bound in limits.items():
        if column.type == "integer" and bound != int(bound):
            yield f"{path}.{key}", f"got {bound!r}; expected a whole number for an integer column"


def _check_categories(path: str, column: ColumnDefinition) -> Complaints:
    if column.categories is None:
        return
    if column.type != "string":
        yield f"{path}.categories", f"only string columns have categories; this one is {column.type}"
    repeated = sorted(name for name, times in Counter(column.categories).items() if times > 1)
    if repeated:
        yield f"{path}.categories", f"given more than once: {', '.join(repeated)}"
    if "" in column.categories:
        yield f"{path}.categories", "an empty text means a missing value; set nullable: true instead"
    parse = column.parse or Parse()
    if blanks := [name for name in column.categories if parse.strip and name != name.strip() and name]:
        text = "has blanks around it, which are no part of a value; leave them out, or set parse.strip: false"
        yield f"{path}.categories", f"{complaints.excerpt(blanks[0])} {text}"
    markers = {word.strip().lower() for word in parse.missing or ()}
    if both := [name for name in column.categories if name.strip().lower() in markers]:
        yield (
            f"{path}.categories",
            f"{complaints.excerpt(both[0])} means a missing value (parse.missing); leave it out of one",
        )


_PARSE_TYPES: dict[str, tuple[str, ...]] = {
    "strip": ("string",),
    **dict.fromkeys(("units", "thousands", "decimal", "number"), NUMBERS),
    **dict.fromkeys(("true", "false"), ("boolean",)),
    "formats": ("timestamp",),
}
_REST = "(what else stands around a number, as the + of 10,000+, number: first passes over)"
_ANY_TIME = datetime(2003, 2, 1, 16, 5, 6, tzinfo=UTC)


def _check_marks(columns: dict[str, ColumnDefinition], files: Files) -> Complaints:
    for name, column in columns.items():
        parse = column.parse
        if parse and parse.thousands and parse.thousands == (parse.decimal or files.decimal):
            path = f"columns.{name}.parse.thousands"
            yield path, f"{parse.thousands!r} is also the decimal mark; set decimal to the other one"
        if parse and column.type in NUMBERS and (parse.decimal or files.decimal) == ",":
            yield from _check_markers(f"columns.{name}.parse.missing", parse)


def _check_markers(path: str, parse: Parse) -> Complaints:
    """Numbers that mean a missing value are written as the column writes them."""
    for marker in map(str.strip, parse.missing or ()):
        grouped = parse.thousands == "." and re.fullmatch(r"[+-]?[0-9]{1,3}\.[0-9]{3}", marker)
        if re.fullmatch(r"[+-]?[0-9]*\.[0-9]+", marker) and not grouped:
            yield (
                path,
                f"{marker!r} is no number of this column; expected its decimal mark: {marker.replace('.', ',')!r}",
            )


def _check_parse(path: str, column: ColumnDefinition) -> Complaints:
    parse = column.parse
    if parse is None:
        return
    for key in sorted(parse.model_fields_set & _PARSE_TYPES.keys()):
        if column.type not in _PARSE_TYPES[key]:
            yield (
                f"{path}.{key}",
                f"only for columns of type {' and '.join(_PARSE_TYPES[key])}; this one is {column.type}",
            )
    for unit in parse.units or ():
        if unit != unit.strip() or unit[0] in "0123456789+-.,":
            text = f"{unit!r} begins like a number or has blanks around it; expected a sign or a word {_REST}"
            yield f"{path}.units", text
    yield from _check_words(path, parse)
    for position, one in enumerate(parse.formats or ()):
        if not _is_time_format(one):
            yield (
                f"{path}.formats[{position}]",
                f"{one!r} tells no date; expected day, month and year, such as '%d.%m.%Y'",
            )


def _check_words(path: str, parse: Parse) -> Complaints:
    words = {key: {word.strip().lower() for word in getattr(parse, key) or ()} for key in ("true", "false", "missing")}
    if bool(words["true"]) != bool(words["false"]):
        yield path, "true and false go together: name the words of both"
    for one, other in (("true", "false"), ("true", "missing"), ("false", "missing")):
        if both := sorted(words[one] & words[other]):
            yield f"{path}.{other}", f"{', '.join(map(repr, both))} stands in {one} as well"


def _is_time_format(text: str) -> bool:
    """Return whether a time that is written in this form can be read back with its day."""
    try:
        return datetime.strptime(_ANY_TIME.strftime(text), text).date() == _ANY_TIME.date()  # noqa: DTZ007
    except ValueError:
        return False


def _check_sources(columns: dict[str, ColumnDefinition]) -> Complaints:
    owners: dict[str, str] = {}
    for name, column in columns.items():
        for wanted in dict.fromkeys((name, *(column.source or ()))):
            if wanted in owners:
                text = (
                    f"{wanted!r} is also a name of column {owners[wanted]!r}; rename the column, or name another source"
                )
                yield f"columns.{name}.source" if column.source else f"columns.{name}", text
            owners.setdefault(wanted, name)
    claimed = {spelling(wanted): (name, wanted) for name, column in columns.items() for wanted in column.source or ()}
    for name, column in columns.items():
        other, wanted = claimed.get(spelling(name), ("", name))
        if not column.source and wanted != name:
            text = f"the field {wanted!r} of files, which is column {other!r}, is this column in another spelling"
            yield (
                f"columns.{name}",
                f"{text}; name the field that is meant here as its source, or leave one out",
            )


def _check_features(columns: dict[str, ColumnDefinition], target: str, problem: str) -> Complaints:
    if target not in columns:
        yield "target", f"{target!r} is not one of the columns{suggestion(target, columns)}"
    elif PROBLEM_TYPES[problem].is_series:
        return  # what came before is enough to say what follows
    elif not any(column.feature for name, column in columns.items() if name != target):
        yield "columns", "no column is a feature; expected at least one besides the target"


def _check_target(columns: dict[str, ColumnDefinition], target: str, problem: str) -> Complaints:
    column = columns.get(target)
    if column is None:
        return
    path = f"columns.{target}"
    if column.nullable and not PROBLEM_TYPES[problem].is_series:
        yield f"{path}.nullable", "this is the target, and a row without one cannot train; leave it out"
    if column.feature and "feature" in column.model_fields_set:
        yield f"{path}.feature", "this is the target; a model that is told the answer learns nothing; leave it out"
    problem_type = PROBLEM_TYPES[problem]
    if not problem_type.accepts(column.type, column.min, column.max):
        yield f"{path}.type", f"got {column.type!r}; {problem_type.target}"
    elif problem_type.is_named:
        yield from _check_classes(path, column)


def _check_classes(path: str, column: ColumnDefinition) -> Complaints:
    if column.type == "string" and column.categories is None:
        yield f"{path}.categories", "is missing; expected the classes of the target, such as [cat, dog, horse]"
        return
    if broken := [name for name in column.categories or () if not name.isprintable()]:
        yield (
            f"{path}.categories",
            f"{complaints.excerpt(broken[0])} is not of one printable line, as a class has to be",
        )
    key, count = "categories", len(column.categories or ())
    if column.type == "integer":
        key, count = "max", int((column.max or 0) - (column.min or 0)) + 1
    if count < FEWEST_CLASSES:
        two = "of two, a binary_classification: type: boolean, with their words as parse.true and parse.false"
        yield f"{path}.{key}", f"{count} classes; expected at least {FEWEST_CLASSES} ({two})"
    elif count > MOST_CLASSES:
        yield (
            f"{path}.{key}",
            f"{count:,} classes; expected at most {MOST_CLASSES}: join the rare ones, or predict a number",
        )


def _check_target_transform(
    problem: str, target_transform: Transform, columns: dict[str, ColumnDefinition], target: str
) -> Complaints:
    if target_transform == "none":
        return
    if PROBLEM_TYPES[problem].is_classes or PROBLEM_TYPES[problem].is_series:
        yield "target.transform", f"got {target_transform!r}; only the target of a regression is transformed"
    column = columns.get(target)
    if column is not None and column.max is not None and column.max <= 0:
        yield "target.transform", f"a logarithm needs a target above 0, and columns.{target}.max is {column.max:g}"


def _check_shares(split: Split) -> Complaints:
    if split.validation + split.test >= 1:
        total = split.validation + split.test
        yield "split", f"validation and test add up to {total:g}; expected less than 1, the rest trains"
    if split.method == "random" and split.column is not None:
        yield "split.column", "only the methods time and group have a column; leave it out"
    if split.method != "random" and split.column is None:
        yield "split.column", f"is missing; the method {split.method} needs one"
    if split.method == "time" and "seed" in split.model_fields_set:
        yield "split.seed", "a split by time has no chance in it; leave it out"


def _check_split_column(columns: dict[str, ColumnDefinition], split: Split, target: str) -> Complaints:
    if split.method == "random" or split.column is None:
        return
    column, types = columns.get(split.column), SPLIT_COLUMN_TYPES[split.method]
    if column is None:
        yield "split.column", f"{split.column!r} is not one of the columns{suggestion(split.column, columns)}"
    elif split.column == target:
        yield "split.column", "this is the target; the split must not depend on the answer"
    elif column.type not in types:
        yield "split.column", f"{split.column!r} is {column.type}; the method {split.method} needs {' or '.join(types)}"
    elif column.nullable:
        yield "split.column", f"{split.column!r} is nullable; a row without a value belongs to no set"


def _check_split_key(columns: dict[str, ColumnDefinition], split: Split, target: str) -> Complaints:
    for position, name in enumerate(split.key or ()):
        path, column = f"split.key[{position}]", columns.get(name)
        if column is None:
            yield path, f"{name!r} is not one of the columns{suggestion(name, columns)}"
        elif name == target:
            yield path, "this is the target; a row whose target is corrected must stay the same row"
        elif column.nullable:
            yield path, f"{name!r} is nullable; a row without its key cannot be told from others"
        elif column.type == "float":
            why = "rows are told by numbers in single precision, in which 100000000 and 100000001 are one"
            yield path, f"{name!r} is float; {why}: make it type: integer or string"
        elif (split.key or ()).index(name) < position:
            yield path, f"{name!r} stands more than once"


def _check_training_window(columns: dict[str, ColumnDefinition], training: Training) -> Complaints:
    window = training.window
    if window is None:
        return
    dated = {"column": window.column, "days": window.days}
    missing = [name for name, value in dated.items() if value is None]
    expected = "expected column and days, or newest_files alone"
    if window.newest_files is not None and len(missing) < len(dated):
        yield "training.window", f"says both which files and which days train; {expected}"
    if window.newest_files is None and missing:
        yield "training.window", f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing; {expected}"
    if window.column is not None:
        yield from _check_window_column(columns, window.column)


def _check_window_column(columns: dict[str, ColumnDefinition], name: str) -> Complaints:
    path, column = "training.window.column", columns.get(name)
    if column is None:
        yield path, f"{name!r} is not one of the columns{suggestion(name, columns)}"
    elif column.type != "timestamp":
        yield path, f"{name!r} is {column.type}; expected a column of type timestamp (feature: false)"
    elif column.nullable:
        yield path, f"{name!r} is nullable; nobody can tell the age of a row without a date"


def _check_series(
    columns: dict[str, ColumnDefinition], target: str, problem: str, series: SeriesSection | None
) -> Complaints:
    if not PROBLEM_TYPES[problem].is_series:
        if series is not None:
            yield "series", f"only a forecasting has series, and this is a {problem}; leave it out"
    elif series is None:
        text = "is missing; a forecasting needs key, time, frequency, context_length and prediction_length"
        yield "series", text
    else:
        yield from series_section.check(series, columns, target)


def _check_rows_only(
    problem: str,
    training: Training,
    serving: Serving,
    metrics: dict[str, Direction],
    gate: GateDefinition,
    monitoring: Monitoring,
    preprocessing: Preprocessing,
    feature_store: FeatureStore | None,
) -> Complaints:
    """Yield the keys that say something of rows, which a forecasting has no use for."""
    if not PROBLEM_TYPES[problem].is_series:
        return
    meaningless = {
        "feature_store": (feature_store is not None, "its records are rows of one time each"),
        "training.window": (training.window is not None, "series train with all their periods"),
        "serving": (serving != Serving(), "DeepAR itself answers, and looks at no column"),
        "metrics": (bool(metrics), "forecasts are measured by the metrics of DeepAR"),
        "gate.slices": (bool(gate.slices), "forecasts are judged as a whole"),
        "preprocessing": (preprocessing != "encode", "DeepAR reads series as they are"),
        "monitoring.probing": (monitoring.probing.enabled, "the endpoint is not asked about series"),
        "monitoring.attribution": (
            monitoring.attribution != AttributionMonitoring(),
            "nobody can say what a forecast of DeepAR rests on",
        ),
        "monitoring.bias": (bool(monitoring.bias.facets), "series are nobody's"),
    }
    for path, (is_set, why) in meaningless.items():
        if is_set:
            yield path, f"has no meaning for a forecasting: {why}; leave it out"


def _check_metrics(metrics: dict[str, Direction]) -> Complaints:
    for name in metrics:
        if not COLUMN_NAME.fullmatch(name):
            text = "expected the name of a function: lower-case letters, digits and underscores, such as 'share_close'"
            yield f"metrics.{name}", text
        elif is_taken(name):
            yield (
                f"metrics.{name}",
                "is the name of a metric that there is already; take another one in metrics.py",
            )


def _check_gate_metric(problem: str, gate: GateDefinition, metrics: dict[str, Direction]) -> Complaints:
    known = scores_of(problem, metrics)
    if gate.metric not in known:
        allowed = f"allowed: {', '.join(known)}"
        close = suggestion(gate.metric, known)
        hint = close if "did you mean" in close else ""
        yield "gate.metric", f"{gate.metric!r} is not a metric of {problem}; {allowed}{hint}"


def _check_gate_threshold(problem: str, gate: GateDefinition, metrics: dict[str, Direction]) -> Complaints:
    score = scores_of(problem, metrics).get(gate.metric)
    if score is not None and not score.is_sound(gate.threshold):
        yield "gate.threshold", f"got {gate.threshold:g}; expected for {gate.metric} {score.expected()}"


def _check_gate_slices(
    columns: dict[str, ColumnDefinition], problem: str, gate: GateDefinition, metrics: dict[str, Direction]
) -> Complaints:
    yield from slices_section.check(gate.slices, columns, scores_of(problem, metrics).get(gate.metric), gate.metric)


def _check_algorithm(problem: str, algorithm: str) -> Complaints:
    if problem not in ALGORITHMS[algorithm].of_problem:
        learning = ", ".join(name for name, one in ALGORITHMS.items() if problem in one.of_problem)
        yield "algorithm", f"{algorithm} does not learn {problem}; allowed: {learning or 'none, nothing learns it yet'}"


def _check_preprocessing(algorithm: str, preprocessing: Preprocessing) -> Complaints:
    if preprocessing == "none" and not ALGORITHMS[algorithm].is_own:
        scripts = ", ".join(name for name, one in ALGORITHMS.items() if one.is_own)
        yield (
            "preprocessing",
            f"got 'none'; {algorithm} learns from numbers, which encode makes (allowed with: {scripts})",
        )


def _check_hyperparameters(hyperparameters: dict[str, dict[str, Any]]) -> Complaints:
    for algorithm, values in hyperparameters.items():
        for name, text in ALGORITHMS[algorithm].complaints(values):
            yield f"hyperparameters.{algorithm}.{name}", text


def _check_hyperparameters_of_problem(problem: str, hyperparameters: dict[str, dict[str, Any]]) -> Complaints:
    for algorithm, values in hyperparameters.items():
        for name, text in ALGORITHMS[algorithm].complaints_for(problem, values):
            yield f"hyperparameters.{algorithm}.{name}", text


def _check_tuning(
    problem: str, algorithm: str, hyperparameters: dict[str, dict[str, Any]], tuning: Tuning, instances: Instances
) -> Complaints:
    known = ALGORITHMS[algorithm]
    if problem in known.of_problem and not any(known.complaints(hyperparameters.get(algorithm, {}))):
        yield from tuning_section.check(
            tuning, problem, algorithm, hyperparameters, instances.train.max_runtime_seconds
        )


STEPS = tuple(name for name in Instances.model_fields if name != "allowed")


def _check_monitoring(
    columns: dict[str, ColumnDefinition], target: str, problem: str, monitoring: Monitoring
) -> Complaints:
    yield from bias.check(monitoring.bias, columns, target, problem)
    known = [*columns, *(MONITORED if PROBLEM_TYPES[problem].is_series else ())]
    for key in ("leave_out", "same_unit"):
        for position, name in enumerate(getattr(monitoring.data_quality, key)):
            if name not in known:
                text = f"{name!r} is not one of the columns{suggestion(name, known)}"
                yield f"monitoring.data_quality.{key}[{position}]", text
    probing, quality = monitoring.probing, monitoring.model_quality
    if probing.enabled and not quality.enabled:
        text = "got true where monitoring.model_quality.enabled is false; nothing would judge the answers"
        yield "monitoring.probing.enabled", text
    if probing.enabled and probing.rows < quality.min_labels:
        text = f"got {probing.rows:,}; expected at least {quality.min_labels:,} (monitoring.model_quality.min_labels)"
        yield "monitoring.probing.rows", f"{text}: fewer rows are never enough"


def _check_feature_store(
    feature_store: FeatureStore | None, columns: dict[str, ColumnDefinition], split: Split, training: Training
) -> Complaints:
    yield from feature_store_section.check(feature_store, columns, split.key)
    if feature_store and feature_store.ingest and training.window and training.window.newest_files is not None:
        text = "not with feature_store.ingest: rows that are dropped stand in a file, and as records in others"
        yield "training.window.newest_files", text


def _check_instances(instances: Instances) -> Complaints:
    for step in STEPS:
        wanted = getattr(instances, step).type
        if not INSTANCE_TYPE.fullmatch(wanted):
            yield f"instances.{step}.type", f"got {wanted!r}; expected a SageMaker instance type such as 'ml.m5.large'"
    for position, wanted in enumerate(instances.allowed.types):
        if not INSTANCE_TYPES.fullmatch(wanted):
            text = (
                f"got {wanted!r}; expected a SageMaker instance type or a family, such as 'ml.m5.xlarge' or 'ml.m5.*'"
            )
            yield f"instances.allowed.types[{position}]", text


def _check_hosts(algorithm: str, hyperparameters: dict[str, dict[str, Any]], instances: Instances) -> Complaints:
    """Yield what cannot train on several machines, of which each reads a share of the rows."""
    count = instances.train.count
    if count == 1:
        return
    if ALGORITHMS[algorithm].is_own or ALGORITHMS[algorithm].reads_series:
        text = f"got {count}; allowed: 1, {algorithm} trains on one machine (take a larger type)"
        yield "instances.train.count", text
    elif hyperparameters.get(algorithm, {}).get("tree_method") == "exact":
        text = (
            f"got 'exact', which trains on one machine; expected 'hist' or 'approx' for {count} (instances.train.count)"
        )
        yield f"hyperparameters.{algorithm}.tree_method", text


def _check_input_mode(algorithm: str, instances: Instances) -> Complaints:
    if (mode := instances.train.input_mode) not in ALGORITHMS[algorithm].input_modes:
        allowed = " or ".join(ALGORITHMS[algorithm].input_modes)
        yield "instances.train.input_mode", f"got {mode}; allowed: {allowed}, as {algorithm} reads its data"


def _check_cluster(algorithm: str, feature_store: FeatureStore | None, instances: Instances) -> Complaints:
    """Yield what several machines that preprocess do not do: of each file one of them has the rows."""
    count = instances.preprocess.count
    if count > 1 and feature_store is not None:
        text = f"got {count}; allowed: 1 with feature_store, whose rows are made of the records of many files"
        yield "instances.preprocess.count", text
    if count > 1 and ALGORITHMS[algorithm].reads_series:
        yield "instances.preprocess.count", f"got {count}; allowed: 1, the points of a series stand in many files"


def _check_spot(algorithm: str, hyperparameters: dict[str, dict[str, Any]], instances: Instances) -> Complaints:
    """Yield what SageMaker refuses (Developer Guide, "Managed Spot Training"; API Reference, "StoppingCondition")."""
    machine = instances.train
    wait, runtime = machine.max_wait_seconds, machine.max_runtime_seconds
    goes_on = ALGORITHMS[algorithm].is_own and not tuning_section.ranges(hyperparameters.get(algorithm, {}))
    if wait is not None and wait > MOST_WAITING_SECONDS and not goes_on:
        text = f"got {wait:,}; expected at most {MOST_WAITING_SECONDS:,}: {algorithm} has no checkpoints"
        yield "instances.train.max_wait_seconds", text if not ALGORITHMS[algorithm].is_own else f"{text} in a search"
    if wait is not None and not machine.spot:
        yield (
            "instances.train.max_wait_seconds",
            "got a number where spot is not true; nothing waits then, leave it out",
        )
    elif machine.spot and runtime > (wait or MOST_WAITING_SECONDS):
        text = f"got {runtime:,}; expected at most {wait or MOST_WAITING_SECONDS:,}, the time that waiting and training"
        yield "instances.train.max_runtime_seconds", f"{text} may take together (max_wait_seconds)"


def _check_overridable(overridable: tuple[str, ...]) -> Complaints:
    for position, path in enumerate(overridable):
        if not any(path == known or path.startswith(f"{known}.") for known in OVERRIDABLE):
            text = f"{path!r} cannot be overridden{suggestion(path, OVERRIDABLE)}"
            yield f"overridable[{position}]", text
    for path in sorted({path for path in overridable if overridable.count(path) > 1}):
        yield "overridable", f"{path!r} stands more than once"


def _check_deployable_overrides(overridable: tuple[str, ...], deployable_overrides: tuple[str, ...]) -> Complaints:
    for position, path in enumerate(deployable_overrides):
        at = f"deployable_overrides[{position}]"
        if path not in DEPLOYABLE:
            always = any(path == known or path.startswith(f"{known}.") for known in OVERRIDABLE)
            yield (
                at,
                f"{path!r} keeps no model out of service; leave it out"
                if always
                else (f"{path!r} is unknown{suggestion(path, DEPLOYABLE)}"),
            )
        elif path != "replay" and not any(f"{path}.".startswith(f"{known}.") for known in overridable):
            yield at, f"{path!r} is not overridable; list it under overridable as well, or leave it out"


_CHECKS: tuple[Callable[..., Complaints], ...] = (
    _check_columns,
    _check_marks,
    _check_sources,
    _check_features,
    _check_target,
    _check_target_transform,
    _check_shares,
    _check_split_column,
    _check_split_key,
    _check_feature_store,
    _check_training_window,
    _check_series,
    _check_rows_only,
    _check_metrics,
    _check_gate_metric,
    _check_gate_threshold,
    _check_gate_slices,
    _check_algorithm,
    _check_preprocessing,
    _check_hyperparameters,
    _check_hyperparameters_of_problem,
    _check_tuning,
    _check_monitoring,
    _check_instances,
    _check_hosts,
    _check_input_mode,
    _check_cluster,
    _check_spot,
    _check_overridable,
    _check_deployable_overrides,
)
