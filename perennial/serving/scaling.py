"""How many instances an endpoint has, and by how many requests: what Application Auto Scaling is to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scaling:
    """Bounds and target of an endpoint's variant.

    least, most  instances
    invocations  requests a minute that each instance is to have, on average
    """

    least: int
    most: int
    invocations: int

    def __str__(self) -> str:
        return f"{self.least} to {self.most} instances, by {self.invocations} requests a minute each"


def read(text: str) -> Scaling | None:
    """Return the scaling of a text such as `1 4 70`; None where the second number, the most, is 0.

    Raises ValueError: there would be more instances at least than at most.
    """
    least, most, invocations = (int(number) for number in (text or "0 0 0").split())
    if most == 0:
        return None
    if least > most:
        raise ValueError(f"MinInstances: got {least}; expected at most MaxInstances, which is {most}")
    return Scaling(least, most, invocations)
