"""Run a notebook as it is, every cell, with a real kernel: .venvs/notebooks/bin/python run_notebook.py NOTEBOOK."""

import sys
from pathlib import Path

sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # jsonschema parses a grammar for it, most of a start

import nbformat  # noqa: E402
from nbclient import NotebookClient  # noqa: E402

CELL_SECONDS = 180

path = Path(sys.argv[1])
notebook = nbformat.read(path, as_version=4)
NotebookClient(notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": str(path.parent)}}).execute()
code = [cell for cell in notebook.cells if cell.cell_type == "code"]
assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
for output in (output for cell in code for output in cell.outputs):
    print(output.get("text") or output.data["text/plain"])
