"""What the job scripts share: where SageMaker mounts their files, and how they end.

Source: SageMaker AI Developer Guide, "Build your own processing container"; API Reference, DescribeProcessingJob.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from perennial.words import printable

CODE = Path(__file__).resolve().parents[1]
MODELS = CODE / "models"
HOOKS = ("features.py", "capture.py")  # that scripts run themselves; metrics.py has a process of its own
MOUNTED = Path("/opt/ml/processing")
MESSAGE = Path("/opt/ml/output/message")
MAX_SAID = 2000  # characters of a line in the log
MAX_LINES = 100
MESSAGE_BYTES = 1024  # what DescribeProcessingJob shows of the message


def paths(
    argv: Sequence[str] | None,
    description: str,
    needed: Sequence[str] = (),
    optional: Sequence[str] = (),
    **folders: str,
) -> argparse.Namespace:
    """Return the paths of a script: config, its own inputs (each option with its folder), output and message.

    The defaults are where SageMaker mounts them. `needed` are options without a default: texts; `optional` folders are
    None where nobody names them.
    """
    parser = argparse.ArgumentParser(description=description)
    for option in needed:
        parser.add_argument(f"--{option}", required=True)
    for option in optional:
        parser.add_argument(f"--{option}", type=Path)
    parser.add_argument("--config", type=Path, default=MOUNTED / "input/config/config.json")
    for option, folder in folders.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=Path, default=MOUNTED / "input" / folder)
    parser.add_argument("--output", type=Path, default=MOUNTED / "output")
    parser.add_argument("--message", type=Path, default=MESSAGE)
    return parser.parse_args(argv)


def submitted_to_spark() -> bool:
    """Return whether spark-submit has started this program, and leaves it the port of its gateway."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


# What PyArrow imports where it is there, and does without: to ask whether what it is given is theirs, and to pickle.
PASSED_OVER = ("pandas", "cloudpickle")
# So is this, but looked for again with each value and each list that it is given: 1,000 times for a million rows.
ASKED_AGAIN = "dateutil.relativedelta"
DOCSTRINGS_OF_ARROW = "pyarrow.vendored.docscrape"
DOCSTRINGS_OF_NUMPY = ("numpy._core._add_newdocs", "numpy._core._add_newdocs_scalars")


class _WithoutThem:
    """A finder of modules; importlib.abc, which has a class for these, imports others for 0.01 s."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname in PASSED_OVER:
            raise ModuleNotFoundError(f"this job does without {fullname}", name=fullname)


def _no_docstring(text: str) -> dict[str, tuple[()]]:
    return {"Parameters": ()}


def keep_modules() -> None:
    """Have garbage collection, on from now, pass over what is loaded: to look at all of it takes 0.02 s each time.

    For the process of a script, whose modules stay until its end.
    """
    gc.freeze()
    gc.enable()


def end(code: int) -> NoReturn:
    """End the process of a script whose files are written, and do not take apart first what the system takes back."""
    if submitted_to_spark():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def leave_out_pandas(*, but_for_hooks: bool = False) -> None:
    """Keep PyArrow from importing pandas (0.2 s and 40 MB) only to ask whether what it is given is a series of its.

    Nor does it import others for nothing, and nobody reads docstrings here: Arrow does without those of what it
    computes (0.02 s), NumPy without those that it adds to what is compiled, where this comes before they are imported.
    A model's own code may use pandas, and anything of NumPy: `but_for_hooks` is for scripts that run it.
    """
    _leave_out_docstrings(DOCSTRINGS_OF_ARROW, NumpyDocString=_no_docstring)
    if but_for_hooks and any(path for name in HOOKS for path in MODELS.glob(f"*/{name}")):
        return
    for name in DOCSTRINGS_OF_NUMPY:
        _leave_out_docstrings(name)
    sys.meta_path.insert(0, _WithoutThem())
    # Its import then raises ModuleNotFoundError without a look at finders. Cython would take None for the module.
    sys.modules[ASKED_AGAIN] = None  # type: ignore[assignment]


def _leave_out_docstrings(name: str, **members: Any) -> None:
    """Have a module that makes docstrings make none, unless it has done so."""
    if name not in sys.modules:
        module = ModuleType(name)
        vars(module).update(members)
        sys.modules[name] = module


def refuse(lines: str | Sequence[str], message: Path) -> int:
    """Leave the reason in the log and where DescribeProcessingJob takes it from; return the exit code.

    It may quote the data: in both each line is one that can be printed.
    """
    some = [lines] if isinstance(lines, str) else lines[:MAX_LINES]
    reason = "\n".join(printable(line, MAX_SAID) for line in some)
    print(f"error: {reason}", file=sys.stderr)
    message.parent.mkdir(parents=True, exist_ok=True)
    message.write_bytes(reason.encode()[:MESSAGE_BYTES].decode(errors="ignore").encode())
    return 1


def write_documents(documents: Mapping[str, Any], folder: Path, *, indent: int | None = None) -> None:
    """Write each document as `<its name>.json`. Raises ValueError: a number that JSON does not have."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        text = json.dumps(document, allow_nan=False, ensure_ascii=False, indent=indent)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
