"""CloudFormation: properties of a bucket that MiniStack's provisioner leaves out.

Encryption, lifecycle rules, replication, ownership and tags of `AWS::S3::Bucket` are applied through MiniStack's own S3
operations; botocore writes their documents. Source: CloudFormation template reference, "AWS::S3::Bucket".
"""

from functools import lru_cache
from typing import Any

from localcloud.engine.seams import Seams
from localcloud.service_models import service_model

provisioners = Seams("services.cloudformation.provisioners", _S3_BUCKET_CONFIGURATIONS="ac739b6b")
s3 = Seams(
    "services.s3",
    _delete_bucket_encryption="68288cd9",
    _delete_bucket_lifecycle="798694c2",
    _delete_bucket_ownership_controls="9b1a3f5a",
    _delete_bucket_replication="1d3fbbf2",
    _delete_bucket_tagging="503f1e27",
    _put_bucket_encryption="f8f6ba25",
    _put_bucket_lifecycle="a914576a",
    _put_bucket_ownership_controls="bbe5329d",
    _put_bucket_replication="f1d6d546",
    _put_bucket_tagging="14214bbc",
)

JsonObject = dict[str, Any]


def register() -> None:
    """Extend the table of bucket properties. MiniStack must be importable (the environment is set)."""
    added = (
        ("BucketEncryption", encryption_xml, s3._put_bucket_encryption, s3._delete_bucket_encryption),
        ("LifecycleConfiguration", lifecycle_xml, s3._put_bucket_lifecycle, s3._delete_bucket_lifecycle),
        ("OwnershipControls", ownership_xml, s3._put_bucket_ownership_controls, s3._delete_bucket_ownership_controls),
        ("ReplicationConfiguration", replication_xml, s3._put_bucket_replication, s3._delete_bucket_replication),
        ("Tags", tags_xml, s3._put_bucket_tagging, s3._delete_bucket_tagging),
    )
    provisioners.replace("_S3_BUCKET_CONFIGURATIONS", lambda known: (*known, *added))


def encryption_xml(value: JsonObject) -> bytes:
    rules = [
        {
            "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
            "BucketKeyEnabled": _flag(rule.get("BucketKeyEnabled")),
        }
        for rule in value["ServerSideEncryptionConfiguration"]
    ]
    return _xml("PutBucketEncryption", ServerSideEncryptionConfiguration={"Rules": rules})


def lifecycle_xml(value: JsonObject) -> bytes:
    rules = [_lifecycle_rule(rule) for rule in value["Rules"]]
    return _xml("PutBucketLifecycleConfiguration", LifecycleConfiguration={"Rules": rules})


def _lifecycle_rule(rule: JsonObject) -> JsonObject:
    """Return a rule of the template as the API has it; both name and nest the same things differently."""
    prefix, tags = rule.get("Prefix", ""), rule.get("TagFilters", [])
    expiration: JsonObject = {}
    if "ExpirationInDays" in rule:
        expiration["Days"] = int(rule["ExpirationInDays"])
    if "ExpiredObjectDeleteMarker" in rule:
        expiration["ExpiredObjectDeleteMarker"] = _flag(rule["ExpiredObjectDeleteMarker"])
    converted = {
        "ID": rule.get("Id"),
        "Status": rule["Status"],
        "Filter": {"And": {"Prefix": prefix, "Tags": tags}} if tags else {"Prefix": prefix},
        "Expiration": expiration,
        "Transitions": [
            {"Days": int(item["TransitionInDays"]), "StorageClass": item["StorageClass"]}
            for item in rule.get("Transitions", [])
        ],
        "NoncurrentVersionExpiration": _integers(rule.get("NoncurrentVersionExpiration")),
        "AbortIncompleteMultipartUpload": _integers(rule.get("AbortIncompleteMultipartUpload")),
    }
    return {name: item for name, item in converted.items() if item}


def replication_xml(value: JsonObject) -> bytes:
    """Keep what is replicated where; nothing is, as there is one account."""
    rules = [
        {("ID" if name == "Id" else name): int(item) if name == "Priority" else item for name, item in rule.items()}
        for rule in value["Rules"]
    ]
    return _xml("PutBucketReplication", ReplicationConfiguration={"Role": value["Role"], "Rules": rules})


def ownership_xml(value: JsonObject) -> bytes:
    return _xml("PutBucketOwnershipControls", OwnershipControls={"Rules": value["Rules"]})


def tags_xml(value: list[JsonObject]) -> bytes:
    tags = [{"Key": tag["Key"], "Value": str(tag["Value"])} for tag in value]
    return _xml("PutBucketTagging", Tagging={"TagSet": tags})


def _integers(value: JsonObject | None) -> JsonObject:
    """CloudFormation lets numbers be written as strings."""
    return {name: int(number) for name, number in (value or {}).items()}


def _flag(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _xml(operation: str, **members: Any) -> bytes:
    serializer, model = _serializer()
    request = serializer.serialize_to_request({"Bucket": "bucket", **members}, model.operation_model(operation))
    body: bytes = request["body"]
    return body


@lru_cache(maxsize=1)
def _serializer() -> tuple[Any, Any]:
    from botocore.serialize import create_serializer

    model = service_model("s3")
    return create_serializer(model.metadata["protocol"], include_validation=False), model
