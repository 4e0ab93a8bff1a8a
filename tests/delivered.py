"""Templates of delivery/, deployed as the commands of the docs do."""

from pathlib import Path
from typing import Any

DELIVERY = Path(__file__).resolve().parents[1] / "delivery"


def deploy(cloudformation: Any, stack: str, template: str, **parameters: str) -> dict[str, str]:
    """Deploy `delivery/<template>.yaml` as a stack; return its outputs."""
    cloudformation.create_stack(
        StackName=stack,
        TemplateBody=(DELIVERY / f"{template}.yaml").read_text(),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    outputs = cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    return {one["OutputKey"]: one["OutputValue"] for one in outputs}
