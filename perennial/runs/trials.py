"""The trials of a run's tuning job: what was tried, what was best, and whether a later search may go on from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perennial.runs.run_record import Trial, Tuned
from perennial.words import number

RECORDED = 50  # trials, the best first: SageMaker lists all of them
_OBJECTIVE = "_tuning_objective_metric"  # SageMaker adds it to what all trials have
_RANGES = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges")


def of(job: str, config: Mapping[str, Any], best: str, summaries: Iterable[Mapping[str, Any]]) -> Tuned:
    """Return what a record holds of a tuning job, from its configuration and the summaries of its training jobs."""
    objective = config["HyperParameterTuningJobObjective"]
    sign = -1 if objective["Type"] == "Maximize" else 1
    tried = [_trial(one) for one in summaries]
    counts = Counter(one["status"] for one in tried)
    tried.sort(key=lambda one: (one["name"] != best, one["value"] is None, sign * (one["value"] or 0.0), one["name"]))
    return {
        "job": job,
        "strategy": config["Strategy"],
        "metric": objective["MetricName"],
        "direction": "maximize" if sign < 0 else "minimize",
        "best": best,
        "counts": dict(sorted(counts.items())),
        "trials": tried[:RECORDED],
    }


def _trial(summary: Mapping[str, Any]) -> Trial:
    begun, ended = (summary.get(f"Training{moment}Time") for moment in ("Start", "End"))
    final = summary.get("FinalHyperParameterTuningJobObjectiveMetric") or {}
    return {
        "name": summary["TrainingJobName"],
        "status": summary["TrainingJobStatus"],
        "value": final.get("Value"),
        "hyperparameters": dict(sorted((summary.get("TunedHyperParameters") or {}).items())),
        "seconds": round((ended - begun).total_seconds(), 1) if begun and ended else None,
        "reason": summary.get("FailureReason"),
    }


def hyperparameters(record: Mapping[str, Any]) -> dict[str, str]:
    """Return those that the model of a run was trained with: what was tuned has the values of the best trial."""
    algorithm = (record.get("configuration") or {}).get("algorithm") or {}
    return {**algorithm.get("hyperparameters", {}), **best_values(record)}


def best_values(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the tuned hyperparameters of the best trial; none of a run that has trained once."""
    tuned = record.get("tuning")
    return dict(tuned["trials"][0]["hyperparameters"]) if tuned and tuned["trials"] else {}


def search(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a run has tuned, in a few facts: strategy, trials and how they ended, metric and its best value."""
    tuned = record.get("tuning")
    if not tuned or not tuned["trials"]:
        return {}
    return {
        "strategy": tuned["strategy"],
        "trials": sum(tuned["counts"].values()),
        **{f"trials.{status}": count for status, count in tuned["counts"].items()},
        "metric": tuned["metric"],
        "best_value": tuned["trials"][0]["value"],
        **({"parent": parent} if (parent := (record.get("warm_start") or {}).get("parent")) else {}),
    }


def spoken(values: Mapping[str, str]) -> str:
    """Return hyperparameters as people read them: of a number with a fraction four significant digits."""
    return ", ".join(f"{name}={spoken_value(text)}" for name, text in values.items())


def spoken_value(text: str) -> str:
    """Return a hyperparameter as people read it."""
    try:
        value = float(text)
    except ValueError:
        return text
    return text if text.lstrip("-").isdigit() else number(value, 4)


def line(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was tried, what was best, and with what the search began, each in a line of a mail."""
    tuned = record.get("tuning")
    if not tuned or not tuned["trials"]:
        return
    counts = ", ".join(f"{count} {status.lower()}" for status, count in tuned["counts"].items())
    total, best = sum(tuned["counts"].values()), tuned["trials"][0]
    reached = f"{tuned['metric']} {number(best['value'])}" if best["value"] is not None else tuned["metric"]
    noun = "trial" if total == 1 else "trials"
    values = spoken(best["hyperparameters"])
    yield f"{total} {noun} ({counts}), {tuned['strategy'].lower()}; best {reached} with {values}"
    if begun := record.get("warm_start"):
        yield f"began with what {begun['parent']} had tried" if begun["parent"] else f"began anew: {begun['reason']}"


def obstacle(parent: Mapping[str, Any], config: Mapping[str, Any], static: Mapping[str, str]) -> str | None:
    """Return why a tuning job may not begin with what another has tried; None where it may.

    parent  its description
    static  the hyperparameters that are no ranges

    Source: Developer Guide, "Run a Warm Start Hyperparameter Tuning Job", "Warm Start Tuning Restrictions".
    """
    theirs = parent["HyperParameterTuningJobConfig"]
    definition = parent.get("TrainingJobDefinition") or {}
    known = _names(theirs, definition.get("StaticHyperParameters") or {}) - {_OBJECTIVE}
    before, now = (_objective(one) for one in (theirs, config))
    if (status := parent["HyperParameterTuningJobStatus"]) not in ("Completed", "Failed", "Stopped"):
        return f"it has not ended ({status})"
    if before != now:
        return f"its objective was {before}, and is {now} now"
    if others := sorted(known ^ _names(config, static)):
        return f"only one of the two has the hyperparameters {', '.join(others)}"
    return None


def _objective(config: Mapping[str, Any]) -> str:
    objective = config["HyperParameterTuningJobObjective"]
    return f"{objective['Type'].lower()} {objective['MetricName']}"


def _names(config: Mapping[str, Any], static: Mapping[str, str]) -> set[str]:
    ranges = config["ParameterRanges"]
    tuned = (one["Name"] for kind in _RANGES for one in ranges.get(kind, []))
    return {*tuned, *(name for name in static if not name.startswith("sagemaker_"))}  # those are of script mode
