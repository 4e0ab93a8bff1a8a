"""The metrics of an endpoint's invocations in CloudWatch: namespace AWS/SageMaker, by endpoint and variant.

Source: SageMaker Developer Guide, "Monitor Amazon SageMaker with Amazon CloudWatch"; latencies are in microseconds.
They are told as values, because CloudWatch has no percentiles of statistic sets (CloudWatch User Guide, "Percentiles").
"""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime
from typing import Any

NAMESPACE = "AWS/SageMaker"
_LATENCIES = ("ModelLatency", "OverheadLatency")
_MOST_VALUES = 10  # of a delivery: each is kept for hours, and looked at by alarms


class InvocationMetrics:
    """Sums of one variant between two deliveries; `record` costs one lock."""

    def __init__(self, endpoint: str, variant: str) -> None:
        self._dimensions = [
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": variant},
        ]
        self._lock = threading.Lock()
        self._samples: list[tuple[int, float, float, int]] = []

    def record(self, status: int, model_seconds: float, overhead_seconds: float, instances: int) -> None:
        """One invocation; `status` is the container's (0: it gave no answer in time)."""
        with self._lock:
            self._samples.append((status, model_seconds, overhead_seconds, instances))

    def drain(self, new_config: str | None = None) -> list[dict[str, Any]]:
        """Return PutMetricData's MetricData of everything since the last call.

        new_config  the configuration of a fleet that is being deployed: its metrics have that dimension too (Developer
                    Guide, "Auto-Rollback Configuration and Monitoring")
        """
        with self._lock:
            samples, self._samples = self._samples, []
        values: dict[str, list[float]] = {}
        for sample in samples:
            for name, value in _measures(*sample).items():
                values.setdefault(name, []).append(value)
        moment = datetime.now(UTC)
        of_fleet = [[*self._dimensions, {"Name": "EndpointConfigName", "Value": new_config}]] if new_config else []
        return [
            {
                "MetricName": name,
                "Dimensions": dimensions,
                "Timestamp": moment,
                "Unit": "Microseconds" if name in _LATENCIES else "None",
                **(_values(samples) if name in _LATENCIES else _statistics(samples)),
            }
            for name, samples in values.items()
            for dimensions in (self._dimensions, *of_fleet)
        ]


def _measures(status: int, model_seconds: float, overhead_seconds: float, instances: int) -> dict[str, float]:
    """Return the values of one invocation."""
    return {
        "Invocations": 1.0,
        "InvocationsPerInstance": 1.0 / instances,
        "Invocation4XXErrors": float(400 <= status < 500),
        "Invocation5XXErrors": float(status >= 500),
        "InvocationModelErrors": float(not 200 <= status < 300),
        "ModelLatency": model_seconds * 1e6,
        "OverheadLatency": overhead_seconds * 1e6,
    }


def _statistics(samples: list[float]) -> dict[str, Any]:
    count = float(len(samples))
    low, high = min(samples), max(samples)
    return {"StatisticValues": {"SampleCount": count, "Sum": sum(samples), "Minimum": low, "Maximum": high}}


def _values(samples: list[float]) -> dict[str, Any]:
    """Return values and how often each came: the least, the largest, and of many between them means of as many each."""
    ordered, groups = sorted(samples), _MOST_VALUES - 2
    between = ordered[1:-1]
    cuts = [len(between) * number // groups for number in range(groups + 1)]
    parts = [ordered[:1], *(between[start:end] for start, end in itertools.pairwise(cuts)), ordered[1:][-1:]]
    parts = [part for part in parts if part]
    return {"Values": [sum(part) / len(part) for part in parts], "Counts": [float(len(part)) for part in parts]}
