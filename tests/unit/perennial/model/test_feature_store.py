"""`feature_store` of a model.yaml: what is accepted, and that every mistake is named with its field."""

from __future__ import annotations

import pytest

from perennial.model import definition

CARS = """
problem: regression
target: price
columns:
  price: {type: float}
  mileage: {type: float}
  sale: {type: string, feature: false, source: [sale_id]}
split: {method: random, key: [sale]}
gate: {metric: rmse, threshold: 3000}
"""
SALES = "sales: {record: sale_id, event_time: sold}"


def test_groups_keep_their_order_because_the_first_has_the_rows() -> None:
    text = f"{CARS}feature_store: {{groups: {{{SALES}, Owners: {{record: owner, event_time: at}}}}}}\n"
    section = definition.parse(text, "model.yaml").as_json()["feature_store"]
    assert list(section["groups"]) == ["sales", "Owners"]
    assert section["as_of"] is None
    assert definition.parse(CARS, "model.yaml").as_json()["feature_store"] is None


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{groups: {}}", "feature_store.groups: got {}; expected at least 1 of them"),
        (
            "{groups: {sales: {record: sal, event_time: at}}}",
            "groups.sales.record: 'sal' is not one of the columns; did",
        ),
        (
            "{groups: {sales: {record: mileage, event_time: at}}}",
            "split.key: expected [mileage], which tells the records",
        ),
        ("{groups: {_x: {record: sale, event_time: at}}}", "groups._x: got '_x'; expected letters and digits, with"),
        ("{groups: {sales: {record: sale}}}", "feature_store.groups.sales.event_time"),
        (
            f"{{groups: {{{SALES}}}, as_of: yesterday}}",
            "feature_store.as_of: got 'yesterday'; expected a time in UTC, such as 2026-11-29T10:00:00Z",
        ),
        (f"{{groups: {{{SALES}}}, as_of: 2026-11-29}}", "as_of: got '2026-11-29'; expected a time in UTC"),
        (
            f"{{groups: {{{SALES}}}, ingest: true, as_of: 2026-11-29T10:00:00Z}}",
            "feature_store.ingest: true is for one",
        ),
        (
            f"{{groups: {{{SALES}, o: {{record: o, event_time: at}}}}, ingest: true}}",
            "feature_store.ingest: true is for one",
        ),
        (
            f"{{groups: {{{SALES}}}}}\ninstances: {{preprocess: {{count: 2}}}}",
            "count: got 2; allowed: 1 with feature_store",
        ),
    ],
)
def test_a_section_that_says_nothing_sound_is_refused(section: str, message: str) -> None:
    with pytest.raises(definition.DefinitionError) as refused:
        definition.parse(f"{CARS}feature_store: {section}\n", "model.yaml")
    assert message in str(refused.value)


def test_a_time_may_stand_as_yaml_writes_it() -> None:
    for written in ("2026-11-29T10:00:00Z", "'2026-11-29T10:00:00Z'"):
        text = f"{CARS}feature_store: {{groups: {{{SALES}}}, as_of: {written}}}\n"
        section = definition.parse(text, "model.yaml").feature_store
        assert section is not None
        assert section.as_of == "2026-11-29T10:00:00Z"
