"""The text of a dropped file as UTF-8, block by block, whatever its encoding; also out of gzip.

What is no text raises FileError, and so does a byte that is not in the encoding, saying where it is: what reads the
text would name no place, or pass over it.
"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import zlib
from collections.abc import Callable
from typing import IO

from perennial.file_form import FileForm
from perennial.header import FileError, reason

BLOCK_BYTES = 2 << 20  # read at once; no row may be longer
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
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
BinaryFile = IO[bytes] | gzip.GzipFile
Opener = Callable[[], BinaryFile]
DAMAGED_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)
_SEPARATOR_LINE = re.compile(rb'"?sep=([^"\r\n])"?(?:\r\n|\n|\r)', re.IGNORECASE)  # of spreadsheets, before the header


class TextFile:
    """A file that is read as Arrow reads: `size` bytes of UTF-8 at once, without a byte order mark.

    separator   what a line `sep=;` before the header says
    has_quotes  whether a quotation mark was among what has been read
    """

    closed = False

    def __init__(self, name: str, file: BinaryFile, form: FileForm) -> None:
        self.name, self.has_quotes, self.separator = name, False, ""
        self._file, self._encoding = file, form.encoding
        self._position, self._lines, self._waiting = 0, 0, b""
        self._most = max(EXPANDED_BYTES, MAX_EXPANSION * os.fstat(file.fileno()).st_size)
        self._decoder = codecs.getincrementaldecoder(self._encoding)()

    def read(self, size: int) -> bytes:
        """Return some more bytes, at most `size`; none at the end."""
        at_end = False
        while not self._waiting and not at_end:
            at_end = self._fill(size)
        block, self._waiting = self._waiting[:size], self._waiting[size:]
        return block

    def _fill(self, size: int) -> bool:
        """Read a block and make it UTF-8. Returns whether the file ends there."""
        at_start, raw = self._position == 0, self._file.read(size)
        block = self._without_mark(raw) if at_start else raw
        text = self._decoded(block)
        self._position += len(block)
        if self._position > self._most:
            expanded = f"the gzip data expand to more than {MAX_EXPANSION} times their size"
            raise FileError(f"{self.name}: {expanded}; upload the file plain")
        if b"\0" in text:
            utf_16 = "" if self._encoding.startswith("utf-16") else ". UTF-16 without a mark needs files.encoding"
            raise FileError(f"{self.name}: this is no text (it holds zero bytes); {EXPECTED}{utf_16}")
        if at_start:
            text = self._without_separator_line(text)
        self._waiting = text
        self._lines += text.count(b"\n")
        self.has_quotes = self.has_quotes or b'"' in text
        return not raw

    def _without_mark(self, block: bytes) -> bytes:
        for magic, what in OTHER_FORMATS.items():
            if block.startswith(magic):
                raise FileError(f"{self.name}: this is {what}; {EXPECTED}")
        if block.startswith(PARQUET):
            raise FileError(f"{self.name}: this is Parquet inside gzip; upload the Parquet file as it is")
        for mark, encoding in MARKS.items():
            if block.startswith(mark):
                self._encoding, self._decoder = encoding, codecs.getincrementaldecoder(encoding)()
                self._position += len(mark)
                return block.removeprefix(mark)
        return block

    def _without_separator_line(self, text: bytes) -> bytes:
        found = _SEPARATOR_LINE.match(text)
        if found is None:
            return text
        self.separator = found[1].decode()
        return text[found.end() :]

    def _decoded(self, block: bytes) -> bytes:
        """Return a block in UTF-8. A character that is cut off at its end waits for the next one."""
        pending = self._decoder.getstate()[0]
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise self._refusal(error, len(pending)) from error
        except UnicodeError as error:  # a stream of UTF-16 without its mark
            problem = "there is no byte order mark; name utf-16-le or utf-16-be in model.yaml (files.encoding)"
            raise FileError(f"{self.name}: not {self._encoding.upper()}: {problem}") from error
        if self._encoding != "utf-8":
            return text.encode("utf-8", "replace")
        kept = len(self._decoder.getstate()[0])
        whole = pending + block
        return whole[: len(whole) - kept]

    def _refusal(self, error: UnicodeDecodeError, pending: int) -> FileError:
        before = error.object[: error.start].decode(self._encoding, "replace")
        byte, position = error.object[error.start : error.start + 1], self._position - pending + error.start
        spoken = self._encoding.upper() if self._encoding.startswith("utf") else self._encoding
        advice = "Save the file as UTF-8 and upload it again, or name its encoding in model.yaml (files.encoding)"
        where = f"position {position} (line {self._lines + before.count(chr(10)) + 1})"
        return FileError(f"{self.name}: not {spoken}: byte {byte!r} at {where}. {advice}")


def damaged(name: str, error: Exception) -> FileError:
    problem = f"the gzip data are damaged or cut off ({reason(error)}); upload the file again"
    return FileError(f"{name}: {problem}")
