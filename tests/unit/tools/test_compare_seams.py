"""What of MiniStack has changed in meaning, by the hashes beside the uses: here, a MiniStack of two files."""

from pathlib import Path

import pytest

from tools import compare_seams

QUEUES = '''
"""Queues."""
import json

try:
    _LIMIT = 10
except ImportError:
    _LIMIT = 5

_queues = {}

class Worker:
    def spawn(self):
        return 1

def send(name, body):
    """Put a message into a queue."""
    # at its end
    _queues[name].append({"body": body})
'''
FORMATTED = """
import json
try: _LIMIT = 10
except ImportError: _LIMIT = 5
_queues = {}
def other(): pass
class Worker:
    def spawn(self): return 1
def send(
    name,
    body,
):
    _queues[name].append(
        {'body': body},
    )
"""
USES = """
from localcloud.engine.seams import Seams

queues = Seams("services.queues", Worker="", _LIMIT="", _queues="", json="", send="")
topics = Seams("services.topics", forward="", publish="")
Worker = Seams("services.queues.Worker", spawn="")


def register():
    for name in ("send", "Worker"):
        queues.replace(name, print)
    topics.replace("forward", print)
    Worker.replace("spawn", print)
    return queues._queues, queues._LIMIT, queues.json, topics.publish
"""


def ministack(folder: Path, queues: str) -> Path:
    """A folder with a MiniStack."""
    topics = folder / "ministack" / "services" / "topics"
    topics.mkdir(parents=True)
    (topics.parent / "queues.py").write_text(queues)
    (topics / "__init__.py").write_text(
        "from ministack.services.queues import send as publish\nfrom ..queues import send as forward\n"
    )
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A module of ours, with the hashes of a MiniStack."""
    module = tmp_path / "engine.py"
    module.write_text(USES)
    assert compare_seams.compare([module], ministack(tmp_path / "known", QUEUES), may_write=True) == []
    return module


def changes(engine: Path, queues: str) -> list[str]:
    """What is said of another MiniStack, up to the hashes."""
    said = compare_seams.compare([engine], ministack(engine.parent / "other", queues), may_write=False)
    return [text.removeprefix(f"{engine}:").split(": it is")[0] for text in said]


def test_hashes_are_written_where_they_are_declared(
    engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert '""' not in engine.read_text()
    newer = ministack(tmp_path / "newer", QUEUES.replace("= 10", "= 20"))
    before = engine.read_text()
    assert compare_seams.compare([engine], newer, may_write=True) == []
    assert capsys.readouterr().out.startswith(f"{engine}:4: ministack.services.queues._LIMIT has changed: it is ")
    assert engine.read_text() != before
    assert compare_seams.compare([engine], newer, may_write=False) == []


def test_comments_docstrings_formatting_and_neighbours_do_not_matter(engine: Path) -> None:
    assert changes(engine, FORMATTED) == []


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("body}", "body, 'id': 1}", ["queues.send", "topics.forward", "topics.publish"]),
        ("name, body)", "name, body=None)", ["queues.send", "topics.forward", "topics.publish"]),
        ("return 1", "return 2", ["queues.Worker", "queues.Worker.spawn"]),
        ("_LIMIT = 5", "_LIMIT = 6", ["queues._LIMIT"]),
        ("import json", "import orjson as json", ["queues.json"]),
    ],
)
def test_what_has_changed_is_named_wherever_it_is_declared(
    engine: Path, old: str, new: str, changed: list[str]
) -> None:
    said = changes(engine, QUEUES.replace(old, new))
    assert sorted(text.partition("services.")[2] for text in said) == [f"{name} has changed" for name in changed]


def test_what_is_gone_is_not_written(engine: Path) -> None:
    other = ministack(engine.parent / "other", QUEUES.replace("_queues = {}", ""))
    said = compare_seams.compare([engine], other, may_write=True)
    assert said == [f"{engine}:4: ministack.services.queues._queues is gone"]


def test_a_use_without_declaration_and_a_declaration_without_use_are_said(engine: Path) -> None:
    engine.write_text(engine.read_text().replace("queues._LIMIT", "queues._limit"))

    assert list(compare_seams.misused(engine)) == [
        f"{engine}:14: queues._limit is used but not declared",
        f"{engine}:4: ministack.services.queues._LIMIT is declared but not used",
    ]


def test_a_folder_without_ministack_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compare_seams.main([str(tmp_path)])
    assert f"there is no ministack/ in {tmp_path}" in capsys.readouterr().err
