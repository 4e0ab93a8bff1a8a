"""What leads AWS clients to the local cloud, and nowhere else."""

import os
import ssl
from pathlib import Path

import pytest
import yaml

from localcloud import sdks
from localcloud.settings import Settings, environment, image_python, process_environment, variables

HOST = {
    "PATH": "/bin",
    "AWS_PROFILE": "work",
    "AWS_CA_BUNDLE": "/etc/ca.pem",
    "AWS_SESSION_TOKEN": "secret",
    "AWS_ENDPOINT_URL_S3": "https://elsewhere",
    "https_proxy": "http://proxy:8080",
    "no_proxy": "internal",
}


def test_nothing_of_the_persons_aws_settings_is_left(tmp_path: Path) -> None:
    made = environment(Settings(4610, tmp_path), base=HOST)

    assert {name for name in made if name.startswith("AWS_")} == {
        n for n in variables(Settings(4610, tmp_path)) if n.startswith("AWS_")
    }
    assert made["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4610"
    assert made["AWS_CONFIG_FILE"] == made["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull


def test_everything_else_is_kept_and_the_loopback_needs_no_proxy(tmp_path: Path) -> None:
    made = environment(Settings(4610, tmp_path), base=HOST)

    assert (made["PATH"], made["https_proxy"]) == ("/bin", "http://proxy:8080")
    assert made["NO_PROXY"].split(",") == ["internal", "127.0.0.1", "localhost"]
    assert "no_proxy" not in made


def test_an_environment_made_from_one_is_the_same(tmp_path: Path) -> None:
    once = environment(Settings(4610, tmp_path), base=HOST)

    assert environment(Settings(4610, tmp_path), base=once) == once


def test_sdks_that_ask_beside_the_address_are_kept_on_this_machine(tmp_path: Path) -> None:
    settings = Settings(4610, tmp_path)
    sdks.write_defaults(tmp_path, settings.region, settings.account_id)
    made = environment(settings, base={**HOST, "SAGEMAKER_USER_CONFIG_OVERRIDE": "s3://company/defaults.yaml"})

    defaults = yaml.safe_load(Path(made["SAGEMAKER_USER_CONFIG_OVERRIDE"]).read_text())
    assert made["SAGEMAKER_ADMIN_CONFIG_OVERRIDE"] == made["SAGEMAKER_USER_CONFIG_OVERRIDE"]
    assert defaults["SageMaker"]["PythonSDK"]["Modules"] == {
        "Session": {"DefaultS3Bucket": "sagemaker-us-east-1-000000000000"},
        "TelemetryOptOut": True,
    }
    assert made["AWS_DISABLE_HOST_PREFIX_INJECTION"] == "true"
    authorities = ssl.create_default_context(cafile=made["AWS_CA_BUNDLE"]).get_ca_certs()
    assert [dict(*authority["subject"])["commonName"] for authority in authorities] == ["localcloud trusts nobody"]
    assert not set(sdks.variables(tmp_path)) & set(process_environment(settings))  # functions are as on AWS


def test_the_server_and_its_functions_have_nothing_of_the_shell_but_what_programs_need(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    foreign = {"MINISTACK_HOST": "0.0.0.0", "PYTHONPATH": "/x", "GITHUB_TOKEN": "secret", "SSH_AUTH_SOCK": "/s"}  # noqa: S104
    for name, value in {**HOST, **foreign, "AUTH": "false", "LOCALCLOUD_MAX_JOBS": "3"}.items():
        monkeypatch.setenv(name, value)

    made = process_environment(Settings(4610, tmp_path))

    assert not [name for name in made if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    assert not set(foreign) & set(made)
    assert (made["PATH"], made["LOCALCLOUD_MAX_JOBS"]) == ("/bin", "3")
    assert (made["BIND_HOST"], made["AUTH"], made["STATE_DIR"]) == ("127.0.0.1", "true", str(tmp_path / "engine"))


def test_the_image_python_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALCLOUD_IMAGE_PYTHON", "/opt/python")

    assert image_python() == Path("/opt/python")
