"""Checks of a request's records against what is usual, which is known since the preprocessor was fitted.

    kind               a value that                                                             metric
    unknown_category   `categories` of the definition does not list; where it lists none, that  UnknownCategories
                       no training row had (not looked at in columns of more than MAX_KNOWN)
    out_of_range       is below `min` or above `max` of the definition                          ValuesOutOfRange
    missing            is absent, null or empty where the definition says that none may be      MissingValues

Each kind is answered or refused, as `serving` of the definition says. Columns are counted and named, values never.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from perennial.features.comparing import above, below
from perennial.features.few_records import FewRecords
from perennial.features.values import extremes
from perennial.words import quoted

UNKNOWN_CATEGORY, OUT_OF_RANGE, MISSING = "unknown_category", "out_of_range", "missing"
METRICS = {UNKNOWN_CATEGORY: "UnknownCategories", OUT_OF_RANGE: "ValuesOutOfRange", MISSING: "MissingValues"}
REFUSED_REQUESTS = "RefusedRequests"
NAMESPACE = "Perennial"
MAX_KNOWN = 10_000  # texts of one column that travel with the preprocessor
MAX_SHOWN = 10  # of them in a refusal
MAX_ATTRIBUTES = 1024  # visible ASCII characters of CustomAttributes (API Reference, InvokeEndpoint)


@dataclass(frozen=True)
class Finding:
    """Values of one kind in one column of a request: how many, and the position of the first record."""

    kind: str
    column: str
    count: int
    first: int


@dataclass(frozen=True)
class Rules:
    """What values of one column are usual; `known` is None where any text is."""

    minimum: float | None = None
    maximum: float | None = None
    known: frozenset[str] | None = None
    nullable: bool = True

    def masks(self, values: pa.Array) -> Iterable[tuple[str, pa.BooleanArray]]:
        """Yield the kinds that occur in a column, each with its mask. The healthy path looks at extremes only."""
        if values.null_count and not self.nullable:
            yield MISSING, pc.is_null(values)
        if (self.minimum is not None or self.maximum is not None) and self._leaves_range(values):
            yield OUT_OF_RANGE, self._outside(values)
        if self.known is not None and not self.known.issuperset(values.dictionary.to_pylist()):
            unknown = pa.array([text not in self.known for text in values.dictionary.to_pylist()], pa.bool_())
            yield UNKNOWN_CATEGORY, unknown.take(values.indices)

    def kind_of(self, value: Any) -> str | None:
        """Return what is unusual about one value; None: nothing."""
        if value is None:
            return None if self.nullable else MISSING
        if self.known is not None:
            return None if value in self.known else UNKNOWN_CATEGORY
        below = self.minimum is not None and value < self.minimum
        return OUT_OF_RANGE if below or (self.maximum is not None and value > self.maximum) else None

    def _leaves_range(self, values: pa.Array) -> bool:
        lowest, highest = extremes(values)
        return lowest is not None and (
            (self.minimum is not None and lowest < self.minimum)
            or (self.maximum is not None and highest > self.maximum)
        )

    def _outside(self, values: pa.Array) -> pa.BooleanArray:
        too_low = below(values, self.minimum) if self.minimum is not None else False
        too_high = above(values, self.maximum) if self.maximum is not None else False
        return pc.or_(too_low, too_high)

    def expected(self, kind: str) -> str:
        """Return what was expected instead of a value of this kind."""
        if kind == MISSING:
            return "a value (the field may not be absent, null or empty)"
        if kind == UNKNOWN_CATEGORY:
            some = sorted(self.known or ())
            more = f" and {len(some) - MAX_SHOWN} more" if len(some) > MAX_SHOWN else ""
            return f"one of {', '.join(quoted(text) for text in some[:MAX_SHOWN])}{more}"
        bounds = (("at least", self.minimum), ("at most", self.maximum))
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)


@dataclass(frozen=True)
class RecordChecks:
    """The rules of all columns that have some, and the kinds that are refused."""

    rules: Mapping[str, Rules] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()

    def find(self, records: pa.Table | FewRecords) -> list[Finding]:
        """Return what is unusual about typed records, in the order of their columns."""
        if isinstance(records, FewRecords):
            return self._find_by_value(records)
        findings = []
        for name, rules in self.rules.items():
            for kind, mask in rules.masks(records[name].combine_chunks()):
                if count := pc.sum(mask).as_py():
                    findings.append(Finding(kind, name, count, pc.index(mask, True).as_py()))
        return findings

    def _find_by_value(self, records: FewRecords) -> list[Finding]:
        positions: dict[tuple[str, str], list[int]] = {}
        for number, row in enumerate(records.rows):
            values = dict(zip(records.names, row, strict=True))
            for name, rules in self.rules.items():
                if kind := rules.kind_of(values[name]):
                    positions.setdefault((name, kind), []).append(number)
        if not positions:
            return []
        places = {name: place for place, name in enumerate(self.rules)}
        ordered = sorted(positions.items(), key=lambda item: (places[item[0][0]], item[0][1]))
        return [Finding(kind, name, len(numbers), numbers[0]) for (name, kind), numbers in ordered]

    def refusal(self, records: pa.Table | FewRecords, findings: Iterable[Finding]) -> str | None:
        """Return why the request is refused: the first value of a kind that is; None when there is none."""
        refused = [finding for finding in findings if finding.kind in self.refused]
        if not refused:
            return None
        first = min(refused, key=lambda finding: finding.first)
        if isinstance(records, FewRecords):
            value = records.values(first.column)[first.first]
        else:
            value = records[first.column][first.first].as_py()
        got = "nothing" if first.kind == MISSING else quoted(value)
        return (
            f"record {first.first + 1}, field '{first.column}': got {got}, expected "
            f"{self.rules[first.column].expected(first.kind)} (serving.{first.kind}: refuse)"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the checks as a JSON document, which `from_json` reads."""
        return {
            "rules": {
                name: {
                    "min": rules.minimum,
                    "max": rules.maximum,
                    "known": None if rules.known is None else sorted(rules.known),
                    "nullable": rules.nullable,
                }
                for name, rules in self.rules.items()
            },
            "refused": sorted(self.refused),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RecordChecks:
        """Return the checks that a document describes; none of an empty one."""
        rules = {
            name: Rules(
                item["min"],
                item["max"],
                None if item["known"] is None else frozenset(item["known"]),
                item["nullable"],
            )
            for name, item in document.get("rules", {}).items()
        }
        return cls(rules, frozenset(document.get("refused", ())))


class KnownTexts:
    """The texts of columns in training rows; None for a column of more than MAX_KNOWN."""

    def __init__(self, names: Iterable[str]) -> None:
        self._texts: dict[str, set[str] | None] = {name: set() for name in names}

    def update(self, table: pa.Table) -> None:
        """Take in a batch of training rows; text columns are dictionaries, which may hold texts of other rows."""
        for name, texts in self._texts.items():
            if texts is None:
                continue
            values = table[name].combine_chunks()
            texts.update(values.dictionary.take(values.indices.unique().drop_null()).to_pylist())
            if len(texts) > MAX_KNOWN:
                self._texts[name] = None

    def of_rows(self, table: pa.Table) -> KnownTexts:
        """Return the texts of the same columns in some rows alone."""
        known = KnownTexts(self._texts)
        known.update(table)
        return known

    def merge(self, other: KnownTexts) -> None:
        """Take in the texts that another has seen."""
        for name, theirs in other._texts.items():
            ours = self._texts[name]
            if ours is None or theirs is None or len(ours | theirs) > MAX_KNOWN:
                self._texts[name] = None
            else:
                ours |= theirs

    def of(self, name: str) -> frozenset[str] | None:
        """Return the texts of a column; None where they are too many, or were not taken in."""
        texts = self._texts.get(name)
        return None if texts is None else frozenset(texts)


def attributes(findings: Iterable[Finding]) -> str:
    """Return findings as a header's value, such as `unknown_category=make:2,body:1;missing=mileage:1`.

    The numbers count values. Column names are ASCII; what does not fit is cut at a column and ends with `...`.
    """
    by_kind: dict[str, list[str]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(f"{finding.column}:{finding.count}")
    text = ";".join(f"{kind}={','.join(columns)}" for kind, columns in by_kind.items())
    if len(text) <= MAX_ATTRIBUTES:
        return text
    return text[: text.rindex(",", 0, MAX_ATTRIBUTES - 2)] + "..."


def named_in(text: str, kind: str) -> frozenset[str]:
    """Return the columns that `attributes` names of one kind."""
    kinds = dict(part.partition("=")[::2] for part in text.removesuffix("...").split(";"))
    return frozenset(column.partition(":")[0] for column in kinds.get(kind, "").split(",") if column)


def metric_lines(findings: Iterable[Finding], service: str, moment_ms: int, *, refused: bool) -> list[str]:
    """Return findings in the embedded metric format, a line for each; no value of the data is in them.

    Source: CloudWatch User Guide, "Specification: Embedded metric format". One document has one value for each
    dimension, so that each column has its own.
    """
    lines = [
        _metric_line(METRICS[finding.kind], finding.count, {"service": service, "column": finding.column}, moment_ms)
        for finding in findings
    ]
    return [*lines, _metric_line(REFUSED_REQUESTS, 1, {"service": service}, moment_ms)] if refused else lines


def _metric_line(metric: str, value: int, dimensions: Mapping[str, str], moment_ms: int) -> str:
    names = list(dimensions)
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [names[: number + 1] for number in range(len(names))],
        "Metrics": [{"Name": metric, "Unit": "Count"}],
    }
    return json.dumps({"_aws": {"Timestamp": moment_ms, "CloudWatchMetrics": [directive]}, **dimensions, metric: value})
