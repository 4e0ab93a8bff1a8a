"""CloudWatch's extended statistics: percentiles, trimmed and winsorized means, trimmed counts and sums, ranks.

MiniStack knows percentiles, and gives the average for every other name. A name that CloudWatch does not know is
refused. Of points that have been summarized with others, for their age, only a single repeated value is known, so older
periods may have none.
Source: CloudWatch User Guide, "CloudWatch statistics definitions".
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from localcloud.engine.seams import Seams

cloudwatch = Seams(
    "services.cloudwatch",
    _get_metric_statistics="ee71ef6b",
    _get_metric_data="299a33b0",
    _error="9c8dd993",
    _is_percentile_stat="341e74d9",
    _percentile="75ce3d07",
    _percentile_samples="b91f94a9",
    _stat_value="3b24b7c6",
)

JsonObject = dict[str, Any]
Samples = list[tuple[float, float]]
"""Each value, and how often it came."""
_NUMBER = r"\d+(?:\.\d+)?"
_SHORT = re.compile(rf"(p|tm|wm|tc|ts)({_NUMBER})", re.IGNORECASE)
_RANGE = re.compile(rf"(TM|WM|TC|TS|PR)\(({_NUMBER}%?)?:({_NUMBER}%?)?\)", re.IGNORECASE)
_BASIC = ("SampleCount", "Sum", "Average", "Minimum", "Maximum")


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    cloudwatch.replace("_stat_value", lambda _: _stat_value)
    cloudwatch.replace("_is_percentile_stat", lambda _: is_extended)
    for name in ("_get_metric_statistics", "_get_metric_data"):
        cloudwatch.replace(name, _make_refusing)


def is_extended(stat_name: str) -> bool:
    """Return whether CloudWatch has an extended statistic of this name."""
    return stat_name.upper() == "IQM" or bool(_SHORT.fullmatch(stat_name) or _RANGE.fullmatch(stat_name))


def _stat_value(stats: dict[str, float], stat_name: str, points: list[JsonObject] | None = None) -> float | None:
    """Return a statistic of points, of which the basic ones are known; None if it has no value."""
    if stat_name in _BASIC:
        return stats.get(stat_name)
    samples = cloudwatch._percentile_samples(points or [])
    return extended(sorted(samples), stat_name) if samples else None


def extended(samples: Samples, name: str) -> float | None:
    """Return an extended statistic of samples in their order; None if it leaves out all of them."""
    if short := _SHORT.fullmatch(name):
        kind, low, high = short[1].upper(), None, f"{short[2]}%"
    elif match := _RANGE.fullmatch("TM(25%:75%)" if name.upper() == "IQM" else name):
        kind, low, high = match[1].upper(), match[2], match[3]
    else:
        return None
    if kind == "P":
        return _percentile(samples, high)
    lowest, highest = _bound(samples, low, -math.inf), _bound(samples, high, math.inf)
    if kind == "WM":
        counted = [(min(max(value, lowest), highest), count) for value, count in samples]
    else:
        counted = [(value, count) for value, count in samples if lowest < value <= highest]
    count, total = sum(count for _, count in counted), sum(value * count for value, count in counted)
    if kind == "PR":
        return 100 * count / sum(count for _, count in samples)
    if kind in ("TC", "TS"):
        return count if kind == "TC" else total
    return total / count if count else None


def _bound(samples: Samples, text: str | None, unbounded: float) -> float:
    """Return the value of a bound: a value, or a percentage of the samples; 0% and 100% leave nothing out."""
    if text in (None, "0%", "100%"):
        return unbounded
    return _percentile(samples, text) if text.endswith("%") else float(text)


def _percentile(samples: Samples, percentage: str) -> float:
    return float(cloudwatch._percentile(samples, float(percentage.rstrip("%"))))


def _make_refusing(original: Any) -> Any:
    def refusing(params: JsonObject, cbor_data: JsonObject, is_cbor: bool, is_json: bool = False) -> Any:
        """Refuse a statistic that CloudWatch does not have."""
        for name in _requested_statistics(params, cbor_data or {}):
            if name not in _BASIC and not is_extended(name):
                message = f"The value {name} for parameter Stat is not supported."
                return cloudwatch._error("InvalidParameterValue", message, 400, is_json, is_cbor)
        return original(params, cbor_data, is_cbor, is_json)

    return refusing


def _requested_statistics(params: JsonObject, data: JsonObject) -> Iterator[str]:
    """Yield the statistics that a request asks for, in whichever protocol."""
    yield from data.get("ExtendedStatistics") or []
    yield from (query["MetricStat"]["Stat"] for query in data.get("MetricDataQueries") or [] if "MetricStat" in query)
    for name, values in (params or {}).items():
        if name.startswith("ExtendedStatistics.") or name.endswith(".MetricStat.Stat"):
            yield from values if isinstance(values, list) else [values]
