"""Healthy input, mutated: whatever comes in, what is declared comes out (tests/fuzz/targets.py says what).

It takes no more memory than its size explains.
"""

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perennial.data import ingest
from processing import inference
from tests.fuzz.targets import TARGETS, Target
from tests.memory import bounded
from tests.unit.test_memory import BITES, grow_and_hide_it

MAKEFILE = Path(__file__).parents[2] / "Makefile"
TOKENS = (
    *(b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b":", b"'", b" ", b"\t", b"~"),
    *(b"nan", b"inf", b"1e999", b"-0", b"9" * 30, b"9" * 5000, b"1_0", b"0x10", b"\xd9\xa1", b"true", b"null", b"NaN"),
    *(b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"2024-13-45", b"\\ud800", b"\\u202e", b"[" * 5000),
    *(
        b"\xe2\x80\xae",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"\x1b[31m",
        b"\r\nBcc: a@b",
        b"https://x.example",
        b"www.x.example",
    ),
    *(b"&a ", b"*a", b"<<: *a", b"!!int ", b"!!timestamp ", b"!!python/object:os.system ", b"? ", b"- ", b"---\n"),
    *(
        b"../",
        b"/etc/",
        b"price",
        b"mileage",
        b"instances",
        b"features",
        b"DataPrefix",
        b"x" * 3000,
        b"%s",
        b"{0.__class__}",
    ),
)
# Runs of the whole job take 30 ms each, the others less than 5.
EXAMPLES = {"dropped-csv": 60, "dropped-gzip": 30, "dropped-parquet": 60, "model-yaml": 40}


def mutated(random: Random, content: bytes) -> bytes:
    """The content with some bytes changed, cut out, repeated, or with something strange put in."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        start = random.randrange(len(data) + 1)
        length = random.choice((0, 1, 3, 40))
        replacement = random.choice(TOKENS), data[start : start + length] * 2, random.randbytes(length), b""
        data[start : start + length] = random.choice(replacement)
    return bytes(data)


def checked(target: Target, content: bytes) -> None:
    with bounded():
        target.check(content)


def test_make_fuzz_takes_every_target() -> None:
    listed = re.search(r"^TARGETS \?= (.+(?:\n  .+)*)", MAKEFILE.read_text(), re.MULTILINE)
    assert listed
    assert set(listed[1].replace("\\", " ").split()) == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_what_is_declared_comes_of_any_input(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=EXAMPLES.get(name, 150), suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(target.seeds), st.randoms(use_true_random=False))
    def holds(seed: bytes, random: Random) -> None:
        checked(target, mutated(random, seed))

    holds()


@pytest.mark.parametrize("name", TARGETS)
def test_arbitrary_bytes_are_no_better(name: str) -> None:
    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=300))
    def holds(content: bytes) -> None:
        checked(TARGETS[name], content)

    holds()


@pytest.mark.parametrize(
    ("module", "function", "target"),
    [
        pytest.param(ingest, "each_batch", "dropped-csv", id="the preprocessor"),
        pytest.param(ingest, "check", "dropped-csv", id="the contract check"),
        pytest.param(inference, "input_fn", "request-csv", id="the serving script"),
    ],
)
def test_hostile_input_that_takes_memory_fails_its_test(
    module: Any, function: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(module, function)

    def greedy(*arguments: Any) -> Any:
        grow_and_hide_it()
        return original(*arguments)

    monkeypatch.setattr(module, function, greedy)
    with pytest.raises(AssertionError, match=BITES):
        checked(TARGETS[target], TARGETS[target].seeds[0])
