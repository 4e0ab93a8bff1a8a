"""Used cars with names of three words, as many sites have them: make, model and variant, of which most are rare."""

from __future__ import annotations

import numpy as np
import pandas as pd

MAKES, MOST_MODELS, TODAY = 28, 13, 2024
VARIANTS = ("LX", "VX", "ZX", "Sport", "GT", "Base", "Eco", "Lux", "TDI", "RS")


def cars(rows: int = 6_000, seed: int = 5) -> bytes:
    """Return the rows as CSV with header, always the same for the same seed."""
    random = np.random.default_rng(seed)
    kinds = _kinds(random)
    kind = kinds.iloc[random.choice(len(kinds), rows, p=kinds["popular"] / kinds["popular"].sum())].reset_index()
    age = np.minimum(random.gamma(2.2, 3.2, rows).astype(int), 30)
    km = np.rint(np.exp(random.normal(9.4, 0.5, rows)) * (age + 0.5) / 4) + 1
    fuel = random.choice(["Petrol", "Diesel", "Hybrid", "Electric"], rows, p=[0.5, 0.38, 0.08, 0.04])
    gearbox = random.choice(["Manual", "Automatic"], rows, p=[0.6, 0.4])
    owner = random.choice(["First", "Second", "Third"], rows, p=[0.6, 0.3, 0.1])
    logarithm = 10 + kind["worth"] - kind["loss"] * age - 2.2e-6 * km + random.normal(0, 0.13, rows)
    logarithm += 0.25 * (fuel == "Electric") + 0.1 * (fuel == "Hybrid")
    logarithm += 0.12 * (gearbox == "Automatic") - 0.06 * (owner != "First")
    frame = pd.DataFrame({"name": kind["name"], "year": TODAY - age, "km": km.astype(int), "fuel": fuel})
    frame["engine"] = np.rint(1_200 + 500 * np.exp(kind["worth"] / 2) + random.normal(0, 80, rows)).astype(int)
    frame["gearbox"], frame["owner"], frame["price"] = gearbox, owner, np.rint(np.exp(logarithm)).astype(int)
    return str(frame.to_csv(index=False)).encode()


def _kinds(random: np.random.Generator) -> pd.DataFrame:
    """Name, worth (a logarithm), loss of it a year, and how popular, of each kind."""
    made = []
    for make in range(MAKES):
        of_make, popular_make = random.normal(0, 0.7), random.gamma(0.8)
        for model in range(random.integers(3, MOST_MODELS + 1)):
            of_model, loss, popular_model = random.normal(0, 0.45), random.normal(0.11, 0.025), random.gamma(0.7)
            for number, variant in enumerate(VARIANTS[: random.integers(1, len(VARIANTS) + 1)]):
                worth = of_make + of_model + random.normal(0, 0.15) + 0.06 * number
                popular = popular_make * popular_model * random.gamma(0.8)
                made.append((f"Make{make} Model{model} {variant}", worth, loss, popular))
    return pd.DataFrame(made, columns=["name", "worth", "loss", "popular"])
