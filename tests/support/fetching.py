"""Fetch a file that a local server serves, and say what must be left when that fails."""

import hashlib
import random
from pathlib import Path

import pytest
from source_tables import write_table

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.fetch.source import fetch_source
from plm_scaling.sources.fetch.verified import record_of

# They begin as gzip does, which is all of gzip that a download looks at.
CONTENT = b"\x1f\x8b\x08" + random.Random(1).randbytes(199_997)
OTHER = b"\x1f\x8b\x08" + random.Random(2).randbytes(149_997)
WITH_CHECKSUM = {"checksum": f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"}
LENGTH = str(len(CONTENT))


def fetch(tmp_path: Path, url: str = "", **fields: str) -> Path:
    """Fetch the file s.gz of a table in tmp_path/resources with one row."""
    table = tmp_path / "resources" / "sources.tsv"
    write_table(table, {"name": "s", "file": "s.gz", "url": url, "role": "a role", **fields})
    out = tmp_path / "raw" / "s.gz"
    fetch_source(table, "s.gz", out)
    assert sorted(path.name for path in out.parent.iterdir()) == [record_of(out).name, "s.gz"]
    return out


def fetch_fails(tmp_path: Path, *words: str, kept: int | None = None, **fields: str) -> None:
    """The error has all words; nothing is left but, with `kept`, that many bytes to resume from."""
    with pytest.raises(SourceError) as raised:
        fetch(tmp_path, **fields)
    for word in words:
        assert word in str(raised.value)
    raw = tmp_path / "raw"
    left = {path.name for path in raw.iterdir()} if raw.exists() else set()
    left.discard(record_of(raw / "s.gz").name)  # of an earlier fetch
    if kept is None:
        assert not left
    else:
        assert left == {".s.gz.part", ".s.gz.part.json"}
        assert (raw / ".s.gz.part").read_bytes() == CONTENT[:kept]
