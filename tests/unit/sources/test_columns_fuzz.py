"""Damaged Parquet and Arrow files: the same records, or one clear error; no crash, no hang.

Bytes that no checksum covers may change a sequence or an id. Rows stay as many as the file states.
"""

import os
import pickle
import random
import resource
import signal
from pathlib import Path
from typing import NamedTuple

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from column_tables import LAYOUTS
from forks import exit_code, fork

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.columns import read_columns
from plm_scaling.sources.read.fasta import RESIDUES

TEXT = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view())
CASE_CPU_SECONDS, CASE_SECONDS, MEMORY_BYTES = 60, 600, 8 << 30
# Numbers as Parquet's footer and page headers have them: 0, 1, 1024, 2³¹ − 1, −2³¹, 2⁴⁹, 2⁶².
VARINTS = ["00", "02", "8010", "feffffff0f", "ffffffff0f", "80808080808080808001", "fe" + "ff" * 8]
INTEGERS = [0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63]


class Sound(NamedTuple):
    content: bytes
    is_flat: bool  # no lists
    is_checked: bool  # by checksums


def sound_file(draw: random.Random, layout: str, path: Path) -> Sound:
    def sequence() -> str:
        return "".join(draw.choices(RESIDUES.decode(), k=draw.choice([3, 20, 60, 300])))

    rows, kind = draw.randrange(1, 150), draw.choice(TEXT)
    values: list[object] = [draw.choice([None, sequence(), "MKV"]) for _ in range(rows)]
    flat, dictionary = draw.random() < 0.7, draw.random() < 0.5
    if flat:
        column = pa.array(values, pa.string()).cast(kind)
        if dictionary and kind in TEXT[:4]:
            column = column.dictionary_encode()
    else:
        lists = [[sequence() for _ in range(draw.randrange(4))] or None for _ in values[1:]]
        lists.append([sequence()])
        column = pa.array(lists, draw.choice([pa.list_, pa.large_list])(pa.large_string()))
    table = pa.table({"length": pa.array(range(rows), pa.float64()), "sequence": column})
    if draw.random() < 0.7:
        ids = draw.choice([pa.array(range(rows)), pa.array(map(str, range(rows)))])
        table = table.append_column("id", ids)
    batch = draw.choice([1, 7, 50, 1000])
    checked = draw.random() < 0.5
    if layout == "parquet":
        pq.write_table(
            table,
            path,
            row_group_size=batch,
            compression=draw.choice(["none", "snappy", "gzip", "brotli", "lz4", "zstd"]),
            use_dictionary=dictionary,
            data_page_size=draw.choice([100, 1 << 20]),
            data_page_version=draw.choice(["1.0", "2.0"]),
            write_page_index=draw.random() < 0.3,
            write_page_checksum=checked,
        )
    else:
        options = pa.ipc.IpcWriteOptions(compression=draw.choice([None, "lz4", "zstd"]))
        new = pa.ipc.new_file if layout == "arrow_file" else pa.ipc.new_stream
        with new(str(path), table.schema, options=options) as writer:
            writer.write_table(table, batch)
    return Sound(path.read_bytes(), flat, checked and layout == "parquet")


def damaged(draw: random.Random, content: bytes, layout: str) -> bytes:
    changed = bytearray(content)
    size = len(changed)
    # The structure stands at the ends.
    at = draw.choice([draw.randrange(64), size - 1 - draw.randrange(700), draw.randrange(size)])
    at = max(0, min(at, size - 1))
    match draw.randrange(9 if layout == "parquet" else 7):
        case 0:
            changed[at] ^= 1 << draw.randrange(8)
        case 1:
            changed[at] = draw.choice([0, 127, 128, 255])
        case 2:
            del changed[at:]
        case 3:
            del changed[at : at + draw.choice([1, 8, 64])]
        case 4:
            changed[at:at] = draw.choice([b"\0", b"\xff"]) * draw.choice([1, 4, 8, 64])
        case 5:
            at -= at % 8
            changed[at : at + 8] = draw.choice(INTEGERS).to_bytes(8, "little")
        case 6:
            other, length = draw.randrange(size), draw.choice([8, 64, 512])
            blocks = content[at : at + length], content[other : other + length]
            length = min(map(len, blocks))
            changed[at : at + length], changed[other : other + length] = (
                block[:length] for block in reversed(blocks)
            )
        case _:  # another number in the footer, whose length is kept right, or in a page's header
            end = size - 8
            start = end - int.from_bytes(content[end : end + 4], "little")
            at = draw.choice([4 + draw.randrange(40), start + draw.randrange(end - start)])
            changed[at : at + draw.choice([1, 2, 5])] = bytes.fromhex(draw.choice(VARINTS))
            if at >= start:
                end += len(changed) - size
                changed[end : end + 4] = (end - start).to_bytes(4, "little")
    return bytes(changed)


def read(path: Path) -> tuple[int, list[bytes]]:
    """The number of records, rejected ones too, and the sequences of the others."""
    batches = list(read_columns(path))
    count = sum(batch.count for batch in batches)
    return count, [sequence for batch in batches for sequence in batch.sequences]


def check(path: Path, expected: tuple[int, list[bytes]], sound: Sound) -> str:
    """What became of it: `refused`, `same` or `changed`."""
    problem = ""
    try:
        found = read(path)
    except SourceError as error:
        problem = str(error)
    if problem:
        assert str(path) in problem
        assert "\n" not in problem
        return "refused"
    assert found[0] == expected[0] or not sound.is_flat
    assert found == expected or not sound.is_checked
    return "same" if found == expected else "changed"


def campaign(folder: Path, layout: str, files: int) -> dict[str, int]:
    """How many damaged files came to which end."""
    vms = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (vms + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ends = {"refused": 0, "same": 0, "changed": 0}
    path = folder / "a.table"
    for number in range(files):
        (folder / "last").write_text(f"file {number}, not damaged yet")
        draw = random.Random(f"{layout} {number}")
        sound = sound_file(draw, layout, path)
        expected = read(path)
        for case in range(8):
            text = damaged(draw, sound.content, layout)
            path.write_bytes(text)
            (folder / "last").write_text(f"case {case} of file {number}")
            used = sum(os.times()[:2])
            limit = int(used) + CASE_CPU_SECONDS, resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_CPU, limit)
            signal.alarm(CASE_SECONDS)
            ends[check(path, expected, sound)] += 1
    return ends


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("files", [12, pytest.param(400, marks=pytest.mark.long)])
def test_damaged_tables_are_refused_or_have_all_rows(
    tmp_path: Path, layout: str, files: int, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ends"
    code = exit_code(fork(lambda: campaign(tmp_path, layout, files), out))
    output = capfd.readouterr().err
    assert code == 0, f"{(tmp_path / 'last').read_text()}: exit code {code}\n{output}"
    ends = pickle.loads(out.read_bytes())
    # Neither refusing all nor accepting all would pass.
    assert min(ends["refused"], ends["same"] + ends["changed"]) > files / 2, ends
