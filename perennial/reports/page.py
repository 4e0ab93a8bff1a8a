"""An HTML page of its parts: one file, without scripts, that opens without a network.

Parts are elements, and what data say stands in them as text: it is escaped where the page is written, in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from perennial.words import printable

Content = str | Element | None
MAX_TEXT = 400  # characters of a text that data may have brought
MAX_ROWS = 250  # of a table
# Whatever a text may be taken for, nothing is loaded and no script runs.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
THEN, NOW, LIMIT = "#2f6fb5", "#c8500a", "#767676"  # style.css has others for the dark
STYLE = Path(__file__).with_name("style.css")


def text(value: object, limit: int = MAX_TEXT) -> str:
    """Return what data say as a text of one line, in characters that can be printed."""
    return printable(str(value), limit)


def element(tag: str, *children: Content, **attributes: str) -> Element:
    """Return an element; `class_` is the attribute class, and None no child."""
    made = Element(tag, {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child and len(made):
            made[-1].tail = (made[-1].tail or "") + child
        elif child:
            made.text = (made.text or "") + child
    return made


def section(title: str, *children: Content) -> Element:
    """Return a part of the page under a heading."""
    return element("section", element("h2", title), *children)


def listed(lines: Iterable[str], most: int = MAX_ROWS) -> Element:
    """Return texts as a list, of which the last says how many are left out."""
    every = [text(line) for line in lines]
    more = [f"... and {len(every) - most:,} more"] if len(every) > most else []
    return element("ul", *(element("li", line) for line in [*every[:most], *more]))


def table(headings: Sequence[str], rows: Sequence[Sequence[Content]], caption: str = "") -> Element:
    """Return a table, with the number of the rows that are left out."""
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows[:MAX_ROWS]]
    more = f"{len(rows) - MAX_ROWS:,} more rows are left out." if len(rows) > MAX_ROWS else None
    head = element("thead", element("tr", *(element("th", heading, scope="col") for heading in headings)))
    title = element("caption", caption) if caption else None
    whole = element("table", title, head if any(headings) else None, element("tbody", *body))
    return element("div", whole, element("p", more, class_="muted") if more else None, class_="scroll")


def pairs(rows: Iterable[tuple[str, Content]], caption: str = "") -> Element:
    """Return a table of names and what they have."""
    return table((), [(name, value) for name, value in rows], caption)


def figure(title: str, picture: Element, about: str = "") -> Element:
    """Return a picture under its title, and what there is to say of it."""
    return element("figure", element("h3", title), picture, element("figcaption", about) if about else None)


def figures(made: Sequence[Element]) -> Element:
    """Return pictures beside each other, as many as there is room for."""
    return element("div", *made, class_="figures")


def page(title: str, *parts: Content) -> bytes:
    """Return the page in UTF-8."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Element("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", STYLE.read_text(encoding="utf-8")),
    )
    document = element("html", head, element("body", *parts), lang="en")
    return f"<!doctype html>\n{tostring(document, encoding='unicode', method='html')}\n".encode(errors="replace")
