"""The form of a run's id, which jobs know too: they are without pydantic."""

from __future__ import annotations

import re

RUN_ID = re.compile(r"\d{14}-[0-9a-f]{4}")
