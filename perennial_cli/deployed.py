"""The definition that a stack was deployed with, as its runs read it."""

from __future__ import annotations

import io
import zipfile

import boto3

from perennial.model import definition
from perennial.model.definition import Definition
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack


def definition_of(stack: Stack) -> Definition:
    """Return the model.yaml in the code of a deployed stack. Raises CommandError: it is not there."""
    key = f"models/{stack.model}/model.yaml"
    return definition.parse(code_of(stack).read(key).decode(), key)


def code_of(stack: Stack) -> zipfile.ZipFile:
    """Return the code that a stack was deployed with. Raises CommandError: it is not there."""
    code = f"{stack.outputs['CodeUri']}/code.zip"
    s3 = boto3.client("s3")
    try:
        archive = s3.get_object(Bucket=stack.bucket, Key=code.removeprefix(f"s3://{stack.bucket}/"))["Body"].read()
    except s3.exceptions.NoSuchKey as error:
        raise CommandError(
            f"{code}, the code that {stack.name} was deployed with, is not there; deploy it again"
        ) from error
    return zipfile.ZipFile(io.BytesIO(archive))
