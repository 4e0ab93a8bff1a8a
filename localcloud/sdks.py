"""Keeping AWS's SDKs on this machine where the address of the local cloud alone does not.

Both SageMaker SDKs read defaults from a file: there they are told their bucket, or they would ask STS for the account,
and to send no telemetry. They ask STS at its own address, whatever AWS_ENDPOINT_URL says, also for the role of a
notebook: whoever asks so is refused within seconds, and before a request is sent, because no certificate is trusted.

Source  SageMaker Python SDK 2 and 3, "Configuring and using defaults", `session.py`, `sts_regional_endpoint`
        AWS SDKs and Tools Reference Guide, "Smart configuration defaults" (in-region connects within 1.1 seconds)
"""

import json
from pathlib import Path

_FILE = "sagemaker-sdk.yaml"
# One authority, whose key was thrown away: it has signed nothing. (Some clients load the file without need for it.)
_NO_AUTHORITY = Path(__file__).with_name("no-authority.pem")


def variables(state: Path) -> dict[str, str]:
    """Return the variables for a person's SDKs; the file is there from the first start on."""
    return {
        "AWS_CA_BUNDLE": str(_NO_AUTHORITY),
        "AWS_DEFAULTS_MODE": "in-region",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(state / _FILE),
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(state / _FILE),
    }


def write_defaults(state: Path, region: str, account_id: str) -> None:
    """Write the defaults of the SageMaker SDKs, instead of those that the person or the machine has."""
    modules = {"Session": {"DefaultS3Bucket": f"sagemaker-{region}-{account_id}"}, "TelemetryOptOut": True}
    defaults = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": modules}}}
    (state / _FILE).write_text(json.dumps(defaults), "utf-8")  # JSON is YAML
