"""Gradient boosting on the columns as they are: categories stay categories, and what is missing stays missing."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import joblib
import numpy as np
from script_tables import read
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder


def estimator(options: argparse.Namespace) -> TransformedTargetRegressor:
    """Return what learns the logarithm of a price, because what a house is worth multiplies."""
    numbers_of_texts = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    texts = make_column_selector(dtype_include=object)
    trees = HistGradientBoostingRegressor(
        max_iter=options.max_iter,
        learning_rate=options.learning_rate,
        max_leaf_nodes=options.max_leaf_nodes,
        min_samples_leaf=options.min_samples_leaf,
        random_state=options.seed,
    )
    encoded = make_column_transformer((numbers_of_texts, texts), remainder="passthrough")
    return TransformedTargetRegressor(make_pipeline(encoded, trees), func=np.log, inverse_func=np.exp)


def main() -> None:
    """Fit on the training rows, say how well the validation rows are told, and save the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max_iter", type=int, default=80)
    parser.add_argument("--learning_rate", type=float, default=0.15)
    parser.add_argument("--max_leaf_nodes", type=int, default=10)
    parser.add_argument("--min_samples_leaf", type=int, default=10)
    parser.add_argument("--seed", type=int, default=42)
    model = estimator(parser.parse_args())
    model.fit(*read("train"))
    unseen, prices = read("validation")
    print(f"validation:rmse={root_mean_squared_error(prices, model.predict(unseen))}")  # tuning goes by such lines
    joblib.dump(model, Path(os.environ["SM_MODEL_DIR"]) / "model.joblib")


if __name__ == "__main__":
    main()
