"""`perennial check` looks at the definitions as a deployment does."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from perennial.model import definition
from perennial_cli import check_models
from tests.command import perennial

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "models"


def test_the_models_of_the_project_are_sound_and_each_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names = ("car-sales", "mammography", "penguins", "used-cars")
    ended = perennial("check", *names)
    assert ended.exit_code == 0
    expected = [f"{name}: ok, {columns} columns" for name, columns in zip(names, (10, 6, 7, 9), strict=True)]
    assert ended.stdout.splitlines() == expected


def test_a_wrong_definition_is_told_by_file_and_field_and_the_others_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = (MODELS / "used-cars/model.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/__pycache__").mkdir(parents=True)
    for name, text in {"sound": sound, "wrong": sound.replace("metric: rmse", "metric: speed")}.items():
        (tmp_path / "models" / name).mkdir()
        (tmp_path / "models" / name / "model.yaml").write_text(text)
    (tmp_path / "models/empty").mkdir()
    ended = perennial("check")
    assert ended.exit_code == 1
    assert ended.stdout == "sound: ok, 9 columns\n"
    assert "wrong/model.yaml" in ended.stderr
    assert "gate.metric" in ended.stderr
    assert "empty/model.yaml: there is no such file" in ended.stderr


def test_a_folder_whose_name_no_stack_can_have_is_no_sound_model(tmp_path: Path) -> None:
    (tmp_path / "Bad Name!").mkdir()
    (tmp_path / "Bad Name!/model.yaml").write_text((MODELS / "used-cars/model.yaml").read_text())
    ended = perennial("check", tmp_path / "Bad Name!")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "got 'Bad Name!' as the name of a model's folder; expected lower-case letters" in ended.stderr


def test_what_a_check_comes_to_is_json_for_machines(tmp_path: Path) -> None:
    text = (MODELS / "used-cars/model.yaml").read_text()
    for name, one in {"sound": text, "wrong": text.replace("metric: rmse", "metric: speed")}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.yaml").write_text(one)
    ended = perennial("check", tmp_path / "sound", tmp_path / "wrong", "--json")
    assert ended.exit_code == 1
    sound, wrong = json.loads(ended.stdout)
    assert sound == {"sound": True, "model": "sound", "columns": 9, "tried": [], "notes": [], "problem": ""}
    assert (wrong["sound"], wrong["model"], "gate.metric" in wrong["problem"]) == (False, "wrong", True)
    alone = perennial("try", tmp_path / "sound", "--json")
    assert (alone.exit_code, json.loads(alone.stdout)) == (0, sound)
    assert (perennial("try", tmp_path / "wrong", "--json").exit_code, perennial("try", tmp_path / "wrong").stdout) == (
        1,
        "",
    )
    assert perennial("try", tmp_path / "sound").stdout == "sound: ok, 9 columns\n"


def test_what_is_sound_and_not_what_it_seems_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = (MODELS / "mammography/model.yaml").read_text()
    (tmp_path / "m").mkdir()
    (tmp_path / "m/model.yaml").write_text(sound.replace("minimum_improvement: 0.0", "minimum_improvement: 0.1"))
    assert check_models.are_sound([tmp_path / "m"])
    assert "model.yaml: note, gate.minimum_improvement: of a model in service" in capsys.readouterr().out


def test_a_model_that_there_is_not_is_told_with_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(MODELS)
    ended = perennial("check", "mieten")
    assert ended.exit_code == 2
    assert "there is no" in ended.stderr
    assert "models/mieten/model.yaml. Models are: ames-houses, car-sales, " in ended.stderr


def test_how_features_are_written_is_no_fault() -> None:
    root, text = ROOT, b"import pyarrow,os\ndef transform( t ) :\n  import sys; return t\n"
    for command in (["check"], ["format", "--check"]):
        ruff = [root / ".venvs/dev/bin/ruff", *command, "--stdin-filename", "models/mieten/features.py", "-"]
        ended = subprocess.run(ruff, input=text, cwd=root, capture_output=True, check=False)
        assert ended.returncode == 0, ended.stdout.decode()


DOCS = (ROOT / "docs/add-a-model.md").read_text()


def section(title: str) -> str:
    return DOCS.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


SOUND = """
import pyarrow.compute as pc

def transform(table):
    return table.append_column("thirds", pc.divide(table["mileage"], 3))
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "cars"
    folder.mkdir()
    (folder / "model.yaml").write_text((MODELS / "used-cars/model.yaml").read_text())
    return folder


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def transform(table:\n", "cars/features.py, line 1: SyntaxError"),
        ("def transform(table):\n    return table['yaer']\n", "cars/features.py, line 2: KeyError"),
        ("def transform(table):\n    1 // (len(table) - 1)\n    return table\n", "features.py, line 2: ZeroDivision"),
        (SOUND.replace("3))", "pc.mean(table['mileage'])))"), "a row must not depend on other rows"),
        ("def transform(table):\n    return table if len(table) else table.select(['make'])\n", "of no rows; else"),
        ("def transform(table):\n    return table.slice(1)\n", "expected a pyarrow.Table with 8 rows"),
        ("def transform(table):\n    table['make'].to_pylist()[0].upper()\n    return table\n",
         "cars/features.py, line 2: IndexError"),
    ],
    ids=["no Python", "no such column", "one row", "other rows", "no rows: columns", "rows lost", "no rows: a value"],
)  # fmt: skip
def test_a_mistake_in_features_is_told_by_file_and_line(
    model: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (model / "features.py").write_text(text)
    assert not check_models.are_sound([model])
    assert told in capsys.readouterr().err


def test_a_typo_is_told_by_its_line_also_from_a_relative_path_and_without_advice_about_texts(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `make check-model` names a folder."""
    (model / "features.py").write_text(SOUND.replace("pc.divide", "pc.divid"))
    monkeypatch.chdir(model.parent)
    assert not check_models.are_sound([Path("cars")])
    told = "cars/features.py, line 5: AttributeError: module 'pyarrow.compute' has no attribute 'divid'\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    "text",
    re.findall(r"```python\n(.*?)```", section("features.py"), re.DOTALL),
)
def test_what_the_docs_show_passes(model: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    definition = (model / "model.yaml").read_text()
    columns = "columns:\n  year: {type: integer, min: 1990}\n  listed: {type: string}\n"
    (model / "model.yaml").write_text(definition.replace("columns:\n", columns))
    (model / "features.py").write_text(text)
    assert check_models.are_sound([model])
    assert capsys.readouterr() == ("cars: ok, 11 columns, features.py tried on 8 rows\n", "")


def test_features_that_keep_their_promise_pass(model: Path) -> None:
    (model / "features.py").write_text(SOUND)
    assert check_models.are_sound([model])


DATES = """
import pyarrow.compute as pc

def transform(table):
    made = pc.year(pc.strptime(table["make"], format=%r, unit="s"))
    return table.append_column("year_made", made)
"""
PYTHON_DATES = """
from datetime import datetime
import pyarrow as pa

def transform(table):
    times = [datetime.strptime(text, "%Y/%j") for text in table["make"].to_pylist()]
    return table.append_column("year_made", pa.array([time.year for time in times], pa.int64()))
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (DATES % "%Y-%m-%d", "note, features.py, line 5: ArrowInvalid: "),
        (DATES % "%d.%m.%Y", "note, features.py, line 5: ArrowInvalid: "),
        (DATES % "week %W of %Y", "note, features.py, line 5: ArrowInvalid: "),
        (PYTHON_DATES, "note, features.py, line 6: ValueError: time data 'a' does not match"),
    ],
    ids=["ISO 8601", "German", "a form of its own", "a form of its own that takes no nulls"],
)
def test_an_exception_that_only_invented_texts_cause_is_a_note(
    model: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (model / "features.py").write_text(text)
    assert check_models.are_sound([model])
    said = capsys.readouterr()
    assert told in said.out
    assert said.err == ""


PARTICULAR = """
def transform(table):
    if set(table["make"].to_pylist()) - {"Saab", "Buick"}:
        raise ValueError("another make")
    return table
"""


def test_texts_that_are_refused_alike_need_categories_and_only_those_are_tried(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "features.py").write_text(PARTICULAR)
    assert not check_models.are_sound([model])
    assert "another make (the same for every text that was tried." in (told := capsys.readouterr().err)
    assert "declare the column's categories in model.yaml, and only those are tried" in told
    text = (model / "model.yaml").read_text()
    (model / "model.yaml").write_text(
        text.replace("make: {type: string", "make: {type: string, categories: [Saab, Buick]")
    )
    assert check_models.are_sound([model])
    assert capsys.readouterr() == ("cars: ok, 9 columns, features.py tried on 8 rows\n", "")


def test_what_invented_texts_cause_hides_no_other_mistake(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mistake, told in {"slice(1)": "with 8 rows", "sort_by('doors')": "a row must not depend on other rows"}.items():
        (model / "features.py").write_text(f"{DATES % '%Y-%m-%d'}".replace(", made)", f", made).{mistake}"))
        assert not check_models.are_sound([model])
        assert told in capsys.readouterr().err


def test_an_exception_of_numbers_is_a_mistake_beside_texts_as_well(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "def transform(table):\n    [1 / value for value in table['mileage'].to_pylist()]\n    return table\n"
    (model / "features.py").write_text(text)
    assert not check_models.are_sound([model])
    assert "features.py, line 2: ZeroDivisionError" in capsys.readouterr().err


DEFINED = """
problem: regression
target: price
columns:
  price: {type: float, min: 0}
  year: {type: integer, min: 1990, max: 1993}
  mileage: {type: float, max: -3, nullable: true}
  make: {type: string, categories: [Saab, Buick]}
  sold: {type: boolean}
  vin: {type: string, feature: false}
split: {method: random}
gate: {metric: rmse, threshold: 3000}
"""


def test_the_table_has_what_the_definition_allows_and_nothing_else() -> None:
    table = check_models.sample(definition.parse(DEFINED, "m"))
    values = {name: table[name].to_pylist() for name in table.column_names}
    assert {name: set(found) for name, found in values.items() if name != "mileage"} == {
        "year": {1990, 1991, 1993},
        "make": {"Saab", "Buick"},
        "sold": {True, False},
    }
    assert {values["mileage"][0], values["mileage"][-1]} == {None}
    assert all(value <= -3 for value in values["mileage"] if value is not None)


# ---- metrics.py


def with_metrics(model: Path, code: str, metrics: str) -> None:
    (model / "metrics.py").write_text(code)
    text = (model / "model.yaml").read_text()
    (model / "model.yaml").write_text(text.replace("\ngate:", f"\nmetrics: {metrics}\ngate:"))


def test_the_metrics_of_the_docs_pass_and_one_may_be_the_gates(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", section("metrics.py"), re.DOTALL)
    (keys,) = re.findall(r"```yaml\n(.*?)```", section("metrics.py"), re.DOTALL)
    (model / "metrics.py").write_text(code)
    lines = [line for line in (model / "model.yaml").read_text().split("\n") if not line.startswith("gate:")]
    (model / "model.yaml").write_text("\n".join(lines) + "\n" + keys)
    assert check_models.are_sound([model])
    assert capsys.readouterr() == ("cars: ok, 9 columns, metrics.py on 1,000 rows\n", "")


def test_the_metric_of_the_page_on_monitoring_passes(model: Path) -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    (code,) = [one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "within_a_fifth" in one]
    with_metrics(model, code, "{within_a_fifth: maximize}")
    assert check_models.are_sound([model])


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def gain(actual, predicted): return actual.yaer\n", "cars/metrics.py, line 1: AttributeError"),
        ("def gain(actual, predicted): return float('nan')\n", "cars/metrics.py, line 1: gain returned nan for 1000"),
        ("def gain(actual, predicted): return actual\n", "cars/metrics.py, line 1: gain returned ndarray"),
        ("def gain(actual): return 1\n", "cars/metrics.py, line 1: gain: expected a function of two arguments"),
        ("def loss(actual, predicted): return 1\n", "cars/metrics.py, line 1: loss: model.yaml does not say"),
    ],
)
def test_a_mistake_in_metrics_is_told_by_file_and_line(
    model: Path, capsys: pytest.CaptureFixture[str], code: str, told: str
) -> None:
    with_metrics(model, code, "{gain: maximize}")
    assert not check_models.are_sound([model])
    assert told in capsys.readouterr().err


def test_what_only_some_values_cause_is_a_note_and_stops_no_deployment(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prices begin at 0 by model.yaml, of which there is no share."""
    code = "def gain(actual, predicted):\n    assert actual.all()\n    return float((predicted / actual).mean())\n"
    with_metrics(model, code, "{gain: maximize}")
    assert check_models.are_sound([model])
    assert capsys.readouterr().out.startswith(f"{model}: note, metrics.py, line 2: AssertionError")


def test_a_metric_that_is_too_slow_for_a_window_is_told(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_models, "SECONDS", 2.0)
    code = "import time\n\ndef gain(actual, predicted):\n    time.sleep(0.01)\n    return 1.0\n"
    with_metrics(model, code, "{gain: maximize}")
    assert not check_models.are_sound([model])
    assert "cars/metrics.py, line 4: gain takes longer than 2 s for all that" in capsys.readouterr().err


# ---- capture.py


def captured(request: str, answer: str, kind: str = "application/json", encoding: str = "JSON") -> str:
    sides = {"endpointInput": request, "endpointOutput": answer}
    said = {"observedContentType": kind, "encoding": encoding}
    return json.dumps({"captureData": {name: {**said, "data": data} for name, data in sides.items()}}) + "\n"


CAR = {
    "mileage": 9,
    "cylinder": 4,
    "doors": 4,
    "cruise": True,
    "sound": True,
    "leather": True,
    "make": "x",
    "body": "y",
}


def test_the_capture_of_the_docs_reads_the_event_of_the_docs(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, name in (("python", "capture.py"), ("json", "capture.jsonl")):
        (text,) = re.findall(rf"```{kind}\n(.*?)```", section("capture.py"), re.DOTALL)
        (model / name).write_text(text)
    assert check_models.are_sound([model])
    assert capsys.readouterr() == ("cars: ok, 9 columns, capture.py on 1 rows\n", "")


def test_the_capture_of_the_page_on_monitoring_reads_lines_of_fields(model: Path) -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    (code,) = [one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def records" in one]
    (model / "capture.py").write_text(textwrap.dedent(code))
    line = "\t".join(map(str, CAR.values()))
    (model / "capture.jsonl").write_text(captured(f"{line}\n{line}\n", "1 2", "text/tab-separated-values", "CSV"))
    assert check_models.are_sound([model])


ROWS = (
    "import json\ndef records(request, request_type, answer, answer_type):\n    return [(json.loads(request), 1.0)]\n"
)


def test_without_an_event_of_its_own_a_capture_is_tried_with_one_of_the_endpoint(model: Path) -> None:
    (model / "capture.py").write_text(ROWS)
    assert check_models.are_sound([model])


@pytest.mark.parametrize(
    ("code", "event", "told"),
    [
        ("def records(request:\n", None, "cars/capture.py, line 1: SyntaxError"),
        ("import pandaz\n\ndef records(a, b, c, d): return []\n", None, "cars/capture.py, line 1: ModuleNotFoundError"),
        ("def rows(a, b, c, d): return []\n", None, "cars/capture.py: has no function records; expected def records("),
        ("def records(request): return []\n", None, "cars/capture.py, line 1: records: expected four arguments"),
        (ROWS.replace("1.0", "'1.0'"), None, "capture.py, line 2: records made str; expected pairs (row, prediction)"),
        (ROWS.replace("request)", "request)['basket']"), None, "line 3: KeyError: 'basket'; put an event"),
        (ROWS.replace("request)", "request)['basket']"), captured("{}", "1"),
         "cannot read capture.jsonl, line 1: capture.py, line 3: KeyError: 'basket'\n"),
        (ROWS, captured(json.dumps({**CAR, "colour": "red"}), "1"), "'colour' is no column"),
        (ROWS, captured(json.dumps({**CAR, "mileage": "far"}), "1"), "mileage: expected a finite number"),
        (ROWS.replace("json.loads(request)", "[1, 2]"), captured("{}", "1"), "2 fields in a row, of 8"),
        ("def records(a, b, c, d): return []\n", None, "no row (columns: mileage, "),
        (ROWS, "{}\n", "cannot read capture.jsonl, line 1: KeyError"),
    ],
    ids=["syntax", "import", "no function", "arguments", "prediction", "raises", "raises of the event", "unknown",
         "no number", "too short", "no row", "no event"],
)  # fmt: skip
def test_a_mistake_in_capture_is_told(
    model: Path, capsys: pytest.CaptureFixture[str], code: str, event: str | None, told: str
) -> None:
    (model / "capture.py").write_text(code)
    if event:
        (model / "capture.jsonl").write_text(event)
    assert not check_models.are_sound([model])
    assert told in capsys.readouterr().err


def test_both_know_several_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "birds"
    model.mkdir()
    (model / "model.yaml").write_text((MODELS / "penguins/model.yaml").read_text())
    code = "def sure(actual, predicted):\n    return predicted[range(len(actual)), actual.astype(int)].mean()\n"
    with_metrics(model, code, "{sure: maximize}")
    (model / "capture.py").write_text(ROWS.replace("1.0", "json.loads(answer)['score']"))
    assert check_models.are_sound([model])
    assert "metrics.py on 1,000 rows, capture.py on 1 rows" in capsys.readouterr().out


def test_a_try_imports_nothing_that_it_does_not_use_and_hides_it_from_nobody(tmp_path: Path) -> None:
    """XGBoost imports scikit-learn, and Arrow pandas, where they are there: half of a second each, and more."""
    rows = "".join(f"{9000 + 7 * row},{row},4,2,1,0,1,Buick,sedan\n" for row in range(300))
    (tmp_path / "cars.csv").write_text("price,mileage,cylinder,doors,cruise,sound,leather,make,body\n" + rows)
    script = f"""import sys
from perennial_cli.app import app
app(["try", {str(MODELS / "used-cars")!r}, "--file", {str(tmp_path / "cars.csv")!r}], standalone_mode=False)
print([name for name in ("sklearn", "pandas", "boto3") if name in sys.modules])
from importlib.util import find_spec
assert find_spec("sklearn") and find_spec("pandas")"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "A quick fit reaches rmse" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "[]"
