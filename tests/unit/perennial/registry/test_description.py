"""A version's description names the run that made it."""

import pytest

from perennial.registry import description

RUN = "20261120093440-1a2b"


def test_a_run_is_read_from_the_description_that_it_has_written() -> None:
    assert description.run_of(description.of_run(RUN)) == RUN


@pytest.mark.parametrize("text", [None, "", RUN, "run ", "run of mine", f"runs {RUN}", f"run {RUN} again"])
def test_what_a_person_has_written_names_no_run(text: str | None) -> None:
    assert description.run_of(text) is None
