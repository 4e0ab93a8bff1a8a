"""The gate: thresholds are inclusive, direction follows the metric, and no measurement is no admission."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from perennial.evaluation.gate import Compared, Comparison, Gate, Reply, Verdict
from perennial.evaluation.gate import judge as judge_compared

RMSE = Gate("rmse", "minimize", 3500.0)
AUC = Gate("auc", "maximize", 0.8)


def judge(gate: Gate, candidate: float | None, champion: float | None) -> Verdict:
    """Judge two models that are measured on the same 200 rows, of which the model in service has seen none."""
    comparison = None if champion is None else Comparison(200, Compared(200, candidate, champion))
    return judge_compared(gate, candidate, comparison)


@pytest.mark.parametrize(("gate", "value"), [(RMSE, 3500.0), (AUC, 0.8), (RMSE, 0.0), (AUC, 1.0)])
def test_model_is_accepted_up_to_and_including_the_threshold(gate, value):
    assert judge(gate, value, None).accepted


@pytest.mark.parametrize(("gate", "value"), [(RMSE, math.nextafter(3500, 4000)), (AUC, math.nextafter(0.8, 0))])
def test_model_is_rejected_one_step_beyond_the_threshold(gate, value):
    verdict = judge(gate, value, None)
    assert (verdict.accepted, verdict.meets_threshold) == (False, False)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("gate", [RMSE, AUC])
@pytest.mark.parametrize("champion", [None, 0.5])
def test_a_candidate_without_a_measurement_is_rejected(gate, value, champion):
    verdict = judge(gate, value, champion)
    assert (verdict.accepted, verdict.meets_threshold, verdict.beats_champion) == (False, False, None)
    assert "could not be measured" in verdict.reason


def test_the_first_run_has_only_the_threshold():
    verdict = judge(RMSE, 3000.0, None)
    assert (verdict.accepted, verdict.beats_champion) == (True, None)
    assert "no model in service" in verdict.reason


@pytest.mark.parametrize(
    ("gate", "champion", "better", "worse"), [(RMSE, 3000.0, 2999.0, 3001.0), (AUC, 0.9, 0.91, 0.89)]
)
def test_better_than_the_model_in_service_depends_on_the_direction(gate, champion, better, worse):
    assert judge(gate, better, champion).accepted
    assert not judge(gate, worse, champion).accepted
    assert judge(gate, worse, champion).meets_threshold


def test_as_good_as_the_model_in_service_is_enough_when_no_improvement_is_asked():
    assert judge(RMSE, 3000.0, 3000.0).accepted


@pytest.mark.parametrize(
    ("gate", "champion", "enough", "too_little"),
    [
        (Gate("rmse", "minimize", 5000.0, 0.1), 3000.0, 2700.0, 2701.0),
        (Gate("auc", "maximize", 0.5, 0.1), 0.8, 0.8801, 0.8799),
        (Gate("r2", "maximize", -1.0, 0.5), -0.4, -0.2, -0.21),
    ],
)
def test_the_improvement_is_relative_to_the_model_in_service(gate, champion, enough, too_little):
    assert judge(gate, enough, champion).accepted
    assert not judge(gate, too_little, champion).accepted


def test_beating_the_model_in_service_does_not_replace_the_threshold():
    verdict = judge(RMSE, 3600.0, 9000.0)
    assert (verdict.accepted, verdict.beats_champion) == (False, True)


@pytest.mark.parametrize("champion", [float("nan"), float("inf")])
def test_a_model_in_service_without_a_measurement_leaves_the_threshold(champion):
    verdict = judge(RMSE, 3000.0, champion)
    assert (verdict.accepted, verdict.beats_champion) == (True, None)
    assert "model in service could not be measured" in verdict.reason


def test_the_reason_has_the_numbers():
    reason = judge(Gate("rmse", "minimize", 3500.0, 0.05), 2345.678, 2400.0).reason
    assert reason == (
        "rmse 2,345.68 is better than the 2,400 of the model in service on all 200 test rows, where at most 2,280 is "
        "asked (gate.minimum_improvement); rmse 2,345.68 on all 200 test rows meets the threshold (at most 3,500)"
    )


finite = some.floats(allow_nan=False, allow_infinity=False, width=32)


@given(finite, finite, some.sampled_from(["minimize", "maximize"]), some.floats(0, 0.99))
def test_a_model_never_beats_itself_when_an_improvement_is_asked_and_always_otherwise(
    value, threshold, direction, asked
):
    gate = Gate("m", direction, threshold, asked)
    verdict = judge(gate, value, value)
    assert verdict.beats_champion is (gate.to_beat(value) == value)
    assert verdict.accepted is (verdict.meets_threshold and verdict.beats_champion)


def test_of_a_metric_without_a_best_value_shares_are_of_its_own_value():
    gain = Gate("gain", "maximize", 0.0, 0.1, maximum_regression=0.2, is_bounded=False)
    assert gain.to_beat(200.0) == pytest.approx(220.0)
    assert gain.to_beat(-200.0) == pytest.approx(-180.0)
    assert gain.worst_allowed(200.0) == pytest.approx(160.0)


# ---- Relative to a metric that ends at 1


@pytest.mark.parametrize(("champion", "enough"), [(0.99, 0.995), (0.96, 0.98), (0.9, 0.945), (1.0, 1.0)])
def test_an_improvement_is_never_more_than_half_of_what_is_left_to_perfect(champion, enough):
    asked = Gate("auc", "maximize", 0.5, 0.05)
    assert asked.to_beat(champion) == pytest.approx(enough)
    assert judge(asked, enough + 1e-9, champion).beats_champion is True
    assert judge(asked, enough - 1e-9, champion).beats_champion is False


# ---- Which rows compare

BOUND = Gate("rmse", "minimize", 3500.0, maximum_regression=0.05, minimum_unseen_rows=30)


def compared(unseen, known=None, rows=200, unfair=""):
    return Comparison(rows, unseen, known or Compared(), unfair=unfair)


def test_models_are_compared_on_the_rows_that_the_one_in_service_has_not_seen():
    verdict = judge_compared(BOUND, 2500.0, compared(Compared(40, 2200.0, 2300.0, (-300.0, -20.0))))
    assert (verdict.accepted, verdict.beats_champion) == (True, True)
    assert verdict.reason == (
        "rmse 2,500 on all 200 test rows meets the threshold (at most 3,500); rmse 2,200 is better than the 2,300 of "
        "the model in service on the 40 test rows that it has not seen, by more than chance on these rows (-300 to -20)"
    )


@pytest.mark.parametrize(("without", "accepted"), [("reject", False), ("threshold", True)])
def test_too_few_unseen_rows_are_no_fair_comparison_and_a_key_decides(without, accepted):
    gate = Gate("rmse", "minimize", 3500.0, minimum_unseen_rows=30, without_comparison=without)
    verdict = judge_compared(gate, 2500.0, compared(Compared(29, 9.0, 1.0)))
    assert (verdict.accepted, verdict.meets_threshold, verdict.beats_champion) == (accepted, True, None)
    assert "no fair comparison" in verdict.reason
    assert "it has not seen 29 of the 200 test rows, and 30 are needed (gate.minimum_unseen_rows)" in verdict.reason
    assert "(gate.without_comparison)" in verdict.reason


def test_a_candidate_over_the_threshold_is_rejected_whatever_decides_without_comparison():
    gate = Gate("rmse", "minimize", 2000.0, minimum_unseen_rows=30, without_comparison="threshold")
    assert not judge_compared(gate, 2500.0, compared(Compared(0))).accepted


def test_models_that_cannot_be_compared_say_why():
    verdict = judge_compared(
        BOUND, 2500.0, compared(Compared(200, 2500.0, 9000.0), unfair="it predicts another target")
    )
    assert (verdict.accepted, verdict.beats_champion) == (False, None)
    assert "possible: it predicts another target; so it stays in service" in verdict.reason


def test_a_metric_without_a_value_on_the_unseen_rows_is_no_fair_comparison():
    verdict = judge_compared(AUC, 0.9, compared(Compared(40, None, None)))
    assert (verdict.accepted, verdict.beats_champion) == (False, None)
    assert "auc has no value for the 40 of 200 test rows" in verdict.reason


def test_new_rows_do_not_outvote_known_ones():
    known = Compared(10_000, 2850.0, 2163.0, (600.0, 780.0))
    verdict = judge_compared(BOUND, 2700.0, compared(Compared(16_000, 2700.0, 5000.0, (-2400.0, -2200.0)), known))
    assert (verdict.accepted, verdict.beats_champion, verdict.keeps_known) == (False, True, False)
    assert verdict.reason.startswith(
        "rmse 2,850 is worse than the 2,163 of the model in service on the 10,000 test rows that it was tested on, by "
        "more than chance on these rows (600 to 780), where at most 2,271.15 is allowed (gate.maximum_regression); "
    )


def test_known_rows_that_are_worse_by_more_than_chance_are_told_where_that_is_allowed():
    known = Compared(100, 2090.0, 2000.0, (50.0, 150.0))
    verdict = judge_compared(BOUND, 2000.0, compared(Compared(200, 2000.0, 2100.0), known))
    assert (verdict.accepted, verdict.worse_on_known) == (True, True)
    threshold, known_rows, _ = verdict.reason.split("; ")
    assert threshold == "rmse 2,000 on all 200 test rows meets the threshold (at most 3,500)"
    assert known_rows == (
        "rmse 2,090 is worse than the 2,000 of the model in service on the 100 test rows that it was tested on, by "
        "more than chance on these rows (50 to 150), which is allowed (at most 2,100, gate.maximum_regression)"
    )


def test_what_a_candidate_failed_at_stands_before_what_is_allowed():
    known = Compared(100, 2090.0, 2000.0, (50.0, 150.0))
    verdict = judge_compared(BOUND, 2000.0, compared(Compared(200, 2200.0, 2100.0, (50.0, 150.0)), known))
    assert verdict.obstacle == "champion"
    assert verdict.reason.startswith("rmse 2,200 is worse than the 2,100 of the model in service on all 200 test rows")
    assert ", which is allowed (at most 2,100, gate.maximum_regression); rmse 2,200" not in verdict.reason


def test_numbers_that_differ_are_told_with_as_many_digits_as_tell_them_apart():
    verdict = judge(Gate("auc", "maximize", 0.4), 0.49999999, 0.5)
    assert verdict.reason.startswith("auc 0.49999999 is worse than the 0.5 of the model in service")
    assert "(auc 0.49999999, in service 0.5)" in verdict.brief
    assert judge(Gate("auc", "maximize", 0.5), 0.49999999, None).brief == (
        "auc 0.49999999 misses the threshold (at least 0.5)"
    )


# ---- Rows that have another target than the model in service was tested with

OTHER = Compared(570, 0.83, 0.155, (0.6, 0.75), champion_interval=(0.12, 0.19))
FLIPPED = Gate("auc", "maximize", 0.8, maximum_regression=0.25, minimum_unseen_rows=30)


def of_targets(known=None, changed=OTHER):
    return Comparison(600, Compared(600, 0.83, 0.155, (0.6, 0.75)), known or Compared(), changed)


@pytest.mark.parametrize(("without", "accepted"), [("reject", False), ("threshold", True)])
def test_other_targets_than_the_model_in_service_was_accepted_for_are_no_fair_comparison(without, accepted):
    verdict = judge_compared(replace(FLIPPED, without_comparison=without), 0.83, of_targets(), 0.845)
    assert (verdict.accepted, verdict.beats_champion, verdict.targets_changed) == (accepted, None, True)
    assert (
        "570 of the 570 test rows that it was tested on have other targets now: its auc is 0.155 there, when accepted "
        "0.845; " in verdict.reason
    )
    assert verdict.obstacle == (None if accepted else "changed")
    assert verdict.brief == ("" if accepted else "targets of tested rows changed (auc 0.155, was 0.845)")
    assert len(verdict.brief) <= 61


@pytest.mark.parametrize(
    ("comparison", "when_accepted"),
    [
        (of_targets(known=Compared(30, 0.9, 0.85, (0.0, 0.1))), 0.845),
        (of_targets(changed=replace(OTHER, rows=29)), 0.845),
        (of_targets(changed=replace(OTHER, champion=0.82, champion_interval=(0.81, 0.83))), 0.845),
        (of_targets(changed=replace(OTHER, champion=0.7, champion_interval=(0.5, 0.9))), 0.845),
        (of_targets(changed=replace(OTHER, champion_interval=None)), 0.845),
        (of_targets(), None),
    ],
    ids=["enough are known", "few are changed", "within the bound", "chance", "nobody knows", "not recorded"],
)
def test_a_small_correction_changes_nothing(comparison, when_accepted):
    verdict = judge_compared(FLIPPED, 0.83, comparison, when_accepted)
    assert (verdict.accepted, verdict.targets_changed) == (True, False)


# ---- Rows that the model in service cannot score


def test_rows_that_the_model_in_service_cannot_score_are_counted_in_the_reason():
    comparison = replace(compared(Compared(197, 2500.0, 2000.0, (300.0, 700.0))), unscored=3)
    verdict = judge_compared(BOUND, 2500.0, comparison)
    assert (verdict.accepted, verdict.obstacle) == (False, "champion")
    assert verdict.reason.endswith(
        "the model in service has no score that can be measured for 3 of the 200 test rows that it has not seen: "
        "they are left out"
    )


@pytest.mark.parametrize(
    ("scored", "unscored", "says"),
    [
        (29, 171, "it has a score for 29 of the 200 test rows that it has not seen, and 30 are needed"),
        (9, 1, "it has not seen 10 of the 200 test rows, and 30 are needed"),
    ],
)
def test_too_few_rows_that_it_can_score_are_no_fair_comparison(scored, unscored, says):
    verdict = judge_compared(BOUND, 2500.0, replace(compared(Compared(scored, 1.0, 9.0)), unscored=unscored))
    assert (verdict.accepted, verdict.obstacle) == (False, "unfair")
    assert says in verdict.reason


def test_a_model_in_service_that_can_score_no_row_leaves_the_threshold():
    verdict = judge_compared(BOUND, 2500.0, replace(compared(Compared(0)), unscored=200))
    assert (verdict.accepted, verdict.beats_champion) == (True, None)
    assert "the model in service could not be measured (its rmse is nan)" in verdict.reason


@pytest.mark.parametrize(
    "known",
    [
        Compared(100, 2090.0, 2000.0, (-50.0, 150.0)),
        Compared(100, 1900.0, 2000.0, (-150.0, -50.0)),
        Compared(29, 2090.0, 2000.0, (50.0, 150.0)),
    ],
    ids=["chance", "better", "too few"],
)
def test_known_rows_that_say_nothing_are_left_out_of_the_reason(known):
    verdict = judge_compared(BOUND, 2000.0, compared(Compared(200, 2000.0, 2100.0), known))
    assert not verdict.worse_on_known
    assert "tested on" not in verdict.reason


@pytest.mark.parametrize(
    ("gate", "candidate", "comparison", "brief"),
    [
        (BOUND, None, None, "rmse of the candidate could not be measured"),
        (BOUND, 9000.0, None, "rmse 9,000 misses the threshold (at most 3,500)"),
        (BOUND, 2500.0, compared(Compared(3)), "no fair comparison with the model in service"),
        (
            BOUND,
            2500.0,
            compared(Compared(100, 2500.0, 2400.0, (50.0, 150.0))),
            "worse (rmse 2,500, in service 2,400)",
        ),
        (
            BOUND,
            2500.0,
            compared(Compared(100, 2500.0, 2400.0, (-50.0, 250.0))),
            "worse within chance (rmse 2,500, in service 2,400)",
        ),
        (
            BOUND,
            2500.0,
            compared(Compared(200, 2500.0, 2400.0, (-50.0, 250.0)), Compared(99, 192.0, 138.0, (20.0, 80.0))),
            "worse on known rows (rmse 192, in service 138)",
        ),
        (
            Gate("rmse", "minimize", 3500.0, 0.05),
            2350.0,
            compared(Compared(200, 2350.0, 2400.0)),
            "rmse 2,350 misses what is asked (at most 2,280)",
        ),
        (BOUND, 2300.0, compared(Compared(200, 2300.0, 2400.0)), ""),
    ],
)
def test_a_rejection_has_its_cause_in_few_words(gate, candidate, comparison, brief):
    verdict = judge_compared(gate, candidate, comparison)
    assert verdict.brief == brief
    assert len(brief) <= 61  # what a subject has room for beside "Candidate rejected: " and a usual stack


@pytest.mark.parametrize(
    ("candidate", "difference", "keeps"),
    [
        (2099.0, (50.0, 150.0), True),  # within the bound
        (2101.0, (50.0, 150.0), False),
        (2101.0, (-10.0, 210.0), True),  # beyond it, and chance
        (2101.0, None, True),  # nobody knows
    ],
)
def test_known_rows_may_be_worse_by_the_bound_or_by_chance(candidate, difference, keeps):
    known = Compared(100, candidate, 2000.0, difference)
    verdict = judge_compared(BOUND, 2000.0, compared(Compared(200, 2000.0, 2100.0), known))
    assert (verdict.keeps_known, verdict.accepted) == (keeps, keeps)


def test_a_regression_of_a_metric_that_ends_at_1_is_a_share_of_what_was_missing():
    gate = Gate("auc", "maximize", 0.5, maximum_regression=0.1)
    assert gate.worst_allowed(0.9) == pytest.approx(0.89)
    assert gate.worst_allowed(1.0) == 1.0


@pytest.mark.parametrize("known", [Compared(29, 9000.0, 2000.0, (1.0, 2.0)), Compared(100, None, 2000.0)])
def test_too_few_known_rows_or_none_with_a_value_bind_nobody(known):
    verdict = judge_compared(BOUND, 2000.0, compared(Compared(200, 2000.0, 2100.0), known))
    assert (verdict.keeps_known, verdict.accepted) == (None, True)


def test_no_bound_allows_all():
    gate = Gate("rmse", "minimize", 3500.0, maximum_regression=None)
    verdict = judge_compared(gate, 2000.0, compared(Compared(200, 2000.0, 2100.0), Compared(100, 9.0, 1.0, (1.0, 2.0))))
    assert (verdict.keeps_known, verdict.accepted) == (None, True)


@pytest.mark.parametrize(("difference", "says"), [((-40.0, 80.0), True), ((1.0, 80.0), False)])
def test_the_reason_tells_a_difference_from_chance(difference, says):
    verdict = judge_compared(BOUND, 2160.0, compared(Compared(200, 2160.0, 2140.0, difference)))
    assert not verdict.accepted
    assert (
        "rmse 2,160 is worse than the 2,140 of the model in service on all 200 test rows, within chance (-40 to 80)"
        in verdict.reason
    ) is says


@pytest.mark.parametrize(
    ("candidate", "comparison", "obstacle"),
    [
        (None, None, "unmeasured"),
        (9000.0, None, "threshold"),
        (2500.0, compared(Compared(3)), "unfair"),
        (2500.0, compared(Compared(200, 2500.0, 2400.0, (50.0, 150.0))), "champion"),
        (2500.0, compared(Compared(200, 2500.0, 2400.0, (-50.0, 250.0))), "chance"),
        (2300.0, compared(Compared(200, 2300.0, 2400.0), Compared(99, 2.0, 1.0, (0.5, 1.5))), "known"),
        (2300.0, compared(Compared(200, 2300.0, 2400.0)), None),
    ],
)
def test_a_verdict_names_what_was_in_the_way(candidate, comparison, obstacle):
    assert judge_compared(BOUND, candidate, comparison).obstacle == obstacle


@pytest.mark.parametrize(("gate", "good", "bad"), [
    (Gate("rmse", "minimize", 5000.0, -0.02), 3060.0, 3061.0), (Gate("auc", "maximize", 0.5, -0.02), 2940.0, 2939.0),
])  # fmt: skip
def test_a_candidate_may_be_allowed_to_be_a_little_worse(gate, good, bad):
    assert judge(gate, good, 3000.0).beats_champion is True
    verdict = judge(gate, bad, 3000.0)
    assert verdict.beats_champion is False
    assert "worse than the 3,000 of the model in service on all 200 test rows, where at " in verdict.reason
    assert "is allowed (gate.minimum_improvement)" in verdict.reason
    assert ", which is allowed (at " in judge(gate, good, 3000.0).reason
    assert "allowed" not in judge(gate, 3000.0, 3000.0).reason


SURE = replace(RMSE, confidence=0.95)
NARROW, WIDE = (-60.0, -40.0), (-200.0, 100.0)


@pytest.mark.parametrize(
    ("gate", "candidate", "difference", "accepted"),
    [
        (RMSE, 2950.0, WIDE, True),  # without gate.confidence the numbers alone decide
        (SURE, 2950.0, NARROW, True),
        (SURE, 2950.0, WIDE, False),
        (SURE, 2950.0, None, False),
        (replace(SURE, minimum_improvement=-0.05), 2950.0, WIDE, True),  # surely no worse than by 5 %
        (replace(SURE, minimum_improvement=0.02), 2930.0, (-80.0, -60.0), True),
        (replace(SURE, minimum_improvement=0.02), 2939.0, (-71.0, -51.0), False),  # better surely, by 2 % not
    ],
)
def test_with_a_confidence_a_candidate_has_to_be_better_surely(gate, candidate, difference, accepted):
    comparison = Comparison(200, Compared(200, candidate, 3000.0, difference))
    verdict = judge_compared(gate, candidate, comparison)
    assert (verdict.accepted, verdict.beats_champion) == (accepted, accepted)
    assert verdict.obstacle == (None if accepted else "chance")


def test_a_candidate_that_is_better_only_on_paper_is_told_so():
    verdict = judge_compared(SURE, 2950.0, Comparison(200, Compared(200, 2950.0, 3000.0, WIDE)))
    assert verdict.brief == "better only within chance (rmse 2,950, in service 3,000)"
    assert "with 95 % confidence it is at most 3,075.88, and not at most 3,000, as is asked" in verdict.reason
    unknown = judge_compared(SURE, 2950.0, Comparison(200, Compared(200, 2950.0, 3000.0)))
    assert "how sure that is nobody can say for these rows" in unknown.reason


@pytest.mark.parametrize(("confidence", "accepted"), [(0.75, True), (0.8, False)])
def test_confidence_is_that_of_one_side(confidence, accepted):
    """-50 with a standard error of 76.5 is below 0 with 74.3 %; of -55, 76.4 %."""
    compared = Compared(200, 2945.0, 3000.0, (-55 - 150.0, -55 + 150.0))
    verdict = judge_compared(replace(RMSE, confidence=confidence), 2945.0, Comparison(200, compared))
    assert verdict.accepted is accepted


@pytest.mark.parametrize(("difference", "accepted"), [((0.01, 0.03), True), ((-0.02, 0.06), False)])
def test_a_metric_that_is_maximized_has_to_be_surely_higher(difference, accepted):
    gate, comparison = replace(AUC, confidence=0.95), Comparison(200, Compared(200, 0.92, 0.9, difference))
    assert judge_compared(gate, 0.92, comparison).accepted is accepted


def test_a_failed_slice_rejects_a_candidate_that_is_better_on_the_whole():
    failed = Reply("worse", "slice", "worse in slice saab (mae 200, in service 100)")
    comparison = Comparison(200, Compared(200, 2000.0, 3000.0))
    verdict = judge_compared(RMSE, 2000.0, comparison, None, [failed])
    assert (verdict.accepted, verdict.meets_threshold, verdict.beats_champion) == (False, True, True)
    assert (verdict.obstacle, verdict.brief) == ("slice", failed.brief)
