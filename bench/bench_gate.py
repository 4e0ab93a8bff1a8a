"""What the gate decides when files change, and how often it is wrong: the simulation behind decision 0002.

    python -m bench.bench_gate [--seeds 20] [--bounds | --targets]

Generated used cars (tools.synthetic). A model is trained and serves; then something happens to the files or to the
definition, and a candidate is trained and judged, once as a gate does that deals rows by their position and compares on
all test rows (before), and once by data.split, evaluation.comparison and evaluation.gate (after). Printed are the
share of the candidate's test rows that the model in service has trained or validated on, and how often the candidate is
accepted; then how often a bound on known rows rejects an honest candidate, and how often a wrong one; then what becomes
of rows that come again with other targets, where known rows are told without their targets and with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xgboost

from perennial.data.row_hasher import RowHasher
from perennial.data.rows import CONTENT, IDENTITY, combined
from perennial.data.split import TEST, TRAIN, VALIDATION, Sets, splitter
from perennial.evaluation.comparison import among, compare, other_groups
from perennial.evaluation.gate import Compared, Comparison, Gate, judge
from perennial.evaluation.metrics import metric_named
from tools import synthetic

Floats = npt.NDArray[np.float64]
Names = tuple[str, ...]
Files = list[Floats]  # each (n_rows, price, mileage, kind of car, options, day)
SPLIT = {"method": "random", "column": None, "seed": 42, "key": None, "validation": 0.15, "test": 0.2}
BY_TIME = {**SPLIT, "method": "time", "column": "day"}
BY_GROUP = {**SPLIT, "method": "group", "column": "kind"}
FEATURES = ("day", "kind", "mileage", "options")
NAMES = ("price", "mileage", "kind", "options", "day")
PARAMETERS = {"eta": 0.1, "max_depth": 4, "subsample": 0.9, "objective": "reg:squarederror", "nthread": 1}
RMSE = metric_named("regression", "rmse")
BOUNDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


def cars(rows: int, seed: int) -> Floats:
    """Return rows of NAMES: the kinds, mileages and prices of tools.synthetic."""
    random = np.random.default_rng(seed)
    counts = np.array([kind.cars for kind in synthetic.KINDS])
    kinds = random.choice(len(counts), rows, p=counts / counts.sum())
    miles = np.maximum(random.normal(synthetic.MILES_MEAN, synthetic.MILES_SPREAD, rows), 100).round()
    options = random.integers(0, 8, rows)
    spread = np.array([kind.spread for kind in synthetic.KINDS])[kinds]
    typical = np.log([kind.price_usd for kind in synthetic.KINDS])[kinds]
    prices = np.exp(
        typical - synthetic.LOSS_PER_MILE * (miles - synthetic.MILES_MEAN) + spread * random.normal(size=rows)
    )
    return np.column_stack([prices.round(2), miles, kinds, options, random.random(rows)])


def later(rows: int, seed: int) -> Floats:
    """Return cars as they are sold two years later: more miles, lower prices."""
    made = cars(rows, seed)
    made[:, 1] += 2 * synthetic.MILES_A_YEAR
    made[:, 0] *= np.exp(-2 * (synthetic.MILES_A_YEAR * synthetic.LOSS_PER_MILE + synthetic.LOSS_PER_YEAR))
    return made


def wrong(rows: int, seed: int) -> Floats:
    """Return cars of one kind whose prices are in another currency and whose mileages are in kilometres."""
    made = cars(rows, seed)
    made[:, 0], made[:, 1], made[:, 2] = made[:, 0] * 1.6, made[:, 1] * 1.609, 10
    return made


# ---- Dealing rows, before and after


def by_position(files: Files, seed: int) -> Sets:
    """Deal by position: what a generator of the seed draws for the place of a row in its chunk of 100."""
    sets = []
    random = np.random.default_rng(seed)
    for file in files:
        for start in range(0, len(file), 100):
            lots = random.permutation(100)[: len(file) - start]
            sets.append(np.where(lots < 20, TEST, np.where(lots < 35, VALIDATION, TRAIN)))
    return np.concatenate(sets).astype(np.uint8)


def by_time(files: Files, seed: int) -> Sets:
    """Deal by time, without a look at what the model in service has seen."""
    days = np.concatenate(files)[:, 4]
    return np.where(days >= np.quantile(days, 0.8), TEST, np.where(days >= np.quantile(days, 0.65), VALIDATION, TRAIN))


def by_kind(files: Files, seed: int) -> Sets:
    """Deal by group: kinds drawn one by one until a set has its share."""
    kinds = np.concatenate(files)[:, 2].astype(int)
    counts = np.bincount(kinds, minlength=len(synthetic.KINDS))
    drawn = np.random.default_rng(seed).permutation(len(counts))
    dealt = np.cumsum(counts[drawn]) / counts.sum()
    sets = np.where(dealt <= 0.2, TEST, np.where(dealt <= 0.35, VALIDATION, TRAIN))
    return np.asarray(sets[np.argsort(drawn)][kinds], np.uint8)


OLD = {"random": by_position, "time": by_time, "group": by_kind}


def by_content(split: dict[str, Any], features: Names, files: Files, seed: int) -> Sets:
    """Deal as the product does, where these features tell rows apart."""
    splitting = splitter({**split, "seed": seed})
    for number, file in enumerate(files):
        identity = identities(file, features)
        content = identity if split["key"] else with_targets(file, features)
        columns = {IDENTITY: pa.array(identity), CONTENT: pa.array(content)}
        rows = pa.table({**dict(zip(NAMES, table(file).columns, strict=True)), **columns})
        splitting.observe(number, splitting.deal(rows))
    return splitting.finish()[:]


def table(file: Floats) -> pa.Table:
    return pa.table(dict(zip(NAMES, file.T, strict=True)))


def identities(rows: Floats, features: Names) -> npt.NDArray[np.uint64]:
    return RowHasher(features).hashes(table(rows))


# ---- Models


@dataclass(frozen=True)
class Model:
    """A booster, and which of its rows train, validate and test."""

    booster: xgboost.Booster
    rows: Floats
    sets: Sets

    @classmethod
    def trained(cls, files: Files, sets: Sets, seed: int) -> Model:
        rows = np.concatenate(files)
        train, validation = (matrix(rows[sets == number]) for number in (TRAIN, VALIDATION))
        booster = xgboost.train(
            {**PARAMETERS, "seed": seed},
            train,
            300,
            evals=[(validation, "validation")],
            early_stopping_rounds=20,
            verbose_eval=False,
        )
        return cls(booster, rows, sets)

    def of(self, *numbers: int) -> Floats:
        return self.rows[np.isin(self.sets, numbers)]

    def predict(self, rows: Floats) -> Floats:
        end = self.booster.best_iteration + 1
        return np.asarray(self.booster.predict(matrix(rows), iteration_range=(0, end)), np.float64)


def matrix(rows: Floats) -> xgboost.DMatrix:
    kinds = rows[:, 2:3] == np.arange(len(synthetic.KINDS))
    return xgboost.DMatrix(np.hstack([rows[:, 1:2], rows[:, 3:4], kinds]), rows[:, 0])


def compared(candidate: Model, champion: Model, features: Names) -> Comparison:
    """Compare two models as the product does: rows are told by the features of the model in service."""
    test = candidate.of(TEST)
    hashes = identities(test, features)
    of_training = among(hashes, [identities(champion.of(TRAIN, VALIDATION), features)])
    theirs = champion.of(TEST)
    tested = among(hashes, [identities(theirs, features)])
    changed = ~among(with_targets(test, features), [with_targets(theirs, features)])
    predicted = candidate.predict(test), champion.predict(test)
    return compare(RMSE, test[:, 0], *predicted, seen=of_training, tested=tested, changed=changed)


def with_targets(rows: Floats, features: Names) -> npt.NDArray[np.uint64]:
    return combined(identities(rows, features), RowHasher(["price"]).hashes(table(rows)))


def leaked(rows: Floats, champion: Model) -> float:
    """Return the share of rows that a model has trained or validated on, told by all that they hold."""
    training_rows = {row.tobytes() for row in champion.of(TRAIN, VALIDATION)}
    return float(np.mean([row.tobytes() in training_rows for row in rows]))


def error(model: Model, rows: Floats) -> float:
    return float(np.sqrt(np.mean((model.predict(rows) - rows[:, 0]) ** 2)))


# ---- What happens


@dataclass(frozen=True)
class Change:
    """Files before and after, how they are split, and what is otherwise after."""

    name: str
    before: Callable[[int], Files]
    after: Callable[[int], Files]
    split: dict[str, Any]
    seed_after: int = 42
    split_after: dict[str, Any] | None = None
    features_after: Names = FEATURES


def corrected(files: Files) -> Files:
    """Return files of which the first comes again without its last 150 rows, and with a few prices corrected."""
    first = files[0][:-150].copy()
    first[::50, 0] *= 1.01
    return [first, *files[1:]]


CHANGES = (
    Change(
        "the same rows in 200 files", lambda s: [cars(6000, s)],
        lambda s: np.array_split(cars(6000, s), 200), SPLIT,
    ),
    Change("another order", lambda s: [cars(6000, s)], lambda s: [cars(6000, s)[::-1]], SPLIT),
    Change(
        "a file corrected", lambda s: [cars(1000, s), cars(5000, s + 1)],
        lambda s: corrected([cars(1000, s), cars(5000, s + 1)]), SPLIT,
    ),
    Change(
        "a rule that drops 1 % of the rows", lambda s: [cars(6000, s)],
        lambda s: [cars(6000, s)[np.arange(6000) % 100 > 0]], SPLIT,
    ),
    Change("another seed", lambda s: [cars(6000, s)], lambda s: [cars(6000, s)], SPLIT, seed_after=43),
    Change("a file again, renamed", lambda s: [cars(6000, s)], lambda s: [cars(6000, s)] * 2, SPLIT),
    Change("6 % new rows", lambda s: [cars(6000, s)], lambda s: [cars(6000, s), cars(360, s + 1)], SPLIT),
    Change(
        "older rows come later, split by time", lambda s: [cars(3000, s)],
        lambda s: [cars(3000, s), cars(3000, s + 1) - [0, 0, 0, 0, 0.5]], BY_TIME,
    ),
    Change(
        "split by time instead of at random", lambda s: [cars(6000, s)], lambda s: [cars(6000, s)], SPLIT,
        split_after=BY_TIME,
    ),
    Change(
        "split by group instead of at random", lambda s: [cars(6000, s)], lambda s: [cars(6000, s)], SPLIT,
        split_after=BY_GROUP,
    ),
    Change(
        "split at random instead of by group", lambda s: [cars(6000, s)], lambda s: [cars(6000, s)], BY_GROUP,
        split_after=SPLIT,
    ),
    Change(
        "a feature less", lambda s: [cars(6000, s)], lambda s: [cars(6000, s)], SPLIT,
        features_after=("kind", "mileage"),
    ),
    Change(
        "11 % wrong rows", lambda s: [cars(6000, s)], lambda s: [cars(6000, s), wrong(660, s + 1)], SPLIT
    ),
)  # fmt: skip
GATE = Gate("rmse", "minimize", 5_000.0, maximum_regression=0.25, minimum_unseen_rows=30)


def judged(change: Change, seed: int) -> tuple[float, bool, float, bool]:
    """Return the share of the rows compared on that the champion has seen, and the verdict, before and after."""
    stages = (
        (change.before(seed), change.split, FEATURES, 42),
        (change.after(seed), change.split_after or change.split, change.features_after, change.seed_after),
    )
    old = [Model.trained(files, OLD[split["method"]](files, drawn), seed) for files, split, _, drawn in stages]
    new = [
        Model.trained(files, by_content(split, features, files, drawn), seed)
        for files, split, features, drawn in stages
    ]
    test = old[1].of(TEST)
    before = error(old[1], test) <= error(old[0], test)
    fresh, comparison = new[1].of(TEST), compared(new[1], new[0], FEATURES)
    unseen = ~among(identities(fresh, FEATURES), [identities(new[0].of(TRAIN, VALIDATION), FEATURES)])
    unfair = other_groups({"split": stages[1][1], "columns": {}}, {"split": stages[0][1], "columns": {}})
    after = judge(GATE, error(new[1], fresh), replace(comparison, unfair=unfair)).accepted
    return leaked(test, old[0]), before, leaked(fresh[unseen], new[0]) if unseen.any() else 0.0, after


def bounds(rows: int, seeds: int) -> None:
    """Print how often a bound on known rows rejects a candidate of more data: alone, and where it is not chance."""
    kinds = {"alike": (cars, rows // 5), "two years later": (later, rows // 4), "6 % wrong": (wrong, rows // 16)}
    comparisons: dict[str, list[Compared]] = {kind: [] for kind in kinds}
    for seed in range(seeds):
        first = [cars(rows, 7 * seed)]
        champion = Model.trained(first, by_content(SPLIT, FEATURES, first, 42), seed)
        for kind, (make, count) in kinds.items():
            files = [*first, make(count, 7 * seed + 1)]
            candidate = Model.trained(files, by_content(SPLIT, FEATURES, files, 42), seed + 1)
            comparisons[kind].append(compared(candidate, champion, FEATURES).known)
    print(
        f"\n{rows:,} rows, {seeds} seeds, {comparisons['alike'][0].rows:,} known test rows; rejected by the bound "
        "alone, and"
    )
    print("where the difference is more than chance, when more rows come that are")
    print(f"{'bound':>8}" + "".join(f"{kind:>22}" for kind in kinds))
    for bound in BOUNDS:
        shares = [(_alone(bound, parts), _rejected(bound, parts)) for parts in comparisons.values()]
        print(f"{bound:>8.0%}" + "".join(f"{alone:>12.0%} {both:>9.0%}" for alone, both in shares), flush=True)


def times(files: Files, factor: float, share: float = 1.0) -> Files:
    """Return the files, and a share of their rows once more with their prices times a factor."""
    again = files[0][: round(share * len(files[0]))].copy()
    again[:, 0] = (again[:, 0] * factor).round(2)
    return [*files, again]


def mixed_up(files: Files) -> Files:
    """Return the files, and their rows once more, each with the price of another."""
    again = files[0].copy()
    again[:, 0] = again[::-1, 0]
    return [*files, again]


KEYED = {**SPLIT, "key": ["day"]}
# Name, what comes, and how rows are told: of one key the last row counts.
OTHER_TARGETS = (
    ("all rows again, prices times 1.2", lambda files: times(files, 1.2), SPLIT),
    ("all rows again under their keys, prices times 1.2", lambda files: times(files, 1.2), KEYED),
    ("all rows again under their keys, prices mixed up", mixed_up, KEYED),
    ("all rows again under their keys, prices times 1.02", lambda files: times(files, 1.02), KEYED),
    ("5 % of the rows under their keys, prices times 1.02", lambda files: times(files, 1.02, 0.05), KEYED),
)


def other_targets(seeds: int) -> None:
    """Print how many rows count as known where targets tell them or not, and how often the candidate is accepted."""
    gate = replace(GATE, threshold=1e9)
    print(
        f"{'what comes':<52} {'tested':>8} {'known without':>14} {'accepted':>10} {'known with':>12} {'accepted':>10}"
    )
    for name, make, split in OTHER_TARGETS:
        features = FEATURES if split is SPLIT else ("day",)
        measures = []
        for seed in range(seeds):
            first = [cars(6000, 7 * seed)]
            champion = Model.trained(first, by_content(split, features, first, 42), seed)
            files = make(first)
            candidate = Model.trained(files, by_content(split, features, files, 42), seed + 1)
            informed = compared(candidate, champion, features)
            accepted = error(champion, champion.of(TEST))
            blind = without_targets(candidate, champion, features)
            value = error(candidate, candidate.of(TEST))
            before, after = judge(gate, value, blind), judge(gate, value, informed, accepted)
            measures.append(
                (len(champion.of(TEST)), blind.known.rows, before.accepted, informed.known.rows, after.accepted)
            )
        tested, blind_known, before_share, known, after_share = np.array(measures, np.float64).mean(axis=0)
        print(
            f"{name:<52} {tested:>8,.0f} {blind_known:>14,.0f} {before_share:>10.0%} {known:>12,.0f} "
            f"{after_share:>10.0%}",
            flush=True,
        )


def without_targets(candidate: Model, champion: Model, features: Names) -> Comparison:
    """Compare as if every row that the model in service was tested on were known, whatever its target is now."""
    test = candidate.of(TEST)
    hashes = [identities(rows, features) for rows in (test, champion.of(TRAIN, VALIDATION), champion.of(TEST))]
    of_training, tested = (among(hashes[0], [one]) for one in hashes[1:])
    predicted = candidate.predict(test), champion.predict(test)
    return compare(RMSE, test[:, 0], *predicted, seen=of_training, tested=tested, changed=np.zeros(len(test), bool))


def _alone(bound: float, parts: Sequence[Compared]) -> float:
    gate = Gate("rmse", "minimize", 1e9, maximum_regression=bound)
    return float(
        np.mean([not gate.reaches(one.candidate or 0, gate.worst_allowed(one.champion or 0)) for one in parts])
    )


def _rejected(bound: float, parts: Sequence[Compared]) -> float:
    gate = Gate("rmse", "minimize", 1e9, maximum_regression=bound)
    return float(np.mean([judge(gate, 1.0, Comparison(one.rows, one, one)).keeps_known is False for one in parts]))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--bounds", action="store_true", help="the bounds only")
    parser.add_argument("--targets", action="store_true", help="other targets only")
    arguments = parser.parse_args(argv)
    if not arguments.bounds and not arguments.targets:
        _print_changes(arguments.seeds)
    for rows in () if arguments.targets else (800, 6000):
        bounds(rows, arguments.seeds)
    if not arguments.bounds:
        other_targets(arguments.seeds)
    return 0


def _print_changes(seeds: int) -> None:
    print(f"{'change':<40} {'seen before':>12} {'accepted':>10} {'seen after':>12} {'accepted':>10}")
    for change in CHANGES:
        means = np.array([judged(change, 1000 * seed) for seed in range(seeds)], np.float64).mean(axis=0)
        print(f"{change.name:<40} {means[0]:>12.0%} {means[1]:>10.0%} {means[2]:>12.0%} {means[3]:>10.0%}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
