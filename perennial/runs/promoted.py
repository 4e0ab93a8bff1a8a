"""What is said of a version that comes from another environment, where it is asked whether it may serve.

What was measured there is told as such. What served there, was compared there or started the run is left out: in the
environment that asks, none of it is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from perennial.runs import facts
from perennial.runs.run_record import RunRecord
from perennial.words import caller, number


def brief(record: RunRecord) -> str:
    """Return in few words what a model reached where it was trained, and from where it comes."""
    return f"{_measured(record)}, promoted from {record['promotions'][-1]['stack']}"


def why(record: RunRecord) -> str:
    """Return what a version is, in a sentence."""
    first, last = record["promotions"][0], record["promotions"][-1]
    number_there = last["version"].rpartition("/")[2]
    return (
        f"{caller(last['by'])} has promoted version {number_there} of {last['stack']} to {record['stack']}; it was "
        f"trained in {first['stack']}, where its gate has let it pass with {_measured(record)}"
    )


def lines(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield what is known of it: (name, text). `champion` of the record is what serves in the environment that asks."""
    data, gate, champion = record["data"], record["gate"], record.get("champion")
    where = record["promotions"][0]["stack"]
    yield "Run", f"{record['run_id']}, of {where}"
    yield "Model", f"{record['model']} (stack {record['stack']})"
    for step in record["promotions"]:
        yield "Promoted", f"{step['version']}, by {caller(step['by'])} at {step['at']}"
    yield "Data", f"{facts.counted(data['file_count'])}, listed in {where} at {data['listed_at']}"
    if rows := record.get("rows"):
        yield "Rows", facts.counted_rows(rows)
    rows_tested, unit = (record.get("metrics") or {}).get("test_rows"), facts.unit_of(record)
    side = "at most" if gate["direction"] == "minimize" else "at least"
    yield (
        gate["metric"],
        f"{number(gate.get('candidate'))}{unit}{f' on {rows_tested:,} test rows' if rows_tested else ''}",
    )
    yield "Threshold", f"{side} {number(gate['threshold'])}{unit}"
    yield "In service", f"{champion['ModelName']} (now)" if champion else "nothing; this is the first model"


def _measured(record: RunRecord) -> str:
    gate = record["gate"]
    return f"{gate['metric']} {number(gate.get('candidate'))}{facts.unit_of(record)}"
