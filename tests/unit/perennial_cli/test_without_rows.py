"""`make erase`, file by file: whose rows are left out, and that everything else stays as it was."""

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial_cli.without_rows import Counts, UnreadableError, Wanted, copy_captures, copy_table
from tests.memory import bounded

CUSTOMER = Wanted(("customer_id", "Kunde Nr"), "17")


@pytest.fixture
def without(tmp_path: Path) -> Callable[..., bytes]:
    """What is left of some bytes."""

    def copied(content: bytes, *options: str, erased: int | None = None, wanted: Wanted = CUSTOMER) -> bytes:
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(content)
        found = copy_table(source, target, wanted, *options)
        assert found.has_column
        assert erased is None or found.erased == erased
        return target.read_bytes()

    return copied


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["customer_id", "Customer ID", "kunde_nr"])
def test_rows_of_a_csv_go_by_the_name_of_the_column_in_any_spelling(without, end, mark, name):
    rows = [
        ["price", name, "make"],
        ["1", "17", "Opel"],
        ["2", "170", '"a, ""b"""'],
        ["3", " 17.0 ", "x"],
        ["4", "", ""],
    ]
    lines = [mark.join(row) + end for row in rows]
    assert without("".join(lines).encode(), erased=2) == "".join([lines[0], lines[2], lines[4]]).encode()


def test_what_stands_before_the_header_stays(without):
    assert (
        without(b"\r\n  \nsep=^\r\na^customer_id\r\n1^17\r\n2^8", erased=1) == b"\r\n  \nsep=^\r\na^customer_id\r\n2^8"
    )


def test_a_declared_delimiter_is_used(without):
    assert without(b"a:customer_id\n1:17\n", "utf-8", ":", erased=1) == b"a:customer_id\n"


OF_TWO_BYTES = ("shift_jis", "cp932", "euc_jp", "euc_kr", "cp949", "big5", "gb18030")


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "koi8-r", "utf-16-le", "utf-16-be", *OF_TWO_BYTES])
def test_rows_go_in_every_encoding(without, encoding):
    text = "\uff4e" if encoding in OF_TWO_BYTES else "п" if encoding == "koi8-r" else "é"
    head, mine, other = (line.encode(encoding) for line in ("n,customer_id\n", f"{text},17\n", f"{text}\\,18\n"))
    assert without(head + mine + other, encoding, erased=1) == head + other


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_counts_more_than_what_is_declared_and_stays(without, mark):
    whole, left = ("n,customer_id\né,17\nü,18\n".encode(mark), "n,customer_id\nü,18\n".encode(mark))
    assert without(whole, "cp1252", erased=1) == left


def test_a_row_may_take_several_lines(without):
    rest = b'customer_id,note\n18,"one\r\n, two ""17"""\n'
    assert without(rest + b'17,"one\n\ntwo"\n', erased=1) == rest


@pytest.mark.parametrize(
    "body", ['17,"never closed\n18,next\n19,"a"\n', '17,"never closed\n18,next', '17,"one\n18,"two",3\n']
)
def test_rows_that_quotation_marks_have_swallowed_are_nobodys_to_erase(without, body):
    with pytest.raises(UnreadableError, match="row 2: a quotation mark is not closed in its place"):
        without(f"customer_id,note\n{body}".encode())


def test_rows_of_json_lines_go_in_every_spelling_of_a_number(without):
    mine = ['{"customer_id": 17}', '{"Customer-ID":"17"}', '{"a":1,"customer_id":17.0}']
    rest = ['{"customer_id": 170}', "", "no json", '{"a": "17"}', '{"customer_id": null}', '[{"customer_id": 17}]']
    lines = [rest[0], *mine, *rest[1:]]
    assert without("\n".join(lines).encode(), erased=3) == "\n".join(rest).encode()


def test_gzip_stays_gzip(without):
    left = without(gzip.compress(b"customer_id\n17\n8\n") + gzip.compress(b"17\n9\n"), erased=2)
    assert gzip.decompress(left) == b"customer_id\n8\n9\n"


@pytest.mark.parametrize(
    ("values", "value"),
    [
        (pa.array([17, 8, None, 17]), "17"),
        (pa.array([17.0, 8.5, None, 17.0]), "17"),
        (pa.array(["17", "8", None, " 17"]), "17"),
        (pa.array([b"17", b"8", None, b"17"]), "17"),
        (pa.array(["17", "8", None, "17"]).dictionary_encode(), "17"),
        (pa.array([Decimal("17.00"), Decimal("8.00"), None, Decimal("17.00")]), "17"),
    ],
)
@pytest.mark.parametrize("packing", ["snappy", "none", "zstd"])
def test_rows_of_parquet_go_and_types_values_and_packing_stay(tmp_path, values, value, packing):
    table = pa.table({"customer_id": values, "nested": [{"a": [1]}, {"a": [2]}, None, {"a": None}], "n": [1, 2, 3, 4]})
    source, target = tmp_path / "source", tmp_path / "target"
    pq.write_table(table.replace_schema_metadata({"who": "me"}), source, compression=packing, row_group_size=3)
    assert copy_table(source, target, Wanted(("customer_id",), value)) == Counts(4, 2, has_column=True)
    left = pq.read_table(target)
    assert left.equals(pq.read_table(source).take([1, 2]), check_metadata=True)
    assert pq.ParquetFile(target).metadata.row_group(0).column(0).compression.lower() in (packing, "uncompressed")


@pytest.mark.parametrize("theirs", ["17", " 017", "+17", "1.7e1", "17.00", "17."])
def test_in_a_column_of_numbers_whatever_means_the_number_is_theirs(tmp_path, theirs):
    (source := tmp_path / "source").write_text(f"customer_id,n\n{theirs},1\n170,2\nnan,3\n,4\n17a,5\n1_7,6\n")
    wanted = Wanted(("customer_id",), "17", is_a_number=True)
    assert copy_table(source, target := tmp_path / "target", wanted) == Counts(6, 1, has_column=True)
    assert target.read_text() == "customer_id,n\n170,2\nnan,3\n,4\n17a,5\n1_7,6\n"


def test_a_file_that_does_not_name_the_column_is_told(tmp_path):
    for number, content in enumerate((b"price,make\n17,Opel\n", b"hello 17", b"", b'{"a": 17}')):
        (source := tmp_path / str(number)).write_bytes(content)
        found = copy_table(source, tmp_path / "target", CUSTOMER)
        assert (found.erased, found.has_column) == (0, False)
    pq.write_table(pa.table({"price": [17]}), tmp_path / "parquet")
    assert not copy_table(tmp_path / "parquet", tmp_path / "target", CUSTOMER).has_column


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04...", "this is a zip archive or an Excel workbook"),
        (gzip.compress(b"customer_id\n17\n")[:-6], "end-of-stream"),
        (b"PAR1 no parquet", "the Parquet data are damaged or cut off"),
        (
            b"\xde\xad\xbe\xef",
            "this is no text in the encoding of the files, and does not begin as Parquet or gzip does",
        ),
        (b"customer_id\n\xff17\n", "can't decode byte 0xff"),
        (b"customer_id\n" + b"x" * (13 << 20), "a line is longer than 6 MiB"),
    ],
    ids=["excel", "torn gzip", "torn parquet", "no text", "not utf-8", "long line"],
)
def test_what_cannot_be_read_says_why(tmp_path, content, said):
    (source := tmp_path / "source").write_bytes(content)
    with pytest.raises(UnreadableError, match=said):
        copy_table(source, tmp_path / "target", CUSTOMER)


@pytest.mark.parametrize("at", [40, -60], ids=["page", "footer"])
def test_parquet_with_wrong_bytes_says_so(tmp_path, at):
    """Arrow has errors of the operating system for them, and so for what is wrong with this machine."""
    source, target = tmp_path / "source", tmp_path / "target"
    pq.write_table(pa.table({"customer_id": ["17" * 50] * 1000}), source, store_schema=False)
    content = bytearray(source.read_bytes())
    content[at : at + 20] = b"\xff" * 20
    source.write_bytes(content)
    with pytest.raises(UnreadableError, match="the Parquet data are damaged or cut off"):
        copy_table(source, target, CUSTOMER)
    pq.write_table(pa.table({"customer_id": range(100_000)}), source)
    with pytest.raises(FileNotFoundError):
        copy_table(source, tmp_path / "no folder" / "target", CUSTOMER)


IDS = st.sampled_from(["17", "18", "017", "17.5", "", "seventeen"])
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(rows=st.lists(st.tuples(TEXTS, IDS, TEXTS)), end=st.sampled_from(["\n", "\r\n"]), last=st.booleans())
def test_whatever_is_not_theirs_stays_byte_for_byte(tmp_path_factory, rows, end, last):
    folder = tmp_path_factory.mktemp("rows")

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""').replace("\r", " ").replace("\n", " ") + '"'

    lines = [f"{quoted(one)},{key},{quoted(other)}{end}" for one, key, other in rows]
    kept = [line for line, (_, key, _) in zip(lines, rows, strict=True) if key != "17"]
    head = f"a,customer_id,b{end}"
    cut = None if last or not rows else -len(end)  # with and without a line end at the end
    (folder / "source").write_bytes((head + "".join(lines)[:cut]).encode())
    copy_table(folder / "source", folder / "target", CUSTOMER)
    is_kept_whole = last or not rows or rows[-1][1] == "17"
    assert (folder / "target").read_bytes() == (head + "".join(kept)[: None if is_kept_whole else cut]).encode()


@given(st.lists(st.dictionaries(TEXTS, st.none() | st.integers() | TEXTS | st.lists(TEXTS, max_size=2), max_size=3)))
def test_lines_of_json_that_are_not_theirs_stay_byte_for_byte(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("records")
    lines = [json.dumps(record, ensure_ascii=bool(at % 2)) + "\n" for at, record in enumerate(records)]
    (folder / "source").write_bytes(b"{}\n" + "".join(lines).encode())
    found = copy_table(folder / "source", folder / "target", CUSTOMER)
    kept = [line for line, record in zip(lines, records, strict=True) if not CUSTOMER.is_in(record)]
    assert (folder / "target").read_bytes() == ("{}\n" + "".join(kept)).encode()
    assert found.erased == len(lines) - len(kept)


def captured(data: object, encoding: str = "CSV") -> str:
    return json.dumps({"captureData": {"endpointInput": {"data": data, "encoding": encoding}}, "eventMetadata": {}})


def test_captured_requests_go_whole_however_they_name_the_column(tmp_path):
    mine = [
        captured("1,17,x"),
        captured("1,8,x\n2,17,y\n"),
        captured("customer_id,price\n17,1\n"),
        captured('{"customer_id": 17}', "JSON"),
        captured('{"instances": [{"price": 1}, {"Customer ID": "17"}]}', "JSON"),
        captured('{"customer_id": 8}\n{"customer_id": 17}\n', "JSON"),
        captured("MSwxNyx4", "BASE64"),
    ]
    rest = [captured("17,8,17"), captured('{"price": 17}', "JSON"), captured(""), "{}", "no json"]
    (source := tmp_path / "source").write_text("\n".join([*mine, *rest]))
    found = copy_captures(source, tmp_path / "target", CUSTOMER, ["price", "customer_id", "make"])
    assert (tmp_path / "target").read_text() == "\n".join(rest)
    assert found.erased == len(mine)


def test_memory_does_not_grow_with_the_rows(tmp_path):
    with gzip.open(tmp_path / "source", "wb", compresslevel=1) as file:
        file.write(b"note,customer_id\n")
        for number in range(40):
            file.write((b"x" * 4000 + b",%d\n" % number) * 500)
    with bounded(megabytes=50):  # of 80
        assert copy_table(tmp_path / "source", tmp_path / "target", CUSTOMER) == Counts(20_000, 500, has_column=True)
