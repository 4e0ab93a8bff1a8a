"""Erasing the rows of somebody from a stack's bucket: data, captured traffic and runs, in all versions.

Shows what it would change, and changes it with --yes. Then it says what stays, and until when. It may be interrupted
and started again; when it finds nothing any more, nothing is left.

data      an object that holds such rows is replaced by one without them, and each version that holds some is deleted
          for good; an object of which no row is left is deleted. Older versions without such rows stay
captures  the same, request by request; these and labels (ground-truth/) also by the id of the inference, where the
          column is the key of the definition (split.key)
runs      the copies of the data as above; a run is known by the copies that its list names, also where a copy has
          expired but not the file that it was made of. What a run has made of them row by row (DERIVED) is deleted
          whole. What was learned from it (LEARNED) is deleted once the run's model is gone, and so is its version in
          the model registry; until then `erased.json` in its folder remembers it
          One that has come with its version from another environment has no list of copies: it is known by the rows
          of its own (ROWS), or a problem that quotes the value
windows   what the monitor made of such captures and labels goes whole; the verdict stays, without examples
          (judged_windows)

Where rows stand is decided by without_rows. The credentials are the caller's: the stack's roles cannot do this.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

import boto3
from botocore.exceptions import ClientError

from perennial.data.broken import counted
from perennial.data.contract import Contract
from perennial.data.copies import FOLDER, copy_name
from perennial.model import definition
from perennial.model.definition import Definition
from perennial.runs import naming
from perennial.runs.keeping import SETS, VERIFICATION
from perennial.runs.work import DROPPED_AT
from perennial.words import printable, quoted
from perennial_cli import deployments, judged_windows, stacks
from perennial_cli import versions as registry
from perennial_cli.console import CommandError, show_json, working
from perennial_cli.parts import LARGEST, headers_of
from perennial_cli.without_rows import Counts, UnreadableError, Wanted, copy_captures, copy_table

DERIVED = (*SETS, VERIFICATION, "report/problems.txt", "approval.html", "approval.json", "report.html")
OWN = ("code/", deployments.PREFIX)  # what a deployment leaves: no rows of anybody
LEARNED = ("model/", "preprocessor/", "serving/", "baselines/", "champion/", "rows/")
ROWS = ("evaluation/predictions.csv", "labels/", "quarantine/", "test/", VERIFICATION)
PROBLEMS = "report/problems.txt"
RECORD = "run.json"
MARK = "erased.json"
COPIES_OF_RUN = "input.manifest"
# What a file that is scored leaves beside its rows; records and answers go with the rest of the folder after some days.
OF_BATCH = re.compile(r"batch/(runs/|work/[^/]+/(records|predictions|result/(report\.(json|html)|capture)))")
REPORTS = (".report.html", ".report.json")  # in the order of the keys
REPLACED = ("PreconditionFailed", "ConditionalRequestConflict")  # of a PutObject with If-Match
MOST_AT_ONCE = 1000  # Amazon S3 API Reference, DeleteObjects
ERRORS_NAMED = 3
MOST_LINES = 20
SHOWN_CHARACTERS = 2_000
LONGEST_NAME = 200  # of a column; what is longer stands in a file that is no table
BY_RUN = "gate.minimum_improvement"  # under deployable_overrides: a run's input may ask for less, and deploy
OUTPUTS = ("BucketName", "DataBucketName", "StateMachineArn", "MonitorStateMachineArn")
PARAMETERS = ("ModelName", "DataPrefix", "ModelsToKeep", "CaptureDays", "LogRetentionDays")


class ErasureError(CommandError):
    """The rows cannot be erased, or not all of them; the text says why, and what to do."""


@dataclass(frozen=True)
class Stack:
    """A stack: its bucket, the contract of its files, and how long its settings keep what."""

    name: str
    bucket: str
    data_bucket: str
    state_machine_arn: str
    monitor_arn: str
    parameters: dict[str, str]
    definition: Definition

    @cached_property
    def contract(self) -> Contract:
        """The data contract of the definition."""
        return Contract.from_definition(self.definition.as_json())

    def wanted(self, column: str, value: str) -> Wanted:
        """Return whose rows these are: a column of the definition has all of its names, any other its own.

        The only column of the key is what captured requests and their labels have for an id (monitoring.labelled).
        """
        named = Wanted((column,), value)
        mine = [known for known in self.contract.columns if named.among(known.names_in_files)]
        is_a_number = any(known.type in ("integer", "float") for known in mine)
        is_an_id = self.contract.key in {(known.name,) for known in mine}
        names = [column, *(name for known in mine for name in known.names_in_files)]
        return Wanted((*names, *(["inference_id"] if is_an_id else [])), value, is_a_number, is_an_id)


@dataclass
class Hit:
    """An object that holds rows: each version that does, and the newest as it is now, if that does too.

    others  how many versions stay
    """

    key: str
    versions: list[str] = field(default_factory=list)
    others: int = 0
    current: dict[str, Any] | None = None
    counts: Counts = field(default_factory=Counts)
    times: set[datetime | None] = field(default_factory=set)  # when such requests were made, of all versions

    def doomed(self) -> Iterator[dict[str, Any]]:
        """Yield the versions that hold rows, as S3 lists them."""
        newest = self.current["VersionId"] if self.current else None
        yield from ({"Key": self.key, "VersionId": one, "IsLatest": one == newest} for one in self.versions)


@dataclass
class Findings:
    """All that the bucket holds of such rows."""

    hits: list[Hit] = field(default_factory=list)
    elsewhere: list[Hit] = field(default_factory=list)  # in a bucket that is not the stack's
    marked: set[str] = field(default_factory=set)
    have_read: set[str] = field(default_factory=set)  # runs whose list has a copy that holds rows
    copies: set[str] = field(default_factory=set)  # names, also of what is gone, that hold rows
    searched: set[str] = field(default_factory=set)  # the same of all that were looked into
    unknown: dict[str, int] = field(default_factory=dict)  # runs, and how many of their copies and files are gone
    windows: set[str] = field(default_factory=set)  # that were judged by such rows
    objects: int = 0
    captures: set[str] = field(default_factory=set)  # that are there, whatever they hold
    nameless: list[str] = field(default_factory=list)  # that do not name the column, or not in each request
    unread: dict[str, str] = field(default_factory=dict)  # that could not be looked into, and why

    has_column: bool = False  # whether any object names the column
    names: set[str] = field(default_factory=set)  # columns of tables that do not name it

    @property
    def runs(self) -> set[str]:
        """The runs that have worked on such rows."""
        return self.marked | self.have_read


def _copy_of(key: str, version: Mapping[str, Any]) -> str:
    """Return by which name the lists of runs know a version: a copy by its own, a file by that of its copy."""
    if key.startswith(FOLDER):
        return key.removeprefix(FOLDER)
    return copy_name({"Key": key, "VersionId": version["VersionId"], "ETag": version["ETag"].strip('"')})


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Raise ErasureError with the name of an object when S3 refuses a change of it."""
    try:
        yield
    except ClientError as error:
        why = "it was replaced meanwhile" if error.response["Error"]["Code"] in REPLACED else str(error)
        raise ErasureError(f"{what}: {why}. What was erased until now is erased; start again to go on") from error


def _in_portions(hits: Iterable[Hit]) -> Iterator[list[Hit]]:
    """Yield objects together whose versions are deleted at once: each with all of its own."""
    some, versions = list[Hit](), 0
    for hit in hits:
        if some and versions + len(hit.versions) > MOST_AT_ONCE:
            yield some
            some, versions = [], 0
        some.append(hit)
        versions += len(hit.versions)
    if some:
        yield some


def _undeleted(bucket: str, errors: Sequence[Any]) -> str:
    """Return what S3 says of versions that it has not deleted."""
    named = [
        f"s3://{bucket}/{one.get('Key')} (version {one.get('VersionId')}): {one.get('Code')}: {one.get('Message')}"
        for one in errors[:ERRORS_NAMED]
    ]
    more = [f"and {len(errors) - ERRORS_NAMED:,} more"] if len(errors) > ERRORS_NAMED else []
    what = f"S3 has not deleted {counted(len(errors), 'version')}"
    return f"{what}: {'; '.join([*named, *more])}. What was erased until now is erased; start again to go on"


class Eraser:
    """Looks for rows in a bucket, and erases them."""

    def __init__(self, stack: Stack, wanted: Wanted) -> None:
        self.stack, self._wanted = stack, wanted
        self._s3 = boto3.client("s3")

    def look(self, step: Callable[[str], None]) -> Findings:
        """Look into every version of every object that may hold rows, and name each to `step`."""
        looked, manifests, probes = Findings(), list[str](), list[str]()
        folders, lists = dict[str, list[list[dict[str, Any]]]](), dict[str, list[dict[str, Any]]]()
        own, data = self.stack.bucket, self.stack.data_bucket
        before = ""
        for key, versions in groupby(self._versions(""), itemgetter("Key")):
            step(key)
            is_report = key in [before + ending for ending in REPORTS]
            is_no_table, before = bool(OF_BATCH.match(key)) or is_report, before if is_report else key
            run_id, _, inside = key.removeprefix("runs/").partition("/")
            in_run = key.startswith("runs/")
            if in_run and inside == MARK:
                looked.marked.add(run_id)
            window_id, of_window = judged_windows.parts(key)
            if window_id and not judged_windows.is_table(of_window):
                self._look_into_window(window_id, list(versions), looked)
                manifests += [key] if key.endswith(judged_windows.MANIFEST) else []
                probes += [key] if of_window == judged_windows.PROBE else []
            elif in_run:
                if inside == COPIES_OF_RUN:
                    lists[run_id] = list(versions)
                elif inside.startswith((*ROWS, PROBLEMS)):
                    folders.setdefault(run_id, []).append(list(versions))
            elif not (key.startswith(OWN) or is_no_table):
                self._look_into(own, key, list(versions), looked, looked.hits)
        dropped = self._versions(self.stack.parameters["DataPrefix"], data) if data != own else ()
        for key, versions in groupby(dropped, itemgetter("Key")):
            step(key)
            self._look_into(data, key, list(versions), looked, looked.elsewhere)
        for run_id, listed in lists.items():
            self._look_into_run(run_id, listed, looked)
        for run_id in folders.keys() - lists.keys():
            self._look_into_promoted(run_id, folders[run_id], looked)
        looked.windows |= self._windows_judged_by(looked, manifests)
        looked.windows |= self._windows_probed_by(looked.runs, probes)
        return looked

    def left_of(self, run_id: str, *, with_learned: bool) -> list[dict[str, Any]]:
        """Return what of a run goes whole: each version of each object that was made of its rows."""
        folder, parts = f"runs/{run_id}/", (*DERIVED, *(LEARNED if with_learned else ()))
        return [version for version in self._versions(folder) if version["Key"].removeprefix(folder).startswith(parts)]

    def delete_of_run(self, run_id: str, *, with_learned: bool) -> None:
        """Delete what was made of a run's rows, and remember that, as long as something learned from them is left."""
        mark = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "what": "rows of this run's data were erased"}
        self._s3.put_object(Bucket=self.stack.bucket, Key=f"runs/{run_id}/{MARK}", Body=json.dumps(mark).encode())
        self.delete(self.left_of(run_id, with_learned=with_learned))

    def made_of_window(self, window_id: str) -> list[dict[str, Any]]:
        """Return what of a window goes: each version of what was made of its records, and of a verdict that changes."""
        folder = f"monitoring/{window_id}/"
        every = [*self._versions(folder)]
        verdicts = [one for one in every if one["Key"] == folder + judged_windows.VERDICT]
        made = [one for one in every if judged_windows.parts(one["Key"])[1].startswith(judged_windows.MADE)]
        return [*made, *(one for one in verdicts if self._without(one) is not None)]

    def delete_of_window(self, window_id: str) -> None:
        """Put the verdict without examples in its place, and delete what was made of the window's records."""
        made = self.made_of_window(window_id)
        for version in made:
            if version["IsLatest"] and (left := self._without(version)) is not None:
                with _naming(f"s3://{self.stack.bucket}/{version['Key']}"):
                    self._s3.put_object(
                        Bucket=self.stack.bucket, Key=version["Key"], Body=left, IfMatch=version["ETag"],
                        ContentType="application/json",
                    )  # fmt: skip
        self.delete(made)

    def _without(self, version: dict[str, Any]) -> bytes | None:
        """Return a verdict as it may stay; None of what is none, and where it is so already."""
        if not version["Key"].endswith("/" + judged_windows.VERDICT):
            return None
        body = self._body(version)
        left = judged_windows.without(body, self._wanted)
        return None if left == body else left

    def _body(self, version: dict[str, Any]) -> bytes:
        read = self._s3.get_object(Bucket=self.stack.bucket, Key=version["Key"], VersionId=version["VersionId"])
        return bytes(read["Body"].read())

    def erase(self, hits: Iterable[Hit]) -> Iterator[str]:
        """Put what is left of objects in their places, then delete each version that holds rows; yield the keys.

        Raises ErasureError.
        """
        for some in _in_portions(hits):
            for hit in some:
                if hit.current:
                    self._replace(hit.key, hit.current, with_mark=bool(hit.others))
            self.delete([version for hit in some for version in hit.doomed()])
            yield from (hit.key for hit in some)

    def delete(self, versions: Iterable[Mapping[str, Any]]) -> None:
        """Delete versions for good, those that were the newest last: the one before a deleted one would become that.

        Raises ErasureError: some cannot be deleted, which S3 tells inside of an answer that is none of an error.
        """
        bucket, ranked = self.stack.bucket, sorted(versions, key=itemgetter("IsLatest"))
        for _, same in groupby(ranked, itemgetter("IsLatest")):
            every = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in same]
            for first in range(0, len(every), MOST_AT_ONCE):
                some: Any = {"Objects": every[first : first + MOST_AT_ONCE], "Quiet": True}
                with _naming(f"s3://{bucket}/{some['Objects'][0]['Key']} and what follows it"):
                    answer = self._s3.delete_objects(Bucket=bucket, Delete=some)
                if errors := answer.get("Errors"):
                    raise ErasureError(_undeleted(bucket, errors))

    def forget(self, run_id: str) -> None:
        """Take the mark of a run away, of which nothing is left that was learned from the rows."""
        self.delete(self._versions(f"runs/{run_id}/{MARK}"))

    def readers(self, looked: Findings) -> set[str]:
        """Return the runs whose lists name a copy that held rows; also those that began since."""
        if not looked.copies:
            return set()
        now = Findings(copies=looked.copies)
        for key, versions in groupby(self._versions("runs/"), itemgetter("Key")):
            run_id, _, inside = key.removeprefix("runs/").partition("/")
            if inside == COPIES_OF_RUN:
                self._look_into_run(run_id, list(versions), now)
        return now.have_read

    def _look_into_run(self, run_id: str, lists: Sequence[dict[str, Any]], looked: Findings) -> None:
        """Note a run of which a list names a copy that holds rows, or one of which nothing is left to look into."""
        copies, lost = looked.copies, set[str]()
        for version in lists:
            try:
                _, *names = json.loads(self._body(version))
                looked.have_read |= {run_id for name in names if name in copies}
                lost |= set(names) - looked.searched
            except (ValueError, TypeError, ClientError) as error:
                name = f"s3://{self.stack.bucket}/{version['Key']} (version {version['VersionId']})"
                looked.unread[name] = f"no list of copies ({error})"
                looked.have_read |= {run_id} if copies else set()  # nobody could tell, once the copies are erased
        if lost:
            looked.unknown[run_id] = len(lost)

    def _look_into_promoted(self, run_id: str, objects: Sequence[list[dict[str, Any]]], looked: Findings) -> None:
        """Note a run of another environment of which the folder holds such rows."""
        if not json.loads(self._newest(f"runs/{run_id}/{RECORD}") or b"{}").get("promotions"):
            return
        here = Findings()
        for versions in objects:
            key = versions[0]["Key"]
            if not key.endswith(PROBLEMS):
                self._look_into(self.stack.bucket, key, versions, here, here.hits)
            elif any(quoted(self._wanted.value) in self._body(one).decode("utf-8", "replace") for one in versions):
                here.have_read.add(run_id)
        looked.objects, looked.has_column = looked.objects + here.objects, looked.has_column or here.has_column
        looked.unread |= here.unread
        looked.names |= here.names
        if here.hits or here.have_read:
            looked.have_read.add(run_id)
        elif not here.has_column:
            looked.nameless.append(f"s3://{self.stack.bucket}/runs/{run_id}/, which came from another environment")

    def _look_into_window(self, window_id: str, versions: Sequence[dict[str, Any]], looked: Findings) -> None:
        """Note a window of which a document tells the value."""
        looked.objects += 1
        for version in versions:
            key = version["Key"]
            try:
                inside = judged_windows.parts(key)[1]
                if judged_windows.tells(inside) and judged_windows.names_it(self._body(version), self._wanted):
                    looked.windows.add(window_id)
            except (UnreadableError, ClientError) as error:
                looked.unread[f"s3://{self.stack.bucket}/{key} (version {version['VersionId']})"] = str(error)

    def _windows_judged_by(self, looked: Findings, manifests: Sequence[str]) -> set[str]:
        """Return the windows that rows, captures or labels belong to."""
        judged_by = {judged_windows.parts(hit.key)[0] for hit in looked.hits}
        if any(hit.key.startswith(("capture/", "ground-truth/")) for hit in looked.hits):
            for window_id, listing in groupby(manifests, lambda key: judged_windows.parts(key)[0]):
                bodies = filter(None, map(self._newest, listing))
                keys = set[str]().union(*map(judged_windows.listed, bodies))
                judged_by |= {window_id} if self._is_judged_by(window_id, keys, looked) else set()
        return judged_by - {""}

    def _is_judged_by(self, window_id: str, keys: set[str], looked: Findings) -> bool:
        """Return whether such requests are of a window, or labels that its job has read may have been of its requests.

        Whose labels they were is known by the requests with their ids, while all captures of the window are there.
        """
        hits = [hit for hit in looked.hits if hit.key in keys]
        times = set[datetime | None]().union(*(hit.times for hit in hits))
        captures = {key for key in keys if key.startswith("capture/")}
        has_labels = any(hit.key not in captures for hit in hits)
        if has_labels and not (self._wanted.is_an_id and captures <= looked.captures):
            return True
        verdict = self._newest(f"monitoring/{window_id}/{judged_windows.VERDICT}") if times else None
        try:
            return judged_windows.holds(judged_windows.span(verdict) if verdict else None, times)
        except UnreadableError:  # which is told as such
            return True

    def _newest(self, key: str) -> bytes | None:
        """Return an object as it is now; None where there is none."""
        try:
            return bytes(self._s3.get_object(Bucket=self.stack.bucket, Key=key)["Body"].read())
        except self._s3.exceptions.NoSuchKey:
            return None

    def _windows_probed_by(self, runs: set[str], probes: Sequence[str]) -> set[str]:
        """Return the windows for which the endpoint was asked about rows of these runs."""
        if not runs:
            return set()
        read = ((key, self._newest(key)) for key in probes)
        return {judged_windows.parts(key)[0] for key, body in read if body and judged_windows.probed(body) in runs}

    def _look_into(
        self, bucket: str, key: str, versions: Sequence[dict[str, Any]], looked: Findings, hits: list[Hit]
    ) -> None:
        looked.objects += 1
        of_captures = bucket == self.stack.bucket and key.startswith("capture/")
        looked.captures |= {key} if of_captures else set()
        hit, unsearched, nameless = Hit(key), False, 0
        for version in versions:
            looked.searched.add(copy := _copy_of(key, version))
            if not version["Size"]:
                continue
            try:
                with tempfile.TemporaryDirectory(prefix="erase-") as folder:
                    counts = self._copied(bucket, key, version["VersionId"], Path(folder))
            except (UnreadableError, ClientError) as error:
                looked.unread[f"s3://{bucket}/{key} (version {version['VersionId']})"] = str(error)
                continue
            unsearched = unsearched or not counts.has_column
            nameless = max(nameless, counts.nameless) if of_captures else 0
            hit.times |= counts.times
            looked.has_column = looked.has_column or counts.has_column
            looked.names.update(name for name in counts.others if len(name) <= LONGEST_NAME)
            if counts.erased:
                looked.copies.add(copy)
                hit.versions.append(version["VersionId"])
                hit.counts = counts if version["IsLatest"] or not hit.counts.erased else hit.counts
                hit.current = version if version["IsLatest"] else hit.current
        hit.others = len(versions) - len(hit.versions)
        if hit.versions:
            hits.append(hit)
        if nameless:
            looked.nameless.append(f"s3://{bucket}/{key}: {counted(nameless, 'request')}")
        elif unsearched and not hit.versions:
            looked.nameless.append(f"s3://{bucket}/{key}")

    def _copied(self, bucket: str, key: str, version_id: str, folder: Path) -> Counts:
        """Leave a version without the rows as `target` in a folder."""
        source, target = folder / "source", folder / "target"
        with source.open("wb") as file:
            read = self._s3.get_object(Bucket=bucket, Key=key, VersionId=version_id)
            shutil.copyfileobj(read["Body"], file, 1 << 20)
        contract = self.stack.contract
        if bucket == self.stack.bucket and key.startswith("capture/"):
            return copy_captures(source, target, self._wanted, [column.name for column in contract.features])
        return copy_table(source, target, self._wanted, contract.form.encoding, contract.form.delimiter or "")

    def _replace(self, key: str, version: dict[str, Any], *, with_mark: bool) -> None:
        """Put what is left in the place of a version; where nothing is, a delete marker, if it has to hide others."""
        bucket = self.stack.bucket
        with tempfile.TemporaryDirectory(prefix="erase-") as folder:
            counts = self._copied(bucket, key, version["VersionId"], Path(folder))
            if counts.rows == counts.erased:
                if with_mark:
                    self._s3.delete_object(Bucket=bucket, Key=key)
                return
            if (size := (Path(folder) / "target").stat().st_size) > LARGEST:
                raise ErasureError(
                    f"s3://{bucket}/{key} has {size:,} bytes without the rows; expected at most {LARGEST:,}, which is "
                    "what S3 takes at once. Drop it in parts, delete it, and start again"
                )
            head = self._s3.head_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
            dropped_at = {DROPPED_AT: version["LastModified"].isoformat()}  # under a key the last file counts
            metadata: Any = {**headers_of(head), "Metadata": {**dropped_at, **head.get("Metadata", {})}}
            with _naming(f"s3://{bucket}/{key}"), (Path(folder) / "target").open("rb") as body:
                self._s3.put_object(Bucket=bucket, Key=key, Body=body, IfMatch=version["ETag"], **metadata)

    def _versions(self, prefix: str, bucket: str = "") -> Iterator[dict[str, Any]]:
        pages = self._s3.get_paginator("list_object_versions").paginate(
            Bucket=bucket or self.stack.bucket, Prefix=prefix
        )
        for page in pages:
            yield from (dict(version) for version in page.get("Versions", []))


def find_stack(name: str) -> Stack:
    """Return what has to be known of a stack. Raises ErasureError, NoStackError."""
    described = stacks.find(name)
    outputs = {item["OutputKey"]: item["OutputValue"] for item in described.get("Outputs", [])}
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in described.get("Parameters", [])}
    if "CodeUri" not in outputs:
        raise ErasureError(
            f"the stack {name} has no output CodeUri: it is no stack of Perennial, or not deployed whole"
        )
    missing = [needed for needed in (*OUTPUTS, *PARAMETERS) if needed not in {**outputs, **parameters}]
    if missing:
        raise _older(name, f"it has no {', '.join(missing)}")
    bucket, key = outputs["BucketName"], f"models/{parameters['ModelName']}/model.yaml"
    s3, code = boto3.client("s3"), f"{outputs['CodeUri']}/code.zip"
    try:
        archive = s3.get_object(Bucket=bucket, Key=code.removeprefix(f"s3://{bucket}/"))["Body"].read()
    except s3.exceptions.NoSuchKey as error:
        raise _older(name, f"{code}, which says how its data are read, is not there") from error
    text = zipfile.ZipFile(io.BytesIO(archive)).read(key).decode()
    arns = outputs["StateMachineArn"], outputs["MonitorStateMachineArn"]
    return Stack(name, bucket, outputs["DataBucketName"], *arns, parameters, definition.parse(text, key))


def _older(stack: str, why: str) -> ErasureError:
    return ErasureError(
        f"the stack {stack} was deployed by an earlier version: {why}. Nothing was erased. Deploy it first (AWS: make "
        f"deploy, with its ENV; the laptop: make deploy-local, with its MODEL and STACK={stack}); then start again"
    )


def require_rest(stack: Stack) -> None:
    """Raise ErasureError while a run or the monitor works: it may copy the rows after they have been looked for."""
    states = boto3.client("stepfunctions")
    for arn, what in ((stack.state_machine_arn, "run(s)"), (stack.monitor_arn, "monitor(s)")):
        running = states.list_executions(stateMachineArn=arn, statusFilter="RUNNING")["executions"]
        if running:
            raise ErasureError(
                f"{len(running)} {what} of {stack.name} are working, such as {running[0]['executionArn']}, and may "
                "copy the rows meanwhile. Wait until they have ended, or stop them; one that waits for an approval "
                "ends when its version is rejected (perennial versions, perennial reject). Then start again"
            )


def require_unprotected(stack: Stack, looked: Findings, in_use: set[str]) -> None:
    """Raise ErasureError when the bucket's policy keeps what was learned from rows: before anything is erased."""
    held = sorted(looked.runs - in_use)
    if held and stack.parameters.get("ProtectArtefacts") == "yes":
        raise ErasureError(
            f"nothing was erased: {stack.name} is deployed with ProtectArtefacts=yes, by which nobody deletes what has "
            f"served, and the models of {', '.join(held)} have learned from such rows. Deploy with "
            "ProtectArtefacts=no, erase, and deploy with yes again"
        )


def runs_with_model(stack: str) -> set[str]:
    """Return the ids of the stack's runs whose model exists."""
    pages = boto3.client("sagemaker").get_paginator("list_models").paginate(NameContains=stack)
    return {run for page in pages for item in page["Models"] if (run := naming.run_of(stack, item["ModelName"]))}


def run_in_service(stack: str) -> str | None:
    """Return the id of the run whose model serves, as Parameter Store names it; None where none does."""
    return stacks.exported(stack, "run")


def not_known(looked: Findings, eraser: Eraser) -> dict[str, int]:
    """Return the runs of which something is left, but of whose files some are not; and how many of those there are."""
    unknown = sorted(looked.unknown.keys() - looked.runs)
    return {run_id: looked.unknown[run_id] for run_id in unknown if eraser.left_of(run_id, with_learned=True)}


def changes(looked: Findings, in_use: set[str], eraser: Eraser, *, yes: bool) -> Iterator[str]:
    """Yield what is to be changed; without `yes` what would be."""
    be = "is to be" if yes else "would be"
    for run_id in sorted(looked.runs):
        versions = eraser.left_of(run_id, with_learned=run_id not in in_use)
        if versions:
            learned = "" if run_id in in_use else ", and what was learned, as no model of it is there"
            what = f"its sets and predictions{learned} ({counted(len(versions), 'object version')})"
            yield f"  runs/{run_id}/: {be} deleted: {what}"
    for window_id in sorted(looked.windows):
        versions = eraser.made_of_window(window_id)
        if versions:
            what = f"report, statistics and examples ({counted(len(versions), 'object version')})"
            yield f"  monitoring/{window_id}/: {be} deleted: {what}"
    for hit in looked.hits:
        unit = "request" if hit.key.startswith("capture/") else "row"
        older = len(hit.versions) - bool(hit.current)
        more = f"; and deleted for good: {counted(older, 'older version')} with such rows" if older else ""
        yield f"  {hit.key}: {be} erased: {hit.counts.erased:,} of {counted(hit.counts.rows, unit)}{more}"


def doubts(looked: Findings, eraser: Eraser) -> Iterator[str]:
    """Yield what the command cannot erase, and what was not searched."""
    if unknown := not_known(looked, eraser):
        yield "Trained on files of which neither copy nor original is there any more, expired (CopiesDays) or deleted;"
        yield "nobody can tell whether they had such rows. What was learned goes with runs/<run>/, if you delete that:"
        yield from _some([f"run {run_id}: {counted(files, 'file')}" for run_id, files in unknown.items()])
    if looked.elsewhere:
        yield "In a bucket that the stack only reads; take the rows out there first, or a run takes them in again:"
        yield from _some([f"{hit.key}: {hit.counts.erased:,} of {hit.counts.rows:,} rows" for hit in looked.elsewhere])
    if looked.nameless:
        yield f"Without the column: {counted(len(looked.nameless), 'object')}; nobody can tell whose rows they hold"
        yield from _some(looked.nameless)
    if looked.unread:
        unread = counted(len(looked.unread), "object version")
        yield f"Not looked into: {unread}; correct or delete them, and start again"
        yield from _some([f"{name}: {why}" for name, why in looked.unread.items()])


def _some(lines: Sequence[str]) -> Iterator[str]:
    yield from (f"  {line}" for line in lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        yield f"  ... and {len(lines) - MOST_LINES:,} more"


def staying(stack: Stack, trained: Sequence[str]) -> Iterator[str]:
    """Yield what the command does not take away, and until when it stays."""
    days = stack.parameters
    yield "What stays, and until when:"
    for run_id in trained:
        yield f"  the model of run {run_id}, its preprocessor, its baselines and hashes of its rows: until a later run"
        yield f"    deletes the model, as the newest {days['ModelsToKeep']} are kept; start this command again then"
    yield f"  captured requests that do not have the column: until {days['CaptureDays']} days after they were made"
    yield "  single values, shortened, that broke the data contract, were new to the model or moved: in run.json and"
    yield "    report.json of runs/*/, run table (its backups: 35 days) and mails until somebody deletes them; in"
    yield f"    histories of executions 90 days; in logs {days['LogRetentionDays']} days, in those of jobs"
    yield "    (/aws/sagemaker/*) as the account has set"
    yield "  what versions took along to other environments: erase there, too. What has come here from one (perennial"
    yield "    show: promoted) is found by its test records; rows that only trained it are not: delete runs/<run>/"
    yield "  what is not in this bucket: copies that people have, and where the files came from"


def erase(stack: Stack, column: str, value: str, *, yes: bool, as_json: bool = False) -> int:
    """Show and, if so asked, do it; return 1 when some of it is for others to do."""
    if stack.definition.series:
        raise CommandError(
            "a series is erased as a whole: drop its file again without it, delete the versions before "
            "(docs/add-a-model.md, forecasting), and start a run; rows of tables are what this command erases"
        )
    if yes:
        require_rest(stack)
    eraser, in_use = Eraser(stack, stack.wanted(column, value)), runs_with_model(stack.name)
    with working("looking") as step:
        looked = eraser.look(step)
    if yes:
        require_unprotected(stack, looked, in_use)
    unknown = unknown_column(stack, column, looked)
    code = 1 if looked.unread or looked.elsewhere or unknown else 0
    if as_json:
        document = _document(looked, in_use, eraser)
        erased = list(_do(eraser, looked, in_use)) if yes else []
        show_json({"stack": stack.name, "column": column, "value": value, "erased": erased, **document})
        _show(*unknown, file=sys.stderr)
        return code
    _show(f"Rows with {column} = {value} in s3://{stack.bucket}, looked for in {counted(looked.objects, 'object')}:")
    changed = list(changes(looked, in_use, eraser, yes=yes))
    if changed and not yes:
        _show("This is a look, which changes nothing: with --yes (make: YES=1)")
    _show(*(changed or ["  none"]), *doubts(looked, eraser))
    if yes:
        for key in _do(eraser, looked, in_use):
            _show(f"erased: {key}")
    _show(*staying(stack, sorted(looked.runs & in_use)))
    if changed:
        _show(_next(stack, looked) if yes else "Nothing was changed. To change it: --yes (make: YES=1)")
    if (yes or not changed) and (run_id := run_in_service(stack.name)) in looked.runs:
        _show(*_how_it_is_replaced(stack, str(run_id)))
    _show(*unknown, file=sys.stderr)
    return code


def _document(looked: Findings, in_use: set[str], eraser: Eraser) -> dict[str, Any]:
    """Return what holds such rows, for machines: as it was before anything was erased."""
    runs = {run_id: eraser.left_of(run_id, with_learned=run_id not in in_use) for run_id in sorted(looked.runs)}
    windows = {window_id: eraser.made_of_window(window_id) for window_id in sorted(looked.windows)}
    return {
        "objects_looked_into": looked.objects,
        "objects": [_hit(hit) for hit in looked.hits],
        "runs": {run_id: len(versions) for run_id, versions in runs.items()},
        "windows": {window_id: len(versions) for window_id, versions in windows.items()},
        "models_that_stay": sorted(looked.runs & in_use),
        "elsewhere": [_hit(hit) for hit in looked.elsewhere],
        "without_the_column": looked.nameless,
        "not_looked_into": looked.unread,
        "files_gone": not_known(looked, eraser),
    }


def _hit(hit: Hit) -> dict[str, Any]:
    return {"key": hit.key, "versions": hit.versions, "rows": hit.counts.rows, "with_them": hit.counts.erased}


def unknown_column(stack: Stack, column: str, looked: Findings) -> list[str]:
    """Return the error where nothing has a column of that name, with the nearest that something has; else nothing."""
    known = {name for one in stack.contract.columns for name in (one.name, *one.names_in_files)}
    if looked.has_column or Wanted((column,), "").among(sorted(known)):
        return []
    near = get_close_matches(column, sorted(known | looked.names), n=1)
    meant = f"did you mean {quoted(near[0])}?" if near else "expected a column of the files"
    where = f"nor does models/{stack.parameters['ModelName']}/model.yaml"
    return [f"error: no file of s3://{stack.bucket} has a column {quoted(column)}, {where}: {meant}"]


def _show(*lines: str, file: TextIO | None = None) -> None:
    """Print lines; keys are chosen by whoever drops files, and a terminal obeys control characters."""
    for line in lines:
        print(printable(line, SHOWN_CHARACTERS), file=file, flush=True)


def _do(eraser: Eraser, looked: Findings, in_use: set[str]) -> Iterator[str]:
    """Do the steps in their order, and yield each key: runs first, dropped files last, as those start a run."""
    for run_id in sorted(looked.runs):
        eraser.delete_of_run(run_id, with_learned=run_id not in in_use)
        if run_id not in in_use:  # its version names files that are gone
            registry.delete_of(eraser.stack.name, run_id)
    for window_id in sorted(looked.windows):  # before the captures by which they are found
        eraser.delete_of_window(window_id)
    for is_first in (True, False):
        yield from eraser.erase(hit for hit in looked.hits if hit.key.startswith((FOLDER, "capture/")) == is_first)
    for run_id in sorted(eraser.readers(looked) - looked.runs):  # begun meanwhile; its mark has the next search find it
        eraser.delete_of_run(run_id, with_learned=False)
    for run_id in looked.runs - in_use:
        eraser.forget(run_id)


def _next(stack: Stack, looked: Findings) -> str:
    prefix = stack.parameters["DataPrefix"]
    dropped = [hit.key for hit in looked.hits if hit.current and hit.key.startswith(prefix)]
    run = "What was replaced starts a run, as any drop does: its model has not seen the rows. " if dropped else ""
    return f"Erased. {run}Start this command once more when no run works: it has to find none"


def _how_it_is_replaced(stack: Stack, run_id: str) -> Iterator[str]:
    """Yield how a model comes into service that has not seen the rows: it is as good as the other, and may lose."""
    by_run = BY_RUN in stack.definition.deployable_overrides
    run_input = '{"Overrides": {"GateMinimumImprovement": -0.02}}' if by_run else "{}"
    yield f"The model in service (run {run_id}) was trained with these rows. It serves on until another is accepted;"
    yield "of two that are equally good one wins by chance. If the mail of the run after this command says Candidate"
    yield "rejected, allow one that is a little worse (here by 2 %; more, if the mail names more):"
    if not by_run:
        model = stack.parameters["ModelName"]
        yield f"  in models/{model}/model.yaml, under gate: minimum_improvement: -0.02 (take it out again afterwards);"
        yield f"  deploy (AWS: make deploy with its ENV; laptop: make deploy-local MODEL={model} STACK={stack.name});"
    yield f"  aws stepfunctions start-execution --state-machine-arn {stack.state_machine_arn} --input '{run_input}'"
