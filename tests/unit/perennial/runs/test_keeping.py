"""What of a run's folder expires: what it made of rows on its way, and nothing that anybody needs later."""

from datetime import UTC, date, datetime, timedelta

import pytest

from perennial.runs import keeping

GOING = (
    "train/part-00000.csv", "validation/part-00000.csv", "test/part-00000.jsonl", "labels/part-00000.csv",
    "baseline/part-00000.csv", "predictions/candidate/part-00000.jsonl.out", "evaluation/predictions.csv",
    "quarantine/part-00000.jsonl", "checkpoints/state.pt", "rows/champion-test/part-00000.jsonl",
)  # fmt: skip
STAYING = (
    "run.json", "report.html", "approval.html", "config.json", "manifest.json", "input.manifest", "problems.txt",
    "erased.json", "champion/champion.json", "evaluation/evaluation.json", "report/report.json",
    "baselines/data-quality/statistics.json", "serving/model.tar.gz", "serving/preprocessor.tar.gz",
    "verification/records.jsonl",
)  # fmt: skip
HASHES = "rows/v1/seen/part-00000.u64"
STARTED = datetime(2026, 11, 20, 9, 34, 40, tzinfo=UTC)


@pytest.mark.parametrize("name", GOING)
def test_what_a_run_makes_of_rows_on_its_way_goes(name):
    assert keeping.expires(name, sealed=[], has_version=True)


@pytest.mark.parametrize("name", STAYING)
def test_what_serves_and_what_tells_of_the_run_stays(name):
    assert not keeping.expires(name, sealed=["preprocessor", "model"], has_version=False)


@pytest.mark.parametrize("name", ["preprocessor/model.tar.gz", "model/job/output/model.tar.gz"])
def test_what_a_job_wrote_of_a_model_goes_where_a_copy_serves(name):
    (artefact,) = (one for one in ("preprocessor", "model") if name.startswith(one))
    assert keeping.expires(name, sealed=[artefact], has_version=True)
    assert not keeping.expires(name, sealed={"preprocessor", "model"} - {artefact}, has_version=True)


def test_hashes_of_the_rows_stay_as_long_as_their_model_may_serve():
    assert not keeping.expires(HASHES, sealed=[], has_version=True)
    assert keeping.expires(HASHES, sealed=[], has_version=False)


@pytest.mark.parametrize(
    ("days", "lasted", "until"), [(30, 1, date(2026, 12, 20)), (1, 9, date(2026, 11, 29)), (0, 1, None)]
)
def test_sets_are_there_for_the_days_since_they_were_made_and_until_the_run_has_ended(days, lasted, until):
    assert keeping.kept_until(STARTED, STARTED + timedelta(days=lasted), days) == until
