"""Where one local cloud listens and keeps its files, and the environment that MiniStack and its children get."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localcloud import access, sdks

DEFAULT_PORT = 4566
HOST = "127.0.0.1"
PROJECT = Path(__file__).resolve().parents[1]
_INHERITED = frozenset({"PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"})


@dataclass(frozen=True)
class Settings:
    """Where one local cloud listens and keeps its files.

    `state` holds keys.json, server.json, server.log, lock, engine/ (MiniStack's services), s3/ (objects), sagemaker/,
    mail/, sagemaker-sdk.yaml and tmp/ (unpacked functions; emptied at every start).
    """

    port: int
    state: Path
    region: str = "us-east-1"
    account_id: str = "000000000000"

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}"


def variables(settings: Settings) -> dict[str, str]:
    """Return the variables that make any AWS client speak to the local cloud, and to nothing else.

    The address is an IP, so that clients address buckets by path and need no name resolution. The configuration
    files are switched off, so that a profile, an SSO session or a service endpoint in ~/.aws has no say.
    """
    keys = access.keys(settings.state)
    return {
        "AWS_ENDPOINT_URL": settings.endpoint_url,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_REGION": settings.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
        "SAM_CLI_TELEMETRY": "0",
        **sdks.variables(settings.state),
    }


def environment(settings: Settings, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a whole environment for a subprocess (`subprocess.run(..., env=environment(settings))`).

    It is `base` (default: this process's environment) without any AWS_* variable (AWS_PROFILE, AWS_CA_BUNDLE,
    AWS_SESSION_TOKEN, AWS_ENDPOINT_URL_S3, ...), with `variables(settings)`, and with the loopback exempt from proxies.
    """
    source = os.environ if base is None else base
    others = {name: value for name, value in source.items() if not name.upper().startswith("AWS_")}
    exempt = [entry for entry in (others.pop("no_proxy", ""), others.get("NO_PROXY", ""), HOST, "localhost") if entry]
    return {**others, **variables(settings), "NO_PROXY": ",".join(dict.fromkeys(",".join(exempt).split(",")))}


def image_python() -> Path:
    """Return the interpreter that stands in for the SageMaker images' Python.

    LOCALCLOUD_IMAGE_PYTHON if set, else the project's image environment if it is installed, else this interpreter.
    """
    if chosen := os.environ.get("LOCALCLOUD_IMAGE_PYTHON"):
        return Path(chosen)
    installed = PROJECT / ".venvs" / "image" / "bin" / "python"
    return installed if installed.exists() else Path(sys.executable)


def retry_scale() -> float:
    """Return what the pauses before retries are multiplied by: LOCALCLOUD_RETRY_SCALE, else 1.

    They are those of states, events and asynchronous calls. With 0.01 a minute is 0.6 seconds, so that what AWS would
    wait out for hours can be tried here.
    """
    return float(os.environ.get("LOCALCLOUD_RETRY_SCALE", "1"))


def process_environment(settings: Settings) -> dict[str, str]:
    """Return the server's own environment, which Lambda functions inherit.

    Of the shell's it has what programs need to run, and the local cloud's own settings: what else a shell holds
    (tokens, proxies, another MiniStack's settings) is no function's business. DOCKER_HOST names a socket that does not
    exist: MiniStack must not find, start or clean up containers of the person's own Docker.
    """
    for_people = sdks.variables(settings.state)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.startswith(("LC_", "LOCALCLOUD_"))
    }
    own = {name: value for name, value in environment(settings, inherited).items() if name not in for_people}
    return {
        **own,
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(settings.port),
        "MINISTACK_REGION": settings.region,
        "MINISTACK_ACCOUNT_ID": settings.account_id,
        "PERSIST_STATE": "1",
        "STATE_DIR": str(settings.state / "engine"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(settings.state / "s3"),
        "TMPDIR": str(settings.state / "tmp"),
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_WARM_TTL_SECONDS": "30",
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": str(retry_scale()),
        "DOCKER_HOST": f"unix://{settings.state / 'no-docker.sock'}",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "AUTH": "true" if enforced() else "false",
        "LOCALCLOUD_PERMISSIONS": os.environ.get("LOCALCLOUD_PERMISSIONS", "on"),
        "USE_SSL": "0",
        "SERVICES": "",
        "LOG_LEVEL": os.environ.get("LOCALCLOUD_LOG_LEVEL", "INFO"),
    }


def enforced() -> bool:
    """Return whether permissions are enforced; they are unless LOCALCLOUD_PERMISSIONS=off."""
    value = os.environ.get("LOCALCLOUD_PERMISSIONS", "on").lower()
    if value not in ("on", "off"):
        raise ValueError(f"LOCALCLOUD_PERMISSIONS is {value!r}; expected on or off")
    return value == "on"
