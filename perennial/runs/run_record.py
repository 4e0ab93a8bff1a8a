"""The run record as a type: what run.json and the item of the run table hold.

Of a run that ended before it had claimed its work only the first keys are known; what a run has not reached is missing,
or null once the record is closed. Times are ISO 8601 in UTC. Lists that are too long for an item of the run table are
cut there, and `<name>_left_out` counts the rest (runs.record.ROOM_IN_ITEM).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from perennial.evaluation.gate import Interval, Obstacle
from perennial.model.problem_types import Direction


class Execution(TypedDict, total=False):
    """The execution of the state machine."""

    arn: str
    started_at: str
    ended_at: str
    duration_seconds: float


class Code(TypedDict, total=False):
    """The code of the jobs: where it was published, its hash, and the commit that was deployed.

    scripts  a hash of the scripts in the model's folder alone, where it has some
    """

    uri: str
    hash: str
    commit: str
    scripts: str


class File(TypedDict, total=False):
    """A version of a data file (runs.work.DataFile)."""

    Key: str
    VersionId: str
    ETag: str
    Size: int
    LastModified: str
    Checksum: str


class Ignored(TypedDict, total=False):
    """An object that is no data, or was put aside by an earlier run."""

    Key: str
    VersionId: str
    Reason: str


class Aside(TypedDict, total=False):
    """A file that the run has put aside. KnownSince is the run that did so first, if it was another."""

    Key: str
    VersionId: str
    ETag: str
    Reason: str
    KnownSince: str


class Data(TypedDict, total=False):
    """The data that the run works on; `manifest` lists all of them."""

    bucket: str
    prefix: str
    fingerprint: str
    listed_at: str
    manifest: str
    file_count: int
    size_bytes: int
    files: list[File]
    ignored: list[Ignored]
    aside: list[Aside]


class Champion(TypedDict, total=False):
    """The model in service when the run began, or when it was compared again."""

    ModelName: str
    EndpointConfigName: str
    RunId: str


class ModelVersion(TypedDict, total=False):
    """The run's version in the model registry, and its approval when the run ended.

    by  who has changed it last, mostly by an answer (registry.approval.answered_by); None where nobody has
    """

    arn: str
    number: int
    status: str
    by: str | None


class Deployment(TypedDict):
    """A version that a run only deploys, because it is the newest approved one: whose it is, and why.

    instead_of  the run whose version was in service, and was rejected
    """

    run_id: str
    reason: str
    instead_of: str | None


class Promotion(TypedDict):
    """A step of a version from one environment to the next: which version it was there, who took it along, and when.

    by  the ARN by which AWS knows who did it
    """

    version: str
    stack: str
    by: str
    at: str


class Failure(TypedDict, total=False):
    """Why the run has not succeeded. `problems` are those of the data, of which the cause holds only the first.

    trial  of a tuning job that has failed: one that has, with its reason
    """

    error: str | None
    cause: str | None
    state: str | None
    trial: str
    problems: list[str]
    problems_at: str


class Rows(TypedDict, total=False):
    """How many rows there were, and in which set."""

    read: int
    used: int
    quarantined: int
    older: int
    repeated: int
    trained_again: int
    written_to_quarantine: int
    in_no_set: int
    train: int
    validation: int
    test: int


class Moved(TypedDict, total=False):
    """A column of the new files that is not as in the data of the model in service (data.drift)."""

    column: str
    distance: float
    chance: float
    before: str
    after: str
    unit: str  # what has become of it; empty, and of older records absent, where that is not known


class Drift(TypedDict, total=False):
    """The distance of the new files from the data of the model in service."""

    rows: int
    moved: list[Moved]
    distances: dict[str, float]
    uncounted: list[str]


class NewFiles(TypedDict, total=False):
    """What the model in service was not trained on; all files without one. `rules` were broken (data.broken)."""

    files: int
    rows: int
    quarantined: int
    repeated: int
    replaced: int
    copies: int
    rules: list[dict[str, Any]]
    notes: list[str]


class Unreadable(TypedDict, total=False):
    """A file that the model in service was trained on, and that cannot be read now."""

    name: str
    rows: int
    reason: str


class Since(TypedDict, total=False):
    """What has become of definition and data since the model in service was trained (data.since).

    sources  who had set those of the definition, by path, in the run of that model, where model.yaml had not
    """

    definition: list[str]
    sources: dict[str, str]
    rows: int
    gone: dict[str, int]
    older: dict[str, int]
    replaced: dict[str, int]
    unreadable: list[Unreadable]
    unreadable_left_out: int


class Compared(TypedDict, total=False):
    """Both models on some test rows (evaluation.gate.Compared)."""

    rows: int
    candidate: float | None
    champion: float | None
    difference: Interval | None
    champion_interval: Interval | None


class Comparison(TypedDict, total=False):
    """Both models on the same test rows (evaluation.gate.Comparison)."""

    rows: int
    unseen: Compared
    known: Compared
    changed: Compared
    new: Compared
    unscored: int
    unfair: str
    untold: str
    twins: int
    tested_before: int


class Late(TypedDict, total=False):
    """Rows that are dated later than the run, by the column of a split by time or of training.window."""

    column: str
    rows: int
    latest: str


class TrainingWindow(TypedDict, total=False):
    """The period whose rows train and judge, and how many rows are before it (data.training_window)."""

    column: str
    days: int
    begins: str | None
    ends: str | None
    rows: int


class Slice(TypedDict):
    """A named slice of the test rows, and what it answered (evaluation.slices)."""

    name: str
    rows: int
    candidate: float | None
    compared: dict[str, Any] | None
    threshold: float | None
    maximum_regression: float | None
    failed: bool
    reason: str


class Metrics(TypedDict, total=False):
    """The measurements: every metric of the problem and of the model by name, that of the gate with its 95 % intervals.

    failed    why metrics of the model itself could not be measured
    constant  the gate's metric of the best constant answer, for classes that have names
    naive     that of the seasonal-naive forecast, for series
    """

    test_rows: int
    candidate: dict[str, float]
    champion: dict[str, float] | None
    failed: dict[str, str]
    constant: float | None
    naive: float
    candidate_interval: Interval | None
    champion_interval: Interval | None
    difference_interval: Interval | None
    comparison: Comparison | None
    slices: list[Slice]
    champion_when_accepted: float | None
    training: dict[str, float]


class Judged(TypedDict, total=False):
    """The gate and its verdict (evaluation.gate.Gate and Verdict)."""

    metric: str
    direction: Direction
    threshold: float
    minimum_improvement: float
    maximum_regression: float | None
    minimum_unseen_rows: int
    without_comparison: str
    confidence: float | None
    is_bounded: bool
    candidate: float | None
    champion: float | None
    meets_threshold: bool
    beats_champion: bool | None
    accepted: bool
    reason: str
    obstacle: Obstacle | None
    brief: str
    worse_on_known: bool
    targets_changed: bool


class Trial(TypedDict):
    """A training job of a tuning job: what it tried, and the metric that it reached, if it reported it."""

    name: str
    status: str
    value: float | None
    hyperparameters: dict[str, str]
    seconds: float | None
    reason: str | None


class Tuned(TypedDict):
    """A tuning job: by which metric it searched, how its trials ended, and the first of them, the best at the top."""

    job: str
    strategy: str
    metric: str
    direction: Direction
    best: str
    counts: dict[str, int]
    trials: list[Trial]


class WarmStart(TypedDict):
    """The tuning job that a search began with; None, and why, where it began from nothing."""

    parent: str | None
    reason: str | None


class ServingImage(TypedDict, total=False):
    """The image of a container that serves: as the model names it, and what that led to, if SageMaker says it."""

    specified: str
    resolved: str | None


class Rollout(TypedDict):
    """How the update of the endpoint was to take over (runs.rollout), and the alarms that could not watch it."""

    config: dict[str, Any]
    left_out: list[str]


class Deployed(TypedDict, total=False):
    """What serves since the run."""

    endpoint: str
    endpoint_config: str
    model: str


class Spot(TypedDict):
    """What a training job on a machine that may be taken away took, and what of it is billed (DescribeTrainingJob).

    interruptions  how often its machine was taken away
    """

    job: str
    training_seconds: int
    billable_seconds: int
    interruptions: int


class Retried(TypedDict):
    """How often a state tried again, and after which errors, of those that the execution's history tells."""

    times: int
    errors: list[str]


class RunRecord(TypedDict, total=False):
    """A run: what it was made of, what it decided, and what it left.

    status         Running, Succeeded, Rejected, Superseded, NotApproved, TrainedOnly, Failed, TimedOut or Aborted;
                   AlreadyTrained or NoData of a run that drift or an alarm had asked for
    input          as whoever started the run wrote it: of any form where it was refused
    retries        by state, of those that tried again
    reader         stands for all that decides whether a file can be read (runs.strays)
    configuration  all that decides what the run does (runs.configuration.Configuration.as_json)
    tuning         what was tried, of a run that has tuned
    warm_start     with what the search began, where the definition wants it to begin with an earlier one
    spot           what training took and what of it is billed, where its machine may be taken away
    deployment     what is deployed, of a run that only deploys a version
    promotions     how its version has come here from other environments, the first step first
    no_work        why it has trained nothing, where there was nothing to train
    withheld       why it deploys nothing; None for a run that deploys what passes the gate
    images         of the containers: preprocessor, algorithm
    hours          when the endpoint is there, as perennial.serving.hours reads it
    api            where the stack's API is; empty without one
    gone_back_from the run whose model a person has replaced by the older champion, if its data are all here again
    report         where report.html is; None where it could not be drawn
    sets_until     the day until which what it made of rows is there at least (runs.keeping); None where nothing expires
    artifacts      what serves, by name: where, which version, which SHA-256
    containers     of the model, in their order, as its version was registered with them; from its measurement on
    """

    run_id: str
    stack: str
    model: str
    bucket: str
    execution: Execution
    input: Mapping[str, Any]
    status: str
    work_key: str
    configuration_key: str
    reader: str
    code: Code
    data: Data
    configuration: dict[str, Any]
    deployment: Deployment
    promotions: list[Promotion]
    no_work: str
    withheld: str | None
    images: dict[str, str]
    champion: Champion | None
    gone_back_from: str | None
    artifacts: dict[str, Any]
    containers: list[dict[str, Any]] | None
    serving_images: list[ServingImage]
    tuning: Tuned
    warm_start: WarmStart | None
    spot: Spot
    metrics: Metrics
    gate: Judged
    failure: Failure | None
    durations_seconds: dict[str, float]
    retries: dict[str, Retried]
    jobs: list[dict[str, Any]]
    rows: Rows | None
    drift: Drift | None
    new_files: NewFiles | None
    since: Since | None
    late: Late | None
    training_window: TrainingWindow | None
    baselines: dict[str, str] | None
    hours: str
    api: str
    rollout: Rollout | None
    deployed: Deployed | None
    version: ModelVersion | None
    report: str | None
    sets_until: str | None
