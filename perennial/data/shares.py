"""Dealing what trains to the hosts of a training job, of which each reads as many files (ShardedByS3Key)."""

from __future__ import annotations

from pathlib import Path


def share_out(folder: Path, hosts: int) -> None:
    """Replace each file of a folder by as many files as there are hosts, with every so many-th of its lines.

    Which files a host gets is S3's choice; of one size, it makes no difference. A file with fewer lines makes fewer.
    Names end with a number, as `parts.PartWriter` gives them, before as after.
    """
    shares = folder.with_name(f".{folder.name}")
    shares.mkdir()
    for number, part in enumerate(sorted(folder.iterdir())):
        lines, (named, _, _) = part.read_bytes().splitlines(keepends=True), part.stem.rpartition("-")
        for host in range(min(hosts, len(lines))):
            name = f"{named}-{number * hosts + host:05d}{part.suffix}"
            (shares / name).write_bytes(b"".join(lines[host::hosts]))
        part.unlink()
    folder.rmdir()
    shares.rename(folder)
