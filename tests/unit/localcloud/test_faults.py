"""Faults on purpose: which one strikes, how often, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from localcloud import faults
from localcloud.__main__ import _members, command_line
from localcloud.faults import Fault, FaultError, Faults
from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.service import strike

REFUSED = {"effect": "error", "error": "ThrottlingException"}


def test_a_fault_strikes_as_often_as_asked_and_then_lets_through() -> None:
    known = Faults()
    fault = known.add(Fault("sagemaker:CreateTrainingJob", "error", error="ThrottlingException", times=2))
    struck = [known.take("sagemaker:CreateTrainingJob", "cars") for _ in range(4)]
    assert [found is fault for found in struck] == [True, True, False, False]
    assert known.listed()[0]["fired"] == 2


def test_calls_may_pass_before_a_fault_strikes() -> None:
    known = Faults()
    known.add(Fault("endpoint", "update-rolls-back", skip=2, times=1))
    struck = [known.take("endpoint", "cars", "update-rolls-back") is not None for _ in range(5)]
    assert struck == [False, False, True, False, False]


def test_an_answer_of_sagemaker_may_be_lost_after_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "take", (known := Faults()).take)
    for after in (True, False):
        known.add(Fault("sagemaker:CreateModel", "error", error="InternalFailure", after=after))
    lost = strike("CreateModel", {"ModelName": "cars"})
    assert lost is not None
    assert (lost.code, lost.status) == ("InternalFailure", 500)
    with pytest.raises(AwsError, match="InternalFailure"):
        strike("CreateModel", {"ModelName": "cars"})
    assert strike("CreateModel", {"ModelName": "cars"}) is None


def test_what_is_delayed_goes_on_when_the_fault_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "injected", known := Faults())
    fault, pauses = known.add(Fault("endpoint", "delay", seconds=3600.0)), list[float]()

    def clear_after_three(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            known.clear()

    faults.wait_out(fault, clear_after_three)
    assert len(pauses) == 3


def test_what_is_delayed_takes_so_much_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "injected", known := Faults())
    began = time.monotonic()
    faults.wait_out(known.add(Fault("endpoint", "delay", seconds=0.12)))
    assert time.monotonic() - began >= 0.12


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("CreateModelPackage", {"ModelPackageGroupName": "cars"}),
        ("UpdateModelPackage", {"ModelPackageArn": "cars"}),
        ("ListModelPackages", {"ModelPackageGroupName": "cars"}),
    ],
)
def test_a_call_about_a_version_goes_by_its_arn_or_by_its_group(
    operation: str, request_: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "take", (known := Faults()).take)
    known.add(Fault(f"sagemaker:{operation}", "error", name="cars", error="ThrottlingException"))
    with pytest.raises(AwsError, match="ThrottlingException"):
        strike(operation, request_)


def test_a_fault_without_end_strikes_always() -> None:
    known = Faults()
    known.add(Fault("endpoint", "answers-wrongly", times=faults.ALWAYS))
    assert all(known.take("endpoint", "cars", "answers-wrongly") for _ in range(5))
    assert known.listed()[0]["times"] == "always"


@pytest.mark.parametrize(
    ("operation", "asked", "name"),
    [
        ("job:train", "job:cars-20261120-0a1b-train-0", "cars-20261120-0a1b-train-0"),
        ("job:data-quality", "job:cars-1-data-quality-0", "cars-1-data-quality-0"),
        ("job:*", "job:cars-1-train-0", "cars-1-train-0"),
        ("function:clean_up", "function:cars-clean-up", "cars-clean-up"),
        ("function:clean_up", "function:cars-CleanUpFunction-1A2B", "cars-CleanUpFunction-1A2B"),
        ("sagemaker:Create*", "sagemaker:CreateModel", "cars"),
        ("task:ssm:putParameter", "task:ssm:putParameter", "cars-train-model"),
        ("event:train-model", "event:stateMachine:cars-train-model", "cars-data-drop"),
        ("event:notify_run", "event:function:cars-NotifyRunFunction-1A2B", "cars-run-ended"),
        ("event:*", "event:cars-queue", "cars-data-drop"),
        ("endpoint", "endpoint", "cars"),
    ],
)
def test_a_fault_finds_what_it_means(operation: str, asked: str, name: str) -> None:
    assert Fault(operation, "error").matches(asked, name)


@pytest.mark.parametrize(
    ("fault", "asked", "name"),
    [
        (Fault("job:rain", "kill"), "job:cars-1-train-0", "cars-1-train-0"),
        (Fault("job:train", "kill", name="other-*"), "job:cars-1-train-0", "cars-1-train-0"),
        (Fault("sagemaker:CreateModel", "error"), "sagemaker:CreateEndpoint", "cars"),
        (Fault("function:train", "error"), "job:cars-train-0", "cars-train-0"),
        (Fault("event:train-model", "throttle"), "event:function:cars-notify-run", "cars-run-ended"),
        (
            Fault("event:train-model", "throttle", name="cars-train*"),
            "event:stateMachine:cars-train-model",
            "cars-drop",
        ),
    ],
)
def test_a_fault_leaves_alone_what_it_does_not_mean(fault: Fault, asked: str, name: str) -> None:
    assert not fault.matches(asked, name)


def test_a_caller_is_struck_only_by_what_it_can_have() -> None:
    known = Faults()
    known.add(Fault("endpoint", "update-rolls-back"))
    assert known.take("endpoint", "cars", "creation-fails") is None
    assert known.take("endpoint", "cars", "update-rolls-back") is not None


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "operation is missing"),
        ({"operation": "endpoint"}, "effect is missing"),
        ({"operation": "s3:PutObject", "effect": "error"}, "no operation that can fail here"),
        ({"operation": "job", "effect": "kill"}, "does not say which"),
        ({"operation": "event", "effect": "throttle"}, "does not say which"),
        ({"operation": "event:*", "effect": "timeout"}, "possible are error, throttle"),
        ({"operation": "event:*", "effect": "error"}, "needs error"),
        ({"operation": "job:train", "effect": "throttle"}, "possible are raise, exit"),
        ({"operation": "sagemaker:*", "effect": "error"}, "needs error"),
        ({"operation": "job:*", "effect": "exit"}, "needs exit_code"),
        ({"operation": "job:*", "effect": "exit", "exit_code": 0}, "exit_code must be a number from 1 to 255; got 0"),
        ({"operation": "job:*", "effect": "exit", "exit_code": 256}, "exit_code must be .* got 256"),
        ({"operation": "job:*", "effect": "exit", "exit_code": True}, "exit_code must be .* got True"),
        ({"operation": "job:*", "effect": "kill", "skip": -1}, "skip must be a number from 0 .* got -1"),
        ({"operation": "job:*", "effect": "kill", "skip": "2"}, "skip must be .* got '2'"),
        ({"operation": "endpoint", "effect": "delay", "seconds": -0.5}, "seconds must be .* got -0.5"),
        ({"operation": "endpoint", "effect": "delay", "seconds": float("inf")}, "seconds must be .* got inf"),
        ({"operation": "endpoint", "effect": "delay", "seconds": float("nan")}, "seconds must be .* got nan"),
        ({"operation": "job:*", "effect": "kill", "times": -1}, "times must be a number from 1, or 'always'; got -1"),
        ({"operation": "job:*", "effect": "kill", "times": 0}, "times must be a number from 1, or 'always'; got 0"),
        ({"operation": "job:*", "effect": "kill", "times": "often"}, "times must be .* got 'often'"),
        ({"operation": "sagemaker:Nonsense", **REFUSED}, "no operation 'Nonsense'; there are CreateTrainingJob"),
        ({"operation": "sagemaker:CreateTrainngJob", **REFUSED}, "did you mean CreateTrainingJob or "),
        ({"operation": "sagemaker:createModel", **REFUSED}, "did you mean CreateModel or "),
        ({"operation": "sagemaker:Make*", **REFUSED}, "SageMaker has no operation 'Make\\*'"),
        ({"operation": "job:*", "effect": "kill", "often": 2}, "unknown: often"),
        ({"operation": "job:*", "effect": "kill", "after": True}, "after is for errors of sagemaker"),
        ({"operation": "function:x", "effect": "delay", "seconds": 1, "after": True}, "after is for errors of"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_and_says_why(document: dict[str, Any], text: str) -> None:
    with pytest.raises(FaultError, match=text):
        faults.checked(document)


@pytest.mark.parametrize(
    "document",
    [
        {"operation": "sagemaker:CreateHyperParameterTuningJob", **REFUSED},
        {"operation": "sagemaker:InvokeEndpoint", **REFUSED},
        {"operation": "sagemaker:Delete*", **REFUSED},
        {"operation": "sagemaker:*", **REFUSED, "times": "always"},
        {"operation": "sagemaker:CreateModel", "effect": "delay", "seconds": 0.5, "skip": 0},
        {"operation": "job:train", "effect": "exit", "exit_code": 255, "skip": 3, "times": 1},
    ],
)
def test_a_fault_that_can_be_is_taken(document: dict[str, Any]) -> None:
    assert faults.checked(document).operation == document["operation"]


def test_importing_the_faults_loads_nothing_of_aws() -> None:
    script = "import sys, localcloud.faults; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_errors_that_services_share_have_the_text_of_aws() -> None:
    throttled = faults.checked({"operation": "sagemaker:*", "effect": "error", "error": "ThrottlingException"})
    assert (throttled.text, throttled.status) == ("Rate exceeded", 400)
    broken = faults.checked({"operation": "sagemaker:*", "effect": "error", "error": "InternalFailure"})
    assert broken.status == 500


def test_faults_are_added_listed_and_cleared_over_http() -> None:
    body = json.dumps({"operation": "job:train", "effect": "exit", "exit_code": 3, "name": "only-this-test-*"}).encode()
    status, added = faults.answer_http("POST", faults.PATH, body)
    try:
        assert (status, added["fired"], added["exit_code"]) == (201, 0, 3)
        assert added in faults.answer_http("GET", faults.PATH, b"")[1]["faults"]
    finally:
        assert faults.answer_http("DELETE", f"{faults.PATH}/{added['id']}", b"") == (200, {"cleared": 1})


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"operation": 1, "effect": "kill"}'])
def test_a_request_that_is_no_fault_is_refused(body: bytes) -> None:
    status, answer = faults.answer_http("POST", faults.PATH, body)
    assert status == 400
    assert answer["message"]


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (
            ["sagemaker:CreateModel", "--error", "ThrottlingException"],
            {"effect": "error", "error": "ThrottlingException"},
        ),
        (["job:train", "--exit-code", "0"], {"effect": "exit", "exit_code": 0}),
        (["job:train", "--kill", "--times", "always"], {"effect": "kill", "times": "always"}),
        (["endpoint", "--delay", "1.5"], {"effect": "delay", "seconds": 1.5}),
        (["function:clean_up", "--throttle", "--after"], {"effect": "throttle", "after": True}),
        (["event:train-model", "--throttle", "--times", "2"], {"effect": "throttle", "times": 2}),
        (["event:train-model", "--error", "NO_RESOURCE"], {"effect": "error", "error": "NO_RESOURCE"}),
    ],
)
def test_flags_of_the_command_say_the_same(flags: list[str], fault: dict[str, Any]) -> None:
    assert _members(command_line()[0].parse_args(["faults", "add", *flags])).items() >= fault.items()


def test_a_command_without_effect_is_refused() -> None:
    with pytest.raises(FaultError, match="say what is to happen"):
        _members(command_line()[0].parse_args(["faults", "add", "endpoint"]))
