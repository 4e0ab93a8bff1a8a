"""The register of the failure matrix: which line of it a test proves.

    @matrix("Data", "an empty file", ends="Failed")
    def test_...

    BOM = matrix("Data", "a byte order mark", ends="Succeeded")
    @pytest.mark.parametrize("file", [pytest.param(b"...", id="bom", marks=BOM)])
    def test_...

Several tests may prove the same line; each is one case. `python -m tools.draw_matrix` collects them, counts them and
writes docs/failure-matrix.md; `make check` fails when that file is not what the tests say.
"""

import pytest

LINES = (
    "Data",
    "Events",
    "Configuration",
    "Jobs",
    "Endpoint",
    "Functions",
    "People",
    "Monitoring",
    "Batch",
    "Promotion",
    "The API",
    "The laptop",
)


def matrix(line: str, case: str, *, ends: str) -> pytest.MarkDecorator:
    """Mark a test, or a parameter of one, as a case of the matrix.

    line  one of LINES
    case  what goes wrong, as a reader would say it: "the script raises"
    ends  how the run ends: "Failed", "Succeeded", "Rejected", "no run"...

    Raises:
        ValueError: no such line, an empty case, or no end.
    """
    if line not in LINES:
        raise ValueError(f"{line!r} is no line of the matrix; there are: {', '.join(LINES)}")
    if not case.strip() or not ends.strip():
        raise ValueError(f"a case of {line!r} must say what goes wrong, and how the run then ends")
    return pytest.mark.matrix(line, case, ends)
