"""Rows of a dropped file that become records of a feature group, by the job of a run of which there is nothing else."""

from __future__ import annotations

import itertools
import json
from typing import Any

from perennial.data.copies import FOLDER, copy_name
from perennial.model import definition
from tests.e2e.conftest import App
from tests.waiting import wait_for

STATE = "Ingest records"
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "the script raises": ({"operation": "job:ingest", "effect": "raise"}, "exit code: 1"),
    "the script ends with a message": (
        {"operation": "job:ingest", "effect": "exit", "exit_code": 1, "message": "raw/sold.csv, row 7: not taken"},
        "raw/sold.csv, row 7: not taken",
    ),
    "the script is killed": ({"operation": "job:ingest", "effect": "kill"}, "exit code: 137"),
    "it runs past its limit": ({"operation": "job:ingest", "effect": "overrun"}, "time limit of 3600 seconds"),
    "the service refuses for good": (
        {
            "operation": "sagemaker:CreateProcessingJob", "effect": "error", "name": "*-ingest-*",
            "error": "AccessDeniedException", "times": "always",
        },
        "not authorized",
    ),
    "a person stops it": ({"operation": "job:ingest", "effect": "hang"}, "was stopped"),
    "its output is missing": ({"operation": "job:ingest", "effect": "lose-output"}, ""),
}  # fmt: skip
"""What goes wrong with the job, and what is said; nothing where the run goes on, and the next one ingests again."""
_numbers = itertools.count(1)
SALES = """
problem: regression
target: price
columns: {price: {type: float}, age: {type: float}, sale: {type: string, feature: false}}
split: {method: random, key: [sale]}
gate: {metric: rmse, threshold: 1}
"""


def to_ingest(app: App) -> dict[str, dict[str, Any]]:
    """What has to be answered for a run to put a car into a feature group, which is new; of it there is no more."""
    s3, number = app.client("s3"), next(_numbers)
    prefix = f"runs/20200101000000-{number:04x}"
    file = {"Key": "raw/sold.csv", "VersionId": str(number), "ETag": "1", "LastModified": "2026-11-29T10:00:00Z"}
    documents: dict[str, Any] = {
        "config.json": {"definition": definition.parse(SALES, "model.yaml").as_json(), "data": {"files": [file]}},
        "ingest.manifest": [{"prefix": f"s3://{app.bucket}/{FOLDER}"}, copy_name(file)],
        "report/report.json": {"aside": []},
    }
    for name, document in documents.items():
        s3.put_object(Bucket=app.bucket, Key=f"{prefix}/{name}", Body=json.dumps(document).encode())
    s3.put_object(Bucket=app.bucket, Key=FOLDER + copy_name(file), Body=b"price,age,sale\n17250,2,a\n")
    group = {"Group": f"{app.stack}_sales{number}", "Record": "sale", "EventTime": "sold"}
    return {"Resolve configuration": {"Prefix": f"s3://{app.bucket}/{prefix}", "Ingest": group}}


def offline(app: App, answers: dict[str, dict[str, Any]]) -> str:
    """Return why the records of a group were not written offline; nothing once they are."""
    group, key = answers["Resolve configuration"]["Ingest"]["Group"], "OfflineStoreConfig"

    def look() -> str | None:
        described = app.client("sagemaker").describe_feature_group(FeatureGroupName=group)
        place = described[key]["S3StorageConfig"]["ResolvedOutputS3Uri"].removeprefix(f"s3://{app.bucket}/")
        if "Contents" in app.client("s3").list_objects_v2(Bucket=app.bucket, Prefix=place):
            return ""
        return described["OfflineStoreStatus"].get("BlockedReason")

    found = wait_for(lambda: None if (said := look()) is None else (said,), f"the records of {group}")
    return str(found[0])
