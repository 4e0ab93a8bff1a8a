"""AWS's descriptions of its APIs, as botocore ships them. Each is read once: SageMaker's takes 0.3 s."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.model import ServiceModel
    from botocore.session import Session


@cache
def service_model(service: str) -> "ServiceModel":
    """Return what a service's operations take and answer, by botocore's name of the service."""
    return _session().get_service_model(service)


@cache
def _session() -> "Session":
    """One for all services; imported here, because many import this module, and few need a model."""
    import botocore.session

    return botocore.session.get_session()
