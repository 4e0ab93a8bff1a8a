"""Write files to score, made of the real used-car data: one as the model knows them, one with outliers.

    python -m tools.batch_files FOLDER

cars.csv                the 804 cars without their prices, each with an id of its own
cars-with-outliers.csv  the same, every third of them with eight times its mileage: each value is one that model.yaml
                        allows, and all together are not what the model has learned from
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from tools import demo_data, terminal

EVERY, TIMES = 3, 8
SOUND, WITH_OUTLIERS = "cars.csv", "cars-with-outliers.csv"


def cars(*, outliers: bool = False) -> bytes:
    """Return the real cars without their prices."""
    rows = list(csv.DictReader(io.StringIO(demo_data.used_cars().decode())))
    written = io.StringIO(newline="")
    table = csv.DictWriter(written, ["id", *(name for name in rows[0] if name != "price")], extrasaction="ignore")
    table.writeheader()
    for number, row in enumerate(rows):
        times = TIMES if outliers and number % EVERY == 0 else 1
        table.writerow({**row, "id": f"car-{number:04d}", "mileage": int(row["mileage"]) * times})
    return written.getvalue().encode()


def main(argv: list[str] | None = None) -> int:
    """Write both files into a folder; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(argv).folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, outliers in ((SOUND, False), (WITH_OUTLIERS, True)):
        (folder / name).write_bytes(cars(outliers=outliers))
        print(folder / name)
    return 0


if __name__ == "__main__":
    terminal.run(main)
