"""Names of AWS's services, from the heads of their models."""

from pathlib import Path

import botocore
import pytest
from botocore.session import get_session

from localcloud.engine import service_names


@pytest.mark.parametrize("service", ["s3", "ses", "stepfunctions", "cloudwatch", "application-autoscaling", "iot-data"])
def test_a_service_is_known_by_each_of_its_names(service: str) -> None:
    metadata = get_session().get_service_model(service).metadata
    for name in (service, metadata["endpointPrefix"], metadata.get("signingName", service)):
        assert service_names.is_service(name)


def test_words_are_no_services() -> None:
    assert not any(service_names.is_service(word) for word in ("", "d", "S3", "aws4_request", "service-2"))


def test_every_head_that_is_read_has_the_names() -> None:
    services = [path for path in (Path(botocore.__file__).parent / "data").iterdir() if path.is_dir()]
    heads = {path.name: list(service_names._names(path)) for path in services if list(path.glob("*/service-2.json.gz"))}

    assert len(heads) > 400
    assert not [service for service, names in heads.items() if len(names) < 2]
