"""The URIs of container images: the repository that one names, and the digest that its tag leads to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from localcloud.sagemaker.errors import invalid, unsupported

_PROGRAMS = [Path(__file__).parents[1] / name for name in ("algorithms", "containers")]


def repository(image_uri: str) -> str:
    """Convert `<account>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag>` -> repository."""
    return image_uri.rsplit("/", 1)[-1].split("@", 1)[0].split(":", 1)[0]


def known(image_uri: str, repositories: Iterable[str], purpose: str, besides: str = "") -> str:
    """Return the repository, when the local cloud has a stand-in for this purpose; refused by name otherwise."""
    name = repository(image_uri)
    if not re.fullmatch(r"[^@]*(@sha256:[0-9a-f]{64})?", image_uri):
        raise invalid(f"The image {image_uri} has no digest behind its @; expected sha256: and 64 hexadecimal digits.")
    if name not in repositories:
        raise unsupported(
            f"The image {image_uri} (repository {name!r})",
            f"For {purpose} it knows: {', '.join(repositories)}{'; ' * bool(besides)}{besides}.",
        )
    return name


def resolved(image_uri: str, python: Path) -> str:
    """Return the path by digest that an image path by tag leads to; a path by digest leads to itself.

    Source: SageMaker API Reference, "DeployedImage". `python` is the interpreter that stands in for the images'.
    """
    if "@" in image_uri:
        return image_uri
    registry, slash, _ = image_uri.rpartition("/")
    name = repository(image_uri)
    return f"{registry}{slash}{name}@sha256:{_digest(name, python)}"


@cache
def _digest(name: str, python: Path) -> str:
    """Return the SHA-256 of what stands in for an image: the versions of the packages, and the programs here."""
    packages = python.parent.parent
    parts = [name, *(str(info.relative_to(packages)) for info in packages.glob("lib/python*/*-packages/*.dist-info"))]
    programs = (file for folder in _PROGRAMS for file in folder.rglob("*.py"))
    parts += [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in programs]
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
