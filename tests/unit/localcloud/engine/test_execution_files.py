"""Executions on the disk: what the next start finds, whatever the moment at which the process ended."""

import errno
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from localcloud import disk
from localcloud.engine.stepfunctions import executions
from localcloud.engine.stepfunctions.files import RETENTION, ExecutionFiles, is_over

ARN = "arn:aws:states:us-east-1:000000000000:execution:machine:name"


def begun(arn: str = ARN, **fields: Any) -> dict[str, Any]:
    record = {"executionArn": arn, "status": "RUNNING", "stopDate": None, "input": "{}", "output": None}
    return {**record, "events": [{"id": 1, "type": "ExecutionStarted"}], **fields}


def add(files: ExecutionFiles, execution: dict[str, Any], kind: str, **changes: Any) -> None:
    execution.update(changes)
    event = {"id": len(execution["events"]) + 1, "type": kind}
    execution["events"].append(event)
    files.add(execution, event)


def found(folder: Path) -> dict[str, dict[str, Any]]:
    return {execution["executionArn"]: execution for execution in ExecutionFiles(folder).load()}


def files_in(folder: Path) -> ExecutionFiles:
    files = ExecutionFiles(folder)
    assert list(files.load()) == []
    return files


def test_an_execution_is_found_as_it_was_when_the_process_ended(tmp_path: Path) -> None:
    files, one, other = files_in(tmp_path), begun(), begun(f"{ARN}-2")
    for execution in (one, other):
        files.begin(execution)
        add(files, execution, "PassStateEntered")
    add(files, one, "ExecutionSucceeded", status="SUCCEEDED", output="[1]", stopDate=now())

    assert found(tmp_path) == {ARN: without_events(one), f"{ARN}-2": without_events(other)}
    assert found(tmp_path)[ARN]["events"] == one["events"]
    assert found(tmp_path)[f"{ARN}-2"]["events"] == other["events"]


def without_events(execution: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in execution.items() if name != "events"}


def now(ago: timedelta = timedelta()) -> str:
    return (datetime.now(UTC) - ago).isoformat().replace("+00:00", "Z")


def test_an_execution_of_an_earlier_process_goes_on_in_its_file(tmp_path: Path) -> None:
    files_in(tmp_path).begin(begun())
    files = ExecutionFiles(tmp_path)
    (execution,) = files.load()

    add(files, execution, "ExecutionFailed", status="FAILED", stopDate=now())

    assert [event["id"] for event in found(tmp_path)[ARN]["events"]] == [1, 2]
    assert found(tmp_path)[ARN]["status"] == "FAILED"


def test_a_torn_line_is_left_out_and_what_is_added_later_holds(tmp_path: Path) -> None:
    files, execution = files_in(tmp_path), begun()
    files.begin(execution)
    add(files, execution, "PassStateEntered")
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b'{"event": {"id": 3, "ty')

    again = ExecutionFiles(tmp_path)
    (execution,) = again.load()
    add(again, execution, "ExecutionFailed", status="FAILED", stopDate=now())

    assert [event["type"] for event in found(tmp_path)[ARN]["events"]] == [
        "ExecutionStarted", "PassStateEntered", "ExecutionFailed",
    ]  # fmt: skip
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_file_of_which_not_even_the_first_line_is_whole_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "torn.jsonl").write_bytes(b'{"record": {"execu')

    assert found(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_an_execution_of_which_a_power_cut_has_left_the_first_line_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_in(tmp_path).begin(begun(startDate=now()))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    files, announced = ExecutionFiles(tmp_path), list[str]()
    (execution,) = files.load()
    monkeypatch.setattr(executions.metrics, "record_execution", lambda _: None)

    executions._make_emit(lambda one: announced.append(one["status"]), files)(
        {**execution, "events": execution["events"]}
    )

    assert announced == ["RUNNING"]


def test_which_status_has_been_told_is_known(tmp_path: Path) -> None:
    files, execution = files_in(tmp_path), begun()
    files.begin(execution)
    assert files.known_status(execution) is None
    files.tell(execution)
    add(files, execution, "ExecutionSucceeded", status="SUCCEEDED", stopDate=now())

    again = ExecutionFiles(tmp_path)
    (execution,) = again.load()

    assert (execution["status"], again.known_status(execution)) == ("SUCCEEDED", "RUNNING")


def test_a_history_is_in_memory_until_its_end_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    files = files_in(tmp_path)
    one, other = files.stored(begun()), files.stored(begun(f"{ARN}-2"))
    for execution in (one, other):
        files.begin(execution)
        files.tell(execution)
    assert "events" in set(one)

    add(files, one, "ExecutionSucceeded", status="SUCCEEDED", stopDate=now())
    files.tell(one)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "append", full)
        add(files, other, "ExecutionSucceeded", status="SUCCEEDED", stopDate=now())
        files.tell(other)

    assert "events" not in set(one)
    assert "events" in set(other)
    for execution in (one, other):
        assert [event["type"] for event in execution["events"]] == ["ExecutionStarted", "ExecutionSucceeded"]


def test_an_execution_that_found_no_room_when_it_began_is_written_as_it_is_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    files, first = files_in(tmp_path), begun()
    with monkeypatch.context() as patch:
        patch.setattr(disk, "append", full)
        files.begin(first)
        execution = files.stored(first)  # as the engine does, when it announces that the execution has begun
        files.tell(execution)
        add(files, execution, "ExecutionSucceeded", status="SUCCEEDED", output="[1]", stopDate=now())
        files.tell(execution)
    files.save(lambda: [execution])

    assert found(tmp_path) == {ARN: without_events(execution)}
    assert found(tmp_path)[ARN]["events"] == execution["events"]


def test_who_reads_a_history_changes_nothing_of_what_is_being_written(tmp_path: Path) -> None:
    files, execution = files_in(tmp_path), begun()
    files.begin(execution)
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b'{"event": {"id": 2, "ty')  # the first part of a write that goes on

    assert files.stored(without_events(execution))["events"] == execution["events"]
    assert path.read_bytes().endswith(b'"ty')


def test_an_execution_is_forgotten_90_days_after_its_end(tmp_path: Path) -> None:
    day = timedelta(days=1)
    files = files_in(tmp_path)
    ends = {"running": None, "young": now(RETENTION - day), "old": now(RETENTION + day)}
    for name, stopped in ends.items():
        files.begin(begun(f"{ARN}-{name}", status="SUCCEEDED" if stopped else "RUNNING", stopDate=stopped))

    assert sorted(arn.rpartition("-")[2] for arn in found(tmp_path)) == ["running", "young"]
    assert len(list(tmp_path.iterdir())) == 2
    assert is_over({"stopDate": ends["old"]})
    assert timedelta(days=90) == RETENTION


def test_what_is_deleted_loses_its_file_and_what_ends_without_an_event_is_written(tmp_path: Path) -> None:
    files, deleted, child = files_in(tmp_path), begun(), begun(f"{ARN}-child")
    files.begin(deleted)
    files.begin(child)
    child.update(status="SUCCEEDED", output="1", stopDate=now())

    files.save(lambda: [child])

    assert found(tmp_path) == {f"{ARN}-child": without_events(child)}


def test_an_execution_that_finds_no_room_is_written_later_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    waits: list[bool] = []
    files, execution = ExecutionFiles(tmp_path, lambda: waits.append(True)), begun()
    files.begin(execution)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "append", full)
        patch.setattr(disk, "write_whole", full)
        add(files, execution, "PassStateEntered")
        assert waits
        with pytest.raises(OSError, match="No space left"):
            files.save(lambda: [execution])
    add(files, execution, "PassStateExited")

    files.save(lambda: [execution])
    add(files, execution, "ExecutionSucceeded", status="SUCCEEDED", stopDate=now())

    assert found(tmp_path)[ARN]["events"] == execution["events"]


def test_what_an_event_costs_does_not_depend_on_how_much_there_is(tmp_path: Path) -> None:
    files, execution = files_in(tmp_path), begun()
    files.begin(execution)
    (path,) = tmp_path.iterdir()
    grown = []
    for _ in range(100):
        before = path.stat().st_size
        add(files, execution, "PassStateEntered")
        grown.append(path.stat().st_size - before)

    assert max(grown) <= min(grown) + 3
