"""What we promise: the bounds of all tables of docs/benchmark.md, by benchmark and row, in one place.

`bench.table` takes them from here, and `make bench` fails when one is missed. The page shows the same ones
(tests/unit/bench/test_bounds.py), so that none changes without a reader's seeing it. A bound of memory is what was
measured and at most a third more, unless a reason stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

PEER = "peer"


@dataclass(frozen=True)
class Bound:
    """A number, and so many times the value of another: of the best of the row's peers, of one, or of us in a row."""

    number: float = 0
    times: float = 0
    of: str = PEER
    least: bool = False


def most(number: float = 0, *, times: float = 0) -> Bound:
    """Bound from above; `times` is of the best peer."""
    return Bound(number, times)


def least(number: float = 0, *, times: float = 0, of: str = PEER) -> Bound:
    """Bound from below."""
    return Bound(number, times, of, least=True)


# By benchmark, without its number of rows, and by label of the row; * stands for any text.
BOUNDS: dict[str, dict[str, Bound]] = {
    "preprocess": {
        "median, s": most(times=1),  # polars'
        "memory, MiB": most(512),  # of ten million rows as well, and on eight cores
    },
    "memory": {"*, memory, MiB": most(512)},  # whatever the file and its size
    "statistics": {
        "processor time, s": most(times=1),  # whylogs'
        "memory, MiB": most(512),  # whatever the number of rows, and on eight cores
    },
    "sets": {"XGBoost reads them, memory, MiB": most(times=1)},  # Parquet's: decision 59 stands on it
    "training": {
        "processor time, s": most(times=1.1),  # XGBoost's, with its start: a job is a fork, and fetches its files
        "memory, MiB": most(630),  # of the local cloud and the job
    },
    "small files": {
        "largest payload of a state, KiB": most(256),  # Step Functions takes no more
        "item in the run table, KB": most(400),  # nor DynamoDB
        "memory of preprocessing, MiB": most(512),  # as of large ones
    },
    "jobs": {
        "processor time of all, times the peer's": most(0.6),
        "memory, MiB": most(160),  # the most of ten looks at each program; of one look it was 88, by luck
    },
    "batch": {"*, most memory, MiB": most(450)},
    "endpoint": {
        "1 client, median, ms": most(1),
        "8 clients, p99, ms": most(10),
        "8 clients, answers a second": least(times=1.5, of="Flask"),  # with gunicorn, as AWS's containers have it
        # What a round differs from the next.
        "* clients, answers a second": least(times=0.95, of="8 clients, answers a second"),
        "1,000 records in one request, records a second": least(100_000),
        "script, 1,000 of *, a second": least(100_000),
        "script, text/csv, features.py, us": most(150),  # a table of Arrow's and what the model's own function does
        "script, *, us": most(100),
        "memory, MiB": most(350),  # of the local cloud with both containers
    },
    "run": {
        "drop to answer, first, s": most(5),
        "drop to answer, warm, s": most(3),
        "memory, MiB": most(1200),  # a laptop of 8 GB has it, beside a browser and an editor
    },
    "orchestration": {
        "*, s": most(0.57),  # MiniStack's own of eight Lambda tasks
        "memory, MiB": most(230),
    },
    "api": {
        "1 record, ms": most(5),
        "memory, MiB": most(62),
    },
    "command": {
        "the list of commands, s": most(0.4),
        "a completion, s": most(0.4),
        "`perennial try`, 10,000 rows, s": most(1.5),
        "the list of commands: memory, MiB": most(31),
        "`perennial try`, 100,000 rows: memory, MiB": most(340),
    },
    # By what it was after ten runs: nothing that a person waits for grows with them.
    "long life": {
        "start, *ms": most(times=1.33),
        "*, ms": most(1, times=1.33),
        "memory, MiB": most(58, times=1),  # of 990 runs that are remembered
        "disk for a run, KiB": most(times=1),
        "files for a run": most(times=1),
    },
    "window": {
        "work beyond starting (*), s": most(0.2),
        "memory, MiB": most(185),
    },
    "from nothing": {
        "make demo, s": most(45),
        "make demo: memory, MiB": most(1200),  # as of a run
        "make test-changed, *.py, s": most(60),
        "make test-changed, *: memory, MiB": most(2000),
    },
    # bench.bench_window --records 10000000, which has no table in the page.
    "window of many": {"memory, MiB": most(1024)},
    "drift": {
        "none, 1,000 records, %": most(1),
        "mean, 1,000 records, %": least(95),
        "bias: none, 1,000 records, %": most(1),
        "dearer, taken for another unit, 100 records, %": most(2),
        "dearer, taken for another unit, 200 records, %": most(2),
        "known as another unit, 1,000 records, %": least(97),
    },
}
