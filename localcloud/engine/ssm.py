"""Parameter Store: a value of more than 4 KB needs the advanced tier; MiniStack takes it in the standard tier.

Source: Systems Manager User Guide, "Managing parameter tiers".
"""

from typing import Any

from localcloud.engine.seams import Seams

responses = Seams("core.responses", error_response_json="8a1cabf9")
ssm = Seams("services.ssm", _default_tier="705bec59", _parameters="66f460f0", _put_parameter="c937c3cb")

_STANDARD_CHARACTERS = 4096


def register() -> None:
    """Replace the seam. MiniStack must be importable (the environment is set)."""
    ssm.replace("_put_parameter", _make_put_parameter)


def _make_put_parameter(original: Any) -> Any:
    def put_parameter(data: dict[str, Any]) -> Any:
        value = str(data.get("Value", ""))
        tier = data.get("Tier") or ssm._default_tier(data, value, ssm._parameters.get(data.get("Name")))
        if tier != "Standard" or len(value) <= _STANDARD_CHARACTERS:
            return original(data)
        return responses.error_response_json(
            "ValidationException",
            f"Standard tier parameters support a maximum parameter value of {_STANDARD_CHARACTERS} characters. To "
            "create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more "
            "information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/"
            "parameter-store-advanced-parameters.html",
        )

    return put_parameter
