"""Archives of models, unpacked as a container unpacks them."""

import tarfile
from pathlib import Path


def unpack(file: Path, folder: Path) -> None:
    """Unpack an archive with tarfile's filter for data, where Python has one: 3.11.4 and newer."""
    with tarfile.open(file) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)  # noqa: S202  what tests have made
