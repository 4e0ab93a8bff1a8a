"""Names: within SageMaker's limits for every stack name that is accepted, and never of another stack."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from perennial.runs import naming
from perennial.runs.naming import StackNameError

# Amazon SageMaker API Reference, CreateTrainingJob, TrainingJobName.
SAGEMAKER_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
ARN = "arn:aws:states:eu-west-1:123456789012:execution:perennial-train-model:5d1-4f_9b2"
START = datetime(2026, 11, 20, 9, 34, 40, 999000, tzinfo=UTC)


def test_a_run_id_is_the_start_and_four_digits_of_the_execution():
    assert re.fullmatch(r"20261120093440-[0-9a-f]{4}", naming.run_id(ARN, START))
    assert len(naming.run_id(ARN, START)) == 19


def test_the_same_execution_has_the_same_run_id_in_every_time_zone_and_part_of_the_second():
    elsewhere = START.astimezone(timezone(timedelta(hours=9))).replace(microsecond=0)
    assert naming.run_id(ARN, START) == naming.run_id(ARN, elsewhere)


def test_two_executions_of_one_second_have_two_run_ids():
    assert naming.run_id(ARN, START) != naming.run_id(ARN + "x", START)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        naming.run_id(ARN, START.replace(tzinfo=None))


@pytest.mark.parametrize("step", naming.STEPS)
def test_the_longest_stack_name_gives_job_names_that_sagemaker_takes(step):
    stack = naming.check_stack_name("a" * naming.MAX_STACK_NAME)
    name = naming.job_name(stack, naming.run_id(ARN, START), step, retry=99)
    assert SAGEMAKER_NAME.fullmatch(name)
    assert len(name) <= naming.MAX_NAME


def test_a_retried_job_has_another_name():
    run = naming.run_id(ARN, START)
    assert naming.job_name("s", run, "train", 0) != naming.job_name("s", run, "train", 1)


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match="'tune' is not a step"):
        naming.job_name("s", "r", "tune")


@pytest.mark.parametrize("name", ["a" * 27, "", "1cars", "cars_eu", "cars-", "cars--eu", "caré", "Cars", "cars-EU"])
def test_a_stack_name_that_names_cannot_start_with_is_refused(name):
    with pytest.raises(StackNameError, match="at most 26"):
        naming.check_stack_name(name)


@pytest.mark.parametrize("name", ["cars-bucket", "cars-bucket-eu"])
def test_a_stack_name_that_a_shorter_ones_bucket_may_have_is_refused(name):
    """Policies of the stack `cars` name its bucket cars-bucket-*: CloudFormation writes names of buckets small."""
    with pytest.raises(StackNameError, match=r"goes on like the name of a bucket.*deploy with another"):
        naming.check_stack_name(name)
    assert naming.check_stack_name("cars-buckets") == "cars-buckets"


@pytest.mark.parametrize("name", ["aws-cars", "awscars", "ssm", "ssm-cars"])
def test_a_stack_name_that_parameter_store_reserves_is_refused_with_what_to_do(name):
    with pytest.raises(StackNameError, match=f"begins with {name[:3]!r}.*Delete this stack and deploy with another"):
        naming.check_stack_name(name)


@pytest.mark.parametrize("name", ["c-20261120093440-1a2b", "c-20-a-b-c-d-e-f-gh-h", "c-20aaaaaaaaaaaa-bbbb-c"])
def test_a_stack_name_that_goes_on_as_the_names_of_anothers_runs_is_refused(name):
    with pytest.raises(StackNameError, match=r"goes on like the id of a run.*deploy with another"):
        naming.check_stack_name(name)


FINE = ["perennial-used-cars", "a", "a1-b2", "laws", "my-aws-cars", "aw", "ss-m", "cars-2026", "c-20261120093440"]


@pytest.mark.parametrize("name", FINE)
def test_other_stack_names_are_fine(name):
    assert naming.check_stack_name(name) == name


def test_the_run_is_read_from_a_models_name():
    assert naming.run_of("cars", "cars-20261120093440-1a2b") == "20261120093440-1a2b"


@pytest.mark.parametrize(
    "name",
    ["cars-eu-20261120093440-1a2b", "cars-20261120093440-1a2b-train-0", "20261120093440-1a2b", "cars", "mycars-2026"],
)
def test_names_of_others_have_no_run_here(name):
    assert naming.run_of("cars", name) is None


def test_the_file_of_a_windows_labelled_records_is_known_by_its_key():
    key = naming.labelled_key("raw/", "2026-11-29T10:00:00Z", "2026-11-29T11:00:00Z")
    assert key == "raw/labelled/20261129100000-20261129110000.csv"
    assert naming.is_labelled_key(key, "raw/")
    for other in (key.replace("labelled/", ""), "raw/labelled/mine.csv", f"x{key}", f"{key}.gz", f"old/{key}"):
        assert not naming.is_labelled_key(other, "raw/")
