"""Bias of files and of a quick fit, and what its answers rest on: the analysis of a run, before anything is deployed.

By the script of the runs: only the model is another one, of few rounds.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.evaluation import metrics, predictions
from perennial.model.algorithms import ALGORITHMS
from perennial.model.definition import Definition
from perennial.monitoring import analysis
from perennial.monitoring.facets import section_of
from perennial_cli.quick_fit import NO_IMAGE, labels_of, prepare, quick_model
from processing import analyze_model_quality, contributions

OWN_SCRIPT = "train.py is not run for an analysis; a run on its stack analyses what it serves"


@dataclass(frozen=True)
class Analysis:
    """analysis.json; or why the files cannot be used. Without a fit it has no word about a model, and a `reason`."""

    document: Mapping[str, Any]
    problems: Sequence[str] = ()


def analyzed(definition: Definition, model: str, files: Sequence[Path], models: Path) -> Analysis:
    """Return what the rows of files that train, and a quick fit's answers to the others, say of bias and features."""
    with tempfile.TemporaryDirectory(prefix="perennial-analyze-") as folder:
        prepared = Path(folder) / "output"
        if problems := prepare(definition, model, files, models, prepared):
            return Analysis({}, problems)
        defined = definition.as_json()
        data = analyze_model_quality.count_training_rows(defined, prepared / "baseline")
        answers, explained = list[analysis.Outcomes](), dict[str, Any](explanations={}, reason=_unfitted(definition))
        if not explained["reason"]:
            serving, predicted = (Path(folder) / name for name in ("serving", "predictions"))
            _fit(definition, prepared, serving, predicted)
            test = prepared / "test"
            _, answers = analyze_model_quality.compare_facets(defined, predicted, test, serving)
            explained = dict(contributions.baseline("xgboost", serving, analyze_model_quality.lines(test)))
        return Analysis(analysis.document(definition.target, section_of(defined), data, answers, explained))


def _unfitted(definition: Definition) -> str:
    """Return why there is no quick fit; nothing where there is."""
    if ALGORITHMS[definition.algorithm].is_script:
        return OWN_SCRIPT
    return "" if definition.preprocessing == "encode" else NO_IMAGE


def _fit(definition: Definition, prepared: Path, serving: Path, predicted: Path) -> None:
    """Write what would serve, and its predictions of the test set, as a run has them."""
    learned = quick_model(definition, prepared)
    serving.mkdir()
    predicted.mkdir()
    (prepared / "preprocessor/model.tar.gz").rename(serving / "preprocessor.tar.gz")
    content = bytes(learned.booster.save_raw("ubj"))
    with tarfile.open(serving / "model.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("xgboost-model")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    preprocessor = contributions.load_preprocessor(serving)
    encoded = contributions.encode_lines(preprocessor, analyze_model_quality.lines(prepared / "test"))
    columns = metrics.measures_of(definition.problem).columns(
        labels_of(prepared), learned.scores(encoded), definition.classes
    )
    with (predicted / "predictions.csv").open("wb") as file:
        file.writelines(predictions.table(columns))
