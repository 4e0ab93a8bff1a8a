"""CloudFormation: the permissions boundary of a role, which MiniStack's provisioner leaves out.

Source: CloudFormation template reference, "AWS::IAM::Role PermissionsBoundary"; IAM API Reference,
"PutRolePermissionsBoundary". A policy that is not there fails the resource, in the words of IAM.
"""

import re
from typing import Any

from localcloud.engine.cloudformation.kms_properties import kept_by
from localcloud.engine.seams import Seams

iam = Seams("services.iam", _put_role_permissions_boundary="4ed4e352", _roles="190f3297")


def register() -> None:
    """Wrap the handlers of roles. MiniStack must be importable (the environment is set)."""
    kept_by("AWS::IAM::Role", _keep)


def _keep(name: str, props: dict[str, Any]) -> None:
    boundary = props.get("PermissionsBoundary")
    if not boundary:
        iam._roles[name].pop("PermissionsBoundary", None)
        return
    status, _, body = iam._put_role_permissions_boundary({"RoleName": name, "PermissionsBoundary": boundary})
    if status >= 400:
        message = re.search(r"<Message>(.*?)</Message>", body.decode() if isinstance(body, bytes) else body, re.DOTALL)
        text = f"{message[1] if message else body} (Service: Iam, Status Code: {status})"
        raise ValueError(f'Resource handler returned message: "{text}"')
