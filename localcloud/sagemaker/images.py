"""Which container images the local cloud stands in for, by the name of their repository."""

from __future__ import annotations

from .errors import unsupported

SKLEARN = "sagemaker-scikit-learn"
XGBOOST = "sagemaker-xgboost"
LINEAR_LEARNER = "linear-learner"
PROCESSING = (SKLEARN, XGBOOST)
TRAINING = (SKLEARN, XGBOOST, LINEAR_LEARNER)
SCRIPTS = (SKLEARN, XGBOOST)
SERVING = (SKLEARN, XGBOOST, LINEAR_LEARNER)


def repository(image_uri: str) -> str:
    """`<account>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag>` -> repository."""
    return image_uri.rsplit("/", 1)[-1].split("@", 1)[0].split(":", 1)[0]


def known(image_uri: str, repositories: tuple[str, ...], purpose: str) -> str:
    """The repository, when the local cloud has a stand-in for this purpose; refused by name otherwise."""
    name = repository(image_uri)
    if name not in repositories:
        raise unsupported(
            f"The image {image_uri} (repository {name!r})", f"For {purpose} it knows: {', '.join(repositories)}."
        )
    return name
