"""The images of AWS that a stack runs: who owns them, and which version Perennial ships.

tools/stamp_template.py writes them into template.yaml. Source of repositories and accounts: image_uri_config of the
SageMaker Python SDK 2.257.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Of the image of an algorithm.
ONE_FOR_BOTH = "A model is trained and served with the same one. Empty means what Perennial ships."


@dataclass(frozen=True)
class Registry:
    """An owner of images, by its name in the template, and its account in each region that has them."""

    name: str
    accounts: Mapping[str, str]


@dataclass(frozen=True)
class Image:
    """An image, whose version is a parameter of the stack: a tag, or a digest.

    name         begins what the template calls it: XGBoostTag
    repository   of the registry
    tag          what Perennial ships
    tags         a regular expression of the tags that the parameter takes
    expected     the same in words
    description  of the parameter
    """

    name: str
    registry: Registry
    repository: str
    tag: str
    tags: str
    expected: str
    description: str


_ACCOUNTS = {
    "af-south-1": "510948584623", "ap-east-1": "651117190479", "ap-northeast-1": "354813040037",
    "ap-northeast-2": "366743142698", "ap-northeast-3": "867004704886", "ap-south-1": "720646828776",
    "ap-south-2": "628508329040", "ap-southeast-1": "121021644041", "ap-southeast-2": "783357654285",
    "ap-southeast-3": "951798379941", "ap-southeast-4": "106583098589", "ca-central-1": "341280168497",
    "ca-west-1": "190319476487", "cn-north-1": "450853457545", "cn-northwest-1": "451049120500",
    "eu-central-1": "492215442770", "eu-central-2": "680994064768", "eu-north-1": "662702820516",
    "eu-south-1": "978288397137", "eu-south-2": "104374241257", "eu-west-1": "141502667606",
    "eu-west-2": "764974769150", "eu-west-3": "659782779980", "il-central-1": "898809789911",
    "me-central-1": "272398656194", "me-south-1": "801668240914", "sa-east-1": "737474898029",
    "us-east-1": "683313688378", "us-east-2": "257758044811", "us-gov-east-1": "237065988967",
    "us-gov-west-1": "414596584902", "us-iso-east-1": "833128469047", "us-isob-east-1": "281123927165",
    "us-isof-east-1": "108575199400", "us-isof-south-1": "124985052026", "us-west-1": "746614075791",
    "us-west-2": "246618743249",
}  # fmt: skip
FRAMEWORKS = Registry("Frameworks", _ACCOUNTS)

# Runs the job scripts, and the preprocessor of each model.
SKLEARN = Image(
    name="Sklearn",
    registry=FRAMEWORKS,
    repository="sagemaker-scikit-learn",
    tag="1.9-0-cpu-py3",
    tags=r"1\.9-0-cpu-py3|1\.4-2-py312-cpu-py3",
    expected="1.9-0-cpu-py3, 1.4-2-py312-cpu-py3",
    description=(
        "Version of the scikit-learn image that runs the job scripts, or its digest. Empty means what Perennial ships "
        "and is tested with; 1.4-2 is for regions that do not have it yet."
    ),
)
