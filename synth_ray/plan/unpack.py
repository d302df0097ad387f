"""The bytes of a seed file as its reader wants them: decompressed, and text in UTF-8 without a byte order mark.

Compression and encoding are told from the first bytes, never from the name: a `.gz` that a server has unpacked already is read as
it is, and so is a `.jsonl` that is compressed.
"""

from __future__ import annotations

import codecs
import io
import shutil
import tempfile
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import pyarrow as pa

from synth_ray.errors import JobError

PACKED_ENDINGS = ("gz", "zst", "bz2", "lz4")

_HEAD_BYTES = 16
_BLOCK = 1 << 20
_CODECS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\x04\x22\x4d\x18": "lz4"}
_BZ2_BLOCK = b"1AY&SY"  # behind "BZh9", with which a text could begin
_MARKS = [
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
]
_OTHERS = {
    b"PAR1": "a Parquet file; set format: parquet",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet; unpack it, or save it as CSV",
    b"\xfd7zXZ\x00": "an .xz file; unpack it, or pack it as .zst",
    b"ARROW1": "an Arrow file; write it as Parquet",
}


def unpacked_text(file: BinaryIO, path: str) -> BinaryIO:
    """Text in UTF-8. Raises JobError for a file of another kind, and while it is read for one that is broken."""
    file, head = _peeked(_decompressed(file, path))
    for start, kind in _OTHERS.items():
        if head.startswith(start):
            raise JobError(f"{path}: wanted text, got {kind}")
    mark, encoding = next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", _without_mark(head)))
    file.read(len(mark))
    return file if encoding == "utf-8" else _buffered(_Utf8(file, encoding, path))


def unpacked_file(file: BinaryIO, path: str) -> BinaryIO:
    """A seekable file; one that was compressed is unpacked to a temporary file. Raises JobError for one that is broken."""
    plain = _decompressed(file, path)
    if plain.seekable():
        return plain
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115  (its reader closes it)
    shutil.copyfileobj(plain, unpacked, _BLOCK)
    unpacked.seek(0)
    return cast(BinaryIO, unpacked)


def _decompressed(file: BinaryIO, path: str) -> BinaryIO:
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if not head and path.rsplit(".", 1)[-1].lower() in PACKED_ENDINGS:
        raise JobError(f"{path}: wanted a compressed file, got an empty one; copy it again")
    codec = next((name for start, name in _CODECS.items() if head.startswith(start)), None)
    if codec is None or (codec == "bz2" and head[4:10] != _BZ2_BLOCK):
        return file
    return _buffered(_Decompressed(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), codec), codec, path))


def _peeked(file: BinaryIO) -> tuple[BinaryIO, bytes]:
    if file.seekable():
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        return file, head
    return file, cast(io.BufferedReader, file).peek(_HEAD_BYTES)[:_HEAD_BYTES]


def _without_mark(head: bytes) -> str:
    """UTF-16 where every second byte is zero, as in text of mostly Latin letters; else UTF-8."""
    pairs = len(head) // 2 * 2
    if pairs >= 4 and not any(head[1:pairs:2]) and all(head[0:pairs:2]):
        return "utf-16-le"
    return "utf-16-be" if pairs >= 4 and not any(head[0:pairs:2]) and all(head[1:pairs:2]) else "utf-8"


def _buffered(raw: io.RawIOBase) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(raw, _BLOCK))


class _Blocks(io.RawIOBase):
    """A file over blocks of bytes: `next_block` gives the next one, b"" at the end."""

    def __init__(self, next_block: Callable[[], bytes]) -> None:
        self._next_block = next_block
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._next_block())
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


class _Decompressed(_Blocks):
    def __init__(self, source: Any, codec: str, path: str) -> None:
        super().__init__(self._block)
        self._source, self._codec, self._path, self._read = source, codec, path, 0

    def _block(self) -> bytes:
        try:
            block: bytes = self._source.read(_BLOCK)
        except (pa.ArrowException, OSError):
            raise JobError(
                f"{self._path}: wanted a whole {self._codec} file, got one that is broken or cut off behind its first "
                f"{self._read} unpacked bytes; copy it again"
            ) from None
        self._read += len(block)
        return block


class _Utf8(_Blocks):
    """UTF-8 of text in another encoding. A lone surrogate becomes bytes that are not UTF-8: the reader rejects their row."""

    def __init__(self, source: BinaryIO, encoding: str, path: str) -> None:
        super().__init__(self._block)
        self._source, self._encoding, self._path = source, encoding, path
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._ended = False

    def _block(self) -> bytes:
        while not self._ended:
            data = self._source.read(_BLOCK)
            self._ended = not data
            try:
                text = self._decoder.decode(data, self._ended)
            except UnicodeDecodeError:
                if self._ended:
                    return b"\xff"  # half a character at the end
                raise JobError(
                    f"{self._path}: wanted text in {self._encoding.upper()}, got other bytes; save it as UTF-8"
                ) from None
            if text:
                return text.encode("utf-8", "surrogatepass")
        return b""
