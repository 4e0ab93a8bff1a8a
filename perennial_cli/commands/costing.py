"""What runs and endpoints cost: cost."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from perennial.data.broken import counted
from perennial.model import definition
from perennial.runs.costs import DATE, HOURS_A_MONTH, Cost, Job, of_jobs, short_name, spoken
from perennial.serving.hours import Hours
from perennial.words import number
from perennial_cli import billing, project, runs, stacks
from perennial_cli.account import Account, say_whom
from perennial_cli.commands.options import AsJson, StackName
from perennial_cli.console import notice, pairs, show_json, table, warn
from perennial_cli.deployed import definition_of
from perennial_cli.prices import price

EARLIER_RUNS = 20
PRICES = f"public prices on demand of {DATE}; what the table does not have AWS's price list says"


def cost(
    run_id: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The id of a run, or `latest`, to know what it has cost.")
    ] = None,
    stack: StackName = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A model that is not deployed yet, instead of a stack.")
    ] = None,
    runs_a_month: Annotated[
        float | None, typer.Option("--runs", min=0, help="Runs in a month. Default: those of the last 30 days, else 4.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a run and a month will cost; with a run, what that has cost.

    Before: machines of the definition, seconds of earlier runs' jobs (else four minutes a job), prices of the region.
    After: the seconds that the jobs' own records say are billed. Machines alone count: no storage, logs or requests.
    """
    whom = say_whom()
    if run_id is not None:
        chosen = stacks.chosen(stack)
        _after(runs.of(chosen, run_id), whom, as_json=as_json)
        return
    if model is not None:
        defined, records = definition.load(project.model_folder(model) / "model.yaml"), list[dict[str, Any]]()
        when = None
    else:
        chosen = stacks.chosen(stack)
        defined, records = definition_of(chosen), runs.newest(chosen, EARLIER_RUNS)
        when = chosen.hours
    often = in_a_month(records) if runs_a_month is None else runs_a_month
    _before(billing.expected(defined, whom.region, records, often, when), when, as_json=as_json)


def in_a_month(records: list[dict[str, Any]]) -> float:
    """Return how many runs there were in the last 30 days; 4 without any."""
    since = datetime.now(UTC) - timedelta(days=30)
    begun = [record["execution"]["started_at"] for record in records if record.get("jobs")]
    return sum(datetime.fromisoformat(one) >= since for one in begun) or 4


def _before(expected: billing.Expected, when: Hours | None, *, as_json: bool) -> None:
    if as_json:
        show_json({**asdict(expected), "month": expected.month, "prices": DATE})
        return
    jobs = f"{counted(expected.run.jobs, 'job')} of {expected.run.seconds:,.0f} s"
    rests = f"from {expected.runs} earlier runs" if expected.runs else "assumed: 4 minutes a job"
    hourly = "not known" if expected.endpoint is None else f"{spoken(expected.endpoint)} an hour"
    sleeps = {"it sleeps": f"outside of {when}; that saves {spoken(expected.saved)} a month"} if when else {}
    serving = HOURS_A_MONTH * (when.share if when else 1)
    pairs(
        {
            "a run": f"{spoken(expected.run.usd)} ({jobs}, {rests})",
            "the endpoint": hourly,
            **sleeps,
            "a month": f"{spoken(expected.month)} ({expected.runs_a_month:g} runs, {serving:.0f} hours of serving)",
        }
    )
    _about_prices(expected.run)


def _after(record: dict[str, Any], whom: Account, *, as_json: bool) -> None:
    jobs = list(billing.billed(record))
    total = of_jobs(jobs, whom.region, price)
    if as_json:
        show_json(
            {"run": record["run_id"], "cost": asdict(total), "jobs": [asdict(job) for job in jobs], "prices": DATE}
        )
        return
    rows = [(*_row(job, record["run_id"]), _spoken_price(whom.region, job)) for job in jobs]
    table("job", "machines", "billed seconds", "USD", rows=rows, right=("billed seconds", "USD"))
    pairs({"together": f"{spoken(total.usd)} for {number(total.seconds, 3)} s"})
    if whom.is_local:
        notice("nothing was billed: it ran in the local cloud, and AWS would take longer, as machines have to start")
    _about_prices(total)


def _row(job: Job, run: str) -> tuple[str, str, str]:
    return short_name(job.name, run), f"{job.count} {job.machine}", number(job.seconds, 3)


def _spoken_price(region: str, job: Job) -> str:
    return spoken(of_jobs([job], region, price).usd) if price(region, job.machine, job.kind) is not None else "?"


def _about_prices(cost: Cost) -> None:
    for machine in cost.unknown:
        warn(f"the price of {machine} is not known, and not in the sum")
    notice(PRICES)
