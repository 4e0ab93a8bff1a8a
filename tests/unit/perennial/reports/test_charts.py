"""Charts can be read: their labels stand apart, in numbers of few digits, inside of the picture."""

from __future__ import annotations

import itertools
from decimal import Decimal
from xml.etree.ElementTree import Element, tostring

import leather
import numpy as np
import pytest
from leather.ticks.score import ScoreTicker

from perennial.monitoring.series_window import Forecast
from perennial.reports import banded, charts
from perennial.reports.charts import HEIGHT, WIDTH, Layer, chart

CHARACTER = 6.5  # units of a character of the ticks, 12 units high


def ticks(picture: Element, axis: str) -> list[tuple[float, str]]:
    group = next(one for one in picture.iter("g") if one.get("class") == f"axis {axis}")
    labels = [one.find("text") for one in group.findall("g")]
    return sorted((float(one.get("x", "")), one.text or "") for one in labels if one is not None)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (10_000, 50_000), (-3, 3), (0, 1e-6), (1e6, 3e6), (-2e9, 5e9), (0.97, 0.9701), (19, 20)]
)
def test_the_labels_of_an_axis_do_not_touch_each_other(low: float, high: float) -> None:
    picture = chart([Layer("now", [(low, 0.0), (high, 1.0)])], "x", "y")
    labels = ticks(picture, "bottom")
    assert len(labels) >= 3
    assert len({text for _, text in labels}) == len(labels)
    for (left, before), (right, after) in itertools.pairwise(labels):
        assert (len(before) + len(after)) / 2 * CHARACTER < right - left, labels


@pytest.mark.parametrize("low", [-1e6, -0.3, 0, 1 / 3, 17, 2e6])
@pytest.mark.parametrize("width", [1e-4, 0.7, 9, 10, 1234.5, 3e6])
def test_an_axis_has_the_ticks_that_leather_finds_for_it(low: float, width: float) -> None:
    scale = leather.Linear(low, low + width)
    assert scale.ticks() == ScoreTicker(Decimal(low), Decimal(low + width)).ticks
    assert isinstance(scale._ticker, charts.Ticker)


def test_times_are_written_as_days_or_as_hours() -> None:
    day = 86_400.0
    weeks = chart([Layer("rmse", [(0.0, 1.0), (14 * day, 2.0)])], "end", "rmse", times=True)
    hours = chart([Layer("rmse", [(0.0, 1.0), (day / 4, 2.0)])], "end", "rmse", times=True)
    assert [text for _, text in ticks(weeks, "bottom")] == ["01-01", "01-05", "01-10", "01-15"]
    assert [text for _, text in ticks(hours, "bottom")] == ["00:00", "02:00", "04:00", "06:00"]


def test_coordinates_have_one_decimal_so_that_a_chart_is_small() -> None:
    outline = charts.steps([number / 7 for number in range(21)], [1 / 3] * 20)
    picture = tostring(chart([Layer("then", outline), Layer("now", outline)], "mileage, miles", "share of rows"))
    assert len(picture) < 7000


def test_a_chart_scales_with_its_page_and_says_what_it_shows() -> None:
    picture = chart([Layer("then", [(0.0, 1.0), (2.0, 3.0)])], "mileage, miles", "share of rows")
    assert picture.get("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
    assert picture.find("title").text == "share of rows by mileage, miles: then"  # type: ignore[union-attr]
    lines = [one.get("d") for one in picture.iter("path")]
    assert len(lines) == 1


def test_what_cannot_be_drawn_is_said() -> None:
    picture = chart([Layer("now", [(0.0, 1e300), (1.0, -1e300)])], "x", "y")
    assert (picture.tag, picture.text) == ("p", "The numbers are too large or too close to be drawn.")


def test_the_same_rows_are_sampled_each_time_and_all_where_they_are_few() -> None:
    assert charts.sampled(5).tolist() == [0, 1, 2, 3, 4]
    assert len(set(charts.sampled(100_000).tolist())) == charts.MAX_POINTS
    assert charts.sampled(100_000).tolist() == charts.sampled(100_000).tolist()


def test_a_forecast_is_drawn_with_its_band_and_what_came_true(monkeypatch: pytest.MonkeyPatch) -> None:
    """The band is between the quantiles 0.1 and 0.9; the mean is no part of it."""
    drawn: list[Layer] = []
    monkeypatch.setattr(charts, "chart", lambda layers, *_: drawn.extend(layers) or Element("svg"))
    scores = np.array([[0.0, *range(1, 10)], [0.0, *range(11, 20)]])
    forecast = Forecast("shop 1", np.array([4.0, 6.0]), scores, np.array([1.5, 10.5]))
    text = tostring(banded.picture(forecast, " USD"), "unicode", "text")
    points = {layer.name: layer.points for layer in drawn}
    assert points["before"] == [(-1, 4), (0, 6)]
    assert points["median"] == [(1, 5), (2, 15)]
    assert points["band"] == [(1, 1), (2, 11), (None, None), (1, 9), (2, 19)]
    assert points["actual"] == [(1, 1.5), (2, 10.5)]
    assert "1 of 2 values that are known lie in the band; the median errs by 4." in text
