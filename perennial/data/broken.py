"""Counts of rows that break the data contract, by rule, with a few examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

MAX_EXAMPLES = 3

Rule = tuple[str, str]  # (column, rule); the column is empty where the rule is about the whole row


class Broken:
    """Counts the rows that break the contract."""

    def __init__(self) -> None:
        self.rows = 0
        self._rows_of_rule: Counter[Rule] = Counter()
        self._examples: dict[Rule, list[str]] = {}
        self._expected: dict[Rule, str] = {}

    def count(self, rule: Rule, rows: int, expected: str = "") -> int:
        """Count rows that break a rule, which expects something; return how many more examples of it are wanted."""
        self._rows_of_rule[rule] += rows
        self._expected[rule] = expected
        return MAX_EXAMPLES - len(self._examples.setdefault(rule, []))

    def show(self, rule: Rule, example: str) -> None:
        """Add an example of a rule that has been counted."""
        self._examples[rule].append(example)

    def add(self, other: Broken) -> None:
        """Take in what has been counted elsewhere."""
        self.rows += other.rows
        for rule, rows in other._rows_of_rule.items():
            wanted = self.count(rule, rows, other._expected[rule])
            self._examples[rule] += other._examples[rule][:wanted]

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules that were broken, most often first, with how often, what they expect and a few examples."""
        return [
            {
                "column": rule[0],
                "rule": rule[1],
                "rows": rows,
                "expected": self._expected[rule],
                "examples": self._examples[rule],
            }
            for rule, rows in sorted(self._rows_of_rule.items(), key=lambda item: (-item[1], item[0]))
        ]

    def headline(self, rows: int, allowed: float) -> str:
        """Return in a line what broke most often, and how many of so many rows are broken, against what is allowed."""
        first = self.rules()[0]
        share = f"{self.rows:,} of {rows:,} rows ({self.rows / rows:.2%})"
        limit = f"break the data contract; allowed are {allowed:.2%} (quality.max_invalid_share)"
        return f"{first['column'] or 'row'}, rule '{first['rule']}', {counted(first['rows'])}: {share} {limit}"

    def problems(self) -> list[str]:
        """Return what broke how often, with examples: a line for each rule; and what helps, if the definition can."""
        rules = self.rules()
        advice = ["units, marks, and words for missing values are told by columns.<name>.parse of model.yaml"]
        return [*map(problem, rules), *(advice if any(rule["rule"] == "type" for rule in rules) else [])]


def counted(number: int, what: str = "row") -> str:
    """Return a number of things in words."""
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


def problem(rule: Mapping[str, Any], examples: int = MAX_EXAMPLES) -> str:
    """Return what broke how often, in words, with what was expected and at most so many examples."""
    expected = f": expected {rule['expected']}" if rule.get("expected") else ""
    named = f"{rule['column'] or 'row'} breaks the rule '{rule['rule']}' in {counted(rule['rows'])}"
    return f"{named}{expected} ({'; '.join(rule['examples'][:examples])})"
