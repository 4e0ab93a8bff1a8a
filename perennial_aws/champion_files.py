"""The folder `champion/` of a run: what preprocessing has to know of the model in service.

champion.json    {"run_id", "definition", "sources", "new_files", "absent", "widest_row", "trained"}: the definition of
                 the model in service, who had set what of it where model.yaml had not, the positions of the files that
                 it was not trained on (one that was replaced without some rows, and has its time, holds no others), its
                 columns that none of its files had, how wide its encoded rows are (data.payload), and what became of
                 the files that it was trained on (data.since); {} when there is none. There is always one: a job's
                 input needs files
statistics.json  of the data that the model in service was trained on; missing when its run left none
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from perennial.data.payload import widest_row
from perennial.data.rows import reads_alike
from perennial.data.since import ChampionFiles, rows_by_key
from perennial.evaluation.comparison import other_series
from perennial.runs import run_record
from perennial.runs.work import OLDER, Listing, recorded_contents, recorded_times
from perennial_aws import champion, objects
from perennial_aws.clients import client
from perennial_aws.settings import settings


def leave(prefix: str, serving: run_record.Champion | None, data: Listing, definition: Mapping[str, Any]) -> bool:
    """Write the files; return whether the model in service reads records otherwise than a definition says."""
    about: dict[str, Any] = {}
    if serving:
        run_id = champion.run_of(serving)
        config, manifest, report = (
            _document(f"runs/{run_id}/{name}.json") for name in ("config", "manifest", "report/report")
        )
        aside = {item["position"] for item in (report or {}).get("aside", [])}
        known = recorded_contents(manifest or {}, aside)
        times = recorded_times(manifest or {}, aside)
        new = [
            position
            for position, file in enumerate(data.files)
            if (file.key, file.content) not in known and (file.key, file.last_modified) not in times
        ]
        about = {"run_id": run_id, "definition": (config or {}).get("definition"), "new_files": new}
        about["sources"] = (config or {}).get("sources", {})
        about["widest_row"] = widest_row(report or {})
        about["absent"] = (report or {}).get("absent", [])
        keys, ignored = [file.key for file in data.files], {item.key: item.reason for item in data.ignored}
        older = {key for key, reason in ignored.items() if reason.startswith(OLDER)}
        trained_rows = rows_by_key(manifest or {}, report or {})
        about["trained"] = ChampionFiles.among(trained_rows, keys, new, ignored, older).as_json()
        statistics = _document(f"runs/{run_id}/baselines/data-quality/statistics.json")
        if statistics:
            objects.write_json(f"{prefix}/champion/statistics.json", statistics)
    objects.write_json(f"{prefix}/champion/champion.json", about)
    before: Mapping[str, Any] = about.get("definition") or {}
    return bool(before) and (not reads_alike(definition, before) or bool(other_series(definition, before)))


def trained_on(run_id: str) -> set[tuple[str, str]]:
    """Return (key, content) of each file that a run has trained on."""
    manifest, report = (_document(f"runs/{run_id}/{name}.json") or {} for name in ("manifest", "report/report"))
    return recorded_contents(manifest, {item["position"] for item in report.get("aside", [])})


def _document(key: str) -> Any:
    """Return the newest version of a JSON document, or None."""
    version = objects.newest_version(settings.bucket, key)
    if version is None:
        return None
    read = client("s3").get_object(Bucket=settings.bucket, Key=key, VersionId=version)
    return json.loads(read["Body"].read())
