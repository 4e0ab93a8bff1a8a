"""A new algorithm and a new problem type are an entry and a file each: nothing else knows their names.

The files are those of tests/unit/new_kinds/, the entries the lines of `kinds`.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml

from localcloud.sagemaker.algorithms import STAND_INS
from localcloud.sagemaker.endpoints import model_server
from localcloud.sagemaker.errors import JobFailedError
from localcloud.sagemaker.jobs.run import JobRun
from localcloud.sagemaker.jobs.training import TrainingJobs
from localcloud.sagemaker.platform.aws import S3Object
from localcloud.sagemaker.platform.store import Store
from perennial.data.contract import Contract
from perennial.data.report import Report, TargetRange, judge_sets
from perennial.data.split import SETS
from perennial.evaluation import model_quality
from perennial.features.values import DataError
from perennial.model.algorithms import ALGORITHMS
from perennial.model.definition import DefinitionError, validated
from perennial.runs import message
from tests.unit.conftest import BUCKET, EXECUTION_ARN, REGION, STACK, load_function
from tests.unit.new_kinds import GRADING, add_grading
from tests.unit.new_kinds.mean import MEAN
from tests.unit.new_kinds.mean_stand_in import MEAN_STAND_IN
from tests.unit.test_state_machine_train_model import walk
from tools import cfn, stamp_template

MODEL = {
    "problem": "grading",
    "target": "species",
    "columns": {"species": {"type": "integer", "min": 0, "max": 2}, "petal": {"type": "float", "unit": "mm"}},
    "split": {"method": "random"},
    "algorithm": "mean",
    "hyperparameters": {"mean": {"window": 5}},
    "gate": {"metric": "accuracy", "threshold": 0.6},
}
START = datetime(2026, 11, 20, 9, 34, 40, tzinfo=UTC)


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    monkeypatch.setitem(ALGORITHMS, MEAN.name, MEAN)
    add_grading(monkeypatch)
    monkeypatch.setitem(STAND_INS, MEAN_STAND_IN.repository, MEAN_STAND_IN)


def problems(**changed):
    with pytest.raises(DefinitionError) as refused:
        validated({**MODEL, **changed}, "model.yaml")
    return str(refused.value)


def test_a_definition_may_name_them_and_mistakes_are_told_with_what_is_allowed():
    assert validated(MODEL, "model.yaml").problem == "grading"
    assert "window: got 0; expected a whole number of at least 1" in problems(hyperparameters={"mean": {"window": 0}})
    assert "windw: is not a hyperparameter of mean; did you mean 'window'?" in problems(
        hyperparameters={"mean": {"windw": 5}}
    )
    assert "answer: got 'median'; allowed for grading: mode" in problems(hyperparameters={"mean": {"answer": "median"}})
    assert "gate.metric: 'auc' is not a metric of grading; allowed: accuracy" in problems(
        gate={"metric": "auc", "threshold": 0.6}
    )
    assert "the target of a grading is integer with min: 0" in problems(target="petal")
    assert f"allowed: {', '.join(map(repr, ALGORITHMS))}" in problems(algorithm="median")


def test_an_algorithm_that_does_not_learn_the_problem_is_refused():
    assert "algorithm: xgboost does not learn grading; allowed: mean" in problems(algorithm="xgboost")
    assert "target.transform: got 'log'; only the target of a regression is transformed" in problems(
        target={"column": "species", "transform": "log"}
    )


def test_preprocessing_asks_of_the_sets_what_the_problem_type_needs():
    contract = Contract.from_definition(validated(MODEL, "model.yaml").as_json())
    three, one = TargetRange(0, 2), TargetRange(1, 1)
    judge_sets(Report(targets=dict.fromkeys(SETS, three)), contract)
    with pytest.raises(DataError, match="species: the target is 1 in every row of the test set"):
        judge_sets(Report(targets={**dict.fromkeys(SETS, three), "test": one}), contract)


def test_the_template_has_what_the_image_of_a_new_algorithm_needs():
    text = stamp_template.stamped((stamp_template.ROOT / "template.yaml").read_text())
    template = cfn.parse(text)
    assert template["Parameters"]["Algorithm"]["AllowedValues"] == ["", *ALGORITHMS]
    assert template["Parameters"]["MeanTag"]["AllowedPattern"] == "(7[.]0-[0-9]|sha256:[0-9a-f]{64})?"
    assert "HasMeanTag" in template["Conditions"]
    assert template["Mappings"]["ImageTags"]["Shipped"]["Mean"] == "7.0-1"
    assert "mean-learner:${Tag}" in json.dumps(
        template["Globals"]["Function"]["Environment"]["Variables"]["MEAN_IMAGE"]
    )
    policy = template["Resources"]["JobBasicsPolicy"]["Properties"]["PolicyDocument"]
    assert "repository/mean-learner" in json.dumps(policy)


class Programs:
    """The images' Python, which remembers what is started and has none of it."""

    path, root = "/image/bin/python", Path("/state/sagemaker")

    def __init__(self):
        self.started = []

    def environment(self, _directory):
        return {}

    def start(self, argv, *_):
        self.started.append(argv[1])
        raise FileNotFoundError(2, "not here")


def test_the_laptop_trains_with_its_program_and_reads_its_metrics(tmp_path):
    aws = Mock(
        arn=lambda kind, name: f"arn:{kind}/{name}",
        environment=lambda **_: {},
        list_objects=lambda *_: [S3Object("bucket", "train/part.csv", "part.csv", 2)],
    )
    context = Mock(aws=aws, store=Store(tmp_path / "store"), root=tmp_path, image=Programs(), stop_grace_seconds=1.0)
    channel = {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train/"}
    request = {
        "TrainingJobName": "one",
        "AlgorithmSpecification": {"TrainingImage": "1.example/mean-learner:7.0-1", "TrainingInputMode": "File"},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": channel}}],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/model"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": "arn:aws:iam::1:role/jobs",
    }
    jobs = TrainingJobs(context, Mock())
    jobs.create(request)
    description = context.store.get("training-job", "one")
    assert description["AlgorithmSpecification"]["MetricDefinitions"] == list(MEAN_STAND_IN.metrics)

    run = JobRun("one", "arn:one", description, tmp_path / "job", aws, context, Mock())
    with pytest.raises(JobFailedError):
        jobs.execute(run)
    assert context.image.started == [str(MEAN_STAND_IN.trains)]


def test_the_laptop_serves_with_its_program(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(model_server, "Container", lambda _name, command, *_: commands.append(command))
    container = {"Image": "1.example/mean-learner:7.0-1", "ModelDataUrl": "s3://bucket/model.tar.gz"}
    aws = Mock(environment=lambda isolated: {})
    model_server.ModelServer([container], tmp_path, aws, print, Programs())
    assert commands[0][:2] == ["/image/bin/python", str(MEAN_STAND_IN.serves)]


@pytest.fixture
def resolved(aws, lambda_context, monkeypatch, tmp_path):
    """What the first state answers for a drop."""
    folder = tmp_path / "models" / "used-cars"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(MODEL))
    app = load_function("resolve_configuration")
    monkeypatch.setattr("perennial_aws.shipped.FOLDER", tmp_path)
    monkeypatch.setenv("MEAN_IMAGE", "1.dkr.ecr.eu-west-1.amazonaws.com/mean-learner:7.0-1")
    version = aws.put("raw/flowers.csv", "species,petal\n1,2\n")
    trigger = {"Type": "DataDrop", "Object": {"key": "raw/flowers.csv", "version-id": version}}
    event = {
        "Input": {"Trigger": trigger},
        "ExecutionArn": EXECUTION_ARN,
        "ExecutionName": "one",
        "StartTime": START.isoformat(),
    }
    return app.handler(event, lambda_context)


def test_a_run_trains_with_its_image_and_hyperparameters_and_judges_by_its_metric(resolved):
    done = walk(work={name: resolved[name] for name in ("Algorithm", "Problem", "Gate")})
    assert done.error is None, done.cause
    (training,) = done.called("Train")
    assert training["AlgorithmSpecification"]["TrainingImage"].endswith("mean-learner:7.0-1")
    assert training["HyperParameters"] == {"window": "5", "answer": "mode", "seed": "42"}
    (asked,) = done.called("Query training results")
    assert (asked["Payload"]["Problem"], asked["Payload"]["Gate"]["Direction"]) == (GRADING.name, "maximize")


def test_a_run_is_measured_judged_recorded_and_reported_in_the_words_of_its_problem(
    aws, resolved, lambda_context, answers
):
    from perennial_aws import runs

    run, prefix = resolved["RunId"], resolved["Prefix"]
    metrics = [{"MetricName": "validation:error", "Value": 0.25}]
    answers("sagemaker", "DescribeTrainingJob", (200, {"TrainingJobName": "job", "FinalMetricDataList": metrics}))
    aws.put(f"runs/{run}/labels/part-00000.csv", "0\n1\n2\n2\n")
    aws.put(f"runs/{run}/predictions/candidate/part-00000.jsonl.out", "0\n1\n2\n1\n")
    asked = {
        "RunId": run,
        "Prefix": prefix,
        "Problem": resolved["Problem"],
        "Gate": resolved["Gate"],
        "TrainingJobName": "job",
        "CandidatePredictions": f"{prefix}/predictions/candidate",
        "ChampionPredictions": None,
        "Champion": None,
        "ChampionTest": f"{prefix}/test/",
    }
    answer = load_function("query_training_results").handler(asked, lambda_context)
    assert (answer["Metric"], answer["Candidate"], answer["Accepted"]) == ("accuracy", 0.75, True)
    assert answer["TrainingMetrics"] == {"validation:error": 0.25}
    assert aws.get(f"runs/{run}/evaluation/predictions.csv") == "prediction,label\n0,0\n1,1\n2,2\n1,2\n"

    statistics = model_quality.statistics(GRADING.name, [0, 1, 2, 2], [0, 1, 2, 1], evaluation_time=START)
    assert statistics["grading_metrics"]["accuracy"]["value"] == 0.75

    times = {
        "started_at": "2026-11-20T09:34:40.000Z",
        "ended_at": "2026-11-20T10:36:02.000Z",
        "duration_seconds": 3682.0,
    }
    ended = {"status": "Succeeded", "execution": {"arn": EXECUTION_ARN, "status": "SUCCEEDED", **times}}
    mail = message.compose({**runs.get(run), **ended}, region=REGION)
    assert mail.subject == f"Model in service: accuracy 0.75 [{STACK}]"
    assert f"s3://{BUCKET}/runs/{run}" in mail.body
