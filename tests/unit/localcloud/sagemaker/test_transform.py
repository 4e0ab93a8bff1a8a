"""How batch transform shares out objects, cuts them into requests and joins answers."""

import io
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from localcloud.sagemaker.endpoints.model_server import Reply
from localcloud.sagemaker.errors import AwsError, JobFailedError
from localcloud.sagemaker.jobs import transform
from localcloud.sagemaker.jobs.run import JobRun
from localcloud.sagemaker.jobs.transform import PayloadTooLargeError, TransformJobs, assembled, payloads
from localcloud.sagemaker.platform.aws import S3Object


def cut(data: bytes, split: str = "Line", strategy: str = "MultiRecord", limit: int = 100) -> list[bytes]:
    return list(payloads(io.BytesIO(data), split, strategy, limit))


def test_an_object_that_is_not_split_is_one_request() -> None:
    assert cut(b"a\nb\n", split="None") == [b"a\nb\n"]


def test_an_object_that_is_not_split_must_fit() -> None:
    assert cut(b"x" * 100, split="None") == [b"x" * 100]
    with pytest.raises(PayloadTooLargeError, match="larger than 100 bytes"):
        cut(b"x" * 101, split="None")


def test_as_many_lines_as_fit_are_one_request() -> None:
    assert cut(b"aa\nbb\ncc\n", limit=6) == [b"aa\nbb\n", b"cc\n"]


def test_single_records_are_one_request_each() -> None:
    assert cut(b"aa\nbb", strategy="SingleRecord") == [b"aa\n", b"bb\n"]


def test_no_line_is_lost_or_doubled_whatever_the_limit() -> None:
    lines = [b"%d" % number * (number % 7 + 1) for number in range(200)]
    for limit in (40, 41, 100, 10_000):
        assert b"".join(cut(b"\n".join(lines), limit=limit)).split(b"\n")[:-1] == lines


def test_line_ends_of_other_systems_become_newlines() -> None:
    assert cut(b"a\r\nb\r\n") == [b"a\nb\n"]


def test_a_line_without_text_is_passed_on_so_that_answers_cannot_shift_unseen() -> None:
    assert cut(b"a\r\n\r\nb\n\n") == [b"a\n\nb\n\n"]
    assert cut(b"a\n\nb\n", limit=3) == [b"a\n\n", b"b\n"]


def test_a_line_that_does_not_fit_is_named() -> None:
    with pytest.raises(PayloadTooLargeError, match="line 2 is larger than 10 bytes"):
        cut(b"a\n" + b"x" * 10, limit=10)


def test_an_empty_object_has_no_lines() -> None:
    assert cut(b"") == []


@pytest.mark.parametrize(
    ("answer", "how", "written"),
    [
        (b"1\n2", "Line", b"1\n2\n"),
        (b"1\n2\n", "Line", b"1\n2\n"),
        (b"1\r\n", "Line", b"1\n"),
        (b"", "Line", b""),
        (b"1\n2", "None", b"1\n2"),
    ],
)
def test_answers_are_joined_with_one_newline_a_record(answer: bytes, how: str, written: bytes) -> None:
    assert assembled(answer, how) == written


# ---- Several instances


class Log:
    """A stream that is named and read by nobody."""

    def __init__(self, _aws: object, _group: str, stream: str) -> None:
        self.stream = stream

    def write(self, line: str) -> None:
        pass

    def close(self) -> None:
        pass


class Objects:
    """Parts of a set in S3, each with records that no other has, and what is written of their answers."""

    def __init__(self, parts: int) -> None:
        self.records = {f"part-{part:05d}.jsonl": [part * 100 + row for row in range(7)] for part in range(parts)}
        self.answers: dict[str, list[int]] = {}
        self.written: list[str] = []

    def list_objects(self, _uri: str, _at_most: int | None) -> list[S3Object]:
        return [S3Object("b", f"test/{name}", name, 1) for name in self.records]

    def download_object(self, item: S3Object, path: Path) -> None:
        path.write_text("".join(f"{record}\n" for record in self.records[item.relative]))

    def upload(self, path: Path, uri: str, _key: str | None, _content_type: str | None) -> None:
        self.written.append(name := uri.removeprefix("s3://b/scores/").removesuffix(".out"))
        self.answers[name] = [int(line) for line in path.read_text().splitlines()]


class Model:
    """The containers of one instance, which answer each record with its double once all instances have begun."""

    def __init__(self, directory: Path, begun: threading.Barrier, refused: str) -> None:
        self.directory, self.asked = directory, 0
        self._begun, self._refused = begun, refused

    def start(self, _timeout: float) -> None:
        self._begun.wait(10)

    def stop(self, _grace_seconds: float = 0) -> None:
        pass

    def ask(self, payload: bytes, *_: Any) -> Reply:
        self.asked += 1
        if self._refused and payload.startswith(self._refused.encode()):
            return Reply(400)
        return Reply(200, body=b"".join(b"%d\n" % (2 * int(line)) for line in payload.splitlines()))


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Model]]:
    """Score objects on so many instances, of which so many have a share; return the containers of each."""
    monkeypatch.setattr(transform, "LogStream", Log)

    def scored(objects: Objects, instances: int, begin: int, refused: str = "") -> list[Model]:
        begun, models = threading.Barrier(begin), []
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/test/"}}
        job = {
            "TransformInput": {"DataSource": source, "CompressionType": "None", "SplitType": "Line"},
            "TransformOutput": {"S3OutputPath": "s3://b/scores", "AssembleWith": "Line"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": instances},
            "Model": {"Containers": [{}], "ExecutionRoleArn": "arn:aws:iam::000000000000:role/r"},
        }

        def make_server(_containers: list[Any], run: JobRun) -> Any:
            models.append(model := Model(run.directory, begun, refused))
            return model

        nothing = cast(Any, None)
        context = cast(Any, SimpleNamespace(store=SimpleNamespace(view=lambda _kind: []), root=tmp_path))
        jobs = TransformJobs(context, nothing, nothing, cast(Any, make_server))
        jobs.execute(JobRun("j", "arn:j", job, tmp_path, cast(Any, objects), nothing, cast(Any, Log(None, "", ""))))
        return models

    return scored


@pytest.mark.parametrize(("instances", "parts", "begin"), [(1, 3, 1), (3, 10, 3), (4, 2, 2)])
def test_instances_share_out_the_objects_and_each_is_answered_whole_once_and_in_order(
    score: Callable[..., list[Model]], instances: int, parts: int, begin: int
) -> None:
    objects = Objects(parts)
    models = score(objects, instances, begin)
    assert objects.answers == {name: [2 * record for record in records] for name, records in objects.records.items()}
    assert len(objects.written) == parts
    assert len({model.directory for model in models}) == len(models) == begin
    asked = [model.asked for model in models]
    assert (sum(asked), max(asked) - min(asked) <= 1) == (parts, True)


def test_an_object_that_one_instance_cannot_score_fails_the_job_and_the_others_take_no_more(
    score: Callable[..., list[Model]],
) -> None:
    objects = Objects(2000)
    with pytest.raises(JobFailedError, match="ClientError: See job logs"):
        score(objects, 2, 2, refused="100\n")
    assert "part-00001.jsonl" not in objects.answers
    assert len(objects.written) < 1000


def test_more_instances_than_this_machine_has_processes_for_are_refused() -> None:
    with pytest.raises(AwsError, match=r"InstanceCount 9 .*use 8 at most"):
        transform._check_resources({"InstanceType": "ml.m5.large", "InstanceCount": 9})
