"""What a notebook does with the SageMaker Python SDK 3: ModelTrainer, with the role of the notebook."""

import tarfile
import tempfile
from pathlib import Path

from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import TrainingJob
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

CODE = """
import os, sys
import boto3
print(boto3.client("sts").get_caller_identity()["Arn"])
rows = open(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "rows.csv")).read()
with open("/opt/ml/model/said.txt", "w") as file:
    file.write(" ".join([*sys.argv[1:], os.environ["SM_MODEL_DIR"], str(len(rows.splitlines()))]))
"""

folder = Path(tempfile.mkdtemp())
(folder / "train.py").write_text(CODE)
(folder.parent / "rows.csv").write_text("".join(f"{a * 2 + b},{a},{b}\n" for a in range(10) for b in range(10)))
session = Session()
common = {"sagemaker_session": session, "compute": Compute(instance_type="ml.m5.large", instance_count=1)}
train = InputData(channel_name="train", data_source=str(folder.parent / "rows.csv"), content_type="text/csv")


def trained(**settings):
    trainer = ModelTrainer(**common, **settings)
    trainer.train(input_data_config=[train])
    job = TrainingJob.get(trainer._latest_training_job.training_job_name)
    assert job.training_job_status == "Completed", job.failure_reason
    assert job.role_arn == "arn:aws:iam::000000000000:role/test"
    return job


scikit_learn = image_uris.retrieve("sklearn", session.boto_region_name, "1.2-1")
source = SourceCode(source_dir=str(folder), entry_script="train.py")
job = trained(training_image=scikit_learn, source_code=source, hyperparameters={"alpha": 0.5, "name": "x"})
bucket, key = job.model_artifacts.s3_model_artifacts.removeprefix("s3://").split("/", 1)
session.boto_session.client("s3").download_file(bucket, key, str(folder / "model.tar.gz"))
with tarfile.open(folder / "model.tar.gz") as archive:
    said = archive.extractfile("said.txt").read().decode()
assert said.startswith("--alpha 0.5 --name x "), said
assert said.endswith("/model 100"), said

command = SourceCode(source_dir=str(folder), command="python train.py --by command")
trained(training_image=scikit_learn, source_code=command)
xgboost = image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1")
trained(training_image=xgboost, hyperparameters={"num_round": 5, "objective": "reg:squarederror"})
print("done")
