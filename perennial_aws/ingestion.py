"""Which files a run puts into the feature group of its stack (feature_store.ingest): those that no run has ingested.

ingested/<group>/<name of the copy>  an empty object for each version of a file whose rows are records
"""

from __future__ import annotations

from collections.abc import Sequence

from perennial.data.copies import FOLDER, copy_name
from perennial.model.feature_groups import group_name, group_of
from perennial.runs import naming
from perennial.runs.configuration import Configuration
from perennial.runs.work import DataFile
from perennial_aws import objects, payloads
from perennial_aws.settings import settings


def leave(prefix: str, files: Sequence[DataFile], resolved: Configuration) -> payloads.IngestPayload | None:
    """Write ingest.manifest into a run's folder, the list of copies to ingest; return their group. None: no file is.

    What SageMaker or the monitor has written among the data is no drop, and data of elsewhere are not the stack's.
    """
    store = resolved.definition.feature_store
    if store is None or not store.ingest or resolved.data_prefix != settings.data_prefix:
        return None
    ((name, group),) = store.groups.items()
    called = group_name(settings.stack_name, name)
    done = {item["Key"] for item in objects.listed(f"s3://{settings.bucket}/{folder(called)}")}
    dropped = [
        copy_name(file.as_manifest())
        for file in files
        if not group_of(file.key, store.groups) and not naming.is_labelled_key(file.key, settings.data_prefix)
    ]
    waiting = [one for one in dropped if folder(called) + one not in done]
    if not waiting:
        return None
    objects.write_json(f"{prefix}/ingest.manifest", [{"prefix": f"s3://{settings.bucket}/{FOLDER}"}, *waiting])
    return {"Group": called, "Record": group.record, "EventTime": group.event_time}


def folder(group: str) -> str:
    """Return where it is noted which files are records of a group."""
    return f"ingested/{group}/"
