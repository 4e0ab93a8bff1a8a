"""What differs between two runs, and whether a run can be the same again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from perennial.model import tuning
from perennial.model.definition import Definition
from perennial.runs import trials
from perennial.words import number

# Of a record, the most important first; `_compared` has what comes before.
COMPARED = ("data", "rows", "gate", "status", "configuration", "code", "images")
LEFT_OUT = {
    "data.listed_at", "data.manifest", "data.files", "data.ignored", "metrics.comparison", "code.uri",
    "gate.candidate", "gate.champion",
    "configuration.algorithm.hyperparameters", "configuration.definition.hyperparameters",
}  # fmt: skip
SAME_ROWS = "metrics on the same rows"
_ORDER = (SAME_ROWS, "metrics", "importances", "hyperparameters", "tuning", "ranges", *COMPARED)
MAX_SHOWN = 60
# In the unit of the gate's metric, and not by its name.
_OF_GATE = re.compile(
    r"metrics\.(\w+_interval|constant|naive|champion_when_accepted|slices\..+\.(candidate|threshold|maximum_regression))"
    r"|(configuration\.(definition\.)?)?gate\.(threshold|minimum_improvement|maximum_regression)"
)


@dataclass(frozen=True)
class Difference:
    """A value that is another one in each of two records; None where one has none."""

    path: str
    first: Any
    second: Any

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """Return what differs between the records of two runs, the most important first, and each fact once.

    Where the model of the one was in service when that of the other was tested, both were measured on the same rows. A
    record may have `importances`, of shares.
    """
    first, second = (dict(_leaves("", _compared(record))) for record in (one, other))
    paths = dict.fromkeys([*first, *second])
    changed = [
        Difference(path, first.get(path), second.get(path)) for path in paths if first.get(path) != second.get(path)
    ]
    once = [each for place, each in enumerate(changed) if not any(_repeats(each, known) for known in changed[:place])]
    every = [*_same_rows(one, other), *once, *_files(one, other)]
    return sorted(every, key=lambda each: _ORDER.index(each.path.partition(".")[0]))


def _compared(record: Mapping[str, Any]) -> dict[str, Any]:
    configuration = record.get("configuration") or {}
    algorithm = (configuration.get("algorithm") or {}).get("name")
    own = ((configuration.get("definition") or {}).get("hyperparameters") or {}).get(algorithm, {})
    return {
        "metrics": record.get("metrics"),
        "importances": record.get("importances"),
        "hyperparameters": trials.hyperparameters(record),
        "tuning": trials.search(record),
        "ranges": tuning.ranges(own),
        **{name: record.get(name) for name in COMPARED},
    }


def _repeats(difference: Difference, known: Difference) -> bool:
    """Return whether the one is the other in another place, such as gate.threshold in configuration.gate.threshold."""
    is_same = (difference.first, difference.second) == (known.first, known.second)
    return is_same and difference.path.endswith(f".{known.path}")


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if path in LEFT_OUT:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), item)
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        yield from _leaves(path, {item["name"]: item for item in value})
    else:
        yield path, value


def _same_rows(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield the metrics of both models on the test rows of the run that has compared them."""
    for tested, served, is_second in ((other, one, True), (one, other, False)):
        if (tested.get("champion") or {}).get("RunId") == served["run_id"]:
            measured = tested.get("metrics") or {}
            before, after = measured.get("champion") or {}, measured.get("candidate") or {}
            for name in (name for name in after if name in before and before[name] != after[name]):
                pair = (before[name], after[name]) if is_second else (after[name], before[name])
                yield Difference(f"{SAME_ROWS}.{name}", *pair)
            return


def shares(attribution: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the share of each feature in what a model's answers rest on; empty where nothing is known of it.

    attribution  analysis.json of the baseline of its features' contributions
    """
    explained: Mapping[str, Any] = ((attribution or {}).get("explanations") or {}).get("kernel_shap") or {}
    of_score: Mapping[str, Any] = next(iter(explained.values()), {})
    weights: Mapping[str, float] = of_score.get("global_shap_values") or {}
    whole = sum(weights.values())
    return {name: weight / whole for name, weight in weights.items()} if whole else {}


def _files(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Difference]:
    versions = [
        {file["Key"]: file["VersionId"] for file in (record.get("data") or {}).get("files", [])}
        for record in (one, other)
    ]
    for key in sorted({*versions[0], *versions[1]}):
        if versions[0].get(key) != versions[1].get(key):
            yield Difference(f"data.files {key}", versions[0].get(key), versions[1].get(key))


def cells(difference: Difference, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return both values as people read them; numbers of the gate's metric name it where the two runs have others."""
    metrics = [(record.get("gate") or {}).get("metric") for record in (one, other)]
    texts = [readable(value) for value in (difference.first, difference.second)]
    if metrics[0] == metrics[1] or not _OF_GATE.fullmatch(difference.path):
        return texts
    values = (difference.first, difference.second)
    return [
        f"{text} ({metric})" if metric and value is not None else text
        for text, value, metric in zip(texts, values, metrics, strict=True)
    ]


def readable(value: Any) -> str:
    """Return a value of a record as people read it."""
    if value is None:
        return "-"
    if isinstance(value, list) and value and all(isinstance(each, int | float) for each in value):
        return " to ".join(number(each, 9) for each in value)
    text = number(value, 9) if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def not_the_same(record: Mapping[str, Any], definition: Definition, code_uri: str) -> list[str]:
    """Return why the stack would not run the same again as a record says; nothing where it would."""
    lines = []
    hash_now = code_uri.rpartition("/")[2]
    if record["code"]["hash"] != hash_now:
        lines.append(
            f"the code is another by now: {record['code']['hash']} then (commit {record['code']['commit']}), "
            f"{hash_now} now"
        )
    overrides = set(record["configuration"].get("sources") or {})
    then = dict(_leaves("", record["configuration"]["definition"]))
    now = dict(_leaves("", definition.as_json()))
    changed = [
        path
        for path in {**then, **now}
        if then.get(path) != now.get(path) and not any(path.startswith(one) for one in overrides)
    ]
    if changed:
        lines.append(f"model.yaml is another by now: {', '.join(changed[:5])}{', ...' if len(changed) > 5 else ''}")
    return lines
