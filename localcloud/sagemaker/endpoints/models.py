"""Models and endpoint configurations: documents that jobs and endpoints refer to."""

from __future__ import annotations

from pathlib import Path

from botocore.exceptions import ClientError

from localcloud.sagemaker.api import events, listing, requests, tags
from localcloud.sagemaker.api.context import Context, now
from localcloud.sagemaker.endpoints.stand_ins import stand_in
from localcloud.sagemaker.errors import JobFailedError, invalid, unsupported
from localcloud.sagemaker.platform.aws import Aws, s3_uri, split_uri
from localcloud.sagemaker.platform.store import Document
from localcloud.sagemaker.registry.packages import ModelPackages, deployable

MODEL = "model"
ENDPOINT_CONFIG = "endpoint-config"
_DEPLOYED = "DeployedContainers"  # no member of the API: a version that is deleted later serves on
_CONTAINER_MEMBERS = ("ContainerHostname", "Image", "Mode", "ModelDataUrl", "Environment")
_VARIANT_MEMBERS = (
    "VariantName",
    "ModelName",
    "InitialInstanceCount",
    "InstanceType",
    "InitialVariantWeight",
    "VolumeSizeInGB",
    "ModelDataDownloadTimeoutInSeconds",
    "ContainerStartupHealthCheckTimeoutInSeconds",
)


class Models:
    """CreateModel, DescribeModel, ListModels, DeleteModel."""

    def __init__(self, context: Context, packages: ModelPackages) -> None:
        self._context, self._packages = context, packages

    def create(self, request: Document) -> Document:
        name = request["ModelName"]
        arn = self._context.aws.arn(MODEL, name)
        if self._context.store.get(MODEL, name) is not None:
            raise invalid(f'Cannot create already existing model "{arn}".')
        deployed = self._containers(request)
        self._check(request, deployed)
        members = {key: value for key, value in request.items() if key != "Tags"}
        document = members | {
            "ModelArn": arn,
            _DEPLOYED: deployed,
            "CreationTime": now(),
            "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        }
        if not self._context.store.create(MODEL, name, document):
            raise invalid(f'Cannot create already existing model "{arn}".')
        tags.put(self._context.store, arn, request.get("Tags", []))
        self._announce(document)
        return {"ModelArn": arn}

    def describe(self, request: Document) -> Document:
        return requests.project(requests.output_shape("DescribeModel"), self.find(request["ModelName"]))

    def list_all(self, request: Document) -> Document:
        return listing.page("ListModels", "Model", self._context.store.view(MODEL), request, "Models")

    def delete(self, request: Document) -> Document:
        document = self.find(request["ModelName"])
        self._announce(document)
        self._context.store.delete(MODEL, request["ModelName"])
        tags.drop(self._context.store, document["ModelArn"])
        return {}

    def find(self, name: str) -> Document:
        document = self._context.store.get(MODEL, name)
        if document is None:
            raise invalid(f'Could not find model "{self._context.aws.arn(MODEL, name)}".')
        return document

    def _containers(self, request: Document) -> list[Document]:
        """Return the containers with those of a version of the registry in its place."""
        if ("PrimaryContainer" in request) == bool(request.get("Containers")):
            raise invalid("Either PrimaryContainer or Containers must be specified, and not both.")
        named: list[Document] = request.get("Containers") or [request["PrimaryContainer"]]
        return [container for one in named for container in self._of_version(one)]

    def _of_version(self, container: Document) -> list[Document]:
        if "ModelPackageName" not in container:
            return [container]
        requests.only(container, ("ModelPackageName", "Environment"), "container of a model package: ")
        containers = deployable(self._packages.find(container["ModelPackageName"]))
        if container.get("Environment") and len(containers) > 1:
            raise unsupported("container: Environment of a model package of several containers")
        more = container.get("Environment", {})
        return [one | ({"Environment": one.get("Environment", {}) | more} if more else {}) for one in containers]

    def _check(self, request: Document, deployed: list[Document]) -> None:
        requests.only(
            request,
            (
                "ModelName",
                "PrimaryContainer",
                "Containers",
                "InferenceExecutionConfig",
                "ExecutionRoleArn",
                "Tags",
                "VpcConfig",
                "EnableNetworkIsolation",
            ),
        )
        if request.get("InferenceExecutionConfig", {}).get("Mode", "Serial") != "Serial":
            raise unsupported("InferenceExecutionConfig.Mode Direct", "Use Serial.")
        requests.require(request, "ExecutionRoleArn")
        aws = self._context.aws.for_role(request["ExecutionRoleArn"])
        for container in deployed:
            _check_container(container, aws, request["ExecutionRoleArn"], self._context.root)

    def _announce(self, document: Document) -> None:
        arn, described = document["ModelArn"], requests.project(requests.output_shape("DescribeModel"), document)
        detail = events.model_detail(described, tags.read(self._context.store, arn))
        self._context.outbox.send(events.DETAIL_TYPES["Model"], [arn], detail)


class EndpointConfigs:
    """CreateEndpointConfig, DescribeEndpointConfig, ListEndpointConfigs, DeleteEndpointConfig."""

    def __init__(self, context: Context, models: Models) -> None:
        self._context = context
        self._models = models

    def create(self, request: Document) -> Document:
        name = request["EndpointConfigName"]
        arn = self._context.aws.arn(ENDPOINT_CONFIG, name)
        taken = invalid(f'Cannot create already existing endpoint configuration "{arn}".')
        if self._context.store.get(ENDPOINT_CONFIG, name) is not None:
            raise taken
        requests.only(request, ("EndpointConfigName", "ProductionVariants", "DataCaptureConfig", "Tags", "KmsKeyId"))
        members = {key: value for key, value in request.items() if key != "Tags"}
        members["ProductionVariants"] = self._variants(request["ProductionVariants"])
        document = members | {"EndpointConfigArn": arn, "CreationTime": now()}
        if not self._context.store.create(ENDPOINT_CONFIG, name, document):
            raise taken
        tags.put(self._context.store, arn, request.get("Tags", []))
        return {"EndpointConfigArn": arn}

    def describe(self, request: Document) -> Document:
        document = self._find(request["EndpointConfigName"])
        return requests.project(requests.output_shape("DescribeEndpointConfig"), document)

    def list_all(self, request: Document) -> Document:
        documents = self._context.store.view(ENDPOINT_CONFIG)
        return listing.page("ListEndpointConfigs", "EndpointConfig", documents, request, "EndpointConfigs")

    def delete(self, request: Document) -> Document:
        document = self._find(request["EndpointConfigName"])
        self._context.store.delete(ENDPOINT_CONFIG, request["EndpointConfigName"])
        tags.drop(self._context.store, document["EndpointConfigArn"])
        return {}

    def _find(self, name: str) -> Document:
        document = self._context.store.get(ENDPOINT_CONFIG, name)
        if document is None:
            arn = self._context.aws.arn(ENDPOINT_CONFIG, name)
            raise invalid(f'Could not find endpoint configuration "{arn}".')
        return document

    def _variants(self, variants: list[Document]) -> list[Document]:
        names = [variant["VariantName"] for variant in variants]
        if len(set(names)) < len(names):
            raise invalid(f"Production variant names must be unique, got: {', '.join(names)}.")
        return [self._variant(variant, number) for number, variant in enumerate(variants, 1)]

    def _variant(self, variant: Document, number: int) -> Document:
        requests.only(variant, _VARIANT_MEMBERS, f"ProductionVariants {variant['VariantName']!r}: ")
        path = f"productionVariants.{number}.member"
        wanted = ("ModelName", "InitialInstanceCount", "InstanceType")
        requests.raise_violations(
            requests.missing(f"{path}.{name[0].lower()}{name[1:]}") for name in wanted if name not in variant
        )
        self._models.find(variant["ModelName"])
        return {"InitialVariantWeight": 1.0} | variant


def containers(model: Document) -> list[Document]:
    """Return the containers of a model, in the order in which a request passes them."""
    several: list[Document] | None = model.get(_DEPLOYED) or model.get("Containers")
    return several or [model["PrimaryContainer"]]


def _check_container(container: Document, aws: Aws, role_arn: str, root: Path) -> None:
    requests.only(container, _CONTAINER_MEMBERS, "container: ")
    if "Image" not in container:
        raise invalid("container: Image is required.")
    stand_in(container["Image"], root, "serving")
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise unsupported("container: Mode MultiModel", "Use SingleModel.")
    if "ModelDataUrl" not in container:
        raise invalid(f"container: ModelDataUrl is required for {container['Image']}.")
    _check_model_data(aws, container["ModelDataUrl"], role_arn)


def _check_model_data(aws: Aws, url: str, role_arn: str) -> None:
    """Refuse a model whose archive is not there, or cannot be read."""
    try:
        bucket, key = split_uri(s3_uri(url))
        aws.client("s3").head_object(Bucket=bucket, Key=key)
    except JobFailedError as error:
        raise invalid(str(error).removeprefix("ClientError: ")) from error
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            raise invalid(f"Could not find model data at {url}.") from error
        raise invalid(
            f'Could not access model data at {url}. Please ensure that the role "{role_arn}" exists and that its '
            'trust relationship policy allows the action "sts:AssumeRole" for the service principal '
            '"sagemaker.amazonaws.com". Also ensure that the role has "s3:GetObject" permissions and that the object '
            f"is located in {aws.region}."
        ) from error
