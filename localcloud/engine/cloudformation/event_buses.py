"""CloudFormation: the policy of an event bus, which MiniStack's provisioner leaves out.

Source: CloudFormation template reference, "AWS::Events::EventBus": the policy is JSON or its text.
"""

import functools
import json
from typing import Any

from localcloud.engine.cloudformation.kms_properties import kept_by
from localcloud.engine.seams import Seams

eventbridge = Seams("services.eventbridge", _event_bus_policies="e7722532")
provisioners = Seams("services.cloudformation.provisioners", _RESOURCE_HANDLERS="70ecdfd3")

JsonObject = dict[str, Any]
TYPE = "AWS::Events::EventBus"


def register() -> None:
    """Wrap the handlers of the type. MiniStack must be importable (the environment is set)."""
    kept_by(TYPE, _keep)
    handlers = provisioners._RESOURCE_HANDLERS[TYPE]
    handlers["delete"] = _make_delete(handlers["delete"])


def _keep(name: str, props: JsonObject) -> None:
    policy = props.get("Policy")
    if policy:
        eventbridge._event_bus_policies[name] = json.loads(policy) if isinstance(policy, str) else policy
    else:
        eventbridge._event_bus_policies.pop(name, None)


def _make_delete(original: Any) -> Any:
    @functools.wraps(original)
    def delete(name: str, props: JsonObject) -> Any:
        eventbridge._event_bus_policies.pop(name, None)
        return original(name, props)

    return delete
