"""The monitor's job as a processing job of the local cloud: the code as it is published, files from S3 and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from perennial_aws import job_code
from tests.integration.conftest import Cloud, unique
from tests.integration.sagemaker_requests import RESOURCES, ROLE, SKLEARN, end, processing_input
from tests.monitored import World, cars
from tests.pages import Page

ROOT = Path(__file__).parents[2]
BASELINES = {"model": "model-quality", "attribution": "attribution"}


def test_the_monitor_judges_a_window_in_a_processing_job(cloud: Cloud, tmp_path: Path) -> None:
    world = World(tmp_path)
    world.send(cars(300, 2), lambda car: replace(car, price=car.price * 1.4))
    world.label()
    s3, bucket = cloud.client("s3"), unique("monitor")
    s3.create_bucket(Bucket=bucket)
    folders = {
        **{name: tmp_path / name for name in ("capture", "ground-truth", "data-baseline", "serving")},
        **{f"{kind}-baseline": world.baselines / name for kind, name in BASELINES.items()},
    }
    for name, folder in folders.items():
        for path in (path for path in folder.rglob("*") if path.is_file()):
            s3.upload_file(str(path), bucket, f"{name}/{path.relative_to(folder).as_posix()}")
    s3.upload_file(str(world.config), bucket, "config/config.json")
    s3.put_object(Bucket=bucket, Key="code/code.zip", Body=job_code._archive(dict(job_code._files())))
    s3.upload_file(str(ROOT / "processing" / "unpack.py"), bucket, "code/unpack.py")

    job = unique("monitor")
    names = ("code", "config", *folders)
    output = {"S3Uri": f"s3://{bucket}/report", "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"}
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_processing_job(
        ProcessingJobName=job,
        RoleArn=ROLE,
        AppSpecification={
            "ImageUri": SKLEARN,
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/unpack.py", "monitor"],
            "ContainerArguments": [
                *(part for name in names[2:] for part in (f"--{name}", f"/opt/ml/processing/input/{name}")),
                "--config", "/opt/ml/processing/input/config/config.json", "--output", "/opt/ml/processing/output",
                "--message", "/opt/ml/output/message", "--endpoint", "cars",
                "--start", "2026-11-29T10:00:00Z", "--end", "2026-11-29T12:00:00Z",
            ],
        },
        ProcessingInputs=[processing_input(name, f"s3://{bucket}/{name}/") for name in names],
        ProcessingOutputConfig={"Outputs": [{"OutputName": "report", "S3Output": output}]},
        ProcessingResources={"ClusterConfig": dict(RESOURCES)},
    )  # fmt: skip
    described = end(lambda: dict(sagemaker.describe_processing_job(ProcessingJobName=job)), "ProcessingJob")
    assert described["ProcessingJobStatus"] == "Completed", described
    verdict = json.loads(s3.get_object(Bucket=bucket, Key="report/verdict.json")["Body"].read())
    assert verdict["verdict"] == "Drift"
    assert verdict["ground_truth"]["matched"] == 300
    assert verdict["analyses"]["attribution"]["verdict"] == "Healthy"
    found = json.loads(
        s3.get_object(Bucket=bucket, Key="report/model-quality/constraint_violations.json")["Body"].read()
    )
    assert "rmse" in {one["metric_name"] for one in found["violations"]}
    assert verdict["report"].keys() == {"file", "seconds"}, "drawn with what the image has and the code brings"
    page = Page(s3.get_object(Bucket=bucket, Key="report/report.html")["Body"].read())
    assert verdict["reasons"][0] in page.text
