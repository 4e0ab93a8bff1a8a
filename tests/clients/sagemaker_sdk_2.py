"""What a notebook does with the SageMaker Python SDK 2."""

import json
import os
import tempfile
from pathlib import Path

os.environ["SAGEMAKER_SUPPRESS_V2_WARNING"] = "1"

import boto3
import numpy as np
import sagemaker
from botocore.exceptions import ClientError
from sagemaker.debugger import CollectionConfig, DebuggerHookConfig
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.processing import ProcessingInput, ProcessingOutput
from sagemaker.serializers import CSVSerializer, LibSVMSerializer
from sagemaker.sklearn import SKLearn
from sagemaker.sklearn.processing import SKLearnProcessor
from sagemaker.xgboost import XGBoost

MACHINE = "ml.m5.large"
TRAIN = """
import argparse, os, joblib
import boto3, numpy
from sklearn.linear_model import LinearRegression
from helper import read
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--intercept", type=int)
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    given = parser.parse_args()
    rows = read(given.train)
    model = LinearRegression(fit_intercept=bool(given.intercept)).fit(rows[:, 1:], rows[:, 0])
    joblib.dump(model, "/opt/ml/model/model.joblib")
    print(boto3.client("sts").get_caller_identity()["Arn"], "r2=%f" % model.score(rows[:, 1:], rows[:, 0]))
def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))
"""
HELPER = """
import numpy, os
def read(folder):
    return numpy.loadtxt(os.path.join(folder, "rows.csv"), delimiter=",")
"""
BOOST = """
import os, sys, xgboost
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from helper import read
if __name__ == "__main__":
    rows = read(os.environ["SM_CHANNEL_TRAIN"])
    rounds = int(os.environ["SM_HP_NUM_ROUND"])
    xgboost.train({}, xgboost.DMatrix(rows[:, 1:], rows[:, 0]), rounds).save_model("/opt/ml/model/xgboost-model")
def model_fn(model_dir):
    booster = xgboost.Booster()
    booster.load_model(os.path.join(model_dir, "xgboost-model"))
    return booster
"""
PROCESS = """
text = open("/opt/ml/processing/input/rows.csv").read()
open("/opt/ml/processing/output/count.txt", "w").write(str(len(text.splitlines())))
"""

folder = Path(tempfile.mkdtemp())
for name, text in {"train.py": TRAIN, "helper.py": HELPER, "boost.py": BOOST}.items():
    (folder / name).write_text(text)
features = np.random.default_rng(1).normal(size=(300, 2))
labels = features[:, 0] * 2 + features[:, 1]
data = folder / "rows.csv"
np.savetxt(data, np.column_stack([labels, features]), delimiter=",", fmt="%.5f")
(folder.parent / "process.py").write_text(PROCESS)

session = sagemaker.Session()
account, region = "000000000000", session.boto_region_name
role = f"arn:aws:iam::{account}:role/test"
assert session.default_bucket() == f"sagemaker-{region}-{account}"
try:
    sagemaker.get_execution_role()
except Exception as error:  # it asks STS at its own address
    assert "https://sts." in str(error), error
    assert "SSL validation failed" in str(error) or "Could not connect" in str(error), error
else:
    raise AssertionError("get_execution_role answered")

rows = session.upload_data(str(data), key_prefix="rows")
channels = {"train": TrainingInput(rows, content_type="text/csv")}
common = {"instance_count": 1, "instance_type": MACHINE, "role": role, "sagemaker_session": session}


def served(model, request, **options):
    predictor = model.deploy(1, MACHINE, **options)
    answer = predictor.predict(request)
    predictor.delete_endpoint()
    return answer


image = sagemaker.image_uris.retrieve("xgboost", region, "1.7-1")
boosted = Estimator(image, hyperparameters={"num_round": 20, "objective": "reg:squarederror"}, **common)
boosted.fit(channels)
assert abs(float(served(boosted, [[1, 1]], serializer=CSVSerializer())) - 3) < 1

transformer = boosted.transformer(1, MACHINE, accept="text/csv", assemble_with="Line")
transformer.transform(rows, content_type="text/csv", split_type="Line", input_filter="$[1:]", join_source="Input")
joined = session.read_s3_file(*(f"{transformer.output_path}/rows.csv.out".removeprefix("s3://").split("/", 1)))
assert len(joined.splitlines()) == 300
assert len(joined.splitlines()[0].split(",")) == 4

script = SKLearn(
    "train.py",
    source_dir=str(folder),
    framework_version="1.2-1",
    hyperparameters={"intercept": 0},
    metric_definitions=[{"Name": "r2", "Regex": "r2=([0-9.]+)"}],
    **common,
)
script.fit({"train": rows})
(metric,) = session.describe_training_job(script.latest_training_job.name)["FinalMetricDataList"]
assert (metric["MetricName"], round(metric["Value"], 2)) == ("r2", 1.0)
assert abs(served(script, [[1, 1]])[0] - 3) < 0.01

own = XGBoost(
    "boost.py", source_dir=str(folder), framework_version="1.7-1", hyperparameters={"num_round": 20}, **common
)
own.fit({"train": rows})
assert abs(float(served(own, "0 0:1 1:1", serializer=LibSVMSerializer())[0][0]) - 3) < 1

linear = sagemaker.LinearLearner(predictor_type="regressor", epochs=5, **common)
linear.fit(linear.record_set(features.astype("float32"), labels.astype("float32")), mini_batch_size=50)
(record,) = served(linear, np.array([[1, 1]], dtype="float32"))
assert abs(record.label["score"].float32_tensor.values[0] - 3) < 0.5

processor = SKLearnProcessor("1.2-1", **common)
processor.run(
    str(folder.parent / "process.py"),
    inputs=[ProcessingInput(rows, "/opt/ml/processing/input")],
    outputs=[ProcessingOutput("/opt/ml/processing/output", output_name="counted")],
)
counted = processor.latest_job.outputs[0].destination.removeprefix("s3://").split("/", 1)
assert session.read_s3_file(counted[0], f"{counted[1]}/count.txt") == "300"

hook = DebuggerHookConfig(collection_configs=[CollectionConfig(name="metrics")])
try:
    Estimator(image, debugger_hook_config=hook, hyperparameters={"num_round": 1}, **common).fit(channels)
except ClientError as error:
    assert "DebugHookConfig.CollectionConfigurations is not supported by the local SageMaker" in str(error)
else:
    raise AssertionError("a collection of tensors was accepted")
pools = boto3.client("sagemaker").list_training_jobs(WarmPoolStatusEquals="Available")["TrainingJobSummaries"]
assert pools == [], json.dumps(pools, default=str)
print("done")
