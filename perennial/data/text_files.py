"""The text of a dropped file as UTF-8, block by block, whatever its encoding; also out of gzip.

What is no text raises FileError, and so does a byte that is not in the encoding, saying where it is: what reads the
text would name no place, or pass over it. UTF-8 that is declared to be something else raises one at its end, because
almost any bytes are some text in an encoding of one byte a character. JSON is UTF-8 by its standard (RFC 8259, 8.1),
whatever is declared.
"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

from perennial.data.file_form import FileForm
from perennial.data.header import FileError, reason
from perennial.words import quoted

BLOCK_BYTES = 2 << 20  # of JSON, read at once; no line may be longer
MAX_EXPANSION, EXPANDED_BYTES = 200, 256 << 20  # gzip packs tables up to 50 times; beyond both it is no table
PARQUET, BOM = b"PAR1", codecs.BOM_UTF8
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"ARROW1": "Arrow IPC",
}
EXPECTED = "expected CSV or JSON lines (also gzip), or Parquet"
WITH_CONTROLS = ("latin-1", "iso-8859-")  # where Windows has characters, they have what no text holds
_CONTROLS = re.compile(rb"[\x80-\x9f]")
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_JSON = re.compile(rb'\s*(\{\s*["}]|\[\s*["{\]])')  # what JSON begins with
_ADVICE = "Save the file as UTF-8 and upload it again, or name its encoding in model.yaml (files.encoding)"
_ADVICE_OF_JSON = (
    "JSON is UTF-8 by its standard, whatever files.encoding says: save the file as UTF-8 and upload it again"
)
BinaryFile = IO[bytes] | gzip.GzipFile
Opener = Callable[[], BinaryFile]
DAMAGED_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)
LINE_END = b"\n"
_BLANK_LINES = re.compile(rb"\A(?: *[\r\n])+")
_SEPARATOR_LINE = re.compile(rb'"?sep=([^"\r\n])"?(?:\r\n|\n|\r)', re.IGNORECASE)  # of spreadsheets, before the header


class TextFile:
    """A file that is read as Arrow reads: `size` bytes of UTF-8 at once, without a byte order mark.

    is_table    the first line that is not blank is a header: blank ones before it are passed over
    separator   what a line `sep=;` before the header says
    passed_over bytes of the text before the header, and of a byte order mark before that
    has_quotes  whether a quotation mark was among what has been read
    is_open     whether what has been read last is no line end
    end         what to read after the last byte of a file with quotes: whether it is inside of some tells a torn file
    """

    closed = False

    def __init__(
        self, name: str, file: BinaryFile, form: FileForm, *, is_table: bool = False, end: bytes = b""
    ) -> None:
        self.name, self.has_quotes, self.is_open, self.separator = name, False, False, ""
        self._before_header, self._end, self.passed_over = is_table, end, 0
        self._file, self._encoding = file, form.encoding
        self._position, self._lines, self._waiting, self._at_end = 0, 0, b"", False
        self._most = max(EXPANDED_BYTES, MAX_EXPANSION * os.fstat(file.fileno()).st_size)
        self._decoder = codecs.getincrementaldecoder(self._encoding)()
        # Reads the same bytes, as long as they may be UTF-8 that is declared to be something else.
        self._as_utf_8 = None if self._encoding.startswith("utf") else codecs.getincrementaldecoder("utf-8")()
        self._beyond_ascii = ""  # the first character that would tell
        self._control: FileError | None = None
        self._advice = _ADVICE

    @property
    def is_utf_8(self) -> bool:
        """Whether the bytes of the file are those of its text."""
        return self._encoding == "utf-8"

    def read(self, size: int) -> bytes:
        """Return `size` more bytes, fewer only at the end: a line may straddle two of Arrow's blocks, but not three."""
        while len(self._waiting) < size and not self._at_end:
            self._at_end = self._fill(size)
        block, self._waiting = self._waiting[:size], self._waiting[size:]
        return block

    def _fill(self, size: int) -> bool:
        """Read a block and make it UTF-8. Returns whether the file ends there."""
        at_start, raw = self._position == 0, self._file.read(size)
        block = self._without_mark(raw) if at_start else raw
        self._look_for_utf_8(block)
        text = self._decoded(block)
        if not raw and (undeclared := self.undeclared_utf_8()):
            raise undeclared
        self._position += len(block)
        if self._position > self._most:
            expanded = f"the gzip data expand to more than {MAX_EXPANSION} times their size"
            raise FileError(f"{self.name}: {expanded}; upload the file plain")
        if b"\0" in text:
            raise self._no_text(block, text)
        self._look_for_controls(block)
        self._lines += int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")))
        if self._before_header:
            header = self._without_separator_line(text)
            self.passed_over += len(text) - len(header)
            text, self._before_header = header, not header
        self._waiting += text
        self.is_open = not text.endswith((b"\n", b"\r")) if text else self.is_open
        self.has_quotes = self.has_quotes or b'"' in text
        if not raw and self.has_quotes:
            self._waiting += self._end
        return not raw

    def _no_text(self, block: bytes, text: bytes) -> FileError:
        """Return what is wrong with a block that holds zero bytes: in UTF-16 every other one is, or nearly."""
        if text.count(b"\0") * 4 > len(text) and not self._encoding.startswith("utf-16"):
            problem = f"this is no text (it holds zero bytes); {EXPECTED}. UTF-16 without a mark needs files.encoding"
            return FileError(f"{self.name}: {problem}")
        before = text[: text.index(b"\0")]
        width = 2 if self._encoding.startswith("utf-16") else 1
        at = len(before.decode().encode(self._encoding, "replace")) if width > 1 else block.index(b"\0")
        where = f"position {self._position - len(block) + at} (line {self._lines + before.count(LINE_END) + 1})"
        return FileError(f"{self.name}: this is no text: a zero byte at {where}; {EXPECTED}")

    def _without_mark(self, block: bytes) -> bytes:
        for magic, what in OTHER_FORMATS.items():
            if block.startswith(magic):
                raise FileError(f"{self.name}: this is {what}; {EXPECTED}")
        if block.startswith(PARQUET):
            raise FileError(f"{self.name}: this is Parquet inside gzip; upload the Parquet file as it is")
        for mark, encoding in MARKS.items():
            if block.startswith(mark):
                self._read_as(encoding)
                self._position = self.passed_over = len(mark)
                return block.removeprefix(mark)
        if _JSON.match(block):
            self._read_as("utf-8")
            self._advice = _ADVICE_OF_JSON
        return block

    def _read_as(self, encoding: str) -> None:
        """Use the encoding that the file's byte order mark names."""
        self._encoding, self._decoder = encoding, codecs.getincrementaldecoder(encoding)()
        self._as_utf_8 = None

    def _without_separator_line(self, text: bytes) -> bytes:
        """Return a text without a line `sep=;` and blank lines at its start."""
        text = _BLANK_LINES.sub(b"", text)
        if line := _SEPARATOR_LINE.match(text):
            self.separator = line[1].decode()
            text = _BLANK_LINES.sub(b"", text[line.end() :])
        return text

    def undeclared_utf_8(self) -> FileError | None:
        """Return what is wrong when all that was read is UTF-8, and something else is declared."""
        if self._as_utf_8 is None or not self._beyond_ascii:
            return None
        garbled = self._beyond_ascii.encode().decode(self._encoding, "replace")
        what = f"this is UTF-8, and model.yaml declares {self._encoding} (files.encoding)"
        example = f"{quoted(self._beyond_ascii)} would be read as {quoted(garbled)}"
        advice = f"Save the file as UTF-8 with a byte order mark (as spreadsheets do), or as {self._encoding}"
        return FileError(f"{self.name}: {what}: {example}. {advice}")

    def _look_for_utf_8(self, block: bytes) -> None:
        if self._as_utf_8 is None or (block.isascii() and not self._as_utf_8.getstate()[0]):
            return
        try:
            text = self._as_utf_8.decode(block, final=not block)
        except UnicodeDecodeError:
            self._as_utf_8 = None
            return
        self._beyond_ascii = self._beyond_ascii or next((char for char in text if not char.isascii()), "")

    def _look_for_controls(self, block: bytes) -> None:
        """Raise FileError for characters of Windows in a file that is declared to have none, unless it may be UTF-8."""
        if self._encoding.startswith(WITH_CONTROLS) and self._control is None and (control := _CONTROLS.search(block)):
            meant = control[0].decode("cp1252", "replace")
            line = self._lines + block.count(b"\n", 0, control.start()) + 1
            what = f"byte {control[0]!r} at position {self._position - len(block) + control.start()} (line {line})"
            advice = f"In cp1252 it is {quoted(meant)}: name cp1252 in model.yaml (files.encoding)"
            self._control = FileError(f"{self.name}: not {self._encoding}: {what}. {advice}")
        if self._control and self._as_utf_8 is None:
            raise self._control

    def _decoded(self, block: bytes) -> bytes:
        """Return a block in UTF-8. A character that is cut off at its end waits for the next one."""
        pending = self._decoder.getstate()[0]
        if self._encoding == "utf-8" and block.isascii() and not pending:
            return block
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise self._refusal(error, len(pending)) from error
        except UnicodeError as error:  # a stream of UTF-16 without its mark
            problem = "there is no byte order mark; name utf-16-le or utf-16-be in model.yaml (files.encoding)"
            raise FileError(f"{self.name}: not {self._encoding.upper()}: {problem}") from error
        if self._encoding != "utf-8":
            return text.encode("utf-8", "replace")
        waiting = len(self._decoder.getstate()[0])
        whole = pending + block
        return whole[: len(whole) - waiting]

    def _refusal(self, error: UnicodeDecodeError, pending: int) -> FileError:
        if undeclared := self.undeclared_utf_8():
            return undeclared
        before = error.object[: error.start].decode(self._encoding, "replace")
        byte, position = error.object[error.start : error.start + 1], self._position - pending + error.start
        spoken = self._encoding.upper() if self._encoding.startswith("utf") else self._encoding
        where = f"position {position} (line {self._lines + before.count(chr(10)) + 1})"
        return FileError(f"{self.name}: not {spoken}: byte {byte!r} at {where}. {self._advice}")


@contextmanager
def undamaged(name: str) -> Iterator[None]:
    """Raise FileError where gzip data turn out to be damaged: what reads them says so in errors of its own."""
    try:
        yield
    except DAMAGED_GZIP as error:
        problem = f"the gzip data are damaged or cut off ({reason(error)}); upload the file again"
        raise FileError(f"{name}: {problem}") from error
