"""What stands in for an image: programs of the local cloud; of an image of one's own the commands of images.json."""

from __future__ import annotations

from pathlib import Path

from localcloud.sagemaker.algorithms import STAND_INS
from localcloud.sagemaker.algorithms.own_images import FILE, own_image
from localcloud.sagemaker.algorithms.stand_in import StandIn
from localcloud.sagemaker.platform import images


def stand_in(image_uri: str, root: Path, purpose: str) -> StandIn:
    """Return what stands in for an image; refused by name, where nothing does. `root` is `<state>/sagemaker`."""
    if own := own_image(image_uri, root.parent):
        return own
    hint = f"images of your own need their commands in {root.parent / FILE} (docs/own-algorithm.md)"
    return STAND_INS[images.known(image_uri, STAND_INS, purpose, hint)]
