"""What a deployment changes of when the endpoint is there and of how it scales: keep_hours looks at it at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from perennial.serving import hours, scaling
from perennial_aws.clients import client

READERS = {"Hours": hours.read, "Scaling": scaling.read}


def tell(request_id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Call keep_hours where the properties of RunsMade have changed, and say what has ended."""
    texts = {name: (str(old.get(name, "")), str(new.get(name, ""))) for name in READERS}
    changed = [name for name, (before, after) in texts.items() if before != after]
    ended = [name for name in changed if READERS[name](texts[name][0]) and not READERS[name](texts[name][1])]
    if changed:
        event = {"id": request_id, "source": "aws.cloudformation", "detail": {"Ended": ended}}
        function = new["KeepHoursFunction"]
        client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event))
