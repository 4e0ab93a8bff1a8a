"""Sales of used cars, one by one: what callers ask the endpoint about, and what the car is sold for later.

The rows are those of tools.synthetic, each with an id; a changed world is a function of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from tools import synthetic

HEADER = f"{synthetic.HEADER},sale"
MILES_TO_KILOMETRES = 1.609344
CALLERS = 8


@dataclass(frozen=True)
class Sale:
    """A car: its id, its features as a listing says them, and its price in USD."""

    id: str
    features: dict[str, Any]
    price: float


Change = Callable[[Sale], Sale]


def sales(rows: int, seed: int, *changes: Change, years: float = 0.0, ids: int | None = None) -> list[Sale]:
    """Return so many sales; `years` is how much later they are than those of the first data.

    ids  what their ids begin with, which no sales before have; else the seed
    """
    header, *lines = b"".join(synthetic.batches(rows, seed=seed, years=years)).decode().splitlines()
    names, made = header.split(","), []
    for number, line in enumerate(lines):
        row = dict(zip(names, line.split(","), strict=True))
        sale = Sale(f"{seed if ids is None else ids}-{number:06}", row, float(row.pop("price")))
        for change in changes:
            sale = change(sale)
        made.append(sale)
    return made


def dearer(factor: float) -> Change:
    """Return a world in which everything costs so much more."""
    return lambda sale: replace(sale, price=round(sale.price * factor, 2))


def in_kilometres(sale: Sale) -> Sale:
    """Return what a caller sends who has changed the unit of one column."""
    miles = float(sale.features["mileage"])
    return replace(sale, features={**sale.features, "mileage": str(round(miles * MILES_TO_KILOMETRES))})


def with_make(make: str, every: int) -> Change:
    """Return a world in which each so many-th car is of a make that was not there before."""
    return lambda sale: (
        replace(sale, features={**sale.features, "make": make}) if int(sale.id[-6:]) % every == 0 else sale
    )


def as_csv(sold: Iterable[Sale]) -> bytes:
    """Return sales as a data file."""
    lines = [f"{sale.price:.2f},{','.join(sale.features.values())},{sale.id}" for sale in sold]
    return "\n".join([HEADER, *lines, ""]).encode()


def ask(runtime: Any, endpoint: str, sold: Sequence[Sale]) -> list[float]:
    """Ask an endpoint what each car is worth, one record a request with its id; return the prices in USD."""

    def price(sale: Sale) -> float:
        reply = runtime.invoke_endpoint(
            EndpointName=endpoint,
            ContentType="text/csv",
            Accept="application/jsonlines",
            Body=",".join(sale.features.values()),
            InferenceId=sale.id,
        )
        return float(json.loads(reply["Body"].read())["score"])

    with ThreadPoolExecutor(CALLERS) as callers:
        return list(callers.map(price, sold))


def labels(sold: Iterable[Sale]) -> bytes:
    """Return a file of labels for ground-truth/: what each car was sold for."""
    return "\n".join(["inference_id,label", *(f"{sale.id},{sale.price:.2f}" for sale in sold), ""]).encode()
