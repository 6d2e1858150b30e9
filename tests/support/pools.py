"""Pools for tests, made by the real pooling step."""

from pathlib import Path

from plm_scaling.common.parts import digests, part_name, part_of
from plm_scaling.pool.database import END, data_files
from plm_scaling.pool.read import Pool
from plm_scaling.pool.write import pool_part
from plm_scaling.sources.table import PROTEIN, Kind


def write_clean(folder: Path, records: list[tuple[str, str]], parts: int) -> None:
    """What cleaning a source leaves: its records (id, residues), each in the file of its part."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = part_of(digests(sequence.encode() for _, sequence in records), parts)
    for part in range(parts):
        text = "".join(
            f">{name}\n{sequence}\n"
            for (name, sequence), number in zip(records, numbers, strict=True)
            if number == part
        )
        (folder / f"{part_name(part)}.fasta").write_text(text)


def sequences_in(database: Path) -> list[str]:
    """The sequences of an MMseqs2 database in the order of its data."""
    data = b"".join(path.read_bytes() for path in data_files(database))
    return [sequence.decode() for sequence in data.split(END)[:-1]]


def make_pool(
    folder: Path,
    sources: dict[str, list[tuple[str, str]]],
    parts: int = 2,
    kind: Kind = PROTEIN,
) -> Pool:
    """The pool of these records (id, residues) by source, in `folder`/pool/`kind`."""
    names = list(sources)
    for name, records in sources.items():
        write_clean(folder / "clean" / name, records, parts)
    for part in range(parts):
        clean = [folder / "clean" / name for name in names]
        out = folder / "pool" / kind / part_name(part)
        pool_part(clean, names, part, parts, kind, out)
    return Pool.open(folder / "pool" / kind)
