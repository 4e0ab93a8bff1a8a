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

# What stands before the machine in the usage types of bills and of the price list, such as EU-Train:ml.m5.large, by the
# kind of a job.
USAGES = {"Processing": "Processing", "Training": "Train", "Transform": "Tsform", "Hosting": "Host"}
REGION = "us-east-1"  # one of those in which the price list answers (AWS Price List API, "Endpoints")


@cache
def price(region: str, machine: str, kind: str) -> float | None:
    """Return a price in USD an hour: of the table, else as AWS's price list says; None: nobody knows."""
    known = listed_price(region, machine, kind)
    if known is not None or is_local():
        return known
    try:
        return _of_aws(region, machine, USAGES[kind])
    except (ClientError, BotoCoreError) as error:
        notice(f"the price of {machine} in {region} is not known here, and AWS does not say it: {error}")
        return None


def _of_aws(region: str, machine: str, usage: str) -> float | None:
    """Return the price on demand that the price list has.

    Source: AWS Cost Management API Reference, GetProducts: each product is a JSON text with `product.attributes` and
    `terms.OnDemand.*.priceDimensions.*`.
    """
    wanted = {"regionCode": region, "instanceName": machine}
    filters: Any = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    pages = boto3.client("pricing", region_name=REGION).get_paginator("get_products")
    listed = pages.paginate(ServiceCode="AmazonSageMaker", Filters=filters, FormatVersion="aws_v1")
    products = [json.loads(product) for page in listed for product in page["PriceList"]]
    prices = [
        float(dimension["pricePerUnit"]["USD"])
        for product in products
        if f"-{product['product']['attributes'].get('usagetype', '')}".endswith(f"-{usage}:{machine}")
        for term in product["terms"].get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
        if dimension["unit"] in ("Hrs", "Hours") and "USD" in dimension["pricePerUnit"]
    ]
    return max(prices, default=None)
