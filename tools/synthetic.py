"""Used-car rows in any number: seeded, streaming, and alike the 804 cars of the demo data.

    python -m tools.synthetic --rows 1000000 --seed 7 --output cars.csv [--years 2] [--outliers 0.001] [--invalid 0.01]

Each row draws one of the 25 kinds of car of the real data in its share, a mileage and options; the logarithm of the
price is that of its kind, less 8 % for each 10,000 miles, plus the spread that the real cars of the kind show.
`years` is drift: cars as they are that many years later, with more miles and lower prices. Outliers are prices far
from the rest, but within the data contract; invalid rows break it, with a unit inside the mileage ("41250 mi").
`wide` adds three columns that are no features: sold_on (a time), seller (a group) and vin (an id).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tools.terminal import run

HEADER = "price,mileage,cylinder,doors,cruise,sound,leather,make,body"
WIDE_HEADER = HEADER + ",sold_on,seller,vin"
BATCH_ROWS = 50_000


class Kind(NamedTuple):
    """A kind of car: how many of the 804, the price at 20,000 miles without options, the spread of its logarithm."""

    make: str
    body: str
    cylinder: int
    doors: int
    cars: int
    price_usd: int
    spread: float


# Least squares on modeldata::car_prices (S. Kuiper, Journal of Statistics Education 16, 2008).
KINDS = (
    Kind("Buick", "sedan", 6, 4, 80, 19557, 0.13),
    Kind("Cadillac", "convertible", 8, 2, 10, 56783, 0.01),
    Kind("Cadillac", "sedan", 6, 4, 20, 30337, 0.12),
    Kind("Cadillac", "sedan", 8, 4, 50, 35854, 0.11),
    Kind("Chevy", "convertible", 8, 2, 10, 37774, 0.02),
    Kind("Chevy", "coupe", 4, 2, 50, 11991, 0.05),
    Kind("Chevy", "coupe", 6, 2, 30, 18728, 0.10),
    Kind("Chevy", "coupe", 8, 2, 10, 33171, 0.01),
    Kind("Chevy", "hatchback", 4, 4, 30, 10207, 0.07),
    Kind("Chevy", "hatchback", 6, 4, 30, 16014, 0.03),
    Kind("Chevy", "sedan", 4, 4, 100, 11784, 0.11),
    Kind("Chevy", "sedan", 6, 4, 60, 16963, 0.14),
    Kind("Pontiac", "coupe", 4, 2, 10, 11711, 0.01),
    Kind("Pontiac", "coupe", 6, 2, 10, 14330, 0.02),
    Kind("Pontiac", "coupe", 8, 2, 10, 26901, 0.02),
    Kind("Pontiac", "sedan", 4, 4, 10, 12930, 0.02),
    Kind("Pontiac", "sedan", 6, 4, 70, 17891, 0.08),
    Kind("Pontiac", "sedan", 8, 4, 10, 21151, 0.03),
    Kind("Pontiac", "wagon", 4, 4, 30, 15227, 0.04),
    Kind("Saab", "convertible", 4, 2, 30, 31676, 0.05),
    Kind("Saab", "sedan", 4, 4, 50, 25648, 0.06),
    Kind("Saab", "wagon", 4, 4, 34, 27024, 0.06),
    Kind("Saturn", "coupe", 4, 2, 20, 13936, 0.03),
    Kind("Saturn", "sedan", 4, 4, 30, 12353, 0.05),
    Kind("Saturn", "sedan", 6, 4, 10, 15317, 0.03),
)
OPTION_SHARES = np.array([0.75, 0.68, 0.72])  # cruise, sound, leather
OPTION_EFFECTS = np.array([0.023, 0.016, 0.050])  # on the logarithm of the price
MILES_MEAN, MILES_SPREAD, MILES_A_YEAR = 20_000, 8_200, 12_000
LOSS_PER_MILE, LOSS_PER_YEAR = 0.0807e-4, 0.08  # on the logarithm of the price
FIRST_DAY, DAYS, SELLERS = date(2024, 1, 1), 730, 5_000


def batches(
    rows: int, *, seed: int, years: float = 0.0, outliers: float = 0.0, invalid: float = 0.0, wide: bool = False
) -> Iterator[bytes]:
    """Yield a CSV file in pieces: the header line, then rows. The same arguments give the same bytes."""
    yield ((WIDE_HEADER if wide else HEADER) + "\n").encode()
    random = np.random.default_rng(seed)
    for first in range(0, rows, BATCH_ROWS):
        count = min(BATCH_ROWS, rows - first)
        lines = _lines(random, count, years, outliers, invalid)
        if wide:
            lines = [f"{line},{more}" for line, more in zip(lines, _wide(random, count), strict=True)]
        yield ("\n".join(lines) + "\n").encode()


def _lines(random: np.random.Generator, count: int, years: float, outliers: float, invalid: float) -> list[str]:
    cars = np.array([kind.cars for kind in KINDS])
    kinds = random.choice(len(KINDS), count, p=cars / cars.sum())
    miles = np.maximum(random.normal(MILES_MEAN + years * MILES_A_YEAR, MILES_SPREAD, count), 100).astype(np.int64)
    options = random.random((count, 3)) < OPTION_SHARES
    prices = _prices(random, kinds, miles, options, years)
    prices = np.where(random.random(count) < outliers, prices * random.uniform(4, 6, count), prices)
    units = np.where(random.random(count) < invalid, " mi", "")
    before = [f"{kind.cylinder},{kind.doors}" for kind in KINDS]
    after = [f"{kind.make},{kind.body}" for kind in KINDS]
    equipment = [f"{number >> 2},{number >> 1 & 1},{number & 1}" for number in range(8)]
    return [
        f"{price:.2f},{mile}{unit},{before[kind]},{equipment[option]},{after[kind]}"
        for price, mile, unit, kind, option in zip(
            prices.tolist(), miles.tolist(), units.tolist(), kinds.tolist(), (options @ [4, 2, 1]).tolist(), strict=True
        )
    ]


def _prices(
    random: np.random.Generator,
    kinds: npt.NDArray[np.int64],
    miles: npt.NDArray[np.int64],
    options: npt.NDArray[np.bool_],
    years: float,
) -> npt.NDArray[np.float64]:
    """Return prices in USD."""
    typical = np.log([kind.price_usd for kind in KINDS])[kinds]
    spread = np.array([kind.spread for kind in KINDS])[kinds]
    loss = LOSS_PER_MILE * (miles - MILES_MEAN) + LOSS_PER_YEAR * years
    logarithm = typical - loss + options @ OPTION_EFFECTS + spread * random.standard_normal(len(kinds))
    return np.exp(np.asarray(logarithm, np.float64))


def _wide(random: np.random.Generator, count: int) -> list[str]:
    days = [(FIRST_DAY + timedelta(day)).isoformat() for day in range(DAYS)]
    return [
        f"{days[day]},seller-{seller:04d},{vin:017d}"
        for day, seller, vin in zip(
            random.integers(DAYS, size=count).tolist(),
            random.integers(SELLERS, size=count).tolist(),
            random.integers(10**16, 10**17, size=count).tolist(),
            strict=True,
        )
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Write rows to a file or to standard output."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--years", type=float, default=0.0, help="drift: how much later the cars are sold")
    parser.add_argument("--outliers", type=float, default=0.0, help="share of rows with an extreme price")
    parser.add_argument("--invalid", type=float, default=0.0, help="share of rows that break the data contract")
    parser.add_argument("--wide", action="store_true", help="add sold_on, seller and vin")
    parser.add_argument("--output", type=Path, help="default: standard output")
    arguments = vars(parser.parse_args(argv))
    output, rows = arguments.pop("output"), arguments.pop("rows")
    with output.open("wb") if output else nullcontext(sys.stdout.buffer) as file:
        for piece in batches(rows, **arguments):
            file.write(piece)
    return 0


if __name__ == "__main__":
    run(main)
