"""Run the preprocessing job once for each folder that is named, all in one application of Apache Spark.

    spark-submit --master local[2] tests/spark_cases.py spark FOLDER ...

A folder has config.json, data/, and perhaps champion/ and models/; it gets a folder of the name that is given with
output/, what the job has written, and `ended`: its exit code and what it said. With a file `described` it also gets
described/, the baseline of its training rows.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROWS_PER_PART = 150  # so that there are several


def run(name: str, folders: Sequence[Path]) -> None:
    """Run the job for each folder, into its folder of a name."""
    from processing import analyze_data_quality, preprocess, spark

    spark.TASKS_OF_A_PROCESSOR = 2  # so that there are several, on two
    whole, rows_per_part = preprocess.run, preprocess.ROWS_PER_PART
    try:
        preprocess.ROWS_PER_PART = ROWS_PER_PART
        for folder in folders:
            given = {"config": folder / "config.json", "data": folder / "data", "champion": folder / "champion"}
            made = {"output": folder / name / "output", "message": folder / name / "message"}
            models = folder / "models"
            preprocess.run = lambda *one, models=models: whole(*one, models=models)
            code = preprocess.main([f"--{option}={path}" for option, path in {**given, **made}.items()])
            said = made["message"].read_text() if made["message"].is_file() else ""
            (folder / name / "ended").write_text(json.dumps({"code": code, "said": said}))
            if (folder / "described").is_file():
                rows = {"config": given["config"], "baseline-data": made["output"] / "baseline"}
                described = {"output": folder / name / "described", "message": made["message"]}
                assert not analyze_data_quality.main(
                    [f"--{option}={path}" for option, path in {**rows, **described}.items()]
                )
    finally:
        preprocess.run, preprocess.ROWS_PER_PART = whole, rows_per_part


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    run(sys.argv[1], [Path(folder) for folder in sys.argv[2:]])
