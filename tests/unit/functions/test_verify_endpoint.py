"""The function "Verify endpoint": the configuration that serves, and its answers against the batch predictions."""

import json

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.unit.conftest import BUCKET, STACK, load_function, refusal

RUN = "20261120093440-1a2b"
PREFIX = f"s3://{BUCKET}/runs/{RUN}"
NAME = f"{STACK}-{RUN}"
REGISTRY = "1.dkr.ecr.eu-west-1.amazonaws.com"
PINNED = f"{REGISTRY}/sagemaker-xgboost@sha256:{'1' * 64}"
VARIANTS = {
    "ProductionVariants": [
        {
            "VariantName": "AllTraffic",
            "DeployedImages": [
                {
                    "SpecifiedImage": f"{REGISTRY}/sklearn:1.9-0",
                    "ResolvedImage": f"{REGISTRY}/sklearn@sha256:{'0' * 64}",
                },
                {"SpecifiedImage": PINNED, "ResolvedImage": PINNED},
            ],
        }
    ]
}


@pytest.fixture
def app(aws):
    return load_function("verify_endpoint")


@pytest.fixture
def verify(app, lambda_context):
    event = {"RunId": RUN, "Prefix": PREFIX, "EndpointName": STACK, "WantedConfigName": NAME}
    return lambda: app.handler(event, lambda_context)


@pytest.fixture
def serves(answers):
    """Let the endpoint serve a configuration and answer these scores; returns the requests."""

    def serve(*replies, config=NAME, status="InService", **more):
        answers(
            "sagemaker",
            "DescribeEndpoint",
            (200, {"EndpointName": STACK, "EndpointStatus": status, "EndpointConfigName": config, **VARIANTS, **more}),
        )
        return answers("sagemaker-runtime", "InvokeEndpoint", *replies)

    return serve


def known(aws, *scores, part=0):
    records = "".join(json.dumps({"mileage": number}) + "\n" for number, _ in enumerate(scores))
    aws.put(f"runs/{RUN}/test/part-{part:05}.jsonl", records)
    predicted = "".join(json.dumps({"score": score}) + "\n" for score in scores)
    aws.put(f"runs/{RUN}/predictions/candidate/part-{part:05}.jsonl.out", predicted)


def test_equal_answers_verify_the_endpoint(aws, verify, serves):
    known(aws, 1000.0, 2000.0)
    requests = serves((200, {"score": 1000.0}), (200, {"score": 2000.0}))
    assert verify() == {"Verified": 2}
    assert [json.loads(request.body) for request in requests] == [{"mileage": 0}, {"mileage": 1}]


def test_the_record_gets_the_digests_that_the_tags_of_the_images_led_to(aws, verify, serves):
    from perennial_aws import runs

    known(aws, 1.0)
    serves((200, {"score": 1.0}))
    runs.put({"run_id": RUN, "images": "as they were"})
    verify()
    assert runs.get(RUN) == {
        "run_id": RUN,
        "images": "as they were",
        "serving_images": [
            {"specified": f"{REGISTRY}/sklearn:1.9-0", "resolved": f"{REGISTRY}/sklearn@sha256:{'0' * 64}"},
            {"specified": PINNED, "resolved": PINNED},
        ],
    }


def test_requests_carry_an_inference_id_that_tells_them_from_customers(aws, verify, serves):
    known(aws, 1.0)
    requests = serves((200, {"score": 1.0}))
    verify()
    identity = requests[0].headers["X-Amzn-SageMaker-Inference-Id"]
    assert (identity.decode() if isinstance(identity, bytes) else identity) == f"verify-{RUN}-0"


def test_no_more_than_five_records_are_asked(aws, verify, serves):
    known(aws, *[1.0] * 9)
    serves((200, {"score": 1.0}))
    assert verify() == {"Verified": 5}


def test_records_of_the_next_part_follow_an_empty_one(aws, verify, serves):
    known(aws, part=0)
    known(aws, 7.0, part=1)
    serves((200, {"score": 7.0}))
    assert verify() == {"Verified": 1}


def test_where_the_sets_are_gone_the_records_that_the_run_has_left_are_asked(aws, verify, serves):
    kept = {"record": json.dumps({"mileage": 7}), "answer": json.dumps({"score": 1000.0})}
    aws.put(f"runs/{RUN}/verification/records.jsonl", json.dumps(kept) + "\n")
    requests = serves((200, {"score": 1000.0}))
    assert verify() == {"Verified": 1}
    assert json.loads(requests[0].body) == {"mileage": 7}


@pytest.mark.parametrize("answer", [1000.09, 999.91])
def test_answers_within_the_tolerance_count_as_equal(aws, verify, serves, answer):
    known(aws, 1000.0)
    serves((200, {"score": answer}))
    assert verify() == {"Verified": 1}


@pytest.mark.parametrize("answer", [1000.2, 0.0, float("nan")])
def test_another_answer_is_refused_with_both_numbers(aws, app, verify, serves, answer):
    known(aws, 1000.0)
    serves((200, {"score": answer}))
    with pytest.raises(app.EndpointVerificationError, match=rf"answers {answer!r} for test record 0.*1000\.0"):
        verify()


@pytest.mark.parametrize("status", ["Updating", "SystemUpdating", "RollingBack"])
def test_an_endpoint_that_scales_or_is_maintained_meanwhile_is_verified_all_the_same(aws, verify, serves, status):
    known(aws, 1.0)
    serves((200, {"score": 1.0}), status=status)
    assert verify() == {"Verified": 1}


@pytest.mark.parametrize(
    ("config", "status", "more"),
    [
        ("old", "InService", {}),
        (NAME, "OutOfService", {}),
        (NAME, "Updating", {"PendingDeploymentSummary": {"EndpointConfigName": "somebody-elses"}}),
    ],
)
def test_another_configuration_or_status_is_refused(aws, app, verify, serves, config, status, more):
    known(aws, 1.0)
    serves((200, {"score": 1.0}), config=config, status=status, **more)
    with pytest.raises(app.EndpointVerificationError, match=f"is {status} and serves {config}; expected {NAME}"):
        verify()


def test_an_error_of_the_model_is_told_in_its_own_words(aws, app, verify, serves):
    known(aws, 1.0)
    serves(
        (424, {"__type": "ModelError", "OriginalStatusCode": 500, "OriginalMessage": "no such column", "Message": "x"})
    )
    with pytest.raises(app.EndpointVerificationError, match=r"refuses a test record.*no such column"):
        verify()


REFUSED = {
    "__type": "ModelError", "OriginalStatusCode": 400, "Message": "x",
    "OriginalMessage": "record 1, field 'make': got 'Lada', expected one of 'Buick' (serving.unknown_category: refuse)",
}  # fmt: skip


def defined(aws, **serving):
    aws.put(f"runs/{RUN}/config.json", json.dumps({"definition": {"serving": serving}}))


def test_records_that_the_definition_refuses_are_passed_over(aws, verify, serves):
    """A category that is in the test set only was unknown in training; that is no fault of what serves."""
    known(aws, 1000.0, 2000.0, 3000.0)
    defined(aws, unknown_category="refuse", missing="answer")
    serves((424, REFUSED), (200, {"score": 2000.0}), (424, REFUSED))
    assert verify() == {"Verified": 1}


def test_a_refusal_that_the_definition_does_not_ask_for_is_told_also_after_an_answer(aws, app, verify, serves):
    known(aws, 1000.0, 2000.0, 3000.0)
    defined(aws, unknown_category="answer")
    serves((200, {"score": 1000.0}), (424, REFUSED), (200, {"score": 3000.0}))
    with pytest.raises(app.EndpointVerificationError, match=r"refuses a test record.*Lada"):
        verify()


@pytest.mark.parametrize("then", ["answer", "refuse"])
def test_nothing_is_verified_by_refusals_alone(aws, app, verify, serves, then):
    known(aws, 1000.0, 2000.0)
    defined(aws, unknown_category=then)
    requests = serves((424, REFUSED))
    with pytest.raises(app.EndpointVerificationError, match=r"refuses a test record.*Lada"):
        verify()
    assert len(requests) == (1 if then == "answer" else 2)


def test_no_answer_is_a_failed_verification(aws, app, verify, serves):
    known(aws, 1.0)
    serves(ReadTimeoutError(endpoint_url="https://runtime"))
    with pytest.raises(app.EndpointVerificationError, match="does not answer"):
        verify()


def test_an_answer_that_is_no_score_is_shown(aws, app, verify, serves):
    known(aws, 1.0)
    serves((200, {"price": 1.0}))
    with pytest.raises(app.EndpointVerificationError, match="price"):
        verify()


def test_a_bare_number_is_an_answer_too(aws, verify, serves):
    """Whether every version of the container heeds what the caller accepts is not certain."""
    known(aws, 1.0)
    serves((200, "1.0"))
    verify()


def test_an_answer_that_is_nested_without_end_is_shown(aws, app, verify, serves):
    known(aws, 1.0)
    serves((200, "[" * 10_000))
    with pytest.raises(app.EndpointVerificationError, match=r"got '\[\[\[\[.*expected a number or"):
        verify()


def test_a_test_set_without_records_verifies_nothing(aws, app, verify, serves):
    serves((200, {"score": 1.0}))
    with pytest.raises(app.EndpointVerificationError, match="holds no record"):
        verify()


def test_a_missing_permission_is_no_verdict_about_the_endpoint(aws, verify, serves):
    known(aws, 1.0)
    serves(refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        verify()


def test_probabilities_of_classes_are_compared_one_by_one(aws, verify, serves):
    known(aws, [0.7, 0.2, 0.1], [0.1, 0.2, 0.7])
    serves((200, {"score": [0.7, 0.2, 0.1], "predicted_label": "a"}), (200, {"score": [0.1, 0.200001, 0.699999]}))
    assert verify() == {"Verified": 2}


@pytest.mark.parametrize("answer", [[0.7, 0.1, 0.2], [0.7, 0.2], 0.7])
def test_another_probability_or_another_number_of_them_is_no_verification(aws, verify, serves, answer):
    known(aws, [0.7, 0.2, 0.1])
    serves((200, {"score": answer}))
    with pytest.raises(Exception, match=r"answers .* for test record 0; the batch prediction is \[0.7, 0.2, 0.1\]"):
        verify()


# ---- Forecasts


def forecast(*medians, band=40.0):
    quantiles = {f"0.{tenth}": [value + band * (tenth - 5) / 8 for value in medians] for tenth in range(1, 10)}
    return {"mean": list(medians), "quantiles": quantiles}


def series_known(aws, *medians):
    kept = {
        "record": json.dumps({"start": "2020-01-01 00:00:00", "target": [1, 2]}),
        "answer": json.dumps(forecast(*medians)),
    }
    aws.put(f"runs/{RUN}/verification/records.jsonl", json.dumps(kept) + "\n")


@pytest.mark.parametrize("medians", [(100, 110), (119, 91)], ids=["the same", "half of the band"])
def test_a_forecast_by_other_samples_verifies_the_endpoint(aws, verify, serves, medians):
    series_known(aws, 100, 110)
    requests = serves((200, {"predictions": [forecast(*medians)]}))
    assert verify() == {"Verified": 1}
    asked = json.loads(requests[0].body)
    assert asked["instances"] == [{"start": "2020-01-01 00:00:00", "target": [1, 2]}]
    assert asked["configuration"]["num_samples"] == 100


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            {"predictions": [forecast(100, 131)]},
            "forecasts .100.0, 131.0. for test series 0; the median in the batch is",
        ),
        ({"predictions": [forecast(100)]}, "forecasts .100.0. for test series 0"),
        ({"predictions": []}, "the answer of endpoint .* holds no forecast"),
        ({"score": 100}, "the answer of endpoint .* holds no forecast"),
    ],
    ids=["another model", "fewer periods", "nothing", "a score"],
)
def test_another_forecast_fails_the_verification(app, aws, verify, serves, answer, told):
    series_known(aws, 100, 110)
    serves((200, answer))
    with pytest.raises(app.EndpointVerificationError, match=told):
        verify()
