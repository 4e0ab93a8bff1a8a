"""Which operation a request is: asked once, by the permission and by what does the work, or the two could differ."""

import re
from collections.abc import Mapping

_INVOCATION = re.compile(r"/endpoints/([^/%]+)/invocations")
"""SageMaker API Reference, "InvokeEndpoint", request syntax. No name has a `%`: nothing is left to be unquoted."""
_TARGET = re.compile(r"SageMaker\.([A-Za-z0-9]+)")


def sagemaker(method: str, path: str, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the operation, and the endpoint if it is InvokeEndpoint; two empty words for what is no operation."""
    target = headers.get("x-amz-target")
    if method != "POST":
        return "", ""
    if target is None:
        invoked = _INVOCATION.fullmatch(path)
        return ("InvokeEndpoint", invoked[1]) if invoked else ("", "")
    named = _TARGET.fullmatch(target)
    return (named[1], "") if named and path == "/" and named[1] != "InvokeEndpoint" else ("", "")
