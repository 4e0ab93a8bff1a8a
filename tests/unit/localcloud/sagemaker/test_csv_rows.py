"""CSV of XGBoost's container: Arrow reads what `float` reads, or leaves it to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.containers.csv_rows import parse_csv, plain_rows, read_rows

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.integers().map(str),
    st.sampled_from(["", "0", "-0", ".5", "5.", "1e5", "1E+5", "1e-400", "1e400", "-1e99999999999", "1" * 400]),
    st.sampled_from(["0." + "0" * 400 + "1", "16777217", "3.4028235677973366e38", "1.1754943508222875e-38"]),
)
ODD = st.one_of(
    st.sampled_from(
        ["+1", "nan", "NA", "null", "inf", "-inf", "nan(1)", "0x10", "1_0", "1e", "e5", "-", "+-1", ".", "1.2.3"]
    ),
    st.sampled_from(
        [" 1", "1 ", '"1"', "'1'", "1;2", "1\t2", "\ufeff1", "\uff11", "1\x0b2", "1\u20282", "true", "1f", "1,2"]
    ),
    st.text(max_size=4),
)
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n"])


@st.composite
def tables(draw: st.DrawFn, cells: st.SearchStrategy[str], narrowest: int = 1) -> list[list[str]]:
    width = draw(st.integers(narrowest, 4))
    return draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=6))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@given(tables(NUMBERS, narrowest=2), st.sampled_from(["", "\n"]))
def test_plain_numbers_are_the_same_bit_by_bit(table: list[list[str]], end: str) -> None:
    body = ("\n".join(map(",".join, table)) + end).encode()
    rows, expected = plain_rows(body), read_rows(body)
    assert rows is not None
    assert (rows.dtype, rows.shape, rows.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@given(tables(st.one_of(NUMBERS, ODD)), st.lists(ENDS, min_size=6, max_size=6), st.sampled_from(",;\t"))
def test_what_arrow_reads_is_what_float_reads(table: list[list[str]], ends: list[str], delimiter: str) -> None:
    body = "".join(delimiter.join(row) + end for row, end in zip(table, ends, strict=False)).encode("utf-8", "replace")
    rows = plain_rows(body)
    assert rows is None or rows.tobytes() == read_rows(body).tobytes()


@pytest.mark.parametrize(
    ("line", "text"),
    [(b"1,x", "could not convert string to float: 'x' in row 1000"), (b"1", "row 1000 has 1 columns, row 0 has 2")],
)
def test_a_large_body_is_refused_as_a_small_one(line: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_csv(b"1.25,2.5\n" * 1000 + line)


def test_a_large_body_of_plain_numbers_is_read_by_arrow() -> None:
    rows = plain_rows(b"1.25,,-3e2\n" * 1000)
    assert rows is not None
    assert rows.shape == (1000, 3)
    assert np.array_equal(rows[-1], np.array([1.25, np.nan, -300], dtype="f4"), equal_nan=True)
