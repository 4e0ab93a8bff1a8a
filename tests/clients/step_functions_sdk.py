"""What a notebook does with the Step Functions Data Science SDK: a workflow that trains and saves a model."""

import os
import tempfile
from pathlib import Path

os.environ["SAGEMAKER_SUPPRESS_V2_WARNING"] = "1"

import sagemaker
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from stepfunctions.inputs import ExecutionInput
from stepfunctions.steps import Chain, ModelStep, Pass, TrainingStep
from stepfunctions.workflow import Workflow

folder = Path(tempfile.mkdtemp())
(folder / "rows.csv").write_text("".join(f"{a * 2 + b},{a},{b}\n" for a in range(10) for b in range(10)))
session = sagemaker.Session()
role = "arn:aws:iam::000000000000:role/test"
rows = TrainingInput(session.upload_data(str(folder / "rows.csv"), key_prefix="steps"), content_type="text/csv")
estimator = Estimator(
    sagemaker.image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1"),
    role,
    1,
    "ml.m5.large",
    output_path=f"s3://{session.default_bucket()}/models",
    sagemaker_session=session,
    hyperparameters={"num_round": 3, "objective": "reg:squarederror"},
)
given = ExecutionInput(schema={"JobName": str, "ModelName": str})
train = TrainingStep("Train", estimator=estimator, data={"train": rows}, job_name=given["JobName"])
save = ModelStep("Save", model=train.get_expected_model(), model_name=given["ModelName"])
workflow = Workflow("data-science-sdk", Chain([Pass("Begin"), train, save]), role)
workflow.create()
execution = workflow.execute(inputs={"JobName": "by-steps", "ModelName": "by-steps"})
output = execution.get_output(wait=True)
assert execution.describe()["status"] == "SUCCEEDED", execution.list_events()[-1]
assert "ModelArn" in output, output
assert session.describe_training_job("by-steps")["TrainingJobStatus"] == "Completed"
print("done")
