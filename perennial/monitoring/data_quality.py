"""Whether the records of a window are like the rows that their model was trained on.

Every column has three tests, and each is held against the false-alarm rate divided by their number, so that the rate is
that of the whole window (Bonferroni). Nothing is found by chance alone: what is found is also larger than a limit.

contract  values that `columns` of model.yaml does not allow: more than `quality.max_invalid_share` of the records.
          Bad data. A record with other fields than the model's counts likewise, and a label that cannot be read; one
          that names no class of the model is drift
missing   the share of missing values has grown by more than `missing`. Bad data
values    the distance from the baseline is above `distance`, or the stability index above `stability`
          (monitoring.distances); or values that the baseline never had are more than `quality.max_invalid_share`.
          Drift, unless a changed unit explains it (data.units), which is bad data

A text is named where many records or rows have it (monitoring.texts).
Values of texts that are no categories (more than MAX_DISTINCT different ones) are not compared, and neither are those
of columns that `leave_out` names. A column that `same_unit` names is never taken for one in another unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from perennial.data import units
from perennial.data.distributions import distribution, quantile
from perennial.monitoring.distances import Distance, chance_of_share, chance_of_shares, of_numbers, of_texts
from perennial.monitoring.findings import MonitorError, WindowFinding
from perennial.monitoring.texts import FEWEST, Counts, common, counts
from perennial.words import number, printable, quoted

TESTS = 3  # a column
MAX_NAME = 64  # characters of a name that is no column's
MAX_UNKNOWN = 20  # such names that are findings
_NORMAL = 3.09  # of 1,000 standard normal values one is above it
_CHECKS = {
    "type": "data_type_check",
    "missing": "completeness_check",
    "minimum": "range_check",
    "maximum": "range_check",
    "category": "categorical_values_check",
}
# What monitoring.distances calls `largest` and `psi`, for people.
OF_NUMBERS, OF_TEXTS = "Kolmogorov-Smirnov distance", "largest difference of a value's share"
PSI = "population stability index"
_NUMBERS, _TEXTS = "numerical_statistics", "string_statistics"


@dataclass(frozen=True)
class DataLimits:
    """What is large enough to matter; see `monitoring.data_quality` of model.yaml.

    numbers  what model.yaml says of the numbers of columns (data.units)
    target   the column of the labels
    """

    distance: float
    stability: float
    missing: float
    invalid: float
    false_alarms: float
    leave_out: Sequence[str] = ()
    numbers: Mapping[str, units.Numbers] = field(default_factory=dict)
    target: str = ""


@dataclass(frozen=True)
class LabelReading:
    """Labels of a window that could not be read: requests that have no other, `of` all that have a label.

    target      the column that they are of
    first       where the first stands, and what was expected
    is_classes  whether they name no class of the model
    """

    target: str
    unread: int
    of: int
    first: str
    is_classes: bool


@dataclass(frozen=True)
class WindowRecords:
    """What a window's records were like.

    statistics  the document statistics.json of the window
    records     all that were captured, also those that are not in the statistics because their fields are others
    broken      (column, rule of the data contract) -> records that break it, and what the rule expects
    unknown     names that no column has -> records with them
    fields      other numbers of fields than fields_expected, the model's -> records with them
    absent      column -> records that did not name it
    labels      of its labels those that could not be read
    """

    statistics: Mapping[str, Any]
    records: int
    fields_expected: int
    broken: Mapping[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[int, int] = field(default_factory=dict)
    absent: Mapping[str, int] = field(default_factory=dict)
    labels: LabelReading | None = None


@dataclass(frozen=True)
class ColumnResult:
    """A column then and now. `distance` is None where there is nothing to compare, and `why` says why."""

    name: str
    before: str
    after: str
    missing_before: float
    missing_after: float
    distance: Distance | None
    why: str = ""


@dataclass(frozen=True)
class DataQuality:
    """All columns, what is found, and the level that each test was held against."""

    columns: Sequence[ColumnResult]
    findings: Sequence[WindowFinding]
    level: float

    def as_json(self) -> dict[str, Any]:
        return {"level": self.level, "columns": [asdict(one) for one in self.columns]}


def judge(
    baseline: Mapping[str, Any], constraints: Mapping[str, Any], window: WindowRecords, limits: DataLimits
) -> DataQuality:
    """Compare a window with the documents of its baseline. Raises MonitorError: it has none of the columns."""
    before = {feature["name"]: feature for feature in baseline["features"]}
    after = {feature["name"]: feature for feature in window.statistics["features"]}
    if after and not before.keys() & after.keys():
        raise MonitorError(
            f"the baseline describes {_listed(before)}, and the records have {_listed(after)}; expected the baseline "
            "of the model that answered"
        )
    level = limits.false_alarms / (TESTS * max(1, len(after)))
    domains = {one["name"]: one.get("string_constraints", {}).get("domains") for one in constraints["features"]}
    columns, findings = [], list(_schema(before, after, window, limits, level))
    subjects = {one.subject for one in findings}
    for name in after:
        if name not in before:
            continue
        result, here = _column(before[name], after[name], domains.get(name), limits, level)
        broken = list(_broken(name, window, limits, level))
        checks = {one.check for one in broken}
        columns.append(result)
        if name not in subjects:
            findings += [*broken, *(one for one in here if one.check not in checks)]
    findings += _unread(window.labels, limits, level)
    return DataQuality(columns, findings, level)


def _schema(
    before: Mapping[str, Any], after: Mapping[str, Any], window: WindowRecords, limits: DataLimits, level: float
) -> Iterator[WindowFinding]:
    for name in after.keys() - before.keys():
        yield _bad("extra_column_check", name, f"the model reads {name}, which its baseline does not describe")
    for count, records in sorted(window.fields.items()):
        if _is_many(records, window.records, limits.invalid, level):
            check = "missing_column_check" if count < window.fields_expected else "extra_column_check"
            share = _share(records, window.records)
            yield _bad(
                check, "*", f"{share} of the records have {count} fields; the model reads {window.fields_expected}"
            )
    yield from _unknown(window, limits, level)
    for name, records in sorted(window.absent.items()):
        if records == window.records and before.get(name, {}).get("inferred_type") != "Unknown":
            yield _bad("missing_column_check", name, f"no record has {name}")


def _unknown(window: WindowRecords, limits: DataLimits, level: float) -> Iterator[WindowFinding]:
    """Yield the names that many records have and the model does not know, those of the most records."""
    many = [one for one in window.unknown.items() if _is_many(one[1], window.records, limits.invalid, level)]
    many.sort(key=lambda one: (-one[1], one[0]))
    for name, records in many[:MAX_UNKNOWN]:
        share = _share(records, window.records)
        text = f"{share} of the records name {quoted(name)}, which is no column of the model"
        yield _bad("extra_column_check", printable(name, MAX_NAME), text)
    if (more := len(many) - MAX_UNKNOWN) > 0:
        yield _bad("extra_column_check", "*", f"the records name {more:,} more that are no columns of the model")


def _unread(labels: LabelReading | None, limits: DataLimits, level: float) -> Iterator[WindowFinding]:
    """Yield that more labels than are allowed cannot be read: they are broken, or the world has another class."""
    if labels is None or not _is_many(labels.unread, labels.of, limits.invalid, level):
        return
    share = _share(labels.unread, labels.of)
    if labels.is_classes:
        text = f"{share} of the labels name no class that the model knows; the first: {labels.first}"
        yield WindowFinding("drift", "categorical_values_check", labels.target, text)
    else:
        text = f"{share} of the labels cannot be read; the first: {labels.first}"
        yield _bad("data_type_check", labels.target, text)


def _broken(name: str, window: WindowRecords, limits: DataLimits, level: float) -> Iterator[WindowFinding]:
    """Yield the rules of the data contract that records break more often than is allowed."""
    for (column, rule), (records, expected) in window.broken.items():
        if column == name and _is_many(records, window.records, limits.invalid, level):
            what = (
                f"{_share(records, window.records)} of the records break the rule {rule} of {name}: expected {expected}"
            )
            yield _bad(_CHECKS.get(rule, "data_type_check"), name, what)


def _column(
    before: Mapping[str, Any], after: Mapping[str, Any], domain: Sequence[str] | None, limits: DataLimits, level: float
) -> tuple[ColumnResult, list[WindowFinding]]:
    name = before["name"]
    kinds = [next(kind for kind in (_NUMBERS, _TEXTS) if kind in side) for side in (before, after)]
    one, other = before[kinds[0]], after[kinds[1]]
    missing = [(side["common"]["num_missing"], _rows(side)) for side in (one, other)]
    shares = [count / rows for count, rows in missing]
    findings = []
    if shares[1] - shares[0] > limits.missing and chance_of_shares(*missing) < level:
        text = f"{shares[1]:.1%} of the values are missing; {shares[0]:.1%} were when the model was trained"
        findings.append(_bad("completeness_check", name, text))
    present = [side["common"]["num_present"] for side in (one, other)]
    why = _not_compared(before, kinds, one, other, present)
    if name in limits.leave_out:
        return ColumnResult(name, "", "", shares[0], shares[1], None, "model.yaml leaves it out"), findings
    if why:
        if all(present) and kinds[0] != kinds[1]:
            findings.append(_bad("data_type_check", name, why))
        elif domain is not None and not _is_counted(other):
            known = _known(domain, counts(one))
            text = f"{other['distinct_count']:,.0f} different values; known are {known}"
            findings.append(WindowFinding("drift", "categorical_values_check", name, text))
        return ColumnResult(name, "", "", shares[0], shares[1], None, why), findings
    distance, words, more = (
        _numbers(name, one, other, limits, level)
        if kinds[0] == _NUMBERS
        else _texts(name, one, other, domain, limits, level)
    )
    return ColumnResult(name, *words, shares[0], shares[1], distance), [*findings, *more]


def _not_compared(
    before: Mapping[str, Any],
    kinds: Sequence[str],
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    present: Sequence[int],
) -> str:
    """Return why the values of a column cannot be compared; nothing when they can."""
    if not present[0]:
        return "the baseline has no value of it"
    if not present[1]:
        return "the window has no value of it"
    if kinds[0] != kinds[1]:
        return f"the baseline describes it as {before['inferred_type']}, and the model reads it otherwise"
    if kinds[0] == _TEXTS and not (_is_counted(one) and _is_counted(other)):
        return "it has too many different texts to count"
    return ""


def _is_counted(texts: Mapping[str, Any]) -> bool:
    """Whether a description has all values: it has none of a column with more than MAX_DISTINCT."""
    return "distinct_count" not in texts or sum(counts(texts).values()) == texts["common"]["num_present"]


_Compared = tuple[Distance, tuple[str, str], list[WindowFinding]]


def _numbers(
    name: str, one: Mapping[str, Any], other: Mapping[str, Any], limits: DataLimits, level: float
) -> _Compared:
    distance, then, now = of_numbers(one, other), distribution(one), distribution(other)
    medians = quantile(then, 0.5), quantile(now, 0.5)
    words = f"median {number(medians[0])}", f"median {number(medians[1])}"
    if not _has_moved(distance, limits, level):
        return distance, words, []
    rows = one["common"]["num_present"], other["common"]["num_present"]
    changed = units.change(then, now, rows, limits.distance, limits.numbers.get(name, units.ANY))
    if changed:
        what = "labels" if name == limits.target else "values"
        text = f"the {what} look as if in another unit, {changed}. {_drifted(distance, limits, words, OF_NUMBERS)}"
        return distance, words, [_bad("baseline_drift_check", name, text)]
    text = _drifted(distance, limits, words, OF_NUMBERS)
    return distance, words, [WindowFinding("drift", "baseline_drift_check", name, text)]


def _texts(
    name: str,
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    domain: Sequence[str] | None,
    limits: DataLimits,
    level: float,
) -> _Compared:
    before, after = counts(one), counts(other)
    distance, rows = of_texts(before, after), (sum(before.values()), sum(after.values()))
    shares = {value: (before.get(value, 0) / rows[0], after.get(value, 0) / rows[1]) for value in common(before, after)}
    moved = max(sorted(shares), key=lambda value: abs(shares[value][0] - shares[value][1]), default=None)
    if moved is None:
        words = (f"{len(before):,} rare texts", f"{len(after):,} rare texts")
    else:
        words = (f"{quoted(moved)} {shares[moved][0]:.1%}", f"{quoted(moved)} {shares[moved][1]:.1%}")
    findings = []
    if _has_moved(distance, limits, level):
        text = _drifted(distance, limits, words, OF_TEXTS)
        findings.append(WindowFinding("drift", "baseline_drift_check", name, text))
    if domain is not None:
        new = {value: count for value, count in after.items() if value not in set(domain) | before.keys()}
        records = sum(new.values())
        if _is_many(records, rows[1], max(limits.invalid, _new_by_chance(before)), level):
            example = max(sorted(common(new)), key=new.__getitem__, default=None)
            such = "" if example is None else f", such as {quoted(example)}"
            text = f"{_share(records, rows[1])} of the values are new{such}; known are {_known(domain, before)}"
            findings.append(WindowFinding("drift", "categorical_values_check", name, text))
    return distance, words, findings


def _new_by_chance(before: Mapping[str, int]) -> float:
    """Return the share of values that the baseline has not seen though nothing has changed.

    As many as it has seen once (Good, 1953), with their standard error (Esty, 1983).
    """
    once, twice = (sum(count == times for count in before.values()) for times in (1, 2))
    return (once + _NORMAL * math.sqrt(once + 2 * twice)) / sum(before.values())


def _has_moved(distance: Distance, limits: DataLimits, level: float) -> bool:
    matters = distance.largest > limits.distance or distance.psi > limits.stability
    return matters and distance.chance < level


def _drifted(distance: Distance, limits: DataLimits, words: tuple[str, str], largest_is: str) -> str:
    """Return a finding that ends as AWS's own samples read it, with `distance: (.+) exceeds threshold: (.+)`.

    Which distance it is stands before, because all that follows `threshold:` is read as the number.
    """
    of_largest, of_psi = (distance.largest, limits.distance), (distance.psi, limits.stability)
    by_largest = distance.largest / limits.distance >= distance.psi / limits.stability
    measure, (value, limit) = (largest_is, of_largest) if by_largest else (PSI, of_psi)
    change = f"{words[0]} -> {words[1]}, by the {measure}"
    return f"{change}. Baseline drift distance: {value:.4g} exceeds threshold: {limit:g}"


def _is_many(records: int, of: int, allowed: float, level: float) -> bool:
    return records > of * allowed and chance_of_share(records, of, allowed) < level


def _rows(side: Mapping[str, Any]) -> int:
    return int(side["common"]["num_present"] + side["common"]["num_missing"])


def _bad(check: str, column: str, text: str) -> WindowFinding:
    return WindowFinding("bad_data", check, column, text)


def _share(records: int, of: int) -> str:
    return f"{records / of:.1%}"


def _known(domain: Sequence[str], before: Counts) -> str:
    """Return the values of a domain but for those that few rows had: model.yaml may list what no row has."""
    return _listed([value for value in domain if before.get(value, FEWEST) >= FEWEST])


def _listed(names: Any) -> str:
    some = [quoted(name) for name in list(names)[:10]]
    return ", ".join(some) + (f" and {len(list(names)) - 10} more" if len(list(names)) > 10 else "")
