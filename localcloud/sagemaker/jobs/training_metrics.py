"""Metrics of a training job, read from its log."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.sagemaker.api.context import now
from localcloud.sagemaker.errors import invalid
from localcloud.sagemaker.platform.aws import Aws

NAMESPACE = "/aws/sagemaker/TrainingJobs"
_DATA_PER_REQUEST = 500
_LINE_CHARACTERS = 4096
_TAB = "#011"
See = Callable[[str, str, float], None]
logger = logging.getLogger(__name__)


def compile_definitions(definitions: list[dict[str, str]]) -> list[tuple[str, re.Pattern[str]]]:
    """Return (name, expression) of each definition; refused when an expression is none or captures nothing."""
    compiled = []
    for definition in definitions:
        name, text = definition["Name"], definition["Regex"]
        try:
            expression = re.compile(text)
        except re.error as error:
            raise invalid(f"Metric {name!r}: the Regex {text!r} is not a regular expression: {error}.") from error
        if not expression.groups:
            raise invalid(f"Metric {name!r}: the Regex {text!r} has no group around the value.")
        compiled.append((name, expression))
    return compiled


class MetricLog:
    """Finds the definitions' metrics in log lines, keeps the last value of each, and tells CloudWatch all of them.

    The first group of a definition's expression is the value; what is no number is no metric. `see` is called with the
    job's name, the metric's, and each value.
    """

    def __init__(self, aws: Aws, job_name: str, definitions: list[dict[str, str]], see: See | None = None) -> None:
        self._aws, self._job_name, self._see = aws, job_name, see
        self._definitions = compile_definitions(definitions)
        self._last: dict[str, dict[str, Any]] = {}
        self._data: list[dict[str, Any]] = []

    @property
    def final(self) -> list[dict[str, Any]]:
        """FinalMetricDataList: the last value of each metric, in the order of the definitions."""
        return [self._last[name] for name, _ in self._definitions if name in self._last]

    def read(self, line: str) -> None:
        """One log line, with `#011` for TAB; only its first 4,096 characters are looked at."""
        line = line[:_LINE_CHARACTERS]
        for name, expression in self._definitions:
            # An expression that begins with ".*" finds the same from the start of the line, without trying every place.
            anchored = expression.pattern.startswith(".*")
            match = expression.match(line) if anchored else expression.search(line)
            if match:
                self._record(name, match[1])

    def publish(self) -> None:
        """Send what was found to CloudWatch; a metric that cannot be delivered does not fail the job."""
        client = self._aws.client("cloudwatch")
        for start in range(0, len(self._data), _DATA_PER_REQUEST):
            try:
                client.put_metric_data(Namespace=NAMESPACE, MetricData=self._data[start : start + _DATA_PER_REQUEST])
            except (ClientError, BotoCoreError):
                logger.warning("metrics of %s were not delivered", self._job_name, exc_info=True)
        self._data.clear()

    def _record(self, name: str, text: str | None) -> None:
        r"""Record the value up to a TAB.

        `\S` of XGBoost's expressions does not see a TAB that is written `#011`.
        """
        number = (text or "").split(_TAB)[0]
        try:
            value = float(number)
        except ValueError:
            return
        if "_" in number:  # Python alone reads 1_000 as a number
            return
        if not math.isfinite(value):
            self._last.pop(name, None)  # a model that ends in NaN must not show an earlier, better value
            return
        self._last[name] = {"MetricName": name, "Value": value, "Timestamp": now()}
        dimensions = [{"Name": "TrainingJobName", "Value": self._job_name}]
        self._data.append({"MetricName": name, "Dimensions": dimensions, "Timestamp": time.time(), "Value": value})
        if self._see:
            self._see(self._job_name, name, value)
