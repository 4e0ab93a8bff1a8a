"""Whether a model or an endpoint configuration that is there is what would be made now.

A version is gone back to under the names that it had. What is there of them may be of the time before somebody has
changed the stack's key, network or capture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Members that requests leave out where there is nothing to say.
_OPTIONAL = ("Environment", "KmsKeyId", "VpcConfig")
_NOT_DESCRIBED = ("Tags",)


def is_as_asked(wanted: Any, described: Any) -> bool:
    """Return whether a description of SageMaker says what a request asks for; what else it says does not count.

    Lists of texts, such as subnets, have no order.
    """
    if isinstance(wanted, Mapping):
        there = described if isinstance(described, Mapping) else {}
        members = {**dict.fromkeys(_OPTIONAL), **wanted}
        return all(is_as_asked(value, there.get(name)) for name, value in members.items() if name not in _NOT_DESCRIBED)
    if isinstance(wanted, list):
        listed = described if isinstance(described, list) else []
        if all(isinstance(one, str) for one in wanted):
            return sorted(wanted) == sorted(listed)
        return len(wanted) == len(listed) and all(map(is_as_asked, wanted, listed))
    return bool(wanted == described or not (wanted or described))
