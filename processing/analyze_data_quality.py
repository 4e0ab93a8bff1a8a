"""Describe the rows a model was trained on, so that later rows can be compared with them.

Runs as    processing job, state "Baseline data drift"
Reads      --config         config.json: `definition` (columns, target, quality)
           --baseline-data  folder of CSV parts with one header: the target, then the features, raw values
Writes     --output         statistics.json and constraints.json in Model Monitor's formats
Fails      with exit code 1 and the reason in --message when the rows are not as said above

Several machines are a cluster of Apache Spark, which has each read some of the parts (docs/spark.md).
"""

from __future__ import annotations

import json
import sys

from perennial.data.baseline import Each, describe, on_this_machine
from perennial.data.column_statistics import StatisticsError, constraints, statistics
from perennial.data.series_rows import monitored
from processing import job_script


def main(argv: list[str] | None = None) -> int:
    """Run the job; return its exit code."""
    about = "Describe the rows a model was trained on."
    arguments = job_script.paths(argv, about, baseline_data="baseline")
    try:
        definition = json.loads(arguments.config.read_text())["definition"]
        definition = monitored(definition) if definition.get("series") else definition
        columns = describe(definition, arguments.baseline_data, _each())
        documents = {"statistics": statistics(columns), "constraints": constraints(columns)}
    except StatisticsError as error:
        return job_script.refuse(f"The baseline of the data cannot be computed: {error}", arguments.message)
    job_script.write_documents(documents, arguments.output)
    print(f"described {len(columns)} columns of {documents['statistics']['dataset']['item_count']} rows")
    return 0


def _each() -> Each:
    """Return what has work done on files: this machine, or those of a cluster."""
    if not job_script.submitted_to_spark():
        return on_this_machine
    from processing import spark

    return spark.each_share


if __name__ == "__main__":
    if not job_script.submitted_to_spark():  # PySpark wants it
        job_script.leave_out_pandas()
    job_script.keep_modules()
    sys.exit(main())
