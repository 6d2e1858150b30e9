"""Compressed files as programs write them: read whole, or refused with a message that helps."""

import gzip
import lzma
import os
import subprocess
import sys
import threading
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read import frames
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.streams import STDIN, blocks, open_stream

TEXT = b"".join(b">r%d\n%s\n" % (i, b"MKVACDEFGH" * (i % 50 + 1)) for i in range(2000))
COMPRESS = {"gz": gzip.compress, "xz": partial(lzma.compress, preset=0), "zst": zstd.compress}
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"


def content(path: Path, data: bytes) -> bytes:
    path.write_bytes(data)
    with open_stream(path) as stream:
        return b"".join(blocks(stream, path))


def streamed(window_log: int) -> bytes:
    """As `zstd --long` compresses a stream, whose frame states no size."""
    options = {zstd.CompressionParameter.window_log: window_log}
    options |= {zstd.CompressionParameter.enable_long_distance_matching: 1}
    compressor = zstd.ZstdCompressor(options=options)
    return compressor.compress(TEXT) + compressor.flush()


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        ("gz", b"".join(gzip.compress(TEXT[i : i + 999]) for i in range(0, len(TEXT), 999))),
        ("gz", gzip.compress(TEXT) + bytes(10240)),
        ("gz", gzip.compress(TEXT[:9]) + bytes(512) + gzip.compress(TEXT[9:])),
        ("gz", gzip.compress(b"") + gzip.compress(TEXT) + gzip.compress(b"")),
        ("xz", lzma.compress(TEXT[:9]) + bytes(4) + lzma.compress(TEXT[9:]) + bytes(8)),
        ("zst", SKIPPABLE + zstd.compress(TEXT)),
        ("zst", zstd.compress(TEXT[:9]) + SKIPPABLE * 3 + zstd.compress(TEXT[9:]) + SKIPPABLE),
        ("zst", streamed(28)),
    ],
    ids=["many", "nuls", "nuls_between", "empty", "xz_padding", "skippable", "skippables", "long"],
)
@pytest.mark.parametrize("input_bytes", [1, 7, 1 << 17])
def test_frames_of_any_number_and_padding_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, data: bytes, input_bytes: int
) -> None:
    if input_bytes < 100 and len(data) > 100_000:
        pytest.skip("much too slow")
    monkeypatch.setattr(frames, "INPUT_BYTES", input_bytes)
    assert content(tmp_path / f"a.{suffix}", data) == TEXT


@pytest.mark.parametrize("suffix", COMPRESS)
def test_frames_short_trailing_garbage_is_ignored_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    assert content(tmp_path / f"a.{suffix}", COMPRESS[suffix](TEXT) + b"\0garbage\n") == TEXT
    assert caplog.text.count(f"a.{suffix}: 8 bytes after the end") == 1
    assert "garbage" in caplog.text


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize(
    "rest",
    [b">b\nMK\n", b"x" * 5000, b"\0x" + gzip.compress(b">b\nMK\n"), b"\0" + lzma.compress(b"MK")],
    ids=["fasta", "long", "gzip", "xz"],
)
def test_frames_what_follows_and_may_be_data_is_refused(
    tmp_path: Path, suffix: str, rest: bytes
) -> None:
    if suffix == "xz" and rest[1:2] == b"\xfd":
        assert content(tmp_path / "a.xz", lzma.compress(TEXT) + rest) == TEXT + b"MK"
        return
    with pytest.raises(SourceError, match=rf"a\.{suffix} cannot be read: what follows the end"):
        content(tmp_path / f"a.{suffix}", COMPRESS[suffix](TEXT) + rest)


@pytest.mark.parametrize("inner", COMPRESS)
def test_frames_compressed_twice_says_so(tmp_path: Path, inner: str) -> None:
    with pytest.raises(SourceError, match=r"is compressed twice \(.* in gzip\); decompress it"):
        content(tmp_path / "a.gz", gzip.compress(COMPRESS[inner](TEXT)))


@settings(max_examples=40, deadline=None)
@given(
    cut=st.integers(1, 400),
    suffix=st.sampled_from(sorted(COMPRESS)),
    sizes=st.lists(st.integers(1, 1200), max_size=4),
)
def test_frames_cut_anywhere_is_an_error_or_a_whole_frame(
    tmp_path_factory: pytest.TempPathFactory, cut: int, suffix: str, sizes: list[int]
) -> None:
    """Never part of a frame without a word."""
    folder = tmp_path_factory.getbasetemp() / "cut"
    folder.mkdir(exist_ok=True)
    text = TEXT[:5000]
    ends = [0, *(sum(sizes[: i + 1]) for i in range(len(sizes))), len(text)]
    pieces = [COMPRESS[suffix](text[a:b]) for a, b in pairwise(ends)]
    data = b"".join(pieces)
    kept = data[: max(len(data) - cut, 8)]
    try:
        found = content(folder / f"a.{suffix}", kept)
    except SourceError:
        return
    whole = [sum(map(len, pieces[:i])) for i in range(len(pieces) + 1)]
    last = max(i for i, end in enumerate(whole) if end <= len(kept))
    assert found == text[: ends[last]]
    assert not kept[whole[last] :].strip(b"\0")


def test_standard_input_in_pieces_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data in (TEXT, gzip.compress(TEXT)):
        read, write = os.pipe()

        def feed(data: bytes = data, write: int = write) -> None:
            with os.fdopen(write, "wb", buffering=0) as pipe:
                for piece in (data[:1], data[1:2], data[2:]):
                    pipe.write(piece)

        feeder = threading.Thread(target=feed)
        feeder.start()
        monkeypatch.setattr(sys, "stdin", os.fdopen(read))
        assert sum(records.count for records in read_fasta(STDIN)) == 2000
        feeder.join()


def test_standard_input_that_is_cut_is_an_error(root: Path) -> None:
    code = "import sys\nfrom pathlib import Path\nfrom plm_scaling.sources.read.fasta import *\n"
    code += "for _ in read_fasta(Path('-')): pass"
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    cut = gzip.compress(TEXT)[:-20]
    done = subprocess.run(
        [sys.executable, "-c", code], input=cut, capture_output=True, env=environment
    )
    assert b"- is truncated" in done.stderr
