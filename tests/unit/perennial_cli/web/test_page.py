"""The files of the page: they load and ask nothing from elsewhere, and read no data as HTML."""

import re
from html.parser import HTMLParser

import pytest

from perennial_cli.account import Account
from perennial_cli.web.app import PAGE, Console, application
from tests.asgi import PORT, SECRET, ask

MODULES = sorted(PAGE.glob("*.js"))
SVG = "http://www.w3.org/2000/svg"


@pytest.fixture
def app_files() -> dict[str, bytes]:
    """What the console answers for each file of the page."""
    app = application(Console(Account("123456789012", "eu-west-1", None)), PORT, SECRET)
    return {path.name: ask(app, "/" if path.name == "index.html" else f"/{path.name}").body for path in PAGE.iterdir()}


# Whatever makes a text HTML, a script or a style.
READS_AS_CODE = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser", "srcdoc",
    "createContextualFragment", ".cssText", "setHTML", "import(",
)  # fmt: skip


def test_it_asks_nothing_from_elsewhere() -> None:
    for path in PAGE.iterdir():
        text = path.read_text().replace(SVG, "")
        assert not re.search(r"(?:https?:)?//[\w.-]+\.\w+|@import|url\(", text), path.name
        assert not re.search(r"\b(?:XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts)\b", text), path.name
    asks = {path.name for path in MODULES if "fetch(" in path.read_text()}
    assert asks == {"api.js"}


def test_it_is_served_as_it_is_written_without_a_build(app_files: dict[str, bytes]) -> None:
    assert {path.suffix for path in PAGE.iterdir()} == {".html", ".css", ".js", ".svg"}
    assert app_files == {path.name: path.read_bytes() for path in PAGE.iterdir()}


def test_no_text_of_data_is_read_as_html_or_as_a_script() -> None:
    assert [(path.name, one) for path in MODULES for one in READS_AS_CODE if one in path.read_text()] == []


def test_nothing_that_goes_wrong_is_kept_from_the_person() -> None:
    silent = re.compile(r"catch\(\(\w*\) => (?:\{\s*\}|null|undefined)\)|catch(?: \(\w+\))? \{\s*\}")
    assert [(path.name, one) for path in MODULES for one in silent.findall(path.read_text())] == []


def test_addresses_of_links_are_those_of_this_page() -> None:
    """Data stand in addresses behind a #, so that none of them can be one such as javascript:..."""
    links = [link for path in MODULES for link in re.findall(r"href: ([`\"'].)(.)", path.read_text())]
    assert {first[1] + second for first, second in links} == {"#/"}


def test_the_document_has_no_script_and_no_style_in_it_and_names_its_parts() -> None:
    class Elements(HTMLParser):
        found: list[tuple[str, dict[str, str | None]]] = []  # noqa: RUF012 - of this test alone

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.append((tag, dict(attrs)))

    page = Elements()
    page.feed((PAGE / "index.html").read_text())
    names = [tag for tag, _ in page.found]
    assert "style" not in names
    assert not [given for _, given in page.found if any(name == "style" or name.startswith("on") for name in given)]
    assert [given for tag, given in page.found if tag == "script"] == [{"type": "module", "src": "main.js"}]
    assert {"header", "nav", "main"} <= set(names)
    assert dict(page.found)["html"]["lang"] == "en"
    viewport = next(given["content"] for tag, given in page.found if given.get("name") == "viewport")
    assert viewport == "width=device-width, initial-scale=1", "as wide as a phone, and it may be made larger"
    assert any(given.get("aria-live") == "polite" for _, given in page.found)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_modules_import_what_there_is(module) -> None:
    for names, file in re.findall(r"import \{ (.+?) \} from \"\./(\w+\.js)\"", module.read_text()):
        exported = set(re.findall(r"export (?:async )?(?:function|const) (\w+)", (PAGE / file).read_text()))
        assert set(names.split(", ")) <= exported
        used = re.sub(r"^import .+$", "", module.read_text(), flags=re.MULTILINE)
        assert [name for name in names.split(", ") if not re.search(rf"\b{name}\b", used)] == []


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_texts_can_be_read_in_the_light_and_in_the_dark() -> None:
    """A contrast of 4.5 (WCAG 2.2, 1.4.3) of each ink on each paper that it stands on."""
    light, dark = re.findall(r":root \{(.+?)\}", (PAGE / "style.css").read_text(), re.DOTALL)
    for theme in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", theme))
        pairs = [(ink, paper) for ink in ("ink", "faint", "link", "good", "bad", "busy", "doubt")
                 for paper in ("paper", "raised")]  # fmt: skip
        pairs += [(kind, f"{kind}-paper") for kind in ("good", "bad", "busy", "doubt")]
        pairs += [("ink", f"{kind}-paper") for kind in ("good", "bad", "busy")]
        low = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
        assert {pair: ratio for pair, ratio in low.items() if ratio < 4.5} == {}
        assert contrast(colours["focus"], colours["paper"]) >= 3  # 1.4.11
