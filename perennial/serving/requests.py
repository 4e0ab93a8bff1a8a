"""The body of a request: one record or a list of records, checked by the definition before the model is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any

from perennial.features.column import Column
from perennial.features.column_names import RequestNames
from perennial.features.json_text import decode
from perennial.features.one_value import broken
from perennial.features.rules import expected_by
from perennial.serving.problems import ProblemError
from perennial.words import quoted

MEDIA_TYPE = "application/json"
INSTANCES = "instances"
MOST_COMPLAINTS = 20  # that an answer names


@dataclass(frozen=True)
class Complaint:
    """What is wrong with a record, which is counted from 1, and the field if it is one that is wrong."""

    record: int
    field: str | None
    expected: str
    got: str

    def as_json(self) -> dict[str, Any]:
        return {"record": self.record, "field": self.field, "expected": self.expected, "got": self.got}

    def __str__(self) -> str:
        field = f", field '{self.field}'" if self.field else ""
        return f"record {self.record}{field}: got {self.got}, expected {self.expected}"


@dataclass(frozen=True)
class RecordContract:
    """The features of a model, and the names that callers may use for them."""

    features: Mapping[str, Column]
    names: RequestNames

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> RecordContract:
        """Read a resolved definition (config.json): columns, target, other_columns."""
        is_feature = {
            name: column.get("feature", True) and name != definition["target"]
            for name, column in definition["columns"].items()
        }
        columns = {
            name: Column.from_definition(name, column, required=False, feature=is_feature[name])
            for name, column in definition["columns"].items()
        }
        features = {name: column for name, column in columns.items() if column.feature}
        others = {name: column.sources for name, column in columns.items() if not column.feature}
        names = RequestNames(features.values(), others, ignore=definition["other_columns"] == "ignore")
        return cls(features, names)

    def require(self, records: Iterable[Any]) -> None:
        """Raise ProblemError, which names records and fields, unless each record keeps the contract."""
        every = (complaint for number, record in enumerate(records, 1) for complaint in self._of(number, record))
        complaints = list(islice(every, MOST_COMPLAINTS + 1))  # a body may hold a million
        if not complaints:
            return
        at_least = "at least " if len(complaints) > MOST_COMPLAINTS else ""
        more = f" (and {at_least}{len(complaints) - 1} more)" if len(complaints) > 1 else ""
        errors = [complaint.as_json() for complaint in complaints[:MOST_COMPLAINTS]]
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"{complaints[0]}{more}", members={"errors": errors})

    def _of(self, number: int, record: Any) -> Iterator[Complaint]:
        if not isinstance(record, dict):
            expected = f"an object with {', '.join(self.features)}"
            yield Complaint(number, None, expected, quoted(record))
            return
        named = self.names.of(record)
        for name in named.unknown:
            yield Complaint(number, name, f"one of {', '.join(self.features)}", "a field of this name")
        for one, other, meant in named.twice:
            yield Complaint(number, meant, "one field", f"both {quoted(one)} and {quoted(other)}")
        for name, column in self.features.items():
            value = record.get(named.fields.get(name, name))
            if rule := broken(column, value):
                got = "nothing" if rule == "missing" else quoted(value)
                yield Complaint(number, name, expected_by(column, rule, value), got)


def records_of(text: str) -> list[Any]:
    """Return the records of a body: one object, a list, or {"instances": a list}. Raises ProblemError."""
    try:
        document = decode(text.removeprefix("\ufeff"))
    except ValueError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"the body is not readable as JSON: {error}") from error
    if isinstance(document, dict):
        document = document[INSTANCES] if list(document) == [INSTANCES] else [document]
    if not isinstance(document, list):
        expected = 'a record, such as {"year": 2014}, or a list of records'
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"the body is {quoted(document)}; expected {expected}")
    if not document:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body holds no record; expected at least one")
    return document
