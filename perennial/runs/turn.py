"""Deciding whose turn it is to deploy, and whether a comparison still holds.

Runs train side by side, but one at a time deploys. The turn goes with the execution: a run that has ended, however it
ended, holds nothing. What is in service is what Parameter Store names; it is newer than a run's data when its run has
listed the data later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from perennial.runs.work import RUNNING, Holder

Turn = Literal["Deploy", "Wait", "Compare", "Superseded"]


@dataclass(frozen=True)
class Answer:
    """What a run that asks for the turn does now, and why."""

    turn: Turn
    reason: str


@dataclass(frozen=True)
class Listed:
    """A run and when it listed its data: ISO 8601 in UTC, to the millisecond; empty when no record says so."""

    run_id: str
    at: str

    def newer_than(self, other: Listed) -> bool:
        """Return whether this run has seen the later state of the data; the run id decides between equals."""
        return (self.at, self.run_id) > (other.at, other.run_id)


def is_free(holder: Holder | None, run_id: str) -> bool:
    """Return whether a run may take the turn: nobody has it, it is its own, or its holder has ended."""
    return holder is None or holder.run_id == run_id or holder.status != RUNNING


def wait_for(holder: Holder) -> Answer:
    """Return the answer to a run while another one deploys."""
    return Answer("Wait", f"run {holder.run_id} is deploying")


def of_version(version_arn: str | None, newest_approved: str | None, run: Listed, stays: Listed | None) -> Answer:
    """Decide what an execution does that has the turn and only deploys a version: the newest approved one serves.

    run    when the run of the version listed its data
    stays  the same of the model in service, where nobody has rejected its version; None where somebody has, or has none
    """
    if version_arn != newest_approved:
        newest = f"that is {newest_approved}" if newest_approved else "there is none"
        return Answer(
            "Superseded", f"{version_arn} is not the newest approved version any more; {newest}. What serves stays"
        )
    if stays and stays.newer_than(run):
        return Answer(
            "Superseded",
            f"run {stays.run_id}, whose model is in service, was trained on newer data (listed at {stays.at}; those of "
            f"this version at {run.at}). What serves stays; where it is not to, reject its version first",
        )
    return Answer("Deploy", "it is the newest approved version")


def decide(
    run: Listed, compared: Mapping[str, Any] | None, serving: Mapping[str, Any] | None, served: Listed | None
) -> Answer:
    """Decide what the run that has the turn does.

    compared  the champion that its candidate was compared with, or None
    serving   the champion of now, or None
    served    when the run of the champion of now listed its data, or None
    """
    if serving is None or (compared and compared["ModelName"] == serving["ModelName"]):
        return Answer("Deploy", "the model in service is the one that the candidate was compared with")
    if served and served.newer_than(run):
        return Answer(
            "Superseded",
            f"{serving['ModelName']}, which was trained on newer data (run {served.run_id}, listed at {served.at}; "
            f"this run's data were listed at {run.at}), came into service while this run worked. "
            "It stays in service, and this run's model is not deployed",
        )
    before = compared["ModelName"] if compared else "no model"
    return Answer("Compare", f"{serving['ModelName']} has come into service; the comparison was with {before}")
