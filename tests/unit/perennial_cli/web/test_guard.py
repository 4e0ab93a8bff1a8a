"""Who may ask the console, whatever is behind it, and what its answers let a browser do."""

from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from perennial_cli.web.guard import TOKEN, Guard
from tests.asgi import HOST, PERSON, PORT, SECRET, ask

ONLY_READS = "the console only reads"


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def app(asked: list[str]) -> Guard:
    return guarded(asked)


def guarded(asked: list[str], only_reads: str = "", port: int = PORT) -> Guard:
    """What is behind the guard notes that it was asked."""

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await PlainTextResponse("<b>data</b>")(scope, receive, send)

    return Guard(inner, port, SECRET, only_reads)


@pytest.mark.parametrize("host", [HOST, f"localhost:{PORT}", f"LOCALHOST:{PORT}"])
def test_a_person_who_has_the_token_is_answered(app: Guard, asked: list[str], host: str) -> None:
    own = {**PERSON, "host": host, "origin": f"http://{host.lower()}", "sec-fetch-site": "same-origin"}
    assert ask(app, "/api/runs", headers=own).status == 200
    assert asked == ["/api/runs"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"host": f"evil.example:{PORT}"}, 421),  # a name that leads here: DNS rebinding
        ({"host": "127.0.0.1"}, 421),
        ({"host": f"127.0.0.1:{PORT + 1}"}, 421),
        ({"host": f"127.0.0.1:{PORT}@evil.example"}, 421),
        ({"host": ""}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": f"http://127.0.0.1:{PORT + 1}"}, 403),
        ({"origin": f"https://{HOST}"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),  # another port of this machine
        ({TOKEN: ""}, 401),
        ({TOKEN: "another"}, 401),
        ({TOKEN: SECRET[:-1]}, 401),
        ({TOKEN: SECRET + " "}, 401),
        ({TOKEN: "ü"}, 401),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stranger_is_refused_before_anything_is_asked(app, asked, change, status: int, method: str) -> None:
    answer = ask(app, "/api/runs", method, headers={**PERSON, **change})
    assert (answer.status, asked) == (status, [])
    assert answer.json["message"]


def test_on_the_port_of_http_the_host_has_none(asked: list[str]) -> None:
    app = guarded(asked, port=80)
    assert [ask(app, "/", headers={"host": host}).status for host in ("127.0.0.1", "evil.example")] == [200, 421]


def test_a_missing_token_says_where_it_is(app: Guard) -> None:
    answer = ask(app, "/api/runs", headers={"host": HOST})
    assert (answer.status, "open the address that `perennial console`" in answer.json["message"]) == (401, True)


def test_the_page_itself_has_nothing_to_hide_and_is_read_only(app: Guard, asked: list[str]) -> None:
    assert ask(app, "/main.js", headers={"host": HOST}).status == 200
    assert ask(app, "/", "POST", headers=PERSON).status == 405
    assert ask(app, "/", headers={"host": "evil.example"}).status == 421
    assert asked == ["/main.js"]


def test_where_it_only_reads_nothing_else_goes_through(asked: list[str]) -> None:
    app = guarded(asked, ONLY_READS)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = ask(app, "/api/versions/1", method)
        assert (answer.status, answer.json["message"]) == (403, ONLY_READS)
    assert asked == []
    assert ask(app, "/api/versions").status == 200


@pytest.mark.parametrize("headers", [PERSON, {"host": "evil.example"}])
def test_no_answer_may_be_framed_cached_sniffed_or_load_anything_from_elsewhere(app: Guard, headers) -> None:
    answer = ask(app, "/api/runs", headers=headers)
    policy = dict(one.strip().split(" ", 1) for one in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[f"{kind}-src"] for kind in ("script", "style", "img", "connect")} == {"'self'"}
    assert (policy["frame-ancestors"], policy["base-uri"], policy["form-action"]) == ("'none'",) * 3
    wanted = {
        "x-content-type-options": "nosniff", "cache-control": "no-store", "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    }  # fmt: skip
    assert {name: answer.headers[name] for name in wanted} == wanted
    assert not any(name.startswith("access-control-") for name in answer.headers)
