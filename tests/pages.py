"""An HTML report as its reader's browser takes it: elements, their attributes, and the text between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

EMPTY = {"meta", "br", "img", "link", "input", "hr"}
# Whatever makes a browser ask for something, or run something.
ASKING = {"src", "href", "srcset", "data", "action", "formaction", "poster", "background", "xlink:href", "style"}
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "header", "section", "h1", "h2", "h3", "p", "ul", "li", "div",
    "table", "caption", "thead", "tbody", "tr", "th", "td", "strong", "span", "figure", "figcaption",
    "svg", "g", "rect", "text", "line", "path", "circle", "polyline",
}  # fmt: skip


class Page(HTMLParser):
    """A page that is read; reading fails where elements are not nested."""

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(content.decode("utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """What a person reads."""
        return " ".join(" ".join(self.texts).split())

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def unsafe(self) -> Iterator[str]:
        """Yield what would load, run or send something, and elements that reports do not have."""
        for tag, attributes in self.elements:
            if tag not in ELEMENTS:
                yield f"<{tag}>"
            for name, value in attributes.items():
                if name.startswith("on") or (name in ASKING and not re.fullmatch(r"width: \d+\.\d%", value)):
                    yield f"<{tag} {name}={value!r}>"
        if re.search(r"url\(|@import|expression\(", self.style):
            yield "style"
