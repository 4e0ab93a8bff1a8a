"""In which encoding a text is, where no byte order mark says so and it is no UTF-8.

charset-normalizer measures how much of a mess a text is in each encoding, and how near its letters are to a language.
Encodings that differ in few characters come out alike; among them counts what stands within words, and at last which
is more usual. So it stays a guess, which is shown with what it makes of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, get_args

from charset_normalizer import from_bytes

from perennial.model.definition import TextEncoding

ENCODINGS: tuple[str, ...] = tuple(name for name in get_args(TextEncoding) if name != "utf-8")  # the most usual first
UNSURE = ("latin-1", "utf-16")  # any bytes are a text of the first, and the second has a mark
MESS, MOST_MESS = 0.1, 0.4
_WORDS = re.compile(r"[^\W\d_]*[^\W\d_\x00-\x7f][^\W\d_]*")
# Signs of units stand beside letters by right: `°F`, `m²`. Only whole units, since `³` is an `ł` of Latin 2 in `mia³`.
_UNITS = re.compile(r"°[CFK](?!\w)|(?<!\w)[cdkm]?m[²³](?!\w)|(?<!\w)[kTM]€(?!\w)")
MOST_WORDS = 3


def likely(head: bytes) -> list[str]:
    """Return the encodings that the beginning of a file may be in, the likeliest first; one of those that read alike.

    Empty where nothing is likely.
    """
    known = {name.replace("-", "_").replace("iso_8859", "iso8859"): name for name in ENCODINGS if name not in UNSURE}
    matches: list[Any] = list(from_bytes(head, cp_isolation=list(known), threshold=MOST_MESS))
    ranked = sorted(
        matches,
        key=lambda match: (
            _breaks_words(_read(head, match.encoding)),
            match.chaos >= MESS,
            -match.coherence,
            ENCODINGS.index(known[match.encoding]),
        ),
    )
    texts: dict[str, str] = {}
    for match in ranked:
        text = _read(head, match.encoding)
        texts.setdefault(text, next(name for name in ENCODINGS if _read(head, name) == text))
    return list(texts.values())


def words(text: str) -> Sequence[str]:
    """Return a few words of a text that an encoding may have made wrong."""
    return list(dict.fromkeys(match[0] for match in _WORDS.finditer(text)))[:MOST_WORDS]


def _read(head: bytes, encoding: str) -> str:
    return head.decode(encoding, "replace")


def _breaks_words(text: str) -> bool:
    """Return whether what is no letter, and not of ASCII, stands right beside a letter, as in `¦wieca`."""
    return any(
        one.isalpha() != other.isalpha() and _is_strange(other if one.isalpha() else one)
        for one, other in pairwise(_UNITS.sub(" ", text))
    )


def _is_strange(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character)[0] not in "MZ"
