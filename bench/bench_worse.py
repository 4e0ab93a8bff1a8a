"""How often an unchanged model is called worse, and how often one that is, by the errors that it makes.

    python -m bench.bench_worse [--windows 500]

Each window has a test set of its own, drawn anew from the same world, and is judged at the level of one analysis of two
by the defaults of model.yaml. Errors are normal or have heavy tails (Student's t of three degrees of freedom, a
lognormal of 1.5, and one error of 500 that is 50 times as large). A model that is worse errs 1.5 times as much.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from perennial.evaluation import model_quality as measured
from perennial.evaluation.custom_metrics import OwnMetrics
from perennial.model.definition import Monitoring
from perennial.monitoring import model_quality

Floats = npt.NDArray[np.float64]
Draw = Callable[[int, np.random.Generator], Floats]

ERRORS: dict[str, Draw] = {
    "normal": lambda rows, random: random.normal(0, 1, rows),
    "Student's t": lambda rows, random: random.standard_t(3, rows),
    "lognormal": lambda rows, random: random.lognormal(0, 1.5, rows) * random.choice([-1.0, 1.0], rows),
    "rare and large": lambda rows, random: random.normal(0, 1, rows) * np.where(random.random(rows) < 0.002, 50, 1),
}
SIZES, TESTED = (100, 200, 1_000), (100, 500, 2_000)
TIME = datetime(2026, 1, 1, tzinfo=UTC)
MONITORED = Monitoring()
LIMITS = model_quality.ModelLimits(MONITORED.model_quality.max_drop, MONITORED.false_alarm_rate / 2)
DEFINITION = {"problem": "regression", "gate": {"metric": "rmse"}}


def worse(errors: Draw, rows: int, tested: int, factor: float, seed: int) -> dict[str, bool]:
    """Return of each metric whether one window calls the model worse."""
    random = np.random.default_rng([rows, tested, seed])
    truth, labels = random.normal(0, 5, tested), random.normal(0, 5, rows)
    before = measured.statistics("regression", truth, truth + errors(tested, random), evaluation_time=TIME)
    judged = model_quality.judge(
        DEFINITION, before, measured.constraints("regression", before), labels, labels + factor * errors(rows, random),
        LIMITS, TIME, OwnMetrics.none("regression"),
    )  # fmt: skip
    return {one.name: one.worse for one in judged.metrics}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the shares of windows in which a model counts as worse."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--windows", type=int, default=500, help="of each kind and size")
    windows = parser.parse_args(argv).windows
    for name, errors in ERRORS.items():
        for rows, tested in ((rows, tested) for rows in SIZES for tested in TESTED):
            for factor in (1.0, 1.5):
                verdicts = [worse(errors, rows, tested, factor, seed) for seed in range(windows)]
                shares = {each: 100 * sum(one[each] for one in verdicts) / windows for each in ("rmse", "mae")}
                texts = "  ".join(f"{each} {share:5.1f} %" for each, share in shares.items())
                print(f"{name:15} {rows:6,} records, {tested:6,} test rows, errors x {factor:g}:  {texts}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
