"""Decide which data a run works on, with which configuration and under which names; or that there is nothing to do.

Called by  train_model, state "Resolve configuration".
Writes     runs/<run id>/manifest.json, config.json and champion/ (perennial_aws.champion_files); ingest.manifest, where
           rows are put into a feature group (perennial_aws.ingestion); the claim, the record and the answer in the run
           table; problems.txt, where S3 refuses many objects.
           The same execution always gets the same answer.
Raises     ConfigurationError, DefinitionError: permanent, the text says what to correct. EmptyFileError: an
           empty file was dropped; permanent. FileNotListedError: no run can find the dropped file; permanent.
           DataVersionRefusedError: S3 refuses an object, which the text names; permanent.
           DataVersionUnavailableError: S3 did not give one; transient. VersionNotDeployableError, ArtifactChangedError:
           of the version to deploy not all is there that its run has left; permanent.
           ClaimContestedError: other runs took the same work over and over; transient.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, cast

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.data.rows import CHAMPION_TEST
from perennial.model.algorithms import ALGORITHMS, explain_image
from perennial.model.complaints import ConfigurationError
from perennial.model.feature_groups import is_own_record
from perennial.registry import metadata
from perennial.runs import configuration, naming, no_data, record, run_input, run_record, strays, trials, work
from perennial.runs.configuration import Configuration
from perennial.runs.run_input import ExecutionInput
from perennial.runs.run_record import RunRecord
from perennial_aws import (
    algorithm_requests,
    champion,
    champion_files,
    deployments,
    ingestion,
    objects,
    own_code,
    own_images,
    payloads,
    runs,
    shipped,
    versions,
)
from perennial_aws.clients import client, if_there
from perennial_aws.settings import settings

logger = Logger()

CLAIM_ATTEMPTS = 5
THREADS = 32
REFUSED_SHOWN = 10


@dataclass(frozen=True)
class Request:
    """An execution; Input is as whoever started it wrote it."""

    Input: Any
    ExecutionArn: str
    ExecutionName: str
    StartTime: str

    @property
    def started_at(self) -> datetime:
        return datetime.fromisoformat(self.StartTime)


@dataclass(frozen=True)
class Nothing:
    """The answer to an execution that has no work to do, and why.

    QuietHours  how long the same reason is not mailed again to the same kind of trigger
    """

    Decision: work.NoWork
    Reason: str
    RunId: str
    Name: str
    QuietHours: float = 0.0


@dataclass(frozen=True)
class Work:
    """The answer to an execution that works: all that the flow needs to know of the run.

    Name          the model's, the endpoint configuration's, and how the names of all jobs begin
    Prefix        the run's folder: s3://bucket/runs/<run id>
    Tuning        the tuning job; None for a run that trains once
    Spot          what the training job's request has besides where its machine may be taken away
    Withheld      why nothing is deployed; None for a run that deploys what passes the gate
    Champion      the model in service, with which the candidate is compared
    ChampionTest  the test records as the model in service reads them
    Ingest        the feature group that gets the rows of files that no run has ingested; None where there are none
    Lineage       what its version in the model registry says of where it comes from
    Version       what is only deployed, of an earlier run, whose RunId is here; None for a run that trains
    DeploymentId  the id of the run that deploys it
    """

    Decision: Literal["Train", "Deploy"]
    Reason: str
    RunId: str
    Name: str
    Prefix: str
    CodeUri: str
    Model: str
    Problem: str
    TargetTransform: str
    Algorithm: payloads.AlgorithmPayload
    Tuning: payloads.TuningPayload | None
    Instances: payloads.InstancesPayload
    NetworkConfig: dict[str, Any]
    Vpc: dict[str, Any]
    Gate: payloads.GatePayload
    Withheld: str | None
    Champion: run_record.Champion | None
    ChampionTest: str
    Lineage: dict[str, str]
    Ingest: payloads.IngestPayload | None = None
    Spot: dict[str, Any] = field(default_factory=dict)
    Version: payloads.VersionPayload | None = None
    DeploymentId: str | None = None


Answer = Work | Nothing


class EmptyFileError(Exception):
    """A file without a byte was dropped. Nobody does that on purpose, so a mail reports it."""


class FileNotListedError(Exception):
    """A dropped file is in the bucket, but the bucket's list does not name it: no run would ever train on it."""


class ClaimContestedError(Exception):
    """The claim changed hands again and again while this run asked for it."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an execution, once and for all."""
    request = payloads.read(Request, event)
    run_id = naming.run_id(request.ExecutionArn, request.started_at)
    answer = runs.answered(request.ExecutionArn, lambda: asdict(_decide(request, run_id)))
    logger.info("decided", run_id=answer["RunId"], decision=answer["Decision"], reason=answer["Reason"])
    return answer


def _decide(request: Request, run_id: str) -> Answer:
    execution_input = run_input.execution_input(request.Input)
    if execution_input.ModelVersion is not None:
        return _deployment(run_id, execution_input.ModelVersion)
    dropped = execution_input.Trigger.Object if execution_input.Trigger.Type == "DataDrop" else None
    reason = no_data.reason(dropped["key"], settings.data_prefix) if dropped else None
    if reason:
        return _nothing(run_id, "NoData", f"{(dropped or {})['key']!r} is no data: {reason}")
    if dropped and _is_of_monitor(dropped):
        return _nothing(
            run_id,
            "Superseded",
            f"the monitor has put {dropped['key']!r} there, and starts a run itself where one is due",
        )
    resolved = shipped.configured(
        execution_input.Overrides, _sources(execution_input.Replay) if execution_input.Replay else None
    )
    shipped.check_machines(resolved, settings.spark_image)
    definition = resolved.definition.as_json()
    if dropped and is_own_record(dropped["key"], definition["feature_store"]):
        return _nothing(
            run_id,
            "Superseded",
            f"{dropped['key']!r} holds records of the feature group that runs put dropped rows into "
            "(feature_store.ingest): they start no run, and the next one reads them",
        )
    logger.debug("configuration", run_id=run_id, configuration=resolved.as_json())
    listed_at = datetime.now(UTC)
    reader = strays.reader(definition, _code_hash())
    dropped_at = _dropped_at(dropped) if dropped else None
    without_strays = partial(strays.without, known=runs.strays(), reader=reader)
    newer = _newer_by_name(dropped, dropped_at, resolved.data_prefix, without_strays, definition)
    if newer:
        return _nothing(run_id, "Superseded", newer)
    data = (
        _recorded(execution_input.Replay, listed_at)
        if execution_input.Replay
        else _listing(resolved.data_prefix, listed_at)
    )
    data = without_strays(data)
    quiet_hours = resolved.definition.monitoring.retraining.cooldown_hours
    quiet_seconds, now = settings.quiet_period_seconds, datetime.now(UTC)
    left_to = _reported_elsewhere(dropped, data, now, quiet_seconds)
    if left_to:
        return _nothing(run_id, "NoData", left_to)
    if not data.files:
        where = f"s3://{settings.data_bucket}/{resolved.data_prefix}"
        reason = f"there are no data under {where} ({len(data.ignored)} objects ignored)"
        return _nothing(run_id, "NoData", reason, quiet_hours)
    newer = work.superseded(dropped, dropped_at, work.news(data.files, definition), now, quiet_seconds)
    if newer:
        return _nothing(run_id, "Superseded", newer)
    data = _with_checksums(data, f"s3://{settings.bucket}/runs/{run_id}/problems.txt")
    window = resolved.definition.training.window
    data = work.newest(data, window.newest_files if window else None)
    fingerprint = work.fingerprint(work.news(data.files, definition))
    images = _images(resolved)
    newer_image = _later_image(execution_input, resolved, images)
    if newer_image:
        return _nothing(run_id, "Superseded", newer_image)
    configuration_key = work.configuration_key({**resolved.decisive(), "images": images})
    work_key = work.work_key(fingerprint, configuration_key, _code_hash())
    refused = _claim(work_key, run_id, request.ExecutionArn, execution_input.Trigger.Type)
    if refused:
        return _nothing(run_id, *refused, quiet_hours)
    opened = _open(request, run_id, execution_input, resolved, images, data, fingerprint, configuration_key, reader)
    prefix = f"s3://{settings.bucket}/runs/{run_id}"
    other = champion_files.leave(prefix, opened["champion"], data, definition)
    ingest = ingestion.leave(prefix, data.files, resolved) if not execution_input.Replay else None
    return dataclasses.replace(_work(opened, resolved, CHAMPION_TEST if other else "test"), Ingest=ingest)


def _deployment(run_id: str, number: int) -> Answer:
    """Return the work of the run that has registered a version, with that version; nothing if it is not to serve."""
    reason = deployments.why_not(number)
    if reason:
        return _nothing(run_id, "Superseded", reason)
    answer = deployments.work_of(number, lambda made: asdict(_work(made, shipped.configured({}), "test")))
    return payloads.read(Work, {**answer, "Decision": "Deploy", "DeploymentId": run_id})


def _is_of_monitor(dropped: dict[str, Any]) -> bool:
    """Return whether the monitor has put labelled rows there; anybody else's file in that place is a drop."""
    if not naming.is_labelled_key(dropped["key"], settings.data_prefix):
        return False
    return work.is_of_monitor(versions.head(dropped["key"], dropped.get("version-id") or work.NO_VERSIONS) or {})


def _reported_elsewhere(dropped: dict[str, Any] | None, data: work.Listing, now: datetime, quiet: int) -> str | None:
    """Return which run reports the empty file that was dropped; None when none was. Raises EmptyFileError."""
    empty = work.empty_drop(dropped, data, now, quiet)
    if empty is None:
        return None
    if empty.reported_by:
        return empty.reported_by
    more = f" (like {empty.others} more that came with it)" if empty.others else ""
    raise EmptyFileError(f"the dropped file {(dropped or {})['key']!r} is empty{more}: it has 0 bytes; expected rows")


def _sources(run_id: str) -> dict[str, str]:
    """Return the source of each overridden field of an earlier run.

    A run without a record may have worked on any data.
    """
    known = runs.get(run_id)
    return dict(known["configuration"]["sources"]) if known else {"data_prefix": configuration.RUN}


def _listing(prefix: str, listed_at: datetime) -> work.Listing:
    return work.listing(_versions(prefix), prefix, listed_at)


def _newer_by_name(
    dropped: dict[str, Any] | None,
    dropped_at: datetime | None,
    prefix: str,
    without_strays: Callable[[work.Listing], work.Listing],
    definition: Mapping[str, Any],
) -> str | None:
    """Return why a drop leaves the work to one of the thousand files whose names come next; None if it does not.

    Files of a burst are mostly named in their order, and each starts an execution: nearly all find here, by one
    request, the newer file that works. To list all files for each would take as many requests as their number squared.
    """
    if not (dropped and dropped.get("size")):  # an empty file is reported
        return None
    listed = client("s3").list_object_versions(Bucket=settings.data_bucket, Prefix=prefix, KeyMarker=dropped["key"])
    now = datetime.now(UTC)
    data = without_strays(work.listing(listed.get("Versions", []), prefix, now))
    return work.superseded(dropped, dropped_at, work.news(data.files, definition), now, settings.quiet_period_seconds)


def _recorded(run_id: str, listed_at: datetime) -> work.Listing:
    """Return the data of an earlier run, to the version."""
    bucket, key = settings.bucket, f"runs/{run_id}/manifest.json"
    version = objects.newest_version(bucket, key)
    if version is None:
        raise ConfigurationError(
            f"the execution's input, Replay: got {run_id!r}, which has no manifest; expected the id of a run under "
            f"s3://{bucket}/runs/"
        )
    read = client("s3").get_object(Bucket=bucket, Key=key, VersionId=version)
    try:
        manifest = json.loads(read["Body"].read())
        data, where = work.recorded(manifest, listed_at), manifest.get("Bucket", bucket)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"the execution's input, Replay: s3://{bucket}/{key} is no manifest of a run "
            f"({type(error).__name__}: {error}); put its first version back, or replay another run"
        ) from error
    if where != settings.data_bucket:
        raise ConfigurationError(
            f"the execution's input, Replay: the data of run {run_id} are in s3://{where}; expected a run on data in "
            f"s3://{settings.data_bucket}, which the stack reads (parameter DataBucket)"
        )
    return data


def _dropped_at(dropped: dict[str, Any]) -> datetime | None:
    """Return the time of the drop; None when it was deleted for good.

    An object is listed at once (S3 User Guide, "Amazon S3 data consistency model").
    """
    key, version = dropped["key"], dropped.get("version-id") or work.NO_VERSIONS
    listed = work.drop_time(dropped, _versions(key))
    if listed is None and versions.head(key, version):
        raise FileNotListedError(
            f"the dropped file {key!r} (version {version}) is in the bucket, but the bucket's list does not name it, "
            "so that no run can find it; expected a key that ListObjectVersions answers as it was given"
        )
    return listed


def _images(resolved: Configuration) -> dict[str, str]:
    algorithm = ALGORITHMS[resolved.definition.algorithm]
    if algorithm.image:
        return settings.images(algorithm)
    own = own_images.uri(settings.own_image, resolved.definition.image_digest)
    return {"preprocessor": settings.sklearn_image, "algorithm": own}


def _later_image(started: ExecutionInput, resolved: Configuration, images: Mapping[str, str]) -> str | None:
    """Return why the push of an image starts no run: another came after it, and is the newest one.

    Where the pushed one is gone the newest may be older, and its own push may have been taken for superseded.
    """
    pushed, used = started.Trigger.Image, images["algorithm"].rpartition("@")[2]
    if started.Trigger.Type != "Image" or resolved.definition.image_digest or pushed in (None, used):
        return None
    if ALGORITHMS[resolved.definition.algorithm].image:
        return f"the image {pushed} was pushed, and {resolved.definition.algorithm} does not run in it"
    if not own_images.is_there(settings.own_image, pushed):
        return None
    return f"the image {pushed} was pushed, and the newest is {used}, with which the run of its own push trains"


def _versions(prefix: str) -> Iterator[dict[str, Any]]:
    pages = client("s3").get_paginator("list_object_versions").paginate(Bucket=settings.data_bucket, Prefix=prefix)
    for page in pages:
        yield from page.get("Versions", [])


def _with_checksums(data: work.Listing, problems: str) -> work.Listing:
    """Add the checksum of each file and when it was dropped, which listings do not have; order them by it.

    Raises DataVersionRefusedError, for all files; what is refused of more than REFUSED_SHOWN stands in a text file,
    whose address `problems` is. DataVersionUnavailableError, for some: an S3 that gives nothing is not asked for all.
    """
    looked_at: list[work.DataFile | Exception] = []
    unavailable: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(_with_checksum, file) for file in data.files]:
            looked_at.append(answer := future.result())
            if isinstance(answer, versions.DataVersionUnavailableError):
                unavailable.append(str(answer))
            if len(unavailable) >= REFUSED_SHOWN:
                pool.shutdown(cancel_futures=True)
                break
    files = tuple(file for file in looked_at if isinstance(file, work.DataFile))
    refused = [str(error) for error in looked_at if isinstance(error, versions.DataVersionRefusedError)]
    if len(refused) > REFUSED_SHOWN:
        objects.write_text(problems, "".join(f"{text}\n" for text in refused))
        headline = f"S3 does not hand out {len(refused):,} objects; all of them, and what to do: {problems}; the first:"
        refused = [headline, *refused[:REFUSED_SHOWN]]
    if refused:
        raise versions.DataVersionRefusedError("\n".join(refused))
    if unavailable:
        meanwhile = f"Meanwhile S3 gave {len(files):,} other objects."
        raise versions.DataVersionUnavailableError("\n".join([*unavailable, meanwhile]))
    return dataclasses.replace(data, files=tuple(sorted(files, key=work.age)))


def _with_checksum(file: work.DataFile) -> work.DataFile | Exception:
    try:
        head = versions.head(file.key, file.version_id)
    except (versions.DataVersionRefusedError, versions.DataVersionUnavailableError) as error:
        return error
    # None: deleted for good since it was listed; the snapshot says so
    if not head:
        return file
    dropped_at = work.dropped_at(head, file.last_modified)
    return dataclasses.replace(file, checksum=work.checksum(head), last_modified=dropped_at)


def _code_hash() -> str:
    return settings.code_uri.rsplit("/", 1)[-1]


def _nothing(run_id: str, decision: work.NoWork, reason: str, quiet_hours: float = 0.0) -> Nothing:
    return Nothing(decision, reason, run_id, naming.stem(settings.stack_name, run_id), quiet_hours)


# ---- Claiming the work


def _claim(work_key: str, run_id: str, execution_arn: str, trigger: str) -> tuple[work.NoWork, str] | None:
    """Take the work and return None, or return why it is another run's."""
    for _ in range(CLAIM_ATTEMPTS):
        held = runs.claimed(work_key)
        holder = work.Holder(held["run_id"], runs.status_of_holder(held)) if held else None
        outcome = work.claim(holder, run_id, by_person=trigger == "Manual")
        if outcome == "Own":
            return None
        if holder and outcome == "Duplicate":
            return "Duplicate", f"run {holder.run_id} is working on the same data, configuration and code"
        if holder and outcome == "AlreadyTrained":
            return "AlreadyTrained", work.already_trained(holder, trigger)
        if runs.claim(work_key, run_id, execution_arn, holder.run_id if holder else None):
            return None
    raise ClaimContestedError(f"work {work_key} changed hands {CLAIM_ATTEMPTS} times while run {run_id} asked for it")


# ---- What the run is made of


def _open(
    request: Request,
    run_id: str,
    execution_input: ExecutionInput,
    resolved: Configuration,
    images: Mapping[str, str],
    data: work.Listing,
    fingerprint: str,
    configuration_key: str,
    reader: str,
) -> RunRecord:
    """Write the manifest, the configuration and the record of a run that begins."""
    bucket, serving = settings.bucket, champion.current()
    opened = record.opened(
        run_id=run_id,
        stack=settings.stack_name,
        bucket=bucket,
        data_bucket=settings.data_bucket,
        execution_arn=request.ExecutionArn,
        started_at=request.started_at,
        execution_input=execution_input,
        configuration=resolved,
        images=images,
        data=data,
        fingerprint=fingerprint,
        work_key=work.work_key(fingerprint, configuration_key, _code_hash()),
        configuration_key=configuration_key,
        reader=reader,
        code_uri=settings.code_uri,
        commit=shipped.commit(),
        champion=serving,
        gone_back_from=_gone_back_from(serving, data),
        warm_start=_warm_start(resolved, serving),
        scripts=shipped.scripts(),
    )
    prefix = f"s3://{bucket}/runs/{run_id}"
    objects.write_json(f"{prefix}/manifest.json", {"Bucket": settings.data_bucket, **data.as_manifest()})
    about = {"run_id": run_id, "trigger": execution_input.Trigger.Type, "data": opened["data"]}
    objects.write_json(f"{prefix}/config.json", {**resolved.as_json(), **about})
    runs.put(opened)
    return opened


def _gone_back_from(serving: run_record.Champion | None, data: work.Listing) -> str | None:
    """Return the run whose model a person has replaced by an older one, where all of its data are here again.

    A run that deploys has the turn, and keeps it until the next one does. By hand, that of the replaced model still has
    it; by a rejection in the registry, one that has deployed a version instead of it.
    """
    last = runs.turn()
    if (
        not (serving and last)
        or last["run_id"] == champion.run_of(serving)
        or runs.status_of_holder(last) != "Succeeded"
    ):
        return None
    deployment = (runs.get(last["run_id"]) or {}).get("deployment")
    replaced = deployment["instead_of"] if deployment else str(last["run_id"])
    known, here = champion_files.trained_on(replaced or ""), {(file.key, file.content) for file in data.files}
    return replaced if known and known <= here else None


def _work(opened: RunRecord, resolved: Configuration, champion_test: str) -> Work:
    run_id, images, files = opened["run_id"], opened["images"], opened["data"]["file_count"]
    prefix = f"s3://{settings.bucket}/runs/{run_id}"
    of_code = own_code.of_run(resolved, settings.code_uri, prefix)
    definition = resolved.definition
    input_mode = definition.instances.train.input_mode
    of_algorithm = algorithm_requests.of_algorithm(ALGORITHMS[definition.algorithm], input_mode)
    return Work(
        Decision="Train",
        Reason=f"data under {resolved.data_prefix!r}: {files} file(s)",
        RunId=run_id,
        Name=naming.stem(settings.stack_name, run_id),
        Prefix=prefix,
        CodeUri=settings.code_uri,
        Model=resolved.model,
        Problem=resolved.definition.problem,
        TargetTransform="classes" if resolved.definition.classes else resolved.definition.target_transform,
        Algorithm={
            "Name": resolved.definition.algorithm,
            "Image": images["algorithm"],
            "ExplainImage": explain_image(resolved.definition.algorithm, images),
            "HyperParameters": dict(resolved.hyperparameters),
            **of_code,
            "Serving": {**of_algorithm["Serving"], **of_code["Serving"]},
            "Sets": of_algorithm["Sets"],
            "Batch": of_algorithm["Batch"],
            "IsAlone": of_algorithm["IsAlone"],
        },
        Tuning=_tuning(run_id, resolved, opened.get("warm_start")),
        Instances=cast(payloads.InstancesPayload, resolved.instances(settings.kms_key_arn)),
        Spot={**resolved.spot(), **own_code.checkpoints(resolved, prefix)},
        NetworkConfig=settings.network(),
        Vpc=settings.vpc(),
        Gate=payloads.gate_out(resolved.gate),
        Withheld=resolved.withheld_because,
        Champion=opened["champion"],
        ChampionTest=f"{prefix}/{champion_test}/",
        Lineage=metadata.of_run(opened),
    )


def _tuning(run_id: str, resolved: Configuration, begun: run_record.WarmStart | None) -> payloads.TuningPayload | None:
    config = resolved.tuning_job()
    if config is None:
        return None
    parents = [{"HyperParameterTuningJobName": begun["parent"]}] if begun and begun["parent"] else []
    warm_start = {"ParentHyperParameterTuningJobs": parents, "WarmStartType": "TransferLearning"}
    return {
        "Name": naming.tuning_stem(settings.tuning_prefix, run_id),
        "Config": config,
        "Definition": own_code.of_trials(resolved),
        "WarmStart": {"WarmStartConfig": warm_start} if parents else {},
    }


def _warm_start(resolved: Configuration, serving: run_record.Champion | None) -> run_record.WarmStart | None:
    """Return the tuning job of the model in service, or why a search cannot begin with it; None where none should."""
    config = resolved.tuning_job()
    if config is None or not resolved.definition.tuning.warm_start:
        return None
    if serving is None:
        return {"parent": None, "reason": "no model is in service"}
    run_id = champion.run_of(serving)
    known = runs.get(run_id)
    name = known["tuning"]["job"] if known and known.get("tuning") else None
    if name is None:
        return {"parent": None, "reason": f"run {run_id}, which made the model in service, has no record of a search"}
    described = if_there(client("sagemaker").describe_hyper_parameter_tuning_job, HyperParameterTuningJobName=name)
    why = trials.obstacle(described, config, resolved.hyperparameters) if described else "it is gone"
    return {"parent": None, "reason": f"not with {name}: {why}"} if why else {"parent": name, "reason": None}
