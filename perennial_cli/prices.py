"""Prices of machines: those that ship, and AWS's own where there is an account to ask with."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from perennial.runs.costs import listed_price
from perennial_cli.account import is_local
from perennial_cli.console import notice

# The attribute `component` of SageMaker's products in the price list, by the kind of a job.
COMPONENTS = {"Processing": "Processing", "Training": "Training", "Transform": "BatchTransform", "Hosting": "Hosting"}
REGION = "us-east-1"  # one of those in which the price list answers (AWS Price List API, "Endpoints")


@cache
def price(region: str, machine: str, kind: str) -> float | None:
    """Return a price in USD an hour: of the table, else as AWS's price list says; None: nobody knows."""
    known = listed_price(region, machine, kind)
    if known is not None or is_local():
        return known
    try:
        return _of_aws(region, machine, COMPONENTS[kind])
    except (ClientError, BotoCoreError) as error:
        notice(f"the price of {machine} in {region} is not known here, and AWS does not say it: {error}")
        return None


def _of_aws(region: str, machine: str, component: str) -> float | None:
    """Return the price on demand that the price list has.

    Source: AWS Price List API, GetProducts: a product is a JSON text with `terms.OnDemand.*.priceDimensions.*`.
    """
    wanted = {"regionCode": region, "instanceName": machine, "component": component}
    filters: Any = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    listed = boto3.client("pricing", region_name=REGION).get_products(ServiceCode="AmazonSageMaker", Filters=filters)
    prices = [
        float(dimension["pricePerUnit"]["USD"])
        for product in listed["PriceList"]
        for term in json.loads(product)["terms"].get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
        if dimension["unit"] in ("Hrs", "Hours") and "USD" in dimension["pricePerUnit"]
    ]
    return max(prices, default=None)
