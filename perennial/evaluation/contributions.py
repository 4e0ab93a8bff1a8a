"""What each feature contributes to an answer, by asking about records between the one in question and a typical one.

Contributions are Shapley values (L. Shapley, 1953) of a game in which features take the record's values in place of the
typical ones' (S. Lundberg and S.-I. Lee, "A Unified Approach to Interpreting Model Predictions", NIPS 2017, with one
background record). Together they are the difference of both answers, in the unit of the answer, whatever the model is
and whatever comes before and after it: a logarithm, features of its own, another container.

Up to EXACT features that differ every record between is asked about. Of more they are means over orders in which
features come, each with its reverse, which also add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from perennial.data.distributions import distribution, quantile
from perennial.evaluation.problem_types.measures import Floats

EXACT = 8  # features: 256 records
RECORDS = 2_000  # between two at most, as long as one order of features and its reverse need no more
Ask = Callable[[Sequence[Mapping[str, Any]]], Floats]
"""Records -> their scores, `(n_records,)` or `(n_records, n_classes)`."""


@dataclass(frozen=True)
class Explanation:
    """An answer, that to the typical record, and what lies between.

    score          of several classes the probability of the one that the record is most probably of, whose number is
                   `position`
    contributions  of the features whose values differ, those that matter most first; they add up to score - typical
    is_exact       no order of features was left out
    """

    score: float
    typical: float
    contributions: Mapping[str, float]
    is_exact: bool
    position: int | None = None


def typical(statistics: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    """Return a record of medians and of the most frequent texts; None for what was never there.

    statistics  the data-quality baseline's statistics.json
    types       the features, by name, and their types in model.yaml
    """
    described = {one["name"]: one for one in statistics["features"]}
    return {name: _typical(described.get(name, {}), kind) for name, kind in types.items()}


def _typical(described: Mapping[str, Any], kind: str) -> Any:
    if texts := described.get("string_statistics"):
        buckets = texts["distribution"]["categorical"]["buckets"]
        return buckets[0]["value"] if buckets else None
    if numbers := described.get("numerical_statistics"):
        median = quantile(distribution(numbers), 0.5)
        return bool(median) if kind == "boolean" else round(median) if kind == "integer" else median
    return None


def explain(record: Mapping[str, Any], usual: Mapping[str, Any], ask: Ask) -> Explanation:
    """Return what each feature of a record contributes to its answer; `usual` is the typical record.

    A record is asked about once, all in one call of `ask`.
    """
    differing = [name for name, value in record.items() if value != usual[name]]
    size = len(differing)
    orders = [] if size <= EXACT else _orders(size)
    between = range(2**size) if not orders else dict.fromkeys(part for order in orders for part in _growing(order))
    places = {part: place for place, part in enumerate(between)}
    scores = ask([_mixed(record, usual, differing, part) for part in places])
    whole, position = scores[places[2**size - 1]], None
    if scores.ndim == 2:
        position = int(np.argmax(whole))
        scores = scores[:, position]
    values = _means(scores, places, orders) if orders else _exact(scores, size)
    ranked = sorted(zip(differing, values.tolist(), strict=True), key=lambda one: -abs(one[1]))
    answered, before = float(scores[places[2**size - 1]]), float(scores[places[0]])
    return Explanation(answered, before, dict(ranked), not orders, position)


def _mixed(
    record: Mapping[str, Any], usual: Mapping[str, Any], differing: Sequence[str], part: int
) -> Mapping[str, Any]:
    """Return the typical record with the record's values of a part of the features: bit n is feature n."""
    return {**usual, **{name: record[name] for bit, name in enumerate(differing) if part >> bit & 1}}


def _exact(scores: Floats, size: int) -> Floats:
    """Return the Shapley values of a game whose value of part n is `scores[n]`."""
    parts = np.arange(2**size)
    sizes = np.array([int(part).bit_count() for part in parts])
    weights = np.array([1 / (size * comb(size - 1, taken)) if taken < size else 0.0 for taken in sizes])
    values = np.empty(size)
    for bit in range(size):
        without = parts[parts >> bit & 1 == 0]
        values[bit] = weights[without] @ (scores[without | 1 << bit] - scores[without])
    return values


def _orders(size: int) -> list[list[int]]:
    """Return orders of features, each with its reverse (R. Mitchell et al., JMLR 23, 2022): the same ones each time."""
    random, orders = np.random.default_rng(0), []
    for _ in range(max(1, RECORDS // (2 * size))):
        order = random.permutation(size).tolist()
        orders += [order, order[::-1]]
    return orders


def _growing(order: Sequence[int]) -> list[int]:
    """Return the parts that come up as features are added in this order, from none to all."""
    parts = [0]
    for bit in order:
        parts.append(parts[-1] | 1 << bit)
    return parts


def _means(scores: Floats, places: Mapping[int, int], orders: Sequence[Sequence[int]]) -> Floats:
    values = np.zeros(len(orders[0]))
    for order in orders:
        values[list(order)] += np.diff(scores[[places[part] for part in _growing(order)]])
    return values / len(orders)
