"""Source tables for tests."""

import hashlib
from pathlib import Path

from plm_scaling.sources.table import COLUMNS

DEFAULTS = {"kind": "protein", "format": "fasta", "licence": "CC BY 4.0", "role": "a test"}


def write_table(path: Path, *rows: dict[str, str]) -> Path:
    """A source table; what a row does not give is a FASTA called NAME.fasta.gz without address."""
    lines = ["\t".join(COLUMNS)]
    for row in rows:
        full = {"file": f"{row['name']}.fasta.gz", **DEFAULTS, **row}
        lines.append("\t".join(full.get(column, "") for column in COLUMNS))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def local_row(name: str, path: Path, **fields: str) -> dict[str, str]:
    """A row for a file of this machine, with its size and checksum."""
    content = path.read_bytes()
    return {
        "name": name,
        "release": "1",
        "url": f"file:{path}",
        "bytes": str(len(content)),
        "checksum": f"sha256:{hashlib.sha256(content).hexdigest()}",
        **fields,
    }
