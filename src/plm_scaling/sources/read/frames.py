"""The content of compressed data: gzip members, xz streams or zstd frames, one after another.

The decompressors of isal, of the standard library and of zstd have one protocol. None of their
file objects reads everything that the formats allow: NULs and other bytes after the last member,
windows of 2 GiB, skippable frames in front.
"""

import lzma
from collections.abc import Callable
from io import RawIOBase
from typing import TYPE_CHECKING, Any, BinaryIO

from backports import zstd
from isal import igzip_lib

from plm_scaling.common.progress import logger

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

INPUT_BYTES = 1 << 17
MAGIC = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\0": "xz"}
MAGIC |= {bytes([byte, 0x2A, 0x4D, 0x18]): "zstd" for byte in range(0x50, 0x60)}  # skippable
MAGIC_BYTES = 6
MAX_GARBAGE_BYTES = 4096  # after the end; longer ones may be data that were damaged
_WINDOW: dict[int, int] = {
    zstd.DecompressionParameter.window_log_max: 31
}  # of `zstd --long=31`, the widest

_Decompressor = Any  # decompress(data, max_length), needs_input, eof, unused_data
_BEGIN: dict[str, Callable[[], _Decompressor]] = {
    "gzip": lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP),
    "xz": lzma.LZMADecompressor,
    "zstd": lambda: zstd.ZstdDecompressor(options=_WINDOW),
}


def compression(first: bytes) -> str | None:
    """gzip, zstd, xz or None, from the first bytes of a file."""
    return next((name for magic, name in MAGIC.items() if first.startswith(magic)), None)


class Frames(RawIOBase):
    """What is decompressed from `stream`, which begins with a frame of the format `kind`.

    Raises `EOFError` where a frame is cut off, `ValueError` for what follows the last one and may
    be lost data; other bytes after it are ignored with a warning, NULs without, as gzip does.
    """

    def __init__(self, stream: BinaryIO, kind: str, name: str) -> None:
        self._stream, self._kind, self._name = stream, kind, name
        self._frame = _BEGIN[kind]()
        self._held = b""  # read, and not decompressed yet
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer)
        while True:
            if self._ended or (self._frame.eof and not self._next()):
                self._ended = True  # a caller may ask again
                return 0
            piece = b""
            if self._frame.needs_input:
                piece, self._held = self._held or self._stream.read(INPUT_BYTES), b""
                if not piece:
                    raise EOFError
            text = self._frame.decompress(piece, len(view))
            if text:
                view[: len(text)] = text
                return len(text)

    def _next(self) -> bool:
        """Begin with the next frame; False if there is none."""
        rest = self._frame.unused_data.lstrip(b"\0") or self._held.lstrip(b"\0")
        while len(rest) < MAGIC_BYTES and (more := self._stream.read(INPUT_BYTES)):
            rest = (rest + more).lstrip(b"\0")
        self._held = rest
        if compression(rest) == self._kind:
            self._frame = _BEGIN[self._kind]()
            return True
        if rest and any(magic.startswith(rest) for magic in MAGIC):
            raise EOFError
        if rest:
            self._held = b""
            self._ignore(rest + self._stream.read(MAX_GARBAGE_BYTES))
        return False

    def _ignore(self, garbage: bytes) -> None:
        if (
            len(garbage) > MAX_GARBAGE_BYTES
            or b">" in garbage
            or any(magic in garbage for magic in MAGIC)
        ):
            raise ValueError(
                f"what follows the end of its {self._kind} data ({garbage[:16]!r} …) is no "
                f"{self._kind} and may be lost data"
            )
        logger.warning(
            "%s: %d bytes after the end of the %s data ignored (%r)",
            self._name,
            len(garbage),
            self._kind,
            garbage[:16],
        )
