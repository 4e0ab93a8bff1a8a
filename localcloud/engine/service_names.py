"""Telling the names of AWS's services from other words, without reading their models.

A signature may be for a service that MiniStack does not have. To know whether that is a service at all it reads every
model of botocore, for seconds, while nothing else is answered; and it is asked before the signature is judged. The name
stands in the first lines of a model.
"""

import re
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import botocore

from localcloud.engine.seams import Seams

router = Seams("core.router", _is_aws_service_name="6c829fea")

_HEAD = 2048  # bytes; the names end within the first 441 of each model of botocore 1.43
_NAME = re.compile(rb'"(?:endpointPrefix|signingName)"\s*:\s*"([^"]+)"')
_GZIP = 16 + zlib.MAX_WBITS


def register() -> None:
    """Let MiniStack ask `is_service`. It must be importable (the environment is set)."""
    router.replace("_is_aws_service_name", lambda _original: is_service)


def is_service(name: str) -> bool:
    """Return whether botocore has a service of this name, endpoint prefix or signing name."""
    return name in service_names()


@cache
def service_names() -> frozenset[str]:
    """Return the names, endpoint prefixes and signing names of all services."""
    return frozenset(name for folder in (Path(botocore.__file__).parent / "data").iterdir() for name in _names(folder))


def _names(service: Path) -> Iterator[str]:
    for model in sorted(service.glob("*/service-2.json.gz"))[-1:]:  # versions are dates
        yield service.name
        head = zlib.decompressobj(_GZIP).decompress(model.read_bytes(), _HEAD)
        yield from (name.decode() for name in _NAME.findall(head))
