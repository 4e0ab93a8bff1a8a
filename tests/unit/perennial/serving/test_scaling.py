"""How many instances an endpoint may have, as the template writes it."""

import pytest

from perennial.serving import scaling
from perennial.serving.scaling import Scaling


def test_bounds_and_target_are_read() -> None:
    assert scaling.read("1 4 70") == Scaling(1, 4, 70)
    assert str(Scaling(1, 4, 70)) == "1 to 4 instances, by 70 requests a minute each"


@pytest.mark.parametrize("text", ["", "1 0 70", "9 0 70"])
def test_with_none_at_most_nothing_scales(text: str) -> None:
    assert scaling.read(text) is None


def test_a_least_above_the_most_is_refused() -> None:
    with pytest.raises(ValueError, match="MinInstances: got 5; expected at most MaxInstances, which is 4"):
        scaling.read("5 4 70")
