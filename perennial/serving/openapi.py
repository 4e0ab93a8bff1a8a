"""The OpenAPI document of a model's API, from its definition.

Source: OpenAPI Specification 3.1.0, whose schemas are JSON Schema. Numbers are in the column's own unit; what else
`parse` of the definition reads (units, marks, words) is taken too, and is no part of the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perennial.serving import problems, requests

VERSION = "3.1.0"
PREDICTIONS, DOCUMENT = "/predictions", "/openapi.json"
INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
LONGEST_INFERENCE_ID = 64
_TYPES = {"float": "number", "integer": "integer", "boolean": "boolean", "string": "string", "timestamp": "string"}
_REFUSALS = {
    "400": "A record breaks the definition; `errors` names record and field",
    "403": "No key or signature, or one that may not",
    "413": "The request is too large",
    "415": "The body is not JSON",
    "429": "More requests than the API or the key may make",
    "502": "The model failed",
    "503": "No model is in service yet, or not for a while; ask again after Retry-After",
    "504": "The model did not answer in time",
}
# How callers show who they are, by the stack's parameter Api.
_SECURITY: dict[str, dict[str, Any]] = {
    "key": {"type": "apiKey", "name": "x-api-key", "in": "header"},
    "iam": {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "description": "AWS Signature Version 4, for the service execute-api",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
}


def document(definition: Mapping[str, Any], name: str, version: str, access: str, url: str) -> dict[str, Any]:
    """Return the document of a model.

    name, version  of the stack, and the run whose model it is
    access         key or iam
    url            where the API is, without a slash at its end
    """
    return {
        "openapi": VERSION,
        "info": {"title": name, "version": version, "description": definition.get("description") or name},
        "servers": [{"url": url}],
        "security": [{access: []}],
        "paths": {
            PREDICTIONS: {"post": _predictions()},
            DOCUMENT: {"get": _document()},
        },
        "components": {
            "securitySchemes": {access: _SECURITY[access]},
            "schemas": {
                "Record": record(definition),
                "Prediction": _prediction(definition),
                "Answer": _ANSWER,
                "Problem": _PROBLEM,
            },
        },
    }


def _predictions() -> dict[str, Any]:
    record = {"$ref": "#/components/schemas/Record"}
    body = {"oneOf": [record, {"type": "array", "minItems": 1, "items": record}]}
    parameter = {
        "name": INFERENCE_ID,
        "in": "header",
        "description": "By which a label finds the request later; without one the API makes one",
        "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_INFERENCE_ID},
    }
    return {
        "operationId": "predict",
        "summary": "Ask the model about one record, or a list of records",
        "parameters": [parameter],
        "requestBody": {"required": True, "content": {requests.MEDIA_TYPE: {"schema": body}}},
        "responses": {
            "200": _response("A prediction for each record, in their order", requests.MEDIA_TYPE, "Answer"),
            **{status: _response(text, problems.MEDIA_TYPE, "Problem") for status, text in _REFUSALS.items()},
        },
    }


def _document() -> dict[str, Any]:
    content = {requests.MEDIA_TYPE: {"schema": {"type": "object"}}}
    refused = ("403", "429", "503")
    return {
        "operationId": "describe",
        "summary": "This document, of the model that is in service",
        "responses": {
            "200": {"description": "An OpenAPI document", "content": content},
            **{status: _response(_REFUSALS[status], problems.MEDIA_TYPE, "Problem") for status in refused},
        },
    }


def _response(description: str, media_type: str, schema: str) -> dict[str, Any]:
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


# ---- Schemas


def example(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record that the definition allows."""
    return {name: value(column) for name, column in _features(definition).items()}


def _features(definition: Mapping[str, Any]) -> dict[str, Any]:
    columns, target = definition["columns"], definition["target"]
    return {name: column for name, column in columns.items() if column.get("feature", True) and name != target}


def record(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a record: features, and what else of the definition may stand beside them."""
    columns, features = definition["columns"], _features(definition)
    return {
        "type": "object",
        "properties": {
            **{name: _column(column) for name, column in features.items()},
            **{name: {"description": "passed over"} for name in columns if name not in features},
        },
        "required": [name for name, column in features.items() if not column.get("nullable")],
        "additionalProperties": definition["other_columns"] == "ignore",
        "examples": [example(definition)],
    }


def _column(column: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a column: its type, range and categories; its unit is in the description."""
    kind, nullable = _TYPES[column["type"]], bool(column.get("nullable"))
    words = [column.get("description") or "", f"in {column['unit']}" if column.get("unit") else ""]
    categories = [*(column.get("categories") or ()), *([None] if nullable else [])]
    limits = {"minimum": column.get("min"), "maximum": column.get("max")}
    return {
        "type": [kind, "null"] if nullable else kind,
        **({"description": text} if (text := ", ".join(filter(None, words))) else {}),
        **{name: _plain(limit) for name, limit in limits.items() if limit is not None},
        **({"enum": categories} if column.get("categories") else {}),
        **({"format": "date-time"} if column["type"] == "timestamp" else {}),
    }


def value(column: Mapping[str, Any]) -> Any:
    """Return a value that a column allows."""
    if column.get("categories"):
        return column["categories"][0]
    if column["type"] not in ("float", "integer"):
        return {"boolean": True, "string": "text", "timestamp": "2024-05-01T10:00:00Z"}[column["type"]]
    lowest, highest = column.get("min"), column.get("max")
    if lowest is None or highest is None:
        return _plain(next((one for one in (lowest, highest) if one is not None), 1))
    middle = (lowest + highest) / 2
    return int(middle) if column["type"] == "integer" else _plain(middle)


def _plain(value: float) -> float:
    """Return a number without a fraction of zero."""
    return int(value) if value == int(value) else value


def _prediction(definition: Mapping[str, Any]) -> dict[str, Any]:
    if definition["problem"] != "multiclass_classification":
        what = "probability" if definition["problem"] == "binary_classification" else "predicted value"
        unit = definition["columns"][definition["target"]].get("unit")
        text = f"{what} of {definition['target']}{f', in {unit}' if unit else ''}"
        return _object(score={"type": ["number", "null"], "description": text})
    return _object(
        score={"type": "array", "items": {"type": "number"}, "description": "the probability of each class"},
        predicted_label={"description": f"the most probable {definition['target']}"},
    )


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_ANSWER = {
    "type": "object",
    "properties": {
        "inference_id": {"type": "string", "description": "by which a label finds the request later"},
        "unusual": {"type": "string", "description": "what of the records training did not know, by kind and column"},
        "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
    },
    "required": ["inference_id", "predictions"],
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457, problem details",
    "properties": {
        "title": {"type": "string"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "record": {"type": "integer", "description": "counted from 1"},
                    "field": {"type": ["string", "null"]},
                    "expected": {"type": "string"},
                    "got": {"type": "string"},
                },
                "required": ["record", "field", "expected", "got"],
            },
        },
    },
    "required": ["title", "detail"],
}
