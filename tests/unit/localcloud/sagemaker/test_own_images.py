"""An image of one's own is what images.json says, and nothing else is taken for it."""

import json
import sys
from pathlib import Path

import pytest

from localcloud.sagemaker.algorithms.own_images import own_image
from localcloud.sagemaker.containers import own_serve
from localcloud.sagemaker.containers.serving_container import Request
from localcloud.sagemaker.endpoints.stand_ins import stand_in
from localcloud.sagemaker.errors import AwsError
from tests.e2e.matrix.registry import matrix

DIGEST = f"sha256:{'7' * 64}"
TREES = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/images/trees"
SERVER = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"pong")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(body.upper() + self.headers["Accept"].encode() + os.environ["OPT_ML"].encode())
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


def named(state: Path, **commands: list[str]) -> dict[str, list[str]]:
    return {"train": ["python", "trees.py", "train"], "serve": ["python", "trees.py", "serve"], **commands}


def test_the_commands_of_an_image_go_before_those_of_its_repository(tmp_path: Path) -> None:
    document = {"images/trees": named(tmp_path), f"images/trees@{DIGEST}": named(tmp_path, train=["/env/bin/train"])}
    (tmp_path / "images.json").write_text(json.dumps(document))
    python = Path("/image/bin/python")
    tagged, pinned = own_image(f"{TREES}:1", tmp_path), own_image(f"{TREES}@{DIGEST}", tmp_path)
    assert tagged is not None
    assert pinned is not None
    assert tagged.command("train", python) == ["/image/bin/python", "trees.py", "train"]
    assert pinned.command("train", python) == ["/env/bin/train"]
    assert stand_in(f"{TREES}:1", tmp_path / "sagemaker", "training") == tagged


@matrix("The laptop", "an image that nothing stands in for", ends="Failed")
def test_an_image_that_is_not_named_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert own_image(f"{TREES}@{DIGEST}", tmp_path) is None
    with pytest.raises(AwsError) as refused:
        stand_in(f"{TREES}@{DIGEST}", tmp_path / "sagemaker", "training")
    assert "(repository 'trees') is not supported by the local SageMaker. For training it knows: sagemaker-scikit" in (
        refused.value.message
    )
    assert f"images of your own need their commands in {tmp_path / 'images.json'} (docs/own-algorithm.md)" in (
        refused.value.message
    )


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"images/trees": {"train": ["a"]}}', '{"images/trees": {"train": "a", "serve": ["b"]}}']
)
def test_a_file_that_is_none_is_refused_with_what_is_expected(tmp_path: Path, text: str) -> None:
    (tmp_path / "images.json").write_text(text)
    with pytest.raises(AwsError) as refused:
        own_image(TREES, tmp_path)
    assert str(tmp_path / "images.json") in refused.value.message
    assert 'expected {"<repository>": {"train": [' in refused.value.message


def test_a_program_answers_on_the_port_that_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    application = own_serve.OwnApplication([sys.executable, str(tmp_path / "server.py")], tmp_path)
    try:
        answer = application.invoke(Request(b"a,b", {"content-type": "text/csv", "accept": "text/csv"}))
        assert (answer.status, answer.content_type) == (200, "text/csv")
        assert answer.body == f"A,Btext/csv{tmp_path}".encode()
    finally:
        application.end()


def test_a_program_that_ends_before_it_answers_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with exit code 3 before it answered /ping"):
        own_serve.OwnApplication([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)
