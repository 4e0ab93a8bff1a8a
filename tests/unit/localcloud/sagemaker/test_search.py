"""How trials of tuning jobs get their hyperparameters."""

import math
from typing import Any

import pytest

from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.jobs.search import RANDOM_TRIALS, Range, Search, read

DEPTH = Range("max_depth", is_whole=True, low=2, high=8)
ETA = Range("eta", low=0.001, high=1.0, scaling="Logarithmic")
BOOSTER = Range("booster", words=("gbtree", "dart"))


def search(*ranges: Range, strategy: str = "Random", maximize: bool = False, seed: int = 7) -> Search:
    return Search(ranges, strategy=strategy, maximize=maximize, seed=seed)


def test_values_are_texts_within_their_ranges() -> None:
    asked = search(DEPTH, ETA, BOOSTER)
    for number in range(1, 30):
        values = asked.ask(number)
        assert 2 <= int(values["max_depth"]) <= 8
        assert 0.001 <= float(values["eta"]) <= 1
        assert values["booster"] in ("gbtree", "dart")


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_nothing_is_tried_twice_while_something_else_is_left(strategy: str) -> None:
    asked, tried = search(DEPTH, BOOSTER, strategy=strategy), set()
    for number in range(1, 15):
        values = asked.ask(number)
        tried.add((values["max_depth"], values["booster"]))
        asked.tell(number, abs(int(values["max_depth"]) - 7) + (values["booster"] == "dart"))
    assert len(tried) == 7 * 2


def test_a_range_of_one_fraction_is_one_value() -> None:
    asked = search(Range("eta", low=0.3, high=0.3), BOOSTER)
    assert {(one["eta"], one["booster"]) for one in (asked.ask(1), asked.ask(2))} == {
        ("0.3", "gbtree"),
        ("0.3", "dart"),
    }
    assert asked._ranges["eta"].choices == 1


def test_the_same_seed_gives_the_same_trials() -> None:
    assert [search(DEPTH, ETA).ask(number) for number in (1, 2)] == [search(DEPTH, ETA).ask(n) for n in (1, 2)]


@pytest.mark.parametrize(
    ("scaling", "share"),
    [("Linear", (0.05, 0.2)), ("Logarithmic", (0.55, 0.8)), ("Auto", (0.55, 0.8))],
)
def test_logarithmic_scaling_tries_small_values_as_often_as_large_ones(
    scaling: str, share: tuple[float, float]
) -> None:
    asked = search(Range("eta", low=0.001, high=1.0, scaling=scaling))
    small = sum(float(asked.ask(number)["eta"]) < 0.1 for number in range(200)) / 200
    assert share[0] <= small <= share[1]


def test_reversed_logarithmic_scaling_looks_close_to_one() -> None:
    asked = search(Range("beta_1", low=0.0, high=0.999, scaling="ReverseLogarithmic"))
    values = [float(asked.ask(number)["beta_1"]) for number in range(100)]
    assert all(0 <= value <= 0.999 for value in values)
    assert sum(value > 0.9 for value in values) > 50


@pytest.mark.parametrize("maximize", [False, True])
def test_a_bayesian_search_closes_in_on_what_is_best(maximize: bool) -> None:
    asked = search(Range("eta", low=0.0, high=1.0), strategy="Bayesian", maximize=maximize)
    values = []
    for number in range(1, 41):
        eta = float(asked.ask(number)["eta"])
        values.append(abs(eta - 0.3))
        asked.tell(number, -values[-1] if maximize else values[-1])
    assert sum(values[10:]) / 30 < 0.75 * sum(values[:RANDOM_TRIALS]) / RANDOM_TRIALS


def test_trials_that_failed_teach_nothing_and_stop_nothing() -> None:
    asked = search(ETA, strategy="Bayesian")
    for number in range(1, 2 * RANDOM_TRIALS):
        asked.ask(number)
        asked.tell(number, None)


def test_a_bayesian_search_learns_from_trials_of_others_within_its_ranges() -> None:
    asked = search(Range("eta", low=0.0, high=1.0), strategy="Bayesian")
    for step in range(20):
        asked.learn({"eta": str(step / 20)}, abs(step / 20 - 0.7))
    asked.learn({"eta": "5"}, 0.0)  # beyond the range
    asked.learn({"gamma": "0.1"}, 0.0)  # tuned something else
    asked.learn({"eta": "auto"}, 0.0)
    tried = [float(asked.ask(number)["eta"]) for number in range(1, 7)]
    assert sum(0.5 < eta < 0.9 for eta in tried) >= 4


def test_of_a_range_of_very_many_numbers_another_one_is_named_at_once() -> None:
    many = search(Range("num_round", is_whole=True, low=1, high=10**15))
    many._tried = {("1",), ("2",)}
    assert many._another() == {"num_round": 3}


def test_of_two_fractions_next_to_each_other_a_third_trial_repeats_one() -> None:
    low = 0.1
    narrow = search(Range("eta", low=low, high=math.nextafter(low, 1)))
    assert len({narrow.ask(number)["eta"] for number in range(1, 6)}) <= 2


@pytest.mark.parametrize("text", ["1_0", "\u0665", " 5", "5.0", "0x5", "9" * 400, str(2**63)])
def test_what_is_no_whole_number_of_the_service_is_refused(text: str) -> None:
    documents = config(IntegerParameterRanges=[{"Name": "max_depth", "MinValue": "2", "MaxValue": text}])
    with pytest.raises(AwsError, match="is not an integer of at most 64 bits"):
        read(documents)


@pytest.mark.parametrize("text", ["1_0", "\u0665", " 5", "nan", "inf", "1e400", "1e", "."])
def test_what_is_no_number_of_the_service_is_refused(text: str) -> None:
    documents = config(ContinuousParameterRanges=[{"Name": "eta", "MinValue": "0.1", "MaxValue": text}])
    with pytest.raises(AwsError, match="is not a finite number"):
        read(documents)


def config(jobs: int = 2, **ranges: Any) -> dict[str, Any]:
    return {"ParameterRanges": ranges, "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs}}


def test_ranges_are_read_by_their_kinds() -> None:
    documents = config(
        IntegerParameterRanges=[{"Name": "max_depth", "MinValue": "2", "MaxValue": "8", "ScalingType": "Linear"}],
        ContinuousParameterRanges=[{"Name": "eta", "MinValue": "0.1", "MaxValue": "1"}],
        CategoricalParameterRanges=[{"Name": "booster", "Values": ["gbtree", "dart"]}],
    )
    assert read(documents) == [DEPTH, Range("eta", low=0.1, high=1.0, scaling="Auto"), BOOSTER]
