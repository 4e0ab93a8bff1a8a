"""The table of the failure matrix is what the marked tests say."""

from tools.draw_matrix import Case, page


def test_cases_are_counted_by_line_and_what_goes_wrong() -> None:
    twice = Case("Jobs", "it is killed (Train)", "Failed", "tests/e2e/matrix/test_matrix_jobs.py")
    text = page([twice, twice, Case("Data", "an empty file", "", "tests/e2e/x.py")], ["Data", "Jobs", "Events"])
    assert "3 cases." in text
    assert "## Jobs (2)" in text
    row = "| it is killed (Train) | Failed | 2 | [test_matrix_jobs.py](../tests/e2e/matrix/test_matrix_jobs.py) |"
    assert row in text
    assert text.index("## Data (1)") < text.index("## Jobs (2)")
    assert "Events" not in text


def test_text_of_a_case_does_not_break_the_table() -> None:
    assert "| a \\| b c |" in page([Case("Data", "a | b\nc", "", "t.py")], ["Data"])
