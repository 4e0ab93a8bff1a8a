"""What a definition says about the form of files: `files` and `other_columns` of model.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perennial.data.series_form import SeriesForm


@dataclass(frozen=True)
class FileForm:
    """How the texts of files are read, where looking at a file does not tell.

    encoding       of CSV files without a byte order mark
    delimiter      of CSV files; None: as the header line looks
    other_columns  `refuse` or `ignore` columns that the definition does not name
    series         what of DeepAR's records each column is; None where rows are no points of series
    whole          whether all fields of a file come along, for who writes its rows again (Batch.whole)
    """

    encoding: str = "utf-8"
    delimiter: str | None = None
    other_columns: str = "refuse"
    whole: bool = False
    series: SeriesForm | None = None

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> FileForm:
        files = definition.get("files") or {}
        return cls(
            files.get("encoding", cls.encoding),
            files.get("delimiter"),
            definition.get("other_columns", cls.other_columns),
            series=SeriesForm.from_definition(definition),
        )


USUAL = FileForm()
