"""Train with the model's own script: train.py of its folder, as SageMaker's script mode runs it.

Called by  a training job in the scikit-learn or XGBoost image, as its entry point; in trials by the image's script
           mode; `perennial try`, with --models and --scores
Reads      channels: code, with the folders of the models; config, with config.json of the run; train and validation,
           part-*.csv with a header: the target, then the features (processing/preprocess.py)
Runs       train.py in a copy of the model's folder, with hyperparameters as arguments (`--max_depth 3`, sorted) and the
           variables of script mode: SM_MODEL_DIR, SM_CHANNEL_TRAIN, SM_CHANNEL_VALIDATION, SM_HPS, SM_HP_<NAME> and so
           on (sagemaker-training-toolkit, `environment.py`, `mapping.py`)
Writes     what train.py puts into SM_MODEL_DIR, and beside it code/: the scripts of the folder, with serve_script.py
Checks     that there is a model, and that it answers the first records of the validation set as it will have to serve
Exits      0; or as train.py has ended itself, else 1, with the reason in /opt/ml/output/failure: which script, line and
           exception, or what is missing
Why        not the image's own start: it keeps a script's exception to itself, so that a run could only say that there
           was one (docs/decisions/0043)
"""

from __future__ import annotations

import argparse
import csv
import importlib
import io
import json
import os
import re
import runpy
import shutil
import sys
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from itertools import islice
from pathlib import Path
from typing import Any

from perennial.evaluation import predictions
from perennial.evaluation.problem_types.measures import Floats
from perennial.hooks import line_of
from perennial.model.problem_types import classes_of
from perennial.words import printable
from processing import job_script

TRAIN, SERVE = "train.py", "serve.py"
BESIDE = ("serve_script.py", "script_tables.py")
CSV, JSON_LINES = "text/csv", "application/jsonlines"
RECORDS = 5
LAST_LINES = 3  # of what a script has written when it ends itself
FAILURE_BYTES = 1000


_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?inf")  # that pandas reads as such


class ScriptError(Exception):
    """The model's own script does not keep its promise; `code` is how the job ends."""

    def __init__(self, reason: str, code: int = 1) -> None:
        super().__init__(reason)
        self.code = code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    root_of_mode = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model")).parent
    parser.add_argument("--root", type=Path, default=root_of_mode)
    parser.add_argument("--models", type=Path, default=job_script.MODELS, help="the folder of the models' folders")
    parser.add_argument("--scores", type=Path, help="a file for what the model answers of the whole validation set")
    options = parser.parse_args(argv)
    root: Path = options.root
    try:
        train(root, options.models, options.scores)
    except ScriptError as error:
        if error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        reason = "\n".join(printable(line, job_script.MAX_SAID) for line in str(error).splitlines())
        print(f"error: {reason}", file=sys.stderr, flush=True)
        (root / "output").mkdir(parents=True, exist_ok=True)
        (root / "output" / "failure").write_bytes(reason.encode()[:FAILURE_BYTES].decode(errors="ignore").encode())
        return error.code
    return 0


def train(root: Path, models: Path, scores: Path | None = None) -> None:
    """Do the whole job. Raises ScriptError."""
    config = json.loads((root / "input/data/config/config.json").read_text(encoding="utf-8"))
    source, hyperparameters = _source(root, config, models), _hyperparameters(root)
    known = about(config, root / "input/data")
    (source / "script.json").write_text(json.dumps(known, indent=2), encoding="utf-8")
    (root / "checkpoints").mkdir(exist_ok=True)
    for name, value in _variables(root, hyperparameters).items():
        if "\0" in value:
            raise ScriptError(f"{name} would be {value!r}, and no variable can hold a NUL; take it out of model.yaml")
        os.environ[name] = value
    os.chdir(source)
    sys.path.insert(0, str(source))
    _run(source / TRAIN, _arguments(hyperparameters))
    model = root / "model"
    if not any(path.is_file() for path in model.rglob("*")):
        raise ScriptError(
            f"{TRAIN} has ended and written no model; expected at least one file below the folder that "
            "os.environ['SM_MODEL_DIR'] names, such as model.joblib"
        )
    if (model / "code").exists() and not (model / "code").is_dir():
        raise ScriptError(f"{TRAIN} has written a file `code` into the model, where the scripts go; take another name")
    _pack(source, model / "code")
    with _no_byte_code():  # it would become a part of the model
        answered = check_answers(model, _rows(root / "input/data/validation", None if scores else RECORDS), known)
    if scores and answered is not None:
        scores.write_text(json.dumps(answered.tolist()), encoding="utf-8")


@contextmanager
def _no_byte_code() -> Iterator[None]:
    """Let Python leave nothing beside the modules that it imports."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _source(root: Path, config: Mapping[str, Any], models: Path) -> Path:
    """Copy the model's folder, with what its scripts import, to where script mode has it. Raises ScriptError."""
    folder, source = models / config["model"], root / "scripts"
    if not (folder / TRAIN).is_file():
        raise ScriptError(
            f"models/{config['model']} has no {TRAIN}, which the algorithm {config['definition']['algorithm']} runs; "
            "write it (docs/own-algorithm.md), and deploy"
        )
    leave_out = shutil.ignore_patterns("model.yaml", "__pycache__")
    shutil.copytree(folder, source, ignore=leave_out, dirs_exist_ok=True)
    for name in BESIDE:
        shutil.copy(Path(__file__).with_name(name), source / name)
    return source


def _pack(source: Path, code: Path) -> None:
    """Put the scripts into the model, but for what train.py has put there itself."""

    def copy(path: str, to: str) -> None:
        if Path(path).name in (*BESIDE, "script.json") or not Path(to).exists():
            shutil.copy(path, to)

    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, code, ignore=leave_out, copy_function=copy, dirs_exist_ok=True)


def about(config: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """Return what scripts may know of their model; `data` holds the folders of its sets."""
    definition = config["definition"]
    header = next(_all_rows(data / "train"), [definition["target"]])
    return {
        "model": config["model"],
        "problem": definition["problem"],
        "target": header[0],
        "classes": list(classes_of(definition)),
        "features": header[1:],
        "texts": _texts(definition, header, data) if definition["preprocessing"] == "none" else [],
    }


def _texts(definition: Mapping[str, Any], header: Sequence[str], data: Path) -> list[str]:
    """Return the features that are texts: by the definition, and of what features.py makes by their values."""
    columns = definition["columns"]
    known = {name for name in header[1:] if name in columns and columns[name]["type"] == "string"}
    if not all(name in columns for name in header):
        for name in ("train", "validation"):
            for row in islice(_all_rows(data / name), 1, None):
                known |= {
                    name for name, value in zip(header, row, strict=True) if value and not _NUMBER.fullmatch(value)
                }
    return [name for name in header[1:] if name in known]


def _all_rows(folder: Path) -> Iterator[list[str]]:
    """Yield the rows of all parts of a set, after one header."""
    for number, path in enumerate(sorted(folder.rglob("*.csv"))):
        with path.open(encoding="utf-8", newline="") as file:
            yield from islice(csv.reader(file), 1 if number else 0, None)


def _rows(folder: Path, count: int | None) -> list[list[str]]:
    """Return the features of the first rows of a set, or of all."""
    return [row[1:] for row in islice(_all_rows(folder), 1, count and count + 1)]


# ---- Script mode


def _hyperparameters(root: Path) -> dict[str, Any]:
    """Return the hyperparameters as the toolkit reads them: what is JSON is a value, and the rest text."""
    texts = json.loads((root / "input/config/hyperparameters.json").read_text(encoding="utf-8"))

    def value(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    own = (name for name in texts if not name.startswith(("sagemaker_", "_tuning_")))  # the rest is of script mode
    return {name: value(texts[name]) for name in sorted(own)}


def _arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    return [
        part
        for name, value in hyperparameters.items()
        for part in (f"--{name}" if len(name) > 1 else f"-{name}", str(value))
    ]


def _variables(root: Path, hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    config = root / "input/config"
    resources = json.loads((config / "resourceconfig.json").read_text(encoding="utf-8"))
    channels = sorted(json.loads((config / "inputdataconfig.json").read_text(encoding="utf-8")))
    values: dict[str, Any] = {
        "MODEL_DIR": root / "model",
        "CHECKPOINT_DIR": root / "checkpoints",
        "OUTPUT_DATA_DIR": root / "output/data",
        "OUTPUT_DIR": root / "output",
        "INPUT_DIR": root / "input",
        "INPUT_CONFIG_DIR": config,
        "MODULE_DIR": root / "scripts",
        "MODULE_NAME": TRAIN.removesuffix(".py"),
        "USER_ENTRY_POINT": TRAIN,
        "USER_ARGS": _arguments(hyperparameters),
        "HPS": hyperparameters,
        "CHANNELS": channels,
        "HOSTS": resources["hosts"],
        "CURRENT_HOST": resources["current_host"],
        "NUM_CPUS": os.cpu_count(),
        "NUM_GPUS": 0,
        "LOG_LEVEL": 20,
        **{f"CHANNEL_{name.upper()}": root / "input/data" / name for name in channels},
        **{f"HP_{name.upper()}": value for name, value in hyperparameters.items()},
    }
    return {f"SM_{name}": _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if isinstance(value, str | Path):
        return str(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class _LastLines(io.TextIOBase):
    """Standard error that remembers its last lines."""

    def __init__(self) -> None:
        self._to, self._end = sys.stderr, deque[str](maxlen=4096)

    def write(self, text: str) -> int:
        self._end.extend(text)
        return self._to.write(text)

    def flush(self) -> None:
        self._to.flush()

    def lines(self) -> str:
        return "\n".join("".join(self._end).strip().splitlines()[-LAST_LINES:])


def _run(script: Path, arguments: Sequence[str]) -> None:
    """Run train.py as a program. Raises ScriptError: it raised, or ended itself as failed."""
    sys.argv, errors = [str(script), *arguments], _LastLines()
    called = f"it was called with {' '.join(arguments) or 'no arguments'}"
    with redirect_stderr(errors):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            if end.code not in (None, 0):
                is_code = isinstance(end.code, int)
                how, reason = f"with exit code {end.code}" if is_code else "as failed", errors.lines()
                text = f"{TRAIN} ended itself {how} ({called}): {reason if is_code else end.code}"
                raise ScriptError(text, (int(end.code) & 0xFF or 1) if is_code else 1) from end
        except MemoryError as error:
            raise ScriptError(
                f"{TRAIN}{line_of(error, str(script))}: not enough memory; take a larger machine "
                "(instances.train.type of model.yaml)"
            ) from error
        except Exception as error:
            raise ScriptError(f"{_where(error, script.parent, TRAIN)}: {type(error).__name__}: {error}") from error


def _where(error: BaseException, source: Path, script: str) -> str:
    """Return `train.py, line 7`: the last line of the model's own scripts that an error passed."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}"
    frames = [
        (Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if Path(frame.f_code.co_filename).is_relative_to(source) and Path(frame.f_code.co_filename).name not in BESIDE
    ]
    return f"{frames[-1][0].relative_to(source)}, line {frames[-1][1]}" if frames else script


# ---- How the model will serve


def check_answers(model: Path, rows: Sequence[Sequence[str]], known: Mapping[str, Any]) -> Floats | None:
    """Return what the model answers to records as its serving container will; None where only that can ask it.

    Raises ScriptError.
    """
    code, text = model / "code", io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    by = SERVE if (code / SERVE).is_file() else "the model"
    try:
        answered, kind = _answer(_serving(code), model, text.getvalue())
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "sagemaker_containers":  # only serving containers have it
            print(f"{by} is not tried here: {error}", flush=True)
            return None
        raise _unanswered(error, code, by) from error
    except (Exception, SystemExit) as error:
        raise _unanswered(error, code, by) from error
    try:
        scores = predictions.scores(answered.splitlines(), f"the answer of {by}")
    except predictions.PredictionsError as error:
        raise ScriptError(f"{error} a line, for {JSON_LINES} ({kind} came)") from error
    expected = (len(rows), len(known["classes"])) if known["classes"] else (len(rows),)
    if scores.shape != expected:
        raise ScriptError(
            f"{by} answers {len(rows)} records of the validation set with scores of shape {scores.shape}; expected "
            f"{expected}: {'the probability of each class' if known['classes'] else 'one number'} for each record"
        )
    return scores


def _unanswered(error: BaseException, code: Path, by: str) -> ScriptError:
    what = f"{_where(error, code, by)}: {type(error).__name__}: {error}"
    return ScriptError(f"{what} (when the model was asked for records of the validation set, as it will serve)")


def _serving(code: Path) -> Any:
    """Return serve_script.py as the serving container imports it: from the model alone."""
    trained = code.parent.parent / "scripts"
    for name in [name for name, module in sys.modules.items() if _is_below(module, trained)]:
        del sys.modules[name]
    sys.path[:] = [str(code), *(path for path in sys.path if Path(path) != trained)]
    os.chdir(code)
    return importlib.import_module("serve_script")


def _is_below(module: Any, folder: Path) -> bool:
    file: str | None = getattr(module, "__file__", None)
    return file is not None and Path(file).is_relative_to(folder)


def _answer(script: Any, model: Path, text: str) -> tuple[str, str]:
    loaded = script.model_fn(str(model))
    if hasattr(script, "transform_fn"):
        made = script.transform_fn(loaded, text, CSV, JSON_LINES)
    else:
        made = script.output_fn(script.predict_fn(script.input_fn(text, CSV), loaded), JSON_LINES)
    body, kind = made if isinstance(made, tuple) else (getattr(made, "data", made), getattr(made, "mimetype", ""))
    return body if isinstance(body, str) else bytes(body).decode("utf-8"), str(kind)


if __name__ == "__main__":
    sys.exit(main())
