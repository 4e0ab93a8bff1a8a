"""Somebody else's page on the port of the local cloud: who gets to it, and what it is given."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from localcloud import access
from localcloud.engine import mounted_page
from localcloud.engine.asgi import answer_json
from localcloud.engine.mounted_page import NONE_HERE, MountedPage
from localcloud.settings import Settings
from tests.asgi import Answer, ask


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(4566, tmp_path)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What the page's own function was given, each time that it was called."""
    given: list[tuple[int, str]] = []

    def make(port: int, token: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await answer_json(send, 200, {"path": scope["path"], "raw": scope["raw_path"].decode()})

        given.append((port, token))
        return app

    module = ModuleType("somebodys_page")
    module.make = make  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "somebodys_page", module)
    monkeypatch.setenv(mounted_page.VARIABLE, "somebodys_page:make")
    return given


def asked(app: MountedPage, path: str) -> Answer:
    return ask(app, path, headers={})


def test_it_is_loaded_when_it_is_first_asked_for_and_knows_no_path_above_it(settings: Settings, loads) -> None:
    app = MountedPage(settings)
    assert loads == []
    for path in ("/_console/", "/_console/api/runs"):
        rest = path.removeprefix("/_console")
        assert asked(app, path).json == {"path": rest, "raw": rest}
    assert loads == [(4566, mounted_page.token(settings.state))]
    moved = asked(app, "/_console")
    assert (moved.status, moved.headers["location"]) == (308, "/_console/")


def test_without_one_it_says_how_to_get_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(mounted_page.VARIABLE, raising=False)
    answer = asked(MountedPage(settings), "/_console/")
    assert (answer.status, answer.body.decode(), mounted_page.address(settings)) == (404, NONE_HERE, "")


def test_the_token_is_that_of_the_state_folder_and_tells_no_key(settings: Settings, loads, tmp_path: Path) -> None:
    token = mounted_page.token(settings.state)
    assert mounted_page.address(settings) == f"http://127.0.0.1:4566/_console/#token={token}"
    assert token == mounted_page.token(settings.state) != mounted_page.token(tmp_path / "another")
    assert access.keys(settings.state).secret_key not in token
    assert len(token) == 43


@pytest.mark.parametrize("path", ["/_consoles", "/_localcloud/status", "/", "/bucket/_console/"])
def test_what_only_looks_like_it_is_not_it(path: str) -> None:
    assert not MountedPage.is_meant(path)
