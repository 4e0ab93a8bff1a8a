"""Judge a window of what an endpoint was asked: collect, label, compare with the baselines of its model.

Runs as    processing job, state "Judge window" of monitor_model; docs/monitoring.md says how to run it by hand
Reads      --config         config.json of the run whose model answered: `definition`
           --capture        what data capture has written, below <endpoint>/<variant>/yyyy/mm/dd/hh/; records of other
                            times and endpoints are counted and left out
           --ground-truth   labels: Model Monitor's .jsonl, or .csv with inference_id and label; may be empty
           --data-baseline, --model-baseline    statistics.json and constraints.json of the same run
           --bias-baseline  analysis.json of the same run
           --attribution-baseline    analysis.json of the same run
           --serving       its model.tar.gz and preprocessor.tar.gz, to explain what the model answered
           models/<model>/ beside this script's folder: metrics.py and capture.py, if the model has them
           --probe          probe.json: rows that the endpoint was asked about, for a window with too few labels
                            (perennial.monitoring.probing); need not be there
           --history        history.json: a list of earlier windows, {end, run, verdict, metric, value, limit} each;
                            need not be there
           --endpoint, --start, --end           the window: times in UTC, 2026-11-29T10:00:00Z, the end is not in it
Writes     below --output
    verdict.json            Healthy, Drift, BadData, NotEnoughData or Failed, why, and all that was measured and counted
    data-quality/           statistics.json, constraints.json and constraint_violations.json, as Model Monitor has them
    model-quality/          statistics.json and constraint_violations.json
    bias/                   analysis.json and constraint_violations.json, as Clarify has them
    labelled/               of a window that has drifted, where the model has a key of one column: rows.csv (labelled
                            records as rows that train), lineage.json; with --labelled in that folder, of any window
    attribution/            analysis.json and constraint_violations.json, as Clarify has them
    report.html             the same for people; verdict.json says in `report` how long it took, or why there is none
Exits      0, whatever the verdict: each analysis fails for itself, and the verdict says which and why. 1 when the
           window itself is none, or config.json is too old: --message says so.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from perennial.data.column_statistics import StatisticsError
from perennial.data.series_rows import monitored
from perennial.data.units import numbers_of
from perennial.evaluation.problem_types.measures import MetricError
from perennial.features.grammar import utc_time
from perennial.hooks import HookError
from perennial.model.problem_types import PROBLEM_TYPES
from perennial.monitoring import attribution, bias, data_quality, labelled, model_quality, probing, texts
from perennial.monitoring.capture import Tally, events
from perennial.monitoring.facets import section_of
from perennial.monitoring.findings import (
    DRIFT,
    FAILED,
    HEALTHY,
    NOT_ENOUGH,
    MonitorError,
    NewerThanRunError,
    verdict_of,
    violations,
)  # fmt: skip
from perennial.monitoring.ground_truth import Joined, Labels
from perennial.monitoring.probing import QualityRows
from perennial.monitoring.series_window import Forecast, SeriesWindow
from perennial.monitoring.verdict import Analysis, document
from perennial.monitoring.window import Window
from processing import contributions, job_script, own_code

INPUTS = (
    "capture", "ground_truth", "data_baseline", "model_baseline", "bias_baseline", "attribution_baseline", "serving",
    "history", "probe",
)  # fmt: skip
# All baselines are one input: a job has at most ten.
FOLDERS = {name: name.replace("_", "-") for name in INPUTS} | {
    "data_baseline": "baselines/data-quality",
    "model_baseline": "baselines/model-quality",
    "bias_baseline": "baselines/bias",
    "attribution_baseline": "baselines/attribution",
}
REPORT = "report.html"
NEW_POINTS = "what came true trains as new points of its series: drop them under the data prefix"
MOST_DRAWN = 12  # forecasts


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    about = (__doc__ or "").split("\n", 1)[0]
    arguments = job_script.paths(argv, about, ("endpoint", "start", "end"), ("labelled",), **FOLDERS)
    try:
        start, end = _window(arguments.start, arguments.end)
        config = _config(arguments.config)
    except MonitorError as error:
        return job_script.refuse(str(error), arguments.message)
    definition, collected, joining = config["definition"], Tally(), Tally()
    window: Window = SeriesWindow(definition, collected) if definition.get("series") else Window(definition, collected)
    if isinstance(window, SeriesWindow):
        definition = monitored(definition)
        config = {**config, "definition": definition}
    broken = _collect(window, config, arguments, (start, end), collected)
    joined = _joined(window, arguments.ground_truth, end, joining)
    described = {
        "endpoint": arguments.endpoint,
        "window": {"start": arguments.start, "end": arguments.end},
        "records": window.records,
        "collected": collected.as_json(),
        "ground_truth": joining.as_json(),
    }
    judged = _quality_rows(definition["monitoring"]["model_quality"], window, joined, arguments.probe)
    verdict = document(_analyses(config, window, joined, judged, arguments, end, broken), described)
    if verdict["verdict"] == DRIFT or arguments.labelled:
        verdict |= _labelled_rows(config, window, joined, arguments, (start, end))
    job_script.write_documents({"verdict": verdict}, arguments.output, indent=2)
    print(f"{verdict['verdict']}: {window.records:,} records, {joined.size:,} labels", flush=True)
    for reason in verdict["reasons"]:
        print(reason, flush=True)
    # Only now that the verdict is written: it is worth more than its pictures.
    drawn = window.drawn(joined, MOST_DRAWN) if isinstance(window, SeriesWindow) else ()
    reported = {**verdict, "report": _report(verdict, config, judged, drawn, arguments)}
    job_script.write_documents({"verdict": reported}, arguments.output, indent=2)
    return 0


def _collect(
    window: Window, config: Mapping[str, Any], arguments: Any, period: tuple[datetime, datetime], collected: Tally
) -> str:
    """Take in the requests of a window; return why they cannot be, where they cannot."""
    try:
        window.add(events(arguments.capture, arguments.endpoint, *period, collected, own_code.reading(config)))
    except (HookError, MonitorError) as error:
        traceback.print_exception(error)
        return str(error)
    return ""


def _labelled_rows(
    config: Mapping[str, Any], window: Window, joined: Joined, arguments: Any, period: tuple[datetime, datetime]
) -> dict[str, Any]:
    """Write what retraining can learn from, with where it comes from; return what the verdict says of it."""
    counted, definition = Tally(), config["definition"]
    why = NEW_POINTS if isinstance(window, SeriesWindow) else labelled.why_none(definition, joined)
    if why:
        return {"labelled_rows": 0, "no_labelled_rows": why}
    folder = arguments.labelled or arguments.output / "labelled"
    path = folder / labelled.FILE
    captured = events(arguments.capture, arguments.endpoint, *period, Tally(), own_code.reading(config))
    writer = labelled.LabelledRows(definition, joined, counted)
    rows = writer.write(captured, path)
    if not rows:
        return {"labelled_rows": 0, "no_labelled_rows": writer.why_none(), "labelled": counted.as_json()}
    origin = {"endpoint": arguments.endpoint, "window": {"start": arguments.start, "end": arguments.end}}
    lineage = {**origin, "run": config.get("run_id"), "file": path.name, "rows": rows, "counts": counted.as_json()}
    job_script.write_documents({"lineage": lineage}, folder, indent=2)
    return {"labelled_rows": rows, "labelled": counted.as_json()}


def _joined(window: Window, folder: Path, end: datetime, counted: Tally) -> Joined:
    """Read the labels of a window's requests; what it takes to find them is given back."""
    labels = Labels(window.target, window.requests, counted, window.classes)
    labels.read(folder)
    return labels.joined(end)


def _window(start: str, end: str) -> tuple[datetime, datetime]:
    first, last = utc_time(start), utc_time(end)
    if first is None or last is None or first >= last:
        raise MonitorError(f"the window is from {start!r} to {end!r}; expected two times, such as 2026-11-29T10:00:00Z")
    return first, last


def _config(path: Path) -> Mapping[str, Any]:
    config: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "monitoring" not in config["definition"]:
        raise MonitorError("config.json has no definition.monitoring: its run is older than it; start another run")
    return config


def _analyses(
    config: Mapping[str, Any],
    window: Window,
    joined: Joined,
    judged: QualityRows,
    arguments: Any,
    time: datetime,
    broken: str,
) -> dict[str, Analysis]:
    """Return what each analysis says that model.yaml has not switched off; `broken`: why nothing could be read."""
    definition = config["definition"]
    section = definition["monitoring"]
    known: dict[str, Callable[[float], Analysis]] = {
        "data_quality": lambda rate: _data_quality(config, window, joined, arguments, rate),
        "model_quality": lambda rate: _model_quality(config, judged, arguments, rate, time),
        "bias": lambda rate: _bias(config, window, joined, arguments, rate),
        "attribution": lambda rate: _attribution(config, window, arguments, rate),
    }
    wanted = [name for name in known if _is_wanted(name, definition)]
    if broken:
        return dict.fromkeys(wanted, Analysis(FAILED, broken))
    if window.unreadable > window.records:
        reason = f"of {window.unreadable + window.records:,} captured records {window.unreadable:,} could not be read"
        return dict.fromkeys(wanted, Analysis(FAILED, f"{reason}; the first: {window.first_unreadable}"))
    # Together they may be wrong as often as one of them would be alone.
    rate = section["false_alarm_rate"] / max(1, len(wanted))
    if window.records >= section["min_records"]:
        return {name: _alone(known[name], rate) for name in wanted}
    reason = f"{window.records:,} records; expected at least {section['min_records']:,} (monitoring.min_records)"
    if window.left_out:
        reason += f"; left out: {window.left_out}"
    few = dict.fromkeys(wanted, Analysis(NOT_ENOUGH, reason))
    if "model_quality" in wanted and (judged.about or judged.failed):
        probed = _alone(known["model_quality"], rate)
        # A model that is as good as it was does not make a window healthy that nobody has sent requests in.
        few["model_quality"] = replace(probed, verdict=NOT_ENOUGH) if probed.verdict == HEALTHY else probed
    return few


def _is_wanted(name: str, definition: Mapping[str, Any]) -> bool:
    if name == "attribution" and PROBLEM_TYPES[definition["problem"]].is_series:
        return False  # nobody can say what a forecast of DeepAR rests on
    return bool(section_of(definition)["facets"] if name == "bias" else definition["monitoring"][name]["enabled"])


def _alone(analysis: Callable[[float], Analysis], rate: float) -> Analysis:
    """Return what an analysis says, or why it has failed or cannot be made: the others go on."""
    try:
        return analysis(rate)
    except NewerThanRunError as error:  # until another model serves: no failure of each window
        return Analysis(NOT_ENOUGH, str(error))
    except (MonitorError, StatisticsError, MetricError) as error:
        return Analysis(FAILED, str(error))
    except Exception as error:  # a bug in one of them
        traceback.print_exception(error)
        return Analysis(FAILED, f"{type(error).__name__}: {error}")


def _data_quality(config: Mapping[str, Any], window: Window, joined: Joined, arguments: Any, rate: float) -> Analysis:
    definition = config["definition"]
    section = definition["monitoring"]["data_quality"]
    invalid = definition["quality"]["max_invalid_share"]
    limits = data_quality.DataLimits(
        section["distance"], section["stability"], section["missing"], invalid, rate, section["leave_out"],
        numbers=numbers_of(definition), target=definition["target"],
    )  # fmt: skip
    unread = joined.unread
    reading = data_quality.LabelReading(
        window.target.name, unread.requests, unread.requests + joined.size, unread.first, bool(window.classes)
    )
    # The values of a series are unlike those of others, and of other times: they are no distribution.
    labels = np.empty(0) if isinstance(window, SeriesWindow) else joined.labels
    description = replace(window.described(labels), labels=reading)
    output = arguments.output / "data-quality"
    before = _json_if_there(arguments.data_baseline / "statistics.json") or {}
    written = texts.without_rare(description.statistics, window.constraints, before, window.categories)
    job_script.write_documents(dict(zip(("statistics", "constraints"), written, strict=True)), output)
    judged = data_quality.judge(*_baseline(arguments.data_baseline, "data-quality", config), description, limits)
    job_script.write_documents({"constraint_violations": violations(judged.findings)}, output)
    return Analysis(verdict_of(judged.findings), "", judged.findings, judged.as_json())


def _quality_rows(section: Mapping[str, Any], window: Window, joined: Joined, probe: Path) -> QualityRows:
    missing = _missing_labels(section, window, joined)
    return probing.rows_to_judge(joined.measured, missing, _json_if_there(probe / probing.FILE), section["min_labels"])


def _model_quality(
    config: Mapping[str, Any], rows: QualityRows, arguments: Any, rate: float, time: datetime
) -> Analysis:
    if rows.failed:
        raise MonitorError(rows.failed)
    if rows.missing and not rows.about:
        return Analysis(NOT_ENOUGH, rows.missing)
    definition = config["definition"]
    limits = model_quality.ModelLimits(definition["monitoring"]["model_quality"]["max_drop"], rate)
    baseline = _baseline(arguments.model_baseline, "model-quality", config)
    with own_code.metrics(config) as own:
        judged = model_quality.judge(definition, *baseline, rows.labels, rows.scores, limits, time, own, rows.are)
    of_window = {} if rows.about else {"start_time": arguments.start, "end_time": arguments.end}
    statistics = {**judged.statistics, "dataset": {**judged.statistics["dataset"], **of_window}}
    documents = {"statistics": statistics, "constraint_violations": violations(judged.findings)}
    job_script.write_documents(documents, arguments.output / "model-quality", indent=2)
    failed = [f"{name} could not be measured: {why}" for name, why in judged.failed.items()]
    reason = "; ".join([*failed, *([rows.sentence] if rows.about else [])])
    verdict = FAILED if definition["gate"]["metric"] in judged.failed else verdict_of(judged.findings)
    details = {**judged.as_json(), **({"probed": rows.about} if rows.about else {})}
    return Analysis(verdict, reason, judged.findings, details)


def _missing_labels(section: Mapping[str, Any], window: Window, joined: Joined) -> str:
    """Return why the labels are too few to know how good the model is; nothing when they are enough."""
    labels, most = joined.size, window.to_be_labelled
    if labels >= section["min_labels"] and labels >= section["min_labelled_share"] * most:
        return ""
    what = "forecast periods" if isinstance(window, SeriesWindow) else "records"
    share = section["min_labelled_share"]
    least = f"{section['min_labels']:,}{f' and {share:.0%} of the {what}' if share else ''}"
    few = f"not enough labels: {labels:,} of {most:,} {what}; expected {least}"
    unread = joined.unread
    return f"{few}; {unread.labels:,} could not be read, the first: {unread.first}" if unread.labels else few


def _bias(config: Mapping[str, Any], window: Window, joined: Joined, arguments: Any, rate: float) -> Analysis:
    """Return what the outcomes say: those that came true only where there are as many as model quality asks for."""
    definition = config["definition"]
    section, target = section_of(definition), definition["target"]
    if not _missing_labels(definition["monitoring"]["model_quality"], window, joined):
        window.facets.add_labels(window.sides[joined.has_label], joined.labels)
    facets, output = window.facets.facets, arguments.output / "bias"
    job_script.write_documents({"analysis": bias.analysis(target, section, facets)}, output, indent=2)
    baseline = _analysis(arguments.bias_baseline, "bias", config)
    judged = bias.judge(baseline, facets, section["max_increase"], rate)
    job_script.write_documents({"constraint_violations": judged.violations()}, output, indent=2)
    return Analysis(verdict_of(judged.findings), "", judged.findings, judged.as_json())


def _attribution(config: Mapping[str, Any], window: Window, arguments: Any, rate: float) -> Analysis:
    definition = config["definition"]
    least = definition["monitoring"]["attribution"]["min_ndcg"]
    baseline = _analysis(arguments.attribution_baseline, "attribution", config)
    if "reason" in baseline:
        return Analysis(NOT_ENOUGH, f"the run whose model answers could not explain it: {baseline['reason']}")
    if window.sample.rows is None:
        return Analysis(NOT_ENOUGH, "no record has the fields of the model")
    model = contributions.load(arguments.serving, definition["algorithm"])
    explained = model.contributions(model.encode(window.sample.rows), baseline["means"])
    judged = attribution.judge(baseline, explained, least, rate)
    documents = {
        "analysis": attribution.analysis(explained),
        "constraint_violations": attribution.violations(judged.findings),
    }
    job_script.write_documents(documents, arguments.output / "attribution", indent=2)
    return Analysis(verdict_of(judged.findings), "", judged.findings, judged.as_json())


def _baseline(folder: Path, name: str, config: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return statistics and constraints. Raises MonitorError."""
    return _document(folder / "statistics.json", name, config), _document(folder / "constraints.json", name, config)


def _analysis(folder: Path, name: str, config: Mapping[str, Any]) -> Any:
    """Return analysis.json of a baseline that older runs have not left. Raises MonitorError, NewerThanRunError."""
    path = folder / "analysis.json"
    if path.exists():
        return _document(path, name, config)
    raise NewerThanRunError(
        f"run {config.get('run_id')}, whose model answers, has left no baselines/{name}/{path.name}: it is older than "
        "this analysis; a run that is started now leaves it"
    )


def _document(path: Path, name: str, config: Mapping[str, Any]) -> Any:
    """Return a file of the baseline of this name. Raises MonitorError: it is not there or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MonitorError(
            f"the baseline has no {path.name} that can be read ({type(error).__name__}); run {config.get('run_id')}, "
            f"whose model answers, should have written it as baselines/{name}/{path.name}"
        ) from error


def _report(
    verdict: Mapping[str, Any],
    config: Mapping[str, Any],
    rows: QualityRows,
    drawn: Sequence[Forecast],
    arguments: Any,
) -> dict[str, Any]:
    """Draw report.html; return its name and the seconds it took, or why there is none."""
    began = perf_counter()
    try:
        from perennial.reports import window as drawing

        then = _json_if_there(arguments.data_baseline / "statistics.json")
        if then:
            then, _ = texts.without_rare(then, {"features": []}, {}, {})
        now = _json_if_there(arguments.output / "data-quality/statistics.json")
        history = _json_if_there(arguments.history / "history.json") or []
        judged = drawing.JudgedWindow(verdict, config, then, now, rows.labels, rows.scores, history, drawn)
        (arguments.output / REPORT).write_bytes(drawing.report(judged))
    except Exception as error:
        traceback.print_exception(error)
        return {"problem": f"{type(error).__name__}: {error}"}
    return {"file": REPORT, "seconds": round(perf_counter() - began, 3)}


def _json_if_there(path: Path) -> Any:
    """Return a document that is no must; None where there is none, or none that can be read, which the log says."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        print(f"going on without {path.name}: {type(error).__name__}", flush=True)
        return None


if __name__ == "__main__":
    job_script.leave_out_pandas(but_for_hooks=True)
    sys.exit(main())
